//! What the facts share: a decoder that is fed text, and requests in a few words.

use std::sync::Arc;

use phi_provider::{ResponseHead, Wire};
use phi_types::{
    Arguments, Assembler, AssistantMessage, AssistantPart, CallResult, Delta, EffectClass, Entry,
    Facts, Options, Origin, PartFacts, ProviderError, RawJson, Request, SessionId, StopReason,
    TextPart, ThinkingPart, ToolCall, ToolKind, ToolResult, ToolSpec, Usage, UserMessage,
};
use serde_json::Value;

pub(crate) const MODEL: &str = "m";

/// Decodes a body with a status.
pub(crate) fn decode(
    wire: &dyn Wire,
    status: u16,
    body: &str,
) -> (Vec<Delta>, Option<ProviderError>) {
    let mut decoder = wire.decoder(&ResponseHead::new(status));
    let mut deltas = Vec::new();
    let pushed = decoder.push(body.as_bytes(), &mut deltas);
    let error = pushed.and_then(|()| decoder.end(&mut deltas)).err();
    (deltas, error)
}

/// Decodes an answer to its message.
pub(crate) fn message(wire: &dyn Wire, body: &str) -> AssistantMessage {
    let (deltas, error) = decode(wire, 200, body);
    assert_eq!(error, None);
    let mut assembler = Assembler::new();
    for delta in &deltas {
        assembler.push(delta).unwrap();
    }
    assembler.into_message(own(wire)).unwrap()
}

/// Decodes what is an error.
pub(crate) fn error(wire: &dyn Wire, status: u16, body: &str) -> ProviderError {
    decode(wire, status, body).1.unwrap()
}

/// The origin of messages that the wire under test wrote itself.
pub(crate) fn own(wire: &dyn Wire) -> Origin {
    Origin {
        protocol: wire.identity().protocol.into(),
        provider: wire.identity().provider.into(),
        model: MODEL.into(),
        ..Origin::default()
    }
}

pub(crate) fn user(text: &str) -> Entry {
    Entry::User(Arc::new(UserMessage::text(text)))
}

pub(crate) fn text(text: &str) -> AssistantPart {
    AssistantPart::Text(TextPart::new(text))
}

pub(crate) fn thinking(text: &str, extra: Option<&str>) -> AssistantPart {
    AssistantPart::Thinking(ThinkingPart {
        text: text.to_owned(),
        facts: PartFacts::from(Facts {
            extra: extra.map(|extra| RawJson::parse(extra).unwrap()),
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

pub(crate) fn answer(origin: Origin, parts: Vec<AssistantPart>) -> Entry {
    Entry::Assistant(Arc::new(AssistantMessage {
        parts,
        stop_reason: StopReason::EndTurn,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin,
    }))
}

pub(crate) fn results(all: &[(&Arc<ToolCall>, ToolResult)]) -> Entry {
    let results = all.iter().map(|(call, result)| CallResult {
        call: Arc::clone(call),
        result: Arc::new(result.clone()),
    });
    Entry::Results(results.collect())
}

pub(crate) fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.into(),
        description: "does it".into(),
        input_schema: RawJson::parse(r#"{"type":"object","properties":{}}"#).unwrap(),
        kind: ToolKind::Other,
        effect_class: EffectClass::Pure,
    }
}

pub(crate) fn request(entries: impl IntoIterator<Item = Entry>) -> Request {
    Request {
        session: SessionId::new("s").unwrap(),
        model: MODEL.into(),
        system: "".into(),
        tools: [].into(),
        view: entries.into_iter().collect(),
        options: Arc::default(),
    }
}

pub(crate) fn with(options: Options) -> Request {
    Request {
        options: options.into(),
        tools: [tool("f"), tool("g")].into(),
        ..request([user("hi")])
    }
}

pub(crate) fn sent(wire: &dyn Wire, request: &Request) -> String {
    let bytes = wire.encode(request).unwrap().request.body_bytes();
    String::from_utf8(bytes).unwrap()
}

pub(crate) fn body(wire: &dyn Wire, request: &Request) -> Value {
    serde_json::from_str(&sent(wire, request)).unwrap()
}

/// The messages that a wire sends for a conversation.
pub(crate) fn messages(wire: &dyn Wire, entries: impl IntoIterator<Item = Entry>) -> Value {
    body(wire, &request(entries))["messages"].take()
}

/// Proves that a conversation that grows entry by entry keeps the beginning of its body, and that
/// what a wire keeps between requests never shows.
pub(crate) fn grows(wire: &dyn Wire, fresh: &dyn Fn() -> Box<dyn Wire>, entries: &[Entry]) {
    let mut before: Option<String> = None;
    for len in 1..=entries.len() {
        // A call without its result is answered by a note, which goes when the result comes.
        if matches!(&entries[len - 1], Entry::Assistant(said) if said.tool_calls().count() > 0) {
            continue;
        }
        let request = request(entries[..len].iter().cloned());
        let now = sent(wire, &request);
        assert_eq!(now, sent(wire, &request));
        assert_eq!(now, sent(&*fresh(), &request));
        if let Some(before) = before {
            let beginning = before.strip_suffix("]}").unwrap();
            assert!(now.starts_with(beginning), "{now}\n{before}");
        }
        before = Some(now);
    }
}
