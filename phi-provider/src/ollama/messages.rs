//! Writes the conversation as the list `messages`.

use std::borrow::Cow;

use phi_types::{Content, ImageSource};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::translate::{
    Answer, AnsweredCall, Fate, IdRule, Images, Kinship, Message, Part, ResultImages, Rules,
};
use crate::view_writer::{MessageWriter, Output};

/// What the protocol takes. Addresses of images it does not fetch.
pub(super) const RULES: Rules = Rules {
    call_ids: IdRule {
        chars_min: 1,
        chars_max: 64,
        accepts: |c| !c.is_control(),
    },
    unsigned_thinking: Fate::Keep,
    foreign_thinking: Fate::Drop,
    facts_from: Kinship::Author,
    opaque_from: |_| Kinship::Author,
    images: Images {
        media_types: &["image/jpeg", "image/png", "image/webp"],
        urls: false,
    },
    result_images: ResultImages::AfterResults,
    keeps_blank_text: true,
};

/// One message of the body.
#[derive(Debug, Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Outgoing<'v> {
    System {
        content: &'v str,
    },
    User {
        content: Cow<'v, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        images: Vec<&'v str>,
    },
    Assistant {
        content: Cow<'v, str>,
        #[serde(skip_serializing_if = "str::is_empty")]
        thinking: Cow<'v, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<OutgoingCall<'v>>,
    },
    Tool {
        content: Cow<'v, str>,
        tool_name: &'v str,
        tool_call_id: &'v str,
    },
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
    arguments: &'v RawValue,
}

/// Writes messages one after the other, separated by commas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OllamaWriter;

impl MessageWriter for OllamaWriter {
    fn message(&mut self, message: Message<'_>, out: &mut Output) {
        match message {
            Message::User(contents) => write(
                out,
                &Outgoing::User {
                    content: joined(contents.iter().filter_map(|it| text_of(it))),
                    images: contents.iter().filter_map(|it| image_of(it)).collect(),
                },
            ),
            Message::Assistant(answer) => write_answer(&answer, out),
            Message::Results(results) => {
                for result in &results {
                    write(
                        out,
                        &Outgoing::Tool {
                            content: result_text(result),
                            tool_name: result.name,
                            tool_call_id: &result.id,
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
    if !content.is_empty() {
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
    let mut content = Cow::Borrowed("");
    let mut thinking = Cow::Borrowed("");
    let mut tool_calls = Vec::new();
    for part in &answer.parts {
        match part {
            Part::Text { text, .. } => append(&mut content, text),
            Part::Thinking(part) => append(&mut thinking, &part.text),
            Part::Call {
                id,
                name,
                arguments,
                ..
            } => {
                // The translation hands over objects alone.
                if let Ok(arguments) = serde_json::from_str(arguments) {
                    tool_calls.push(OutgoingCall {
                        id,
                        kind: "function",
                        function: OutgoingFunction { name, arguments },
                    });
                }
            }
            Part::Opaque(_) => {}
        }
    }
    if content.is_empty() && thinking.is_empty() && tool_calls.is_empty() {
        return;
    }
    write(
        out,
        &Outgoing::Assistant {
            content,
            thinking,
            tool_calls,
        },
    );
}

/// Returns the text of a result, which says itself that the tool failed.
fn result_text<'r>(result: &'r AnsweredCall<'_>) -> Cow<'r, str> {
    let failure = result.is_error.then_some("error:");
    let texts = result.content.iter().filter_map(|it| text_of(it));
    match joined(failure.into_iter().chain(texts)) {
        text if text.is_empty() => Cow::Borrowed("(no output)"),
        text => text,
    }
}

fn text_of(content: &Content) -> Option<&str> {
    match content {
        Content::Text { text } => Some(text),
        Content::Image { .. } => None,
    }
}

fn image_of(content: &Content) -> Option<&str> {
    match content {
        Content::Image {
            source: ImageSource::Base64(data),
            ..
        } => Some(data),
        Content::Image { .. } | Content::Text { .. } => None,
    }
}

/// Joins texts, line after line.
fn joined<'v>(texts: impl Iterator<Item = &'v str>) -> Cow<'v, str> {
    let mut joined: Option<Cow<'v, str>> = None;
    for text in texts {
        joined = Some(match joined {
            None => Cow::Borrowed(text),
            Some(so_far) => Cow::Owned(format!("{so_far}\n{text}")),
        });
    }
    joined.unwrap_or_default()
}

fn append<'v>(so_far: &mut Cow<'v, str>, text: &'v str) {
    if so_far.is_empty() {
        *so_far = Cow::Borrowed(text);
    } else {
        so_far.to_mut().push_str(text);
    }
}
