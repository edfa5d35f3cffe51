//! Conversations to encode: plain ones that grow, and odd ones of everything that can go wrong.

use std::sync::Arc;

use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Content, EffectClass, Entry,
    ExtensionMessage, Facts, History, ImageSource, OpaquePart, Options, Origin, PartFacts, RawJson,
    Request, SessionId, StopReason, TextPart, ThinkingPart, ToolCall, ToolKind, ToolResult,
    ToolSpec, Usage, UserMessage,
};

use super::decoding::origin_of;
use super::random::Random;
use crate::wire::Wire;

/// Makes conversations with one author.
#[derive(Debug, Clone)]
pub(super) struct Conversation {
    pub(super) author: Origin,
}

/// The text that stands in one entry of a plain conversation and nowhere else.
pub(super) fn marker(entry: usize) -> String {
    format!("marker-{entry:04}.")
}

impl Conversation {
    pub(super) fn of(wire: &dyn Wire, model: &Arc<str>) -> Self {
        let author = origin_of(wire.identity(), model);
        Self { author }
    }

    /// Makes a request. Equal views give equal requests, which share nothing but the view.
    pub(super) fn request(&self, view: History) -> Request {
        let tool = |name: &str| ToolSpec {
            name: Arc::from(name),
            description: Arc::from("Looks something up."),
            input_schema: object(r#"{"type":"object","properties":{"q":{"type":"string"}}}"#),
            effect_class: EffectClass::Pure,
            kind: ToolKind::Search,
        };
        Request {
            session: SessionId::new("contract").expect("the id is valid"),
            model: Arc::clone(&self.author.model),
            system: Arc::from("You test wires."),
            tools: ["lookup", "list", "abc", "zoo"].map(tool).into(),
            view,
            options: Arc::new(Options {
                output_tokens_max: Some(1_024),
                ..Options::default()
            }),
        }
    }

    /// Makes the first `len` entries of a conversation in which the author calls tools. Each entry
    /// holds its [`marker`]. It is a request where its length is odd.
    pub(super) fn plain(&self, len: usize) -> History {
        let mut view = History::new();
        let mut calls: Vec<Arc<ToolCall>> = Vec::new();
        for at in 0..len {
            let text = marker(at);
            match at % 6 {
                0 | 4 => view.push(user(text)),
                1 => {
                    calls = ["a", "b"]
                        .map(|n| call(&format!("call{at:04}{n}"), "{}"))
                        .into();
                    let mut parts = vec![AssistantPart::Text(TextPart::new(text))];
                    parts.extend(calls.iter().cloned().map(AssistantPart::ToolCall));
                    view.push(answer(&self.author, parts, StopReason::ToolUse));
                }
                2 => {
                    let results = calls.drain(..).map(|call| CallResult {
                        call,
                        result: Arc::new(ToolResult::text(text.clone())),
                    });
                    view.push(Entry::Results(results.collect()));
                }
                _ => {
                    let parts = vec![AssistantPart::Text(TextPart::new(text))];
                    view.push(answer(&self.author, parts, StopReason::EndTurn));
                }
            }
        }
        view
    }

    /// Makes a conversation of up to eight entries in any order.
    pub(super) fn odd(&self, random: &mut Random) -> History {
        let mut view = History::new();
        let mut calls: Vec<Arc<ToolCall>> = Vec::new();
        for _ in 0..random.below(9) {
            match random.below(9) {
                0..=2 => {
                    let pieces = (0..random.below(4)).map(|_| content(random)).collect();
                    view.push(Entry::User(Arc::new(UserMessage { content: pieces })));
                }
                3..=5 => {
                    let parts: Vec<_> = (0..random.below(5)).map(|_| part(random)).collect();
                    calls.extend(parts.iter().filter_map(|part| match part {
                        AssistantPart::ToolCall(call) => Some(Arc::clone(call)),
                        AssistantPart::Text(_)
                        | AssistantPart::Thinking(_)
                        | AssistantPart::Opaque(_) => None,
                    }));
                    let stop = random.pick(STOPS).copied().unwrap_or(StopReason::Other);
                    let origin = self.some_origin(random);
                    view.push(answer(&origin, parts, stop));
                }
                6 | 7 => view.push(Entry::Results(results(&mut calls, random).into())),
                _ => view.push(Entry::Extension(Arc::new(ExtensionMessage {
                    namespace: "contract".to_owned(),
                    name: "note".to_owned(),
                    data: RawJson::empty_object(),
                }))),
            }
        }
        view
    }

    fn some_origin(&self, random: &mut Random) -> Origin {
        let mut origin = self.author.clone();
        match random.below(4) {
            0 => origin.model = Arc::from("another-model"),
            1 => origin.provider = Arc::from("another-service"),
            2 => {
                origin.protocol = Arc::from("another-protocol");
                origin.provider = Arc::from("another-service");
            }
            _ => {}
        }
        origin
    }
}

/// Says whether a conversation asks for something that every protocol can say.
pub(super) fn says_something(view: &History) -> bool {
    view.newest_first().any(|entry| match entry {
        Entry::User(message) => message.content.iter().any(|content| match content {
            Content::Text { text } => !text.trim().is_empty(),
            Content::Image { .. } => false,
        }),
        Entry::Assistant(_) | Entry::Results(_) | Entry::Extension(_) => false,
    })
}

const STOPS: &[StopReason] = &[
    StopReason::EndTurn,
    StopReason::ToolUse,
    StopReason::MaxTokens,
    StopReason::PauseTurn,
    StopReason::Cancelled,
    StopReason::Other,
];

/// Texts that wires trip over.
const TEXTS: &[&str] = &[
    "plain",
    "",
    " ",
    "\n\t",
    "trailing \n",
    "\u{0}\u{1}\u{7f}",
    "\u{feff}\u{2028}\u{1f600}",
    "\"quoted\" \\ </script>",
    "data: [DONE]",
];

const IDS: &[&str] = &[
    "call_1", "call_1", "toolu_01", "", " ", "a|b+c/d=", "ümläut", "fc_1_",
];

fn text(random: &mut Random) -> String {
    random.pick(TEXTS).map_or("", |text| text).to_owned()
}

fn content(random: &mut Random) -> Content {
    let media_type = ["image/png", "image/tiff", "", "text/html"];
    let media_type = random.pick(&media_type).map_or("", |it| it).to_owned();
    match random.below(5) {
        0 => Content::Image {
            media_type,
            source: ImageSource::Base64("aGk=".to_owned()),
        },
        1 => Content::Image {
            media_type,
            source: ImageSource::Url("https://example.test/a.png".to_owned()),
        },
        _ => Content::text(text(random)),
    }
}

fn facts(random: &mut Random) -> PartFacts {
    let mut some = |value: &str| (random.below(3) == 0).then(|| value.to_owned());
    let (signature, item_id) = (some("c2lnbmF0dXJl"), some("item_1"));
    let extra = some(r#"{"citations":[],"phase":"x"}"#).map(|text| object(&text));
    PartFacts::from(Facts {
        signature,
        item_id,
        extra,
    })
}

fn part(random: &mut Random) -> AssistantPart {
    match random.below(6) {
        0 | 1 => AssistantPart::Text(TextPart {
            text: text(random),
            facts: facts(random),
        }),
        2 => AssistantPart::Thinking(ThinkingPart {
            text: text(random),
            facts: facts(random),
        }),
        3 => {
            let kinds = [
                "redacted_thinking",
                "reasoning",
                "server_tool_use",
                "odd",
                "",
            ];
            let items = [
                r#"{"type":"reasoning","id":"rs_1"}"#,
                "{}",
                "null",
                "[1]",
                "\"x\"",
            ];
            AssistantPart::Opaque(OpaquePart {
                kind: random.pick(&kinds).map_or("", |kind| kind).to_owned(),
                data: object(random.pick(&items).map_or("{}", |item| item)),
            })
        }
        _ => {
            let long = "x".repeat(500);
            let id = random.pick(IDS).map_or(&*long, |id| id);
            let id = if random.below(9) == 0 { &long } else { id };
            let arguments = ["{}", r#"{"q":"a"}"#, "", "[1]", "{\"q\":", "not JSON"];
            let arguments = random.pick(&arguments).map_or("{}", |it| it);
            let mut call = ToolCall::clone(&call(id, arguments));
            call.facts = facts(random);
            if random.below(6) == 0 {
                call.name = Arc::from("tool of another, long since gone");
            }
            AssistantPart::ToolCall(Arc::new(call))
        }
    }
}

/// Results of some calls, in any order, perhaps twice, and of calls that nobody made.
fn results(calls: &mut Vec<Arc<ToolCall>>, random: &mut Random) -> Vec<CallResult> {
    let mut results = Vec::new();
    for _ in 0..=random.below(4) {
        let known = (random.below(5) > 0 && !calls.is_empty())
            .then(|| calls.swap_remove(random.below(calls.len())));
        let call = known.unwrap_or_else(|| call("orphan", "{}"));
        let content = (0..random.below(3)).map(|_| content(random)).collect();
        let result = Arc::new(ToolResult {
            content,
            is_error: random.below(2) == 0,
            ..ToolResult::default()
        });
        results.push(CallResult { call, result });
    }
    results
}

pub(super) fn user(text: impl Into<String>) -> Entry {
    Entry::User(Arc::new(UserMessage::text(text)))
}

pub(super) fn call(id: &str, arguments: &str) -> Arc<ToolCall> {
    Arc::new(ToolCall {
        id: Arc::from(id),
        name: Arc::from("lookup"),
        arguments: Arguments::parse(arguments),
        facts: PartFacts::default(),
    })
}

fn answer(origin: &Origin, parts: Vec<AssistantPart>, stop_reason: StopReason) -> Entry {
    Entry::Assistant(Arc::new(AssistantMessage {
        parts,
        stop_reason,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin: origin.clone(),
    }))
}

fn object(text: &str) -> RawJson {
    RawJson::parse(text).unwrap_or_else(|_| RawJson::empty_object())
}
