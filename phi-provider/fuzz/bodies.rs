//! What every fuzz target does with its bytes; a test runs it over the saved corpus.

use std::sync::Arc;

use phi_provider::gemini::Gemini;
use phi_provider::openai_chat::OpenAiChat;
use phi_provider::openai_responses::OpenAiResponses;
use phi_provider::{
    AnthropicMessages, BedrockConverse, CohereChat, EncodeError, Limits, OllamaChat, ResponseHead,
    SseDecoder, Wire, classify,
};
use phi_types::{
    Arguments, Assembler, AssistantMessage, AssistantPart, CallResult, Content, Delta, Entry,
    Facts, History, ImageSource, OpaquePart, Options, Origin, PartFacts, ProviderError, RawJson,
    Request, SessionId, StopReason, TextPart, ThinkingPart, ToolCall, ToolResult, Usage,
    UserMessage,
};

/// The names of the targets.
pub(crate) const TARGETS: &[&str] = &[
    "anthropic_messages",
    "bedrock_converse",
    "bedrock_frames",
    "cohere_v2",
    "encode",
    "errors",
    "gemini",
    "ollama_chat",
    "openai_chat",
    "openai_responses",
    "sse",
];

const URL: &str = "https://api.example.com/v1";

/// Runs one target.
pub(crate) fn run(target: &str, data: &[u8]) {
    match target {
        "anthropic_messages" => decode(&AnthropicMessages::new(), data),
        "bedrock_converse" => decode(&BedrockConverse::new("us-east-1"), data),
        "bedrock_frames" => decode(&BedrockConverse::new("us-east-1"), &framed(data)),
        "cohere_v2" => decode(&CohereChat::new(), data),
        "encode" => encode(data),
        "errors" => errors(data),
        "gemini" => decode(&Gemini::new(), data),
        "ollama_chat" => decode(&OllamaChat::default(), data),
        "openai_chat" => decode(&OpenAiChat::new(URL), data),
        "openai_responses" => decode(&OpenAiResponses::new(URL), data),
        "sse" => events(data),
        other => panic!("no target is called {other}"),
    }
}

/// The first byte says how large the pieces are; the rest is the body.
fn decode(wire: &dyn Wire, data: &[u8]) {
    let Some((size, body)) = data.split_first() else {
        return;
    };
    let head = ResponseHead::new(200);
    let (whole, error) = decoded(wire, &head, [body]);
    let mut assembler = Assembler::new();
    for delta in &whole {
        assembler.push(delta).expect("a part has one nature");
    }
    let finished = assembler.into_message(Origin::default()).is_some();
    assert!(finished || error.is_some(), "neither finish nor error");
    let size = usize::from(*size).max(1);
    let cut = decoded(wire, &head, body.chunks(size));
    assert_eq!(cut, (whole, error), "cut and whole differ");
}

type Decoded = (Vec<Delta>, Option<ProviderError>);

fn decoded<'a>(
    wire: &dyn Wire,
    head: &ResponseHead,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Decoded {
    let mut decoder = wire.decoder(head);
    let mut deltas = Vec::new();
    for piece in pieces {
        if let Err(error) = decoder.push(piece, &mut deltas) {
            let again = decoder.push(piece, &mut Vec::new());
            assert_eq!(again.as_ref(), Err(&error), "an error stays");
            return (joined(deltas), Some(error));
        }
    }
    let error = decoder.end(&mut deltas).err();
    (joined(deltas), error)
}

/// Joins texts that follow each other in one part.
fn joined(deltas: Vec<Delta>) -> Vec<Delta> {
    let mut joined: Vec<Delta> = Vec::with_capacity(deltas.len());
    for delta in deltas {
        match (joined.last_mut(), &delta) {
            (Some(Delta::Text(last)), Delta::Text(next))
            | (Some(Delta::Thinking(last)), Delta::Thinking(next))
            | (Some(Delta::Arguments(last)), Delta::Arguments(next))
                if last.part == next.part =>
            {
                last.text.push_str(&next.text);
            }
            _ => joined.push(delta),
        }
    }
    joined
}

