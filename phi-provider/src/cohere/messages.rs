//! Writes the conversation as the list `messages`.

use std::borrow::Cow;

use phi_types::{Content, ImageSource, PartFacts};
use serde::{Deserialize, Serialize};

use crate::translate::{
    Answer, AnsweredCall, Fate, IdRule, Images, Kinship, Message, Part, ResultImages, Rules,
};
use crate::view_writer::{MessageWriter, Output};

/// What the protocol takes.
pub(super) const RULES: Rules = Rules {
    call_ids: IdRule {
        chars_min: 1,
        chars_max: 64,
        accepts: |c| c.is_ascii_alphanumeric() || c == '_' || c == '-',
    },
    unsigned_thinking: Fate::Keep,
    foreign_thinking: Fate::Drop,
    facts_from: Kinship::Service,
    opaque_from: |_| Kinship::Author,
    images: Images::COMMON,
    result_images: ResultImages::AfterResults,
    keeps_blank_text: false,
};

/// One message of the body.
#[derive(Debug, Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Outgoing<'v> {
    System {
        content: &'v str,
    },
    User {
        content: Text<'v>,
    },
    Assistant {
        #[serde(skip_serializing_if = "Text::is_empty")]
        content: Text<'v>,
        #[serde(skip_serializing_if = "str::is_empty")]
        tool_plan: Cow<'v, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<OutgoingCall<'v>>,
    },
    Tool {
        tool_call_id: &'v str,
        content: Cow<'v, str>,
    },
}

/// `content`: a plain string wherever that is enough.
#[derive(Debug)]
enum Text<'v> {
    Plain(Cow<'v, str>),
    Blocks(Vec<Block<'v>>),
}

impl Text<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Plain(text) => text.is_empty(),
            Self::Blocks(blocks) => blocks.is_empty(),
        }
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(text) => serializer.serialize_str(text),
            Self::Blocks(blocks) => blocks.serialize(serializer),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'v> {
    Text { text: &'v str },
    Thinking { thinking: &'v str },
    ImageUrl { image_url: ImageUrl<'v> },
}

#[derive(Debug, Serialize)]
struct ImageUrl<'v> {
    url: Cow<'v, str>,
}

#[derive(Debug, Serialize)]
struct OutgoingCall<'v> {
    id: &'v str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: OutgoingFunction<'v>,
}

#[derive(Debug, Serialize)]
struct OutgoingFunction<'v> {
    name: &'v str,
    arguments: &'v str,
}

/// What a part of this protocol carries besides its text.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Extra {
    /// The thinking is a plan, which has a place of its own.
    tool_plan: bool,
}

fn is_plan(facts: &PartFacts) -> bool {
    let extra = facts.extra.as_ref();
    extra.is_some_and(|extra| extra.read::<Extra>().is_ok_and(|extra| extra.tool_plan))
}

/// Writes messages one after the other, separated by commas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CohereWriter;

impl MessageWriter for CohereWriter {
    fn message(&mut self, message: Message<'_>, out: &mut Output) {
        match message {
            Message::User(contents) => {
                let blocks = contents.iter().map(|it| block_of(it)).collect();
                write(
                    out,
                    &Outgoing::User {
                        content: content_of(blocks),
                    },
                );
            }
            Message::Assistant(answer) => write_answer(&answer, out),
            Message::Results(results) => {
                for result in &results {
                    write(
                        out,
                        &Outgoing::Tool {
                            tool_call_id: &result.id,
                            content: result_text(result),
                        },
                    );
                }
            }
        }
    }
}

/// Returns the system prompt as the first of the messages, without the comma after it.
pub(super) fn system(content: &str) -> Output {
    let mut out = Output::default();
    if !content.trim().is_empty() {
        out.json(&Outgoing::System { content });
    }
    out
}

fn write(out: &mut Output, message: &Outgoing<'_>) {
    if out.position() > 0 {
        out.raw(",");
    }
    out.json(message);
}

fn write_answer(answer: &Answer<'_>, out: &mut Output) {
    let mut blocks = Vec::new();
    let mut text = String::new();
    let mut has_thinking = false;
    let mut tool_plan = Cow::Borrowed("");
    let mut tool_calls = Vec::new();
    for part in &answer.parts {
        match part {
            Part::Text { text: said, .. } => {
                text.push_str(said);
                blocks.push(Block::Text { text: said });
            }
            Part::Thinking(part) if is_plan(&part.facts) => {
                tool_plan.to_mut().push_str(&part.text);
            }
            Part::Thinking(part) if part.text.is_empty() => {}
            Part::Thinking(part) => {
                has_thinking = true;
                blocks.push(Block::Thinking {
                    thinking: &part.text,
                });
            }
            Part::Call {
                id,
                name,
                arguments,
                ..
            } => tool_calls.push(OutgoingCall {
                id,
                kind: "function",
                function: OutgoingFunction { name, arguments },
            }),
            Part::Opaque(_) => {}
        }
    }
    // The service wants a text or a call, and a plan only beside calls.
    if text.is_empty() && tool_calls.is_empty() {
        return;
    }
    if tool_calls.is_empty() {
        tool_plan = Cow::Borrowed("");
    }
    let content = if has_thinking {
        Text::Blocks(blocks)
    } else {
        Text::Plain(Cow::Owned(text))
    };
    write(
        out,
        &Outgoing::Assistant {
            content,
            tool_plan,
            tool_calls,
        },
    );
}

fn block_of(content: &Content) -> Block<'_> {
    match content {
        Content::Text { text } => Block::Text { text },
        Content::Image { media_type, source } => {
            let url = match source {
                ImageSource::Base64(data) => Cow::Owned(format!("data:{media_type};base64,{data}")),
                ImageSource::Url(url) => Cow::Borrowed(url.as_str()),
            };
            let image_url = ImageUrl { url };
            Block::ImageUrl { image_url }
        }
    }
}

/// One text is a plain string, several things are blocks.
fn content_of(blocks: Vec<Block<'_>>) -> Text<'_> {
    match blocks.as_slice() {
        [Block::Text { text }] => Text::Plain(Cow::Borrowed(*text)),
        _ => Text::Blocks(blocks),
    }
}

/// Returns the text of a result, which says itself that the tool failed.
fn result_text<'r>(result: &'r AnsweredCall<'_>) -> Cow<'r, str> {
    let failure = result.is_error.then_some("error:");
    let texts = result
        .content
        .iter()
        .filter_map(|content| match &**content {
            Content::Text { text } => Some(text.as_str()),
            Content::Image { .. } => None,
        });
    let mut joined: Option<Cow<'_, str>> = None;
    for text in failure.into_iter().chain(texts) {
        joined = Some(match joined {
            None => Cow::Borrowed(text),
            Some(so_far) => Cow::Owned(format!("{so_far}\n{text}")),
        });
    }
    joined.unwrap_or(Cow::Borrowed("(no output)"))
}
