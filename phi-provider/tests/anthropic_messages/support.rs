//! What the facts share: a decoder that is fed text, and requests in a few words.

use std::sync::Arc;

use phi_provider::{AnthropicMessages, CacheBreakpoints, ResponseHead, Wire};
use phi_types::{
    Arguments, Assembler, AssistantMessage, AssistantPart, CallResult, Delta, Entry, Facts,
    Options, Origin, PartFacts, ProviderError, RawJson, Request, SessionId, StopReason, TextPart,
    ThinkingPart, ToolCall, ToolResult, Usage, UserMessage,
};
use serde_json::Value;

pub(crate) const MODEL: &str = "claude-sonnet-4-5";

/// What came out of a body.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    /// The message, if the finish was seen.
    pub(crate) message: Option<AssistantMessage>,
    pub(crate) error: Option<ProviderError>,
    pub(crate) deltas: Vec<Delta>,
}

impl Answer {
    pub(crate) fn message(self) -> AssistantMessage {
        assert_eq!(self.error, None);
        self.message.expect("the answer finished")
    }

    pub(crate) fn error(self) -> ProviderError {
        self.error.expect("the answer is an error")
    }
}

/// Decodes pieces of a body that has a head.
pub(crate) fn decode_pieces<'a>(
    head: &ResponseHead,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Answer {
    let mut decoder = AnthropicMessages::new().decoder(head);
    let mut deltas = Vec::new();
    let pushed: Result<(), ProviderError> = pieces
        .into_iter()
        .try_for_each(|piece| decoder.push(piece, &mut deltas));
    let error = pushed.and_then(|()| decoder.end(&mut deltas)).err();
    let mut assembler = Assembler::new();
    for delta in &deltas {
        assembler.push(delta).unwrap();
    }
    Answer {
        message: assembler.into_message(Origin::default()),
        error,
        deltas,
    }
}

/// Decodes an event stream.
pub(crate) fn decode(body: &str) -> Answer {
    decode_pieces(&stream_head(), [body.as_bytes()])
}

/// Decodes a body that comes with a head.
pub(crate) fn decode_with(head: &ResponseHead, body: &str) -> Answer {
    decode_pieces(head, [body.as_bytes()])
}

pub(crate) fn stream_head() -> ResponseHead {
    ResponseHead::new(200).with_header("content-type", "text/event-stream; charset=utf-8")
}

pub(crate) fn json_head() -> ResponseHead {
    ResponseHead::new(200).with_header("content-type", "application/json")
}

/// Frames payloads as events that are named as their `type`.
pub(crate) fn stream(payloads: &[&str]) -> String {
    let mut out = String::new();
    for payload in payloads {
        let value: Value = serde_json::from_str(payload).unwrap_or_default();
        if let Some(kind) = value["type"].as_str() {
            out.push_str(&format!("event: {kind}\n"));
        }
        out.push_str(&format!("data: {payload}\n\n"));
    }
    out
}

pub(crate) const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"usage":{"input_tokens":7,"output_tokens":1}}}"#;
pub(crate) const TEXT: &str =
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
pub(crate) const HI: &str =
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}"#;
pub(crate) const TOOL: &str = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}"#;
pub(crate) const CLOSE: &str = r#"{"type":"content_block_stop","index":0}"#;
pub(crate) const STOP: &str = r#"{"type":"message_stop"}"#;

/// A fragment of the arguments of block 0.
pub(crate) fn arguments(text: &str) -> String {
    let delta = serde_json::json!({"type": "input_json_delta", "partial_json": text});
    serde_json::json!({"type": "content_block_delta", "index": 0, "delta": delta}).to_string()
}

/// The end of a message.
pub(crate) fn end(reason: &str) -> String {
    format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":9}}}}"#
    )
}

pub(crate) fn user(text: &str) -> Entry {
    Entry::User(Arc::new(UserMessage::text(text)))
}

pub(crate) fn text(text: &str) -> AssistantPart {
    AssistantPart::Text(TextPart::new(text))
}

pub(crate) fn thinking(text: &str, signature: Option<&str>) -> AssistantPart {
    AssistantPart::Thinking(ThinkingPart {
        text: text.to_owned(),
        facts: PartFacts::from(Facts {
            signature: signature.map(str::to_owned),
            ..Facts::default()
        }),
    })
}

pub(crate) fn call(id: &str, arguments: &str) -> Arc<ToolCall> {
    Arc::new(ToolCall {
        id: id.into(),
        name: "f".into(),
        arguments: Arguments::parse(arguments),
        facts: PartFacts::default(),
    })
}

/// The origin of messages that the wire under test wrote itself.
pub(crate) fn own() -> Origin {
    Origin {
        protocol: "anthropic-messages".into(),
        provider: "anthropic".into(),
        model: MODEL.into(),
        ..Origin::default()
    }
}

pub(crate) fn assistant(parts: Vec<AssistantPart>) -> Entry {
    assistant_of(own(), StopReason::EndTurn, parts)
}

pub(crate) fn assistant_of(
    origin: Origin,
    stop_reason: StopReason,
    parts: Vec<AssistantPart>,
) -> Entry {
    Entry::Assistant(Arc::new(AssistantMessage {
        parts,
        stop_reason,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin,
    }))
}

pub(crate) fn results(all: &[(&Arc<ToolCall>, &str)]) -> Entry {
    let results = all.iter().map(|(call, text)| CallResult {
        call: Arc::clone(call),
        result: Arc::new(ToolResult::text(*text)),
    });
    Entry::Results(results.collect())
}

pub(crate) fn request(entries: impl IntoIterator<Item = Entry>) -> Request {
    Request {
        session: SessionId::new("s").unwrap(),
        model: MODEL.into(),
        system: "".into(),
        tools: [].into(),
        view: entries.into_iter().collect(),
        options: Arc::new(Options::default()),
    }
}

/// The wire without cache breakpoints, which would stand in every expectation.
pub(crate) fn plain() -> AnthropicMessages {
    AnthropicMessages::new().with_cache(CacheBreakpoints::Off)
}

pub(crate) fn body(wire: &AnthropicMessages, request: &Request) -> Value {
    let bytes = wire.encode(request).unwrap().request.body_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

/// The messages that the wire sends for a conversation.
pub(crate) fn messages(entries: impl IntoIterator<Item = Entry>) -> Value {
    body(&plain(), &request(entries))["messages"].take()
}

pub(crate) fn raw(json: &str) -> RawJson {
    RawJson::parse(json).unwrap()
}