const EVENTS: &[&str] = &[
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
    "throttlingException",
];

/// Frames lines as binary messages with right checksums, so that a fuzzer gets behind them: the
/// first byte of a line picks the event, the rest is its payload.
fn framed(data: &[u8]) -> Vec<u8> {
    let Some((size, data)) = data.split_first() else {
        return Vec::new();
    };
    let mut body = vec![*size];
    for line in data.split(|byte| *byte == b'\n') {
        let Some((pick, payload)) = line.split_first() else {
            continue;
        };
        let event = EVENTS[usize::from(*pick) % EVENTS.len()];
        let is_exception = event.ends_with("Exception");
        let (kind, name) = if is_exception {
            ("exception", ":exception-type")
        } else {
            ("event", ":event-type")
        };
        let mut headers = Vec::new();
        for (name, value) in [(":message-type", kind), (name, event)] {
            headers.push(u8::try_from(name.len()).expect("it is short"));
            headers.extend(name.bytes());
            headers.push(7);
            headers.extend(
                u16::try_from(value.len())
                    .expect("it is short")
                    .to_be_bytes(),
            );
            headers.extend(value.bytes());
        }
        let length = |bytes: usize| u32::try_from(bytes).expect("it is short").to_be_bytes();
        let mut message = length(16 + headers.len() + payload.len()).to_vec();
        message.extend(length(headers.len()));
        message.extend(crc32fast::hash(&message).to_be_bytes());
        message.extend(headers);
        message.extend(payload);
        message.extend(crc32fast::hash(&message).to_be_bytes());
        body.extend(message);
    }
    body
}

fn events(data: &[u8]) {
    let Some((size, body)) = data.split_first() else {
        return;
    };
    let limits = Limits {
        line_bytes_max: 200,
        event_bytes_max: 300,
        ..Limits::default()
    };
    let read = |size: usize| {
        let mut decoder = SseDecoder::new(limits);
        let mut events = Vec::new();
        let mut chunks = body.chunks(size);
        let result = chunks.try_for_each(|piece| {
            decoder.push(piece, |event| {
                // A byte that is no UTF-8 becomes a character of three bytes.
                assert!(event.data.len() <= 3 * limits.event_bytes_max);
                events.push((event.name.to_owned(), event.data.to_owned()));
                Ok(())
            })
        });
        (events, result.map_err(|error| error.kind))
    };
    assert_eq!(read(usize::from(*size).max(1)), read(body.len().max(1)));
}

