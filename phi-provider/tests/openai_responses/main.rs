//! The facts of OpenAI Responses and of the services that follow it, one test for each.
//!
//! The protocol also runs over a WebSocket (r14). That transport is not built: a wire is one request
//! and one body, and a connection that outlives them needs a session, an idle limit and a state of
//! its own on both sides, for an answer that is the same.
#![cfg(feature = "openai-responses")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "helpers of tests fail where the tests do"
)]

mod answers;
mod finishes;
mod hostile;
mod items;
mod requests;
mod services;

use phi_provider::openai_responses::OpenAiResponses;
use phi_provider::{ResponseHead, Wire};
use phi_types::{
    Arguments, Assembler, AssistantMessage, AssistantPart, Delta, Origin, ProviderError,
};
use serde_json::{Value, json};

/// The wire of the tests.
fn wire() -> OpenAiResponses {
    OpenAiResponses::new("https://api.example.com/v1")
}

fn origin() -> Origin {
    Origin {
        protocol: "openai-responses".into(),
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

/// Frames events without an end.
fn open_stream(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect()
}

/// Frames events as a stream that is completed.
fn stream(events: &[Value]) -> String {
    open_stream(events) + &open_stream(&[completed(json!([]))])
}

/// The event that ends an answer, with the whole output.
fn completed(output: Value) -> Value {
    json!({"type": "response.completed", "response": {"id": "resp_1", "model": "m",
        "status": "completed", "output": output}})
}

/// The event that begins an item.
fn added(index: u64, item: Value) -> Value {
    json!({"type": "response.output_item.added", "output_index": index, "item": item})
}

/// The event that ends an item.
fn done(index: u64, item: Value) -> Value {
    json!({"type": "response.output_item.done", "output_index": index, "item": item})
}

/// An event with more of an item.
fn delta(kind: &str, index: u64, text: &str) -> Value {
    json!({"type": format!("response.{kind}.delta"), "output_index": index, "delta": text})
}

fn call(id: &str, arguments: &str) -> Value {
    json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": "x",
        "arguments": arguments})
}

fn said(id: &str, text: &str) -> Value {
    json!({"type": "message", "id": id, "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

fn reasoning(id: &str) -> Value {
    json!({"type": "reasoning", "id": id, "summary": [], "encrypted_content": format!("sealed {id}")})
}

/// A whole answer.
fn whole(output: Value) -> String {
    completed(output)["response"].to_string()
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

/// The call of most tests, with its arguments.
fn called(id: &str, arguments: &str) -> (String, String, String) {
    (id.to_owned(), "x".to_owned(), arguments.to_owned())
}

/// The reasoning of a message.
fn thinking(message: &AssistantMessage) -> String {
    let texts = message.parts.iter().filter_map(|part| match part {
        AssistantPart::Thinking(part) => Some(part.text.as_str()),
        AssistantPart::Text(_) | AssistantPart::ToolCall(_) | AssistantPart::Opaque(_) => None,
    });
    texts.collect()
}
