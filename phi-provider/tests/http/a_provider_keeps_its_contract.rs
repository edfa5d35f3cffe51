//! What every provider keeps, kept by the provider over HTTP with every wire, on recorded answers.

use std::path::Path;
use std::sync::Arc;

use phi_provider::{
    AnthropicMessages, BedrockConverse, CohereChat, Credential, Gemini, HttpProvider, OllamaChat,
    OpenAiChat, OpenAiResponses, Wire,
};
use phi_testkit::{Response, Server, contract, request};

use crate::support::transport;

/// A recording of each protocol.
const RECORDED: [&str; 7] = [
    "anthropic/rig--anthropic-multi-turn-streaming-multi-turn-streaming-tools.0.sse",
    "bedrock/ollmetry--test-meta-test-meta-converse-stream.0.eventstream.bin",
    "cohere/rig--cohere-streaming-grammar-none-tool-choice-streams-text.0.sse",
    "google/pyai--test-google-test-google-model-file-search-tool-stream.0.sse",
    "ollama/ollmetry--test-chat-test-ollama-async-streaming-chat-legacy.0.ndjson",
    "deepseek/rig--deepseek-reasoning-tool-roundtrip-streaming.1.sse",
    "openai/otelpy--test-responses-create-streaming-iteration-content-mode0.0.sse",
];

fn wire(recorded: &str, url: &str) -> Arc<dyn Wire> {
    match recorded.split('/').next().unwrap_or_default() {
        "anthropic" => Arc::new(AnthropicMessages::new().with_base_url(url)),
        "bedrock" => Arc::new(BedrockConverse::new("us-east-1").with_base_url(url)),
        "cohere" => Arc::new(CohereChat::new().with_base_url(url)),
        "google" => Arc::new(Gemini::new().with_base_url(url)),
        "ollama" => Arc::new(OllamaChat::new(url)),
        "deepseek" => Arc::new(OpenAiChat::new(url)),
        _ => Arc::new(OpenAiResponses::new(url)),
    }
}

#[tokio::test]
async fn every_wire_makes_a_provider_that_keeps_the_contract() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wire");
    for recorded in RECORDED {
        let body = std::fs::read(root.join(recorded)).expect("a recording");
        let answer = move |_: usize| Response::new(200).with_body(body.clone());
        // Two requests, and beside each one that is dropped.
        let server = Server::start((0..4).map(answer)).expect("a free port");
        let key = Credential::key("sk-test-secret");
        let provider = HttpProvider::new(wire(recorded, &server.base_url()), transport(), key);
        let card = contract::provider_card(&provider, [request("a"), request("b")]).await;
        card.assert();
        assert_eq!(card.calls, 2, "{card}");
    }
}
