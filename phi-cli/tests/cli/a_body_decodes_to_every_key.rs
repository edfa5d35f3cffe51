//! `wire decode` prints every key, whatever the body and however it is cut.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Ran, Scratch, recorded};

const STREAM: &str =
    "anthropic/rig--anthropic-multi-turn-streaming-multi-turn-streaming-tools.0.sse";
const CHAT: &str = "openai/rig--openai-completions-api-completions-api-streams-two-tool-calls-before-final-answer.0.sse";

fn decode(protocol: &str, more: &[&str]) -> Ran {
    let start = ["wire", "decode", "--protocol", protocol];
    Scratch::new().phi(start.iter().chain(more))
}

/// Decodes a body that comes by stdin.
fn decode_stdin(body: &[u8], protocol: &str, more: &[&str]) -> Ran {
    let scratch = Scratch::new();
    let body = scratch.write("body", body);
    let mut command = scratch.command(["wire", "decode", "--protocol", protocol, "-"]);
    command.args(more).stdin(fs::File::open(body).unwrap());
    Ran::of(command.output().unwrap())
}

#[test]
fn a_recorded_stream_says_the_same_in_one_piece_and_byte_by_byte() {
    for (protocol, name) in [("anthropic-messages", STREAM), ("openai-chat", CHAT)] {
        let file = recorded(name);
        let whole = decode(protocol, &[&file]);
        assert_eq!(whole.code, Some(0), "{whole:?}");
        let bytes = decode(protocol, &["--chunk", "1", &file]);
        assert_eq!(whole.out, bytes.out);
        let calls = whole.json()["tool_calls"].as_array().map(Vec::len);
        assert_eq!(calls, Some(2), "{whole:?}");
    }
    let whole = decode("anthropic-messages", &[&recorded(STREAM)]).json();
    let expected = json!({
        "text": "I'll solve this step by step! Let me start by computing the two independent \
                 sub-expressions **(10 - 4)** and **(3 + 5)** simultaneously first.",
        "thinking": "",
        "tool_calls": [
            {"id": "toolu_REDACTED_1", "name": "subtract", "arguments": {"x": 10, "y": 4}},
            {"id": "toolu_REDACTED_2", "name": "add", "arguments": {"x": 3, "y": 5}},
        ],
        "stop_reason": "tool_use",
        "stop_reason_raw": "tool_use",
        "usage": {"input_tokens": 1001, "cache_read_tokens": 0, "cache_write_tokens": 0,
                  "output_tokens": 161, "reasoning_tokens": null},
        "error": null,
    });
    assert_eq!(whole, expected);
}

#[test]
fn a_body_of_every_protocol_is_read_by_the_name_of_its_file() {
    for (protocol, name, beginning) in [
        (
            "openai-responses",
            "openai/otelpy--test-responses-create-streaming-iteration-content-mode0.0.sse",
            "Hi! How can I assist you today?",
        ),
        (
            "gemini",
            "google/pyai--test-google-test-google-model-file-search-tool-stream.0.sse",
            "The capital of France is Paris.",
        ),
        (
            "vertex",
            "vertex/firebase--vertexai-streaming-success-citations.sse",
            "1. **Definition:**\nQuantum mechanics",
        ),
        (
            "bedrock-converse",
            "bedrock/ollmetry--test-meta-test-meta-converse-stream.0.eventstream.bin",
            "Why did the OpenTelemetry metric go to therapy?",
        ),
        (
            "ollama-chat",
            "ollama/ollmetry--test-chat-test-ollama-async-streaming-chat-legacy.0.ndjson",
            "Here's one:",
        ),
        (
            "cohere-v2",
            "cohere/rig--cohere-streaming-grammar-none-tool-choice-streams-text.0.sse",
            "5",
        ),
    ] {
        let file = recorded(name);
        let whole = decode(protocol, &[&file]);
        assert_eq!(whole.code, Some(0), "{protocol}: {whole:?}");
        assert_eq!(whole.out, decode(protocol, &["--chunk", "1", &file]).out);
        let said = whole.json();
        assert_eq!(said["error"], Value::Null, "{protocol}: {said}");
        assert_eq!(said["stop_reason"], "end_turn", "{protocol}: {said}");
        let text = said["text"].as_str().unwrap();
        assert!(text.starts_with(beginning), "{protocol}: {text}");
    }
}

#[test]
fn a_body_that_is_cut_is_incomplete_and_keeps_what_came() {
    let body = fs::read(recorded(STREAM)).unwrap();
    // In the middle of the arguments of the first call.
    let end = body
        .windows(12)
        .position(|it| it == b"partial_json")
        .unwrap();
    let end = body[end + 12..]
        .windows(12)
        .position(|it| it == b"partial_json")
        .unwrap()
        + end
        + 12;
    let ran = decode_stdin(&body[..end + 40], "anthropic-messages", &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let decoded = ran.json();
    assert_eq!(decoded["error"]["kind"], "incomplete");
    assert_eq!(decoded["error"]["retryable"], true);
    assert_eq!(decoded["stop_reason"], Value::Null);
    assert!(decoded["text"].as_str().unwrap().starts_with("I'll solve"));
    let call = &decoded["tool_calls"][0];
    assert_eq!(
        (&call["name"], &call["arguments"]),
        (&json!("subtract"), &Value::Null)
    );
    assert!(
        call["arguments_error"]
            .as_str()
            .unwrap()
            .contains("cut off"),
        "{call}"
    );
    assert!(call["arguments_raw"].is_string(), "{call}");
}

#[test]
fn status_and_headers_decide_what_an_error_is() {
    let body = br#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#;
    let more = ["--status", "429", "--header", "Retry-After: 2"];
    let ran = decode_stdin(body, "anthropic-messages", &more);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let error = &ran.json()["error"];
    assert_eq!(error["kind"], "rate_limited");
    assert_eq!(error["retry_after_ms"], 2000);
    assert!(
        error["message"].as_str().unwrap().contains("slow down"),
        "{error}"
    );
    let tokens = json!({"input_tokens": null, "cache_read_tokens": null,
        "cache_write_tokens": null, "output_tokens": null, "reasoning_tokens": null});
    assert_eq!(ran.json()["usage"], tokens);
}

#[test]
fn a_whole_answer_is_found_by_its_first_byte() {
    let body = br#"{"choices":[{"index":0,"finish_reason":"tool_calls","message":{"content":"Hm.",
        "tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{oops"}}]}}]}"#;
    let ran = decode_stdin(body, "openai-chat", &[]);
    let decoded = ran.json();
    assert_eq!(
        (ran.code, &decoded["text"]),
        (Some(0), &json!("Hm.")),
        "{ran:?}"
    );
    let call = &decoded["tool_calls"][0];
    assert_eq!(
        (&call["arguments"], &call["arguments_raw"]),
        (&Value::Null, &json!("{oops"))
    );
    // Under another type the same bytes are no answer.
    let ran = decode_stdin(body, "openai-chat", &["--content-type", "text/html"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
}

#[test]
fn no_body_at_all_is_incomplete() {
    let ran = decode_stdin(b"", "openai-chat", &[]);
    assert_eq!(
        (ran.code, &ran.json()["error"]["kind"]),
        (Some(1), &json!("incomplete"))
    );
}
