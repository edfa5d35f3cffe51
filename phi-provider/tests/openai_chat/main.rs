//! The facts of OpenAI Chat Completions and of the services that follow it, one test for each.
#![cfg(feature = "openai-chat")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "helpers of tests fail where the tests do"
)]

mod answers;
mod calls;
mod dialects;
mod errors;
mod finishes;
mod hostile;
mod reasoning;
mod requests;
mod streams;
mod usage;

use phi_provider::openai_chat::OpenAiChat;
use phi_provider::{ResponseHead, Wire};
use phi_types::{
    Arguments, Assembler, AssistantMessage, AssistantPart, Delta, Origin, ProviderError,
};
use serde_json::{Value, json};

/// The wire of the tests.
fn wire() -> OpenAiChat {
    OpenAiChat::new("https://api.example.com/v1")
}

fn origin() -> Origin {
    Origin {
        protocol: "openai-chat".into(),
        provider: "openai".into(),
        model: "m".into(),
        ..Origin::default()
    }
}

/// Decodes a body in one piece.
fn deltas(body: &str) -> (Vec<Delta>, Option<ProviderError>) {
    let head = ResponseHead::new(200);
    let mut decoder = wire().decoder(&head);
    let mut deltas = Vec::new();
    let pushed = decoder.push(body.as_bytes(), &mut deltas);
    let error = pushed.and_then(|()| decoder.end(&mut deltas)).err();
    (deltas, error)
}

/// Decodes a body to a message.
fn message(body: &str) -> Result<AssistantMessage, ProviderError> {
    let (deltas, error) = deltas(body);
    if let Some(error) = error {
        return Err(error);
    }
    let mut assembler = Assembler::new();
    for delta in &deltas {
        assembler.push(delta).unwrap();
    }
    Ok(assembler.into_message(origin()).unwrap())
}

/// Frames chunks as a stream without an end.
fn open_stream(chunks: &[Value]) -> String {
    chunks
        .iter()
        .map(|chunk| format!("data: {chunk}\n\n"))
        .collect()
}

/// Frames chunks as a stream.
fn stream(chunks: &[Value]) -> String {
    open_stream(chunks) + "data: [DONE]\n\n"
}

/// A chunk whose first choice has a delta.
fn delta(delta: Value) -> Value {
    json!({"id": "r", "model": "m", "choices": [{"index": 0, "delta": delta}]})
}

/// A chunk whose first choice has a finish reason.
fn finish(word: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": word}]})
}

/// A chunk with one entry of `tool_calls`.
fn call(entry: Value) -> Value {
    delta(json!({"tool_calls": [entry]}))
}

/// A whole answer with a message and a finish reason.
fn whole(message: Value, word: &str) -> String {
    json!({"id": "r", "model": "m", "choices": [{"index": 0, "message": message,
        "finish_reason": word}]})
    .to_string()
}

/// The calls of a message: id, name, and the arguments or the text that is none.
fn calls(message: &AssistantMessage) -> Vec<(String, String, String)> {
    message
        .tool_calls()
        .map(|call| {
            let arguments = match &call.arguments {
                Arguments::Object(object) => object.to_string(),
                Arguments::Malformed { raw, .. } => format!("malformed: {raw}"),
            };
            (call.id.to_string(), call.name.to_string(), arguments)
        })
        .collect()
}

/// The reasoning of a message.
fn thinking(message: &AssistantMessage) -> String {
    let texts = message.parts.iter().filter_map(|part| match part {
        AssistantPart::Thinking(part) => Some(part.text.as_str()),
        AssistantPart::Text(_) | AssistantPart::ToolCall(_) | AssistantPart::Opaque(_) => None,
    });
    texts.collect()
}
