//! The facts of Gemini's `generateContent`, one test for each.
#![cfg(feature = "gemini")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "helpers of tests fail where the tests do"
)]

mod answers;
mod calls;
mod errors;
mod finishes;
mod hostile;
mod options;
mod replay;
mod requests;
mod schemas;
mod streams;

use phi_provider::gemini::Gemini;
use phi_provider::{ResponseHead, Wire};
use phi_types::{
    Arguments, Assembler, AssistantMessage, AssistantPart, Delta, Origin, PartFacts, ProviderError,
};
use serde_json::{Value, json};

/// A model that thinks by levels and needs signatures.
const NEW: &str = "gemini-3-pro-preview";

/// A model that thinks by budgets.
const OLD: &str = "gemini-2.5-flash";

fn wire() -> Gemini {
    Gemini::new()
}

fn origin(model: &str) -> Origin {
    Origin {
        protocol: "gemini".into(),
        provider: "google".into(),
        model: model.into(),
        ..Origin::default()
    }
}

/// Decodes a body that comes in pieces.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Delta>, Option<ProviderError>) {
    let mut decoder = wire().decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    let mut pieces = pieces.into_iter();
    let pushed = pieces.try_for_each(|piece| decoder.push(piece, &mut deltas));
    let error = pushed.and_then(|()| decoder.end(&mut deltas)).err();
    (deltas, error)
}

/// Decodes a body to a message.
fn message(body: &str) -> Result<AssistantMessage, ProviderError> {
    let (deltas, error) = decode([body.as_bytes()]);
    if let Some(error) = error {
        return Err(error);
    }
    let mut assembler = Assembler::new();
    for delta in &deltas {
        assembler.push(delta).unwrap();
    }
    Ok(assembler.into_message(origin(NEW)).unwrap())
}

/// Frames chunks as a stream, as the service does.
fn stream(chunks: &[Value]) -> String {
    chunks
        .iter()
        .map(|chunk| format!("data: {chunk}\r\n\r\n"))
        .collect()
}

/// A chunk whose candidate has these parts.
fn parts(parts: Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}],
        "modelVersion": "gemini-x", "responseId": "r"})
}

/// A chunk whose candidate has these parts and the last word.
fn last(parts: Value, word: &str) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts},
        "finishReason": word, "index": 0}], "responseId": "r"})
}

fn text(text: &str) -> Value {
    json!({"text": text})
}

fn call(name: &str, args: Value) -> Value {
    json!({"functionCall": {"name": name, "args": args}})
}

/// What the parts of a message say and carry.
fn shown(message: &AssistantMessage) -> Vec<String> {
    let signed = |facts: &PartFacts| match &facts.signature {
        Some(signature) => format!(" [{signature}]"),
        None => String::new(),
    };
    let parts = message.parts.iter().map(|part| match part {
        AssistantPart::Text(part) => format!("text {}{}", part.text, signed(&part.facts)),
        AssistantPart::Thinking(part) => format!("thinking {}{}", part.text, signed(&part.facts)),
        AssistantPart::ToolCall(call) => {
            let arguments = match &call.arguments {
                Arguments::Object(object) => object.to_string(),
                Arguments::Malformed { raw, .. } => format!("malformed {raw}"),
            };
            format!(
                "call {} {} {arguments}{}",
                call.id,
                call.name,
                signed(&call.facts)
            )
        }
        AssistantPart::Opaque(part) => format!("{} {}", part.kind, part.data),
    });
    parts.collect()
}
