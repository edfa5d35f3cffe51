//! Whatever stands between a wire and its service answers, the error is typed and the call ends.

use std::sync::Arc;

use phi_provider::gemini::Gemini;
use phi_provider::openai_chat::OpenAiChat;
use phi_provider::openai_responses::OpenAiResponses;
use phi_provider::{
    AnthropicMessages, BedrockConverse, CohereChat, Credential, HttpProvider, OllamaChat, Wire,
};
use phi_testkit::{Response, Server};
use phi_types::ProviderErrorKind as Kind;

use crate::support::{InMemory, error, short, transport};

fn wires(url: &str) -> Vec<Arc<dyn Wire>> {
    vec![
        Arc::new(AnthropicMessages::new().with_base_url(url)),
        Arc::new(BedrockConverse::new("us-east-1").with_base_url(url)),
        Arc::new(CohereChat::new().with_base_url(url)),
        Arc::new(Gemini::new().with_base_url(url)),
        Arc::new(OllamaChat::new(url)),
        Arc::new(OpenAiChat::new(url)),
        Arc::new(OpenAiResponses::new(url)),
    ]
}

/// Answers each wire once, and asserts that each fails with one of the kinds.
async fn each_fails(response: impl Fn() -> Response, kinds: &[Kind]) {
    let count = wires("http://localhost").len();
    let server = Server::start((0..count).map(|_| response())).expect("a free port");
    for wire in wires(&server.base_url()) {
        let name = wire.identity().protocol.to_owned();
        let key = Credential::key("sk-test-secret");
        let provider = HttpProvider::new(wire, transport(), key).with_timeouts(short());
        let error = error(&provider).await;
        assert!(kinds.contains(&error.kind), "{name}: {error}");
        assert!(!error.message.contains("sk-test"), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_page_of_a_proxy_is_a_protocol_error() {
    let page = "<!doctype html><html><title>Log in</title></html>";
    each_fails(|| Response::html(200, page), &[Kind::Protocol]).await;
    each_fails(|| Response::events([page]), &[Kind::Protocol]).await;
}

#[tokio::test]
async fn an_empty_body_is_incomplete() {
    each_fails(|| Response::new(200), &[Kind::Incomplete]).await;
    each_fails(|| Response::json(200, ""), &[Kind::Incomplete]).await;
}

#[tokio::test]
async fn a_body_of_another_kind_is_no_answer() {
    let no_answer = [Kind::Incomplete, Kind::Protocol];
    each_fails(|| Response::text(200, "it works"), &no_answer).await;
    // What was not asked for is not unpacked: these are the first bytes of gzip.
    let packed = || {
        let packed = Response::new(200).with_body([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2]);
        packed.with_header("content-encoding", "gzip")
    };
    each_fails(packed, &no_answer).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let moved = || Response::redirect(307, "https://elsewhere.test/");
    each_fails(moved, &[Kind::InvalidRequest]).await;
}

#[tokio::test]
async fn a_stall_is_a_timeout_wherever_it_comes() {
    for bytes in [0, 1, 5, 6, 12] {
        let stalls = || Response::events(["data: {\"a\":1}\n\n"]).stalling_after(bytes);
        each_fails(stalls, &[Kind::Timeout, Kind::Protocol]).await;
    }
}

#[tokio::test]
async fn a_line_without_end_is_refused_before_it_fills_the_memory() {
    let line = "x".repeat(1 << 20).leak();
    for start in ["data: ", "{\"a\":\""] {
        for wire in wires("https://words.test") {
            let name = wire.identity().protocol.to_owned();
            let body = [crate::support::Step::Give(start.to_owned())];
            let endless = InMemory::new(200, body).then_endlessly(line);
            let error = error(&endless.provider_of(wire)).await;
            assert_eq!(error.kind, Kind::Protocol, "{name}: {error}");
        }
    }
}

#[tokio::test]
async fn keep_alives_without_end_are_a_timeout() {
    for wire in wires("https://words.test") {
        let name = wire.identity().protocol.to_owned();
        let endless = InMemory::new(200, []).then_endlessly(": hi\n\n");
        let error = error(&endless.provider_of(wire).with_timeouts(short())).await;
        let ends = matches!(error.kind, Kind::Timeout | Kind::Protocol);
        assert!(ends, "{name}: {error}");
    }
}
