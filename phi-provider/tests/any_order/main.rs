//! One conversation grows through all protocols in any order, and every request of it is one that
//! its API accepts.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail where the tests do"
)]

mod read;
mod recordings;
mod replies;

use std::sync::Arc;

use phi_provider::{ResponseHead, Wire};
use phi_testkit::check_transcript;
use phi_types::{
    Assembler, AssistantMessage, CallResult, Delta, Entry, History, Options, Origin, Request,
    SessionId, ToolResult, ToolSpec, UserMessage,
};
use proptest::prelude::*;
use serde_json::Value;

use crate::replies::{Speaker, speakers};

pub(crate) fn decode(wire: &dyn Wire, model: &str, body: &[u8]) -> AssistantMessage {
    let mut decoder = wire.decoder(&ResponseHead::new(200));
    let mut deltas: Vec<Delta> = Vec::new();
    decoder.push(body, &mut deltas).unwrap();
    decoder.end(&mut deltas).unwrap();
    let mut assembler = Assembler::new();
    for delta in &deltas {
        assembler.push(delta).unwrap();
    }
    let identity = wire.identity();
    let origin = Origin {
        protocol: identity.protocol.into(),
        provider: identity.provider.into(),
        model: model.into(),
        ..Origin::default()
    };
    assembler.into_message(origin).unwrap()
}

fn request(speaker: &Speaker, view: &History) -> Request {
    let tool: ToolSpec = serde_json::from_value(serde_json::json!({
        "name": "lookup", "description": "Looks it up.", "kind": "search",
        "input_schema": {"type": "object", "properties": {}}, "effect_class": "pure"
    }))
    .unwrap();
    Request {
        session: SessionId::new("any-order").unwrap(),
        model: speaker.model.into(),
        system: "You test.".into(),
        tools: Arc::from([tool]),
        view: view.clone(),
        options: Arc::new(Options {
            output_tokens_max: Some(4_096),
            ..Options::default()
        }),
    }
}

/// Encodes a request and reads it back as its API would.
pub(crate) fn accepted(speaker: &Speaker, view: &History) {
    let encoded = speaker.wire.encode(&request(speaker, view)).unwrap();
    let body: Value = serde_json::from_slice(&encoded.request.body_bytes()).unwrap();
    let name = speaker.wire.identity().protocol.to_owned();
    let read = (speaker.read)(&body);
    read.check(&name, speaker.rules);
    if let Err(fault) = check_transcript(&read.history()) {
        panic!("{name}: {fault}\n{body:#}");
    }
}

/// Answers every call, or asks the next question.
pub(crate) fn goes_on(view: &mut History, message: AssistantMessage, turn: usize) {
    let message = Arc::new(message);
    view.push(Entry::Assistant(Arc::clone(&message)));
    let results: Vec<CallResult> = message
        .tool_calls()
        .map(|call| CallResult {
            call: Arc::clone(call),
            result: Arc::new(ToolResult::text(format!("result {turn}"))),
        })
        .collect();
    if results.is_empty() {
        let question = UserMessage::text(format!("question {turn}"));
        view.push(Entry::User(Arc::new(question)));
    } else {
        view.push(Entry::Results(results.into()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(64)
    })]

    #[test]
    fn any_order_of_protocols_is_a_conversation_that_each_accepts(
        turns in proptest::collection::vec((0..8_usize, 0..3_usize), 1..10),
    ) {
        let speakers = speakers();
        let mut view = History::new();
        view.push(Entry::User(Arc::new(UserMessage::text("begin"))));
        for (turn, (pick, reply)) in turns.into_iter().enumerate() {
            let speaker = &speakers[pick % speakers.len()];
            accepted(speaker, &view);
            let body = &speaker.replies[reply % speaker.replies.len()];
            let message = decode(&*speaker.wire, speaker.model, body.as_bytes());
            prop_assert!(!message.parts.is_empty());
            goes_on(&mut view, message, turn);
        }
        for speaker in &speakers {
            accepted(speaker, &view);
        }
    }
}

#[test]
fn what_an_author_wrote_comes_back_signed_to_it_alone() {
    let speakers = speakers();
    for author in &speakers {
        let mut view = History::new();
        view.push(Entry::User(Arc::new(UserMessage::text("begin"))));
        let message = decode(&*author.wire, author.model, author.replies[0].as_bytes());
        assert_eq!(message.tool_calls().count(), 2);
        goes_on(&mut view, message, 0);
        for reader in &speakers {
            let encoded = reader.wire.encode(&request(reader, &view)).unwrap();
            let body = String::from_utf8(encoded.request.body_bytes()).unwrap();
            let is_author = reader.wire.identity() == author.wire.identity();
            if let Some(signature) = author.signature {
                let name = reader.wire.identity().protocol;
                assert_eq!(body.contains(signature), is_author, "{name}: {body}");
            }
        }
    }
}
