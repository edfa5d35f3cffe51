//! What the facts share: streams and requests in a few words.

use std::sync::Arc;

use phi_provider::{BedrockConverse, ResponseHead, Wire};
use phi_types::{
    Arguments, Assembler, AssistantMessage, AssistantPart, CallResult, Content, Delta, Entry,
    Facts, History, Options, Origin, PartFacts, ProviderError, RawJson, Request, SessionId,
    StopReason, TextPart, ThinkingPart, ToolCall, ToolKind, ToolResult, ToolSpec, Usage,
    UserMessage,
};
use serde_json::{Value, json};

use crate::frames;

pub(crate) const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
pub(crate) const NOVA: &str = "amazon.nova-2-lite-v1:0";
pub(crate) const OLD: &str = "meta.llama3-1-70b-instruct-v1:0";

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

/// Decodes a body that comes with a head.
pub(crate) fn decode_with(head: &ResponseHead, body: &[u8]) -> Answer {
    let mut decoder = BedrockConverse::new("us-east-1").decoder(head);
    let mut deltas = Vec::new();
    let pushed = decoder.push(body, &mut deltas);
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

/// Decodes a stream of events.
pub(crate) fn decode(events: &[(&str, Value)]) -> Answer {
    decode_with(&ResponseHead::new(200), &stream(events))
}

/// Decodes a whole answer of these content blocks.
pub(crate) fn decode_whole(content: &Value, stop_reason: &str) -> Answer {
    let message = json!({"role": "assistant", "content": content});
    let body = json!({"output": {"message": message}, "stopReason": stop_reason});
    decode_with(&ResponseHead::new(200), body.to_string().as_bytes())
}

/// Frames events as the service does.
pub(crate) fn stream(events: &[(&str, Value)]) -> Vec<u8> {
    let framed = events
        .iter()
        .flat_map(|(name, payload)| frames::event(name, payload.to_string().as_bytes()));
    framed.collect()
}

/// A delta of a block.
pub(crate) fn delta(index: u64, delta: &Value) -> (&'static str, Value) {
    let payload = json!({"contentBlockIndex": index, "delta": delta, "p": "abc"});
    ("contentBlockDelta", payload)
}

/// The beginning of a block.
pub(crate) fn start(index: u64, start: &Value) -> (&'static str, Value) {
    let payload = json!({"contentBlockIndex": index, "start": start, "p": "abcd"});
    ("contentBlockStart", payload)
}

/// The end of a block.
pub(crate) fn stop(index: u64) -> (&'static str, Value) {
    ("contentBlockStop", json!({"contentBlockIndex": index}))
}

/// The finish.
pub(crate) fn finish(reason: &str) -> (&'static str, Value) {
    ("messageStop", json!({"stopReason": reason}))
}

pub(crate) fn hi() -> (&'static str, Value) {
    delta(0, &json!({"text": "hi"}))
}

/// What comes after the finish.
pub(crate) fn metadata() -> (&'static str, Value) {
    let usage = json!({"inputTokens": 7, "outputTokens": 2, "totalTokens": 9});
    (
        "metadata",
        json!({"usage": usage, "metrics": {"latencyMs": 1}}),
    )
}

pub(crate) fn wire() -> BedrockConverse {
    BedrockConverse::new("us-east-1")
}

/// A request for a model, with one tool.
pub(crate) fn request(model: &str, view: Vec<Entry>, options: Options) -> Request {
    let mut history = History::new();
    for entry in view {
        history.push(entry);
    }
    Request {
        session: SessionId::new("session").unwrap(),
        model: model.into(),
        system: "be brief".into(),
        tools: vec![tool("f")].into(),
        view: history,
        options: options.into(),
    }
}

pub(crate) fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.into(),
        description: "does it".into(),
        input_schema: raw(r#"{"properties":{"x":{"type":"integer"}}}"#),
        kind: ToolKind::Other,
        effect_class: phi_types::EffectClass::Pure,
    }
}

pub(crate) fn raw(json: &str) -> RawJson {
    RawJson::parse(json).unwrap()
}

/// The body that a wire writes.
pub(crate) fn body(wire: &BedrockConverse, request: &Request) -> Value {
    let encoded = wire.encode(request).unwrap();
    serde_json::from_slice(&encoded.request.body_bytes()).unwrap()
}

/// The messages that are written for a view, without cache points.
pub(crate) fn messages(model: &str, view: Vec<Entry>) -> Value {
    let wire = wire().with_cache(phi_provider::CachePoints::Off);
    body(&wire, &request(model, view, Options::default()))["messages"].clone()
}

pub(crate) fn user(text: &str) -> Entry {
    Entry::User(Arc::new(UserMessage::text(text)))
}

pub(crate) fn shown(content: Vec<Content>) -> Entry {
    Entry::User(Arc::new(UserMessage { content }))
}

pub(crate) fn image(media_type: &str) -> Content {
    Content::Image {
        media_type: media_type.to_owned(),
        source: phi_types::ImageSource::Base64("AAAA".to_owned()),
    }
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

pub(crate) fn call(id: &str, name: &str, arguments: &str) -> Arc<ToolCall> {
    Arc::new(ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: Arguments::parse(arguments),
        facts: PartFacts::default(),
    })
}

/// A message that a model wrote over this wire.
pub(crate) fn assistant(model: &str, parts: Vec<AssistantPart>) -> Entry {
    Entry::Assistant(Arc::new(AssistantMessage {
        parts,
        stop_reason: StopReason::EndTurn,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin: Origin {
            protocol: BedrockConverse::PROTOCOL.into(),
            provider: "bedrock".into(),
            model: model.into(),
            ..Origin::default()
        },
    }))
}

/// Results of calls.
pub(crate) fn results(all: Vec<(&Arc<ToolCall>, Vec<Content>, bool)>) -> Entry {
    let all = all.into_iter().map(|(call, content, is_error)| CallResult {
        call: Arc::clone(call),
        result: Arc::new(ToolResult {
            content,
            is_error,
            ..ToolResult::default()
        }),
    });
    Entry::Results(all.collect())
}
