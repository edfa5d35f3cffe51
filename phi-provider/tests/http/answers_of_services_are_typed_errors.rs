//! What a service answers instead of an answer says what the caller can do.

use std::sync::Arc;

use phi_provider::openai_chat::OpenAiChat;
use phi_provider::{Credential, HttpProvider};
use phi_testkit::{Response, Server, block_on, request};
use phi_types::{History, Provider, ProviderError, ProviderErrorKind};

use crate::support::{FINISH, error, provider, provider_at, read, transport, word};

async fn chat_error(response: Response) -> ProviderError {
    let server = Server::start([response]).expect("a free port");
    let wire = Arc::new(OpenAiChat::new(&server.base_url()));
    let key = Credential::key("sk-test-secret");
    error(&HttpProvider::new(wire, transport(), key)).await
}

#[tokio::test]
async fn status_and_body_give_kind_status_and_wait() {
    use ProviderErrorKind as K;
    let body = "{\"error\":{\"message\":\"no\",\"type\":\"x\"}}";
    for (response, kind, wait) in [
        (
            Response::json(429, body).with_header("retry-after", "7"),
            K::RateLimited,
            Some(7_000),
        ),
        (Response::json(401, body), K::Auth, None),
        (Response::json(500, body), K::Server, None),
        (Response::text(503, "busy"), K::Overloaded, None),
        (Response::json(400, body), K::InvalidRequest, None),
        (Response::new(502), K::Server, None),
    ] {
        let status = format!("{response:?}");
        let error = chat_error(response).await;
        assert_eq!((error.kind, error.retry_after_ms), (kind, wait), "{status}");
        assert!(error.status.is_some(), "{error:?}");
    }
}

#[tokio::test]
async fn a_date_to_retry_after_is_read_without_a_date_of_the_server() {
    // Long ago, so that the answer does not depend on the clock of this machine.
    let response =
        Response::json(429, "{}").with_header("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT");
    assert_eq!(chat_error(response).await.retry_after_ms, Some(0));
    let far = Response::json(429, "{}").with_header("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT");
    assert!(chat_error(far).await.retry_after_ms > Some(1_000_000_000));
}

#[tokio::test]
async fn a_page_and_an_empty_body_with_status_200_are_no_answers() {
    let page = chat_error(Response::html(200, "<html><title>Log in</title>")).await;
    assert_eq!(page.kind, ProviderErrorKind::Protocol, "{page}");
    let empty = chat_error(Response::new(200)).await;
    assert_eq!(empty.kind, ProviderErrorKind::Incomplete, "{empty}");
    let text = chat_error(Response::text(200, "hello")).await;
    assert_ne!(text.kind, ProviderErrorKind::InvalidRequest, "{text}");
}

#[tokio::test]
async fn a_redirect_is_refused_and_says_where_to_go() {
    let goal = Server::start([]).unwrap();
    let to = format!("{}/v2?token=sk-hidden", goal.base_url());
    let wanted = format!(
        "redirects to {}/v2, and redirects are not followed",
        goal.base_url()
    );
    // A client that follows turns the first two into a GET, which needs no body again.
    for status in [302, 303, 307, 308] {
        let server = Server::start([Response::redirect(status, &*to)]).unwrap();
        let error = error(&provider(&server)).await;
        assert_eq!(error.kind, ProviderErrorKind::InvalidRequest);
        assert_eq!(error.status, Some(status));
        assert!(error.message.contains(&wanted), "{error}");
        assert!(!error.message.contains("sk-hidden"), "{error}");
    }
    assert_eq!(goal.received(), []);
}

#[tokio::test]
async fn compression_is_not_asked_for_and_refused_and_a_false_claim_of_it_is_not_believed() {
    let claim = |body: &[u8]| {
        let events = Response::events([body]);
        events.with_header("content-encoding", "gzip")
    };
    let plain = word("one") + FINISH;
    let server = Server::start([
        claim(b"\x1f\x8b\x08\x00rest"),
        claim(plain.as_bytes()),
        Response::events([&*plain]).with_header("content-encoding", "br"),
    ])
    .unwrap();
    let provider = provider(&server);
    for (encoding, is_believed) in [("gzip", true), ("gzip", false), ("br", true)] {
        let (text, end) = read(&provider).await;
        if is_believed {
            let error = end.unwrap_err();
            assert_eq!(error.kind, ProviderErrorKind::Protocol);
            let wanted = format!("compressed the answer with {encoding:?}");
            assert!(error.message.contains(&wanted), "{error}");
        } else {
            end.unwrap();
            assert_eq!(text, "one");
        }
    }
    let received = server.received();
    let mut encodings = received.iter().map(|it| it.header("accept-encoding"));
    assert!(encodings.all(|it| it == Some("identity")));
}

#[tokio::test]
async fn an_answer_beyond_the_cap_is_a_typed_error() {
    let server = Server::start([Response::events([word("one"), word("two")])]).unwrap();
    let capped = provider(&server).with_body_bytes_max(15);
    let (text, end) = read(&capped).await;
    let error = end.unwrap_err();
    assert_eq!(
        (text.as_str(), error.kind),
        ("one", ProviderErrorKind::Protocol)
    );
    assert!(error.message.contains("is longer than 15 bytes"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_sent_is_an_invalid_request() {
    let mut empty = request("go");
    empty.view = History::new();
    let provider = provider_at("http://127.0.0.1:9".to_owned());
    let mut stream = provider.stream(empty);
    let error = futures_util::StreamExt::next(&mut stream)
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::InvalidRequest);
    for (url, wanted) in [
        ("nonsense", "relative URL without a base"),
        ("ftp://words.test", "use https or http"),
        (
            "https://me:hunter2@words.test",
            "give the credential as a key",
        ),
    ] {
        let error = crate::support::error(&provider_at(url.to_owned())).await;
        assert_eq!(error.kind, ProviderErrorKind::InvalidRequest);
        assert!(error.message.contains(wanted), "{error}");
        assert!(!error.message.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_call_outside_a_runtime_is_an_error_and_no_panic() {
    let provider = provider_at("http://127.0.0.1:9".to_owned());
    let error = block_on(error(&provider));
    assert!(
        error.message.contains("there is no tokio runtime"),
        "{error}"
    );
}
