//! `phi wire decode`: says what a recorded response body says.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use phi::provider::ResponseHead;
use phi::types::{
    Arguments, Assembler, AssistantMessage, AssistantPart, Delta, Finish, Origin, ProviderError,
    ProviderErrorKind, RawJson, StopReason, ToolCall, Usage,
};
use serde::Serialize;

use crate::arguments::{DecodeArguments, WireCommand};
use crate::failure::{Exit, Failure, print};
use crate::files;
use crate::model::header_of;
use crate::protocol::Protocol;

/// How many bytes are fed at a time unless told otherwise.
const CHUNK_BYTES: usize = 64 << 10;

/// What a body says. All keys are always there.
#[derive(Debug, Serialize)]
struct Decoded {
    text: String,
    thinking: String,
    tool_calls: Vec<Call>,
    stop_reason: Option<StopReason>,
    stop_reason_raw: Option<String>,
    usage: Usage,
    error: Option<Fault>,
}

#[derive(Debug, Serialize)]
struct Call {
    id: String,
    name: String,
    arguments: Option<RawJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments_raw: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments_error: Option<Arc<str>>,
}

#[derive(Debug, Serialize)]
struct Fault {
    kind: ProviderErrorKind,
    message: String,
    retryable: bool,
    retry_after_ms: Option<u64>,
}

/// Decodes what was asked.
pub(crate) fn wire(command: &WireCommand) -> Result<Exit, Failure> {
    let WireCommand::Decode(arguments) = command;
    let decoded = if arguments.file == Path::new("-") {
        decode(arguments, io::stdin().lock())?
    } else {
        decode(arguments, files::open(&arguments.file)?)?
    };
    let text = serde_json::to_string(&decoded).map_err(|error| Failure::unwritable(&error))?;
    print(&format!("{text}\n"))?;
    Ok(match decoded.error {
        Some(_) => Exit::Failed,
        None => Exit::Completed,
    })
}

fn decode(arguments: &DecodeArguments, body: impl io::Read) -> Result<Decoded, Failure> {
    let protocol = Protocol::named(&arguments.protocol)?;
    let chunk = arguments.chunk.unwrap_or(u64::MAX);
    // No more than this is held at once: a larger chunk is fed in pieces of this size.
    let chunk = usize::try_from(chunk).map_or(CHUNK_BYTES, |chunk| chunk.min(CHUNK_BYTES));
    let mut body = BufReader::with_capacity(CHUNK_BYTES, body);
    let head = head(arguments, &mut body)?;
    let mut decoder = protocol.reader().decoder(&head);
    let mut message = Assembler::new();
    let mut deltas = Vec::new();
    let failed = loop {
        let bytes = body.fill_buf().map_err(|error| unreadable(&error))?;
        let read = chunk.min(bytes.len());
        let (piece, _) = bytes.split_at(read);
        let decoded = match piece {
            [] => decoder.end(&mut deltas),
            piece => decoder.push(piece, &mut deltas),
        };
        body.consume(read);
        let assembled = assemble(&mut message, &mut deltas);
        if let Err(error) = assembled.and(decoded) {
            break Some(error);
        }
        if read == 0 {
            break None;
        }
    };
    Ok(Decoded::of(message, failed))
}

fn head(arguments: &DecodeArguments, body: &mut impl BufRead) -> Result<ResponseHead, Failure> {
    let mut head = ResponseHead::new(arguments.status);
    if let Some(content_type) = &arguments.content_type {
        head = head.with_header("content-type", content_type);
    }
    for header in &arguments.headers {
        let (name, value) = header_of(header)?;
        head = head.with_header(name, value);
    }
    if head.header("content-type").is_none() {
        let bytes = body.fill_buf().map_err(|error| unreadable(&error))?;
        let content_type = guess(bytes.first().copied(), &arguments.file);
        head = head.with_header("content-type", content_type);
    }
    Ok(head)
}

/// Guesses what a body is from its first byte and the name of its file.
fn guess(first: Option<u8>, file: &Path) -> &'static str {
    let name = file.to_string_lossy();
    if matches!(first, Some(b'{' | b'[')) {
        "application/json"
    } else if name.ends_with(".eventstream.bin") {
        "application/vnd.amazon.eventstream"
    } else if name.ends_with(".ndjson") {
        "application/x-ndjson"
    } else {
        "text/event-stream"
    }
}

fn assemble(message: &mut Assembler, deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
    for delta in deltas.drain(..) {
        message
            .push(&delta)
            .map_err(|error| ProviderError::new(ProviderErrorKind::Protocol, error.to_string()))?;
    }
    Ok(())
}

impl Decoded {
    fn of(mut assembled: Assembler, failed: Option<ProviderError>) -> Self {
        let usage = assembled.usage();
        let finish = assembled.finish().cloned();
        if finish.is_none() {
            // The body was cut: what was open is cut off, what was whole is kept.
            let cut = Delta::Finish(Finish {
                stop_reason: StopReason::MaxTokens,
                raw: None,
            });
            // A finish fits everywhere.
            if assembled.push(&cut).is_err() {}
        }
        let message = assembled.into_message(Origin::default());
        let message = message.as_ref();
        Self {
            text: message.map(AssistantMessage::text).unwrap_or_default(),
            thinking: message.map(thinking).unwrap_or_default(),
            tool_calls: message.map(calls).unwrap_or_default(),
            stop_reason: finish.as_ref().map(|finish| finish.stop_reason),
            stop_reason_raw: finish.and_then(|finish| finish.raw),
            usage,
            error: failed.map(Fault::of),
        }
    }
}

impl Call {
    fn of(call: &ToolCall) -> Self {
        let (arguments, arguments_raw, arguments_error) = match &call.arguments {
            Arguments::Object(object) => (Some(object.clone()), None, None),
            Arguments::Malformed { raw, error } => (None, Some(raw.clone()), Some(error.clone())),
        };
        Self {
            id: call.id.to_string(),
            name: call.name.to_string(),
            arguments,
            arguments_raw,
            arguments_error,
        }
    }
}

impl Fault {
    fn of(error: ProviderError) -> Self {
        Self {
            kind: error.kind,
            retryable: error.is_retryable(),
            retry_after_ms: error.retry_after_ms,
            message: error.message,
        }
    }
}

fn calls(message: &AssistantMessage) -> Vec<Call> {
    message.tool_calls().map(|call| Call::of(call)).collect()
}

fn thinking(message: &AssistantMessage) -> String {
    let texts = message.parts.iter().filter_map(|part| match part {
        AssistantPart::Thinking(part) => Some(part.text.as_str()),
        AssistantPart::Text(_) | AssistantPart::ToolCall(_) | AssistantPart::Opaque(_) => None,
    });
    texts.collect()
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::refused(format!(
        "cannot read the body ({error}): name a file that can be read"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_counts_before_the_name() {
        let guess = |first: &[u8], name: &str| guess(first.first().copied(), Path::new(name));
        assert_eq!(guess(b"{", "a.sse"), "application/json");
        assert_eq!(guess(b"[", "a.ndjson"), "application/json");
        let frames = "application/vnd.amazon.eventstream";
        assert_eq!(guess(b"\0", "a.eventstream.bin"), frames);
        assert_eq!(guess(b"x", "a.ndjson"), "application/x-ndjson");
        assert_eq!(guess(b"d", "-"), "text/event-stream");
        assert_eq!(guess(b"", "a"), "text/event-stream");
    }
}
