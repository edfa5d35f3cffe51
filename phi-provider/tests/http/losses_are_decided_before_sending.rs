//! What the translation of a conversation loses is decided upon before anything is sent.

use std::sync::{Arc, Mutex};

use phi_provider::openai_chat::OpenAiChat;
use phi_provider::translate::{Loss, LossKind};
use phi_provider::{Credential, HttpProvider, LossDecision};
use phi_testkit::{Response, Server, request};
use phi_types::{
    AssistantMessage, AssistantPart, Entry, OpaquePart, Origin, Provider, ProviderErrorKind,
    RawJson, Request, StopReason, Usage, UserMessage,
};

use crate::support::{InMemory, Step, read_request, transport};

/// A conversation whose answers another service wrote.
fn foreign(opaque: usize) -> Request {
    let mut request = request("go");
    for _ in 0..opaque {
        let part = OpaquePart {
            kind: "redacted_thinking".to_owned(),
            data: RawJson::empty_object(),
        };
        let answer = AssistantMessage {
            parts: vec![AssistantPart::Opaque(part)],
            stop_reason: StopReason::EndTurn,
            stop_reason_raw: None,
            usage: Usage::default(),
            origin: Origin::default(),
        };
        request.view.push(Entry::Assistant(Arc::new(answer)));
        let more = UserMessage::text("more");
        request.view.push(Entry::User(Arc::new(more)));
    }
    request
}

fn provider(server: &Server) -> HttpProvider {
    let wire = Arc::new(OpenAiChat::new(&server.base_url()));
    HttpProvider::new(wire, transport(), Credential::Anonymous)
}

#[tokio::test]
async fn a_policy_sees_them_on_every_request() {
    let answer = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#;
    let server = Server::from_fn(move |_, _| Response::json(200, answer)).unwrap();
    let seen: Arc<Mutex<Vec<Vec<Loss>>>> = Arc::default();
    let log = Arc::clone(&seen);
    let provider = provider(&server).with_losses(move |losses| {
        log.lock().unwrap().push(losses.to_vec());
        LossDecision::Send
    });
    for opaque in [1, 0, 1] {
        let (text, end) = read_request(&provider, foreign(opaque)).await;
        assert_eq!((text.as_str(), end), ("hi", Ok(())));
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert_eq!((seen[1].len(), &seen[0]), (0, &seen[2]));
    let kind = Arc::from("redacted_thinking");
    let dropped = Loss {
        entry: 1,
        kind: LossKind::OpaqueDropped { kind },
    };
    assert!(seen[0].contains(&dropped), "{seen:?}");
}

#[tokio::test]
async fn a_refused_request_is_not_sent_and_names_what_would_be_lost() {
    let server = Server::start([]).unwrap();
    let provider = provider(&server).with_losses(|losses| match losses {
        [] => LossDecision::Send,
        _ => LossDecision::Refuse,
    });
    let (_, end) = read_request(&provider, foreign(7)).await;
    let error = end.unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::InvalidRequest);
    assert!(
        error
            .message
            .contains("entry 1: a part `redacted_thinking` was left out"),
        "{error}"
    );
    assert!(
        error.message.contains("; and ") && error.message.ends_with("more"),
        "{error}"
    );
    assert_eq!(server.received(), []);
}

#[tokio::test]
async fn without_a_policy_everything_is_sent() {
    let body = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#;
    let wire = Arc::new(OpenAiChat::new("https://words.test"));
    let provider = InMemory::new(200, [Step::Give(body.to_owned())]).provider_of(wire);
    assert_eq!(provider.identity().protocol, "openai-chat");
    let (text, _) = read_request(&provider, foreign(1)).await;
    assert_eq!(text, "hi");
}