/// The first two bytes are the status, the first line the headers, the rest the body.
fn errors(data: &[u8]) {
    let Some((status, rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let line = rest.iter().position(|byte| *byte == b'\n');
    let (headers, body) = rest.split_at(line.unwrap_or(0));
    let mut head = ResponseHead::new(u16::from_be_bytes(*status) % 700);
    for (n, value) in headers.split(|byte| *byte == b'|').enumerate() {
        let names = [
            "retry-after",
            "date",
            "retry-after-ms",
            "x-ratelimit-reset-tokens",
        ];
        let names = names
            .iter()
            .chain(&["x-should-retry", "content-type", "location"]);
        if let Some(name) = names.into_iter().nth(n) {
            head = head.with_header(*name, String::from_utf8_lossy(value));
        }
    }
    let error = classify(&head, body);
    assert!(!error.message.is_empty(), "an error says something");
    if !head.is_success() {
        assert_eq!(error.status, Some(head.status));
    }
    for wire in wires() {
        let (_, error) = decoded(&*wire, &head, [body]);
        assert!(
            head.is_success() || error.is_some(),
            "a failure is an error"
        );
    }
}

fn wires() -> [Box<dyn Wire>; 7] {
    [
        Box::new(AnthropicMessages::new()),
        Box::new(BedrockConverse::new("us-east-1")),
        Box::new(CohereChat::new()),
        Box::new(Gemini::new()),
        Box::new(OllamaChat::default()),
        Box::new(OpenAiChat::new(URL)),
        Box::new(OpenAiResponses::new(URL)),
    ]
}

/// Every wire encodes every conversation, and twice alike.
fn encode(data: &[u8]) {
    for wire in wires() {
        let request = request(&*wire, data);
        match (wire.encode(&request), wire.encode(&request)) {
            (Ok(first), Ok(again)) => {
                assert!(first == again, "the same request is other bytes");
                let body = String::from_utf8(first.request.body_bytes()).expect("JSON is UTF-8");
                RawJson::parse(&body).expect("the body is JSON");
            }
            (Err(EncodeError::NothingToSend), Err(EncodeError::NothingToSend)) => {}
            (first, again) => panic!("{:?} {:?}", first.err(), again.err()),
        }
    }
}

/// Each line is an entry or a part: its first byte says which, its second byte varies it.
fn request(wire: &dyn Wire, data: &[u8]) -> Request {
    let mut view = History::new();
    let mut parts = Vec::new();
    let mut calls: Vec<Arc<ToolCall>> = Vec::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let Some(([kind, how], text)) = line.split_first_chunk::<2>() else {
            continue;
        };
        let text = String::from_utf8_lossy(text).into_owned();
        let facts = PartFacts::from(Facts {
            signature: (how & 1 > 0).then(|| "c2ln".to_owned()),
            item_id: (how & 2 > 0).then(|| text.clone()),
            extra: (how & 4 > 0).then(RawJson::empty_object),
        });
        match kind % 8 {
            0 => view.push(Entry::User(Arc::new(UserMessage {
                content: content(*how, text),
            }))),
            1 => parts.push(AssistantPart::Text(TextPart { text, facts })),
            2 => parts.push(AssistantPart::Thinking(ThinkingPart { text, facts })),
            3 => parts.push(AssistantPart::Opaque(OpaquePart {
                kind: ["redacted_thinking", "reasoning", "odd"][usize::from(*how) % 3].to_owned(),
                data: RawJson::parse(&text).unwrap_or_else(|_| RawJson::empty_object()),
            })),
            4 | 5 => {
                let (id, arguments) = text.split_once(' ').unwrap_or((&text, ""));
                let call = Arc::new(ToolCall {
                    id: Arc::from(id),
                    name: Arc::from("lookup"),
                    arguments: Arguments::parse(arguments),
                    facts,
                });
                calls.push(Arc::clone(&call));
                parts.push(AssistantPart::ToolCall(call));
            }
            6 => {
                let mut origin = origin(wire);
                if how & 8 > 0 {
                    origin.provider = Arc::from("another");
                }
                view.push(Entry::Assistant(Arc::new(AssistantMessage {
                    parts: std::mem::take(&mut parts),
                    stop_reason: StopReason::ToolUse,
                    stop_reason_raw: None,
                    usage: Usage::default(),
                    origin,
                })));
            }
            _ => {
                let result = Arc::new(ToolResult {
                    content: content(*how, text),
                    is_error: how & 1 > 0,
                    ..ToolResult::default()
                });
                let results = calls.drain(..usize::from(*how % 4).min(calls.len()));
                let result = |call| CallResult {
                    call,
                    result: Arc::clone(&result),
                };
                view.push(Entry::Results(results.map(result).collect()));
            }
        }
    }
    Request {
        session: SessionId::new("fuzz").expect("the id is valid"),
        model: Arc::from("model"),
        system: Arc::from(""),
        tools: Arc::from([]),
        view,
        options: Arc::new(Options::default()),
    }
}

fn origin(wire: &dyn Wire) -> Origin {
    let identity = wire.identity();
    Origin {
        protocol: Arc::from(identity.protocol),
        provider: Arc::from(identity.provider),
        model: Arc::from("model"),
        response_id: None,
        response_model: None,
    }
}

fn content(how: u8, text: String) -> Vec<Content> {
    match how % 4 {
        0 => vec![Content::Text { text }],
        1 => vec![Content::text(text.clone()), Content::Text { text }],
        2 => vec![Content::Image {
            media_type: text,
            source: ImageSource::Base64("aGk=".to_owned()),
        }],
        _ => Vec::new(),
    }
}
