//! Writes the conversation as the list `messages`.

use std::borrow::Cow;

use phi_types::{Content, ImageSource, RawJson};
use serde::Serialize;
use serde::ser::Serializer;

use super::facts::{Extra, ReasoningField};
use super::quirks::{
    AfterResults, EmptyContent, ImageInput, Quirks, ReasoningReplay, ResultNames, SystemRole,
    ToolImages,
};
use crate::translate::{
    Answer, AnsweredCall, Fate, Images, Kinship, Message, Part, ResultImages, Rules,
};
use crate::view_writer::{MessageWriter, Output};

/// One message of the body.
#[derive(Debug, Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Outgoing<'v> {
    System {
        content: Text<'v>,
    },
    Developer {
        content: Text<'v>,
    },
    User {
        content: Text<'v>,
    },
    Assistant(Assistant<'v>),
    Tool {
        tool_call_id: &'v str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'v str>,
        content: Text<'v>,
    },
}

#[derive(Debug, Default, Serialize)]
struct Assistant<'v> {
    #[serde(skip_serializing_if = "Text::is_omitted")]
    content: Text<'v>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<Cow<'v, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Cow<'v, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_details: Option<RawJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<OutgoingCall<'v>>,
}

/// `content`: a plain string wherever that is enough, because models imitate the form they read.
#[derive(Debug, Default)]
enum Text<'v> {
    #[default]
    Omitted,
    Null,
    Plain(Cow<'v, str>),
    Blocks(Vec<Block<'v>>),
}

impl Text<'_> {
    fn is_omitted(&self) -> bool {
        matches!(self, Self::Omitted)
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Omitted | Self::Null => serializer.serialize_unit(),
            Self::Plain(text) => serializer.serialize_str(text),
            Self::Blocks(blocks) => blocks.serialize(serializer),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'v> {
    Text { text: Cow<'v, str> },
    ImageUrl { image_url: ImageUrl<'v> },
    Thinking { thinking: [Box<Self>; 1] },
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
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<RawJson>,
}

#[derive(Debug, Serialize)]
struct OutgoingFunction<'v> {
    name: &'v str,
    arguments: &'v str,
}

/// Writes messages one after the other, separated by commas.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ChatWriter {
    quirks: Quirks,
    has_tools: bool,
    last: Last,
    has_calls: bool,
    has_images: bool,
    /// Where the last texts of the last two user messages end, the newest first.
    marks: [Option<usize>; 2],
}

/// What the last message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    User,
    Answer,
    Result,
}

/// How a message ends whose last block is a text.
const BLOCK_END: &str = "}]}";

/// What stands where a service refuses a user right after a tool.
const BRIDGE: &str = "I have the results.";

/// Says what a service takes.
pub(super) fn rules(quirks: Quirks) -> Rules {
    Rules {
        call_ids: quirks.call_ids.rule(),
        unsigned_thinking: Fate::Keep,
        foreign_thinking: Fate::Drop,
        facts_from: Kinship::Author,
        opaque_from: |_| Kinship::Author,
        images: match quirks.images {
            ImageInput::Taken => Images::ALL,
            ImageInput::Refused => Images::NONE,
        },
        result_images: match quirks.tool_images {
            ToolImages::AfterResults => ResultImages::AfterResults,
            ToolImages::InResult => ResultImages::InResult,
        },
        keeps_blank_text: true,
    }
}

impl MessageWriter for ChatWriter {
    fn message(&mut self, message: Message<'_>, out: &mut Output) {
        match message {
            Message::User(contents) => self.user(&contents, out),
            Message::Assistant(answer) => self.answer(&answer, out),
            Message::Results(results) => {
                self.last = Last::Result;
                for result in &results {
                    self.see(&result.content);
                    let name = self.quirks.result_names == ResultNames::Sent;
                    write(
                        out,
                        &Outgoing::Tool {
                            tool_call_id: &result.id,
                            name: name.then_some(result.name),
                            content: result_of(result),
                        },
                    );
                }
            }
        }
    }
}

fn write(out: &mut Output, message: &Outgoing<'_>) {
    if out.position() > 0 {
        out.raw(",");
    }
    out.json(message);
}

impl ChatWriter {
    pub(super) fn new(quirks: Quirks, has_tools: bool) -> Self {
        Self {
            quirks,
            has_tools,
            last: Last::User,
            has_calls: false,
            has_images: false,
            marks: [None; 2],
        }
    }

    /// Says whether a message has calls.
    pub(super) fn has_calls(&self) -> bool {
        self.has_calls
    }

    /// Says whether the last message is an answer.
    pub(super) fn ends_with_answer(&self) -> bool {
        self.last == Last::Answer
    }

    /// Says whether a message has an image.
    pub(super) fn has_images(&self) -> bool {
        self.has_images
    }

    /// Returns the places of breakpoints, the last one first.
    pub(super) fn marks(&self) -> impl Iterator<Item = usize> {
        self.marks.into_iter().flatten()
    }

    fn see(&mut self, contents: &[Cow<'_, Content>]) {
        let is_image = |content: &Cow<'_, Content>| matches!(**content, Content::Image { .. });
        self.has_images |= contents.iter().any(is_image);
    }

    fn user(&mut self, contents: &[Cow<'_, Content>], out: &mut Output) {
        self.see(contents);
        if self.last == Last::Result && self.quirks.after_results == AfterResults::Bridge {
            write(
                out,
                &Outgoing::Assistant(Assistant {
                    content: Text::Plain(Cow::Borrowed(BRIDGE)),
                    ..Assistant::default()
                }),
            );
        }
        self.last = Last::User;
        let blocks: Vec<_> = contents.iter().map(|content| block_of(content)).collect();
        let is_marked = self.quirks.prompt_cache.mark().is_some()
            && matches!(blocks.last(), Some(Block::Text { .. }));
        let content = if is_marked {
            Text::Blocks(blocks)
        } else {
            content_of(blocks)
        };
        write(out, &Outgoing::User { content });
        if is_marked {
            let [newest, _] = self.marks;
            self.marks = [Some(out.position() - BLOCK_END.len()), newest];
        }
    }

    /// Returns the system prompt as the first of the messages, without the comma after it.
    pub(super) fn system(&self, content: &str) -> Output {
        let mut out = Output::default();
        if content.is_empty() {
            return out;
        }
        let mark = self.quirks.prompt_cache.mark();
        let blocks = [text_block(content)];
        let content = match mark {
            Some(_) => Text::Blocks(blocks.into()),
            None => content_of(blocks.into()),
        };
        out.json(&match self.quirks.system_role {
            SystemRole::System => Outgoing::System { content },
            SystemRole::Developer => Outgoing::Developer { content },
            SystemRole::User => Outgoing::User { content },
        });
        let Some(mark) = mark else {
            return out;
        };
        let mut message = out.into_string();
        message.truncate(message.len() - BLOCK_END.len());
        let mut out = Output::default();
        out.raw(&message);
        out.raw(mark);
        out.raw(BLOCK_END);
        out
    }

    fn answer(&mut self, answer: &Answer<'_>, out: &mut Output) {
        let mut message = self.parts(answer);
        self.has_calls |= !message.tool_calls.is_empty();
        let says_nothing = message.content.is_omitted();
        if says_nothing && message.tool_calls.is_empty() {
            return;
        }
        if says_nothing {
            message.content = match self.quirks.empty_content {
                EmptyContent::Null => Text::Null,
                EmptyContent::Empty => Text::Plain(Cow::Borrowed("")),
                EmptyContent::Omitted => Text::Omitted,
            };
        }
        self.last = Last::Answer;
        write(out, &Outgoing::Assistant(message));
    }

    fn parts<'v>(&self, answer: &'v Answer<'_>) -> Assistant<'v> {
        let mut out = Assistant::default();
        let mut text = Cow::Borrowed("");
        let mut blocks = Vec::new();
        let mut extra = Extra::default();
        let mut thinking = Cow::Borrowed("");
        for part in &answer.parts {
            match part {
                Part::Text { text: said, .. } => {
                    append(&mut text, said);
                    blocks.push(text_block(said));
                }
                Part::Thinking(part) => {
                    if !part.facts.is_empty() {
                        extra = Extra::of(&part.facts);
                    }
                    append(&mut thinking, &part.text);
                    if !part.text.is_empty() {
                        let thinking = [Box::new(text_block(&part.text))];
                        blocks.push(Block::Thinking { thinking });
                    }
                }
                Part::Call {
                    id,
                    name,
                    arguments,
                    facts,
                } => out.tool_calls.push(OutgoingCall {
                    id,
                    kind: "function",
                    function: OutgoingFunction { name, arguments },
                    extra_content: facts.and_then(|facts| Extra::of(facts).extra_content),
                }),
                Part::Opaque(_) => {}
            }
        }
        let typed = self.add_reasoning(&mut out, thinking, extra);
        if typed && !blocks.is_empty() {
            out.content = Text::Blocks(blocks);
        } else if !text.is_empty() {
            out.content = Text::Plain(text);
        }
        out
    }

    /// Puts the reasoning where it came from. Says whether that is among the blocks of `content`.
    fn add_reasoning<'v>(
        &self,
        out: &mut Assistant<'v>,
        thinking: Cow<'v, str>,
        extra: Extra,
    ) -> bool {
        let wanted = match self.quirks.reasoning_replay {
            ReasoningReplay::Never => return false,
            ReasoningReplay::WithTools | ReasoningReplay::WithToolsOrEmpty => self.has_tools,
            ReasoningReplay::Always => true,
        };
        if extra.reasoning_details.is_some() {
            out.reasoning_details = extra.reasoning_details;
            return false;
        }
        let thinking = Some(thinking).filter(|text| wanted && !text.is_empty());
        match extra.field {
            Some(ReasoningField::Content) => return true,
            Some(ReasoningField::Reasoning) => out.reasoning = thinking,
            Some(ReasoningField::ReasoningContent) => out.reasoning_content = thinking,
            Some(ReasoningField::Tags) | None => {}
        }
        let must = self.quirks.reasoning_replay == ReasoningReplay::WithToolsOrEmpty;
        if must && wanted && out.reasoning.is_none() && out.reasoning_content.is_none() {
            out.reasoning_content = Some(Cow::Borrowed(""));
        }
        false
    }
}

/// Returns the content of a result, whose failure stands in its text.
fn result_of<'r>(result: &'r AnsweredCall<'_>) -> Text<'r> {
    let failure = result.is_error.then(|| text_block("error:"));
    let blocks = result.content.iter().map(|content| block_of(content));
    match joined(failure.into_iter().chain(blocks).collect()) {
        Text::Omitted | Text::Null => Text::Plain(Cow::Borrowed("(no output)")),
        content => content,
    }
}

fn block_of(content: &Content) -> Block<'_> {
    match content {
        Content::Text { text } => text_block(text),
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

fn text_block(text: &str) -> Block<'_> {
    Block::Text {
        text: Cow::Borrowed(text),
    }
}

/// One text is a plain string, several things are blocks.
fn content_of(mut blocks: Vec<Block<'_>>) -> Text<'_> {
    match (blocks.pop(), blocks.is_empty()) {
        (None, _) => Text::Omitted,
        (Some(Block::Text { text }), true) => Text::Plain(text),
        (Some(last), _) => {
            blocks.push(last);
            Text::Blocks(blocks)
        }
    }
}

/// The texts of a result are one text, line after line, unless an image stands among them.
fn joined(blocks: Vec<Block<'_>>) -> Text<'_> {
    let all_text = |block: &Block<'_>| matches!(block, Block::Text { .. });
    if !blocks.iter().all(all_text) {
        return Text::Blocks(blocks);
    }
    let mut joined: Option<Cow<'_, str>> = None;
    for block in blocks {
        if let Block::Text { text } = block {
            joined = Some(match joined {
                None => text,
                Some(so_far) => Cow::Owned(format!("{so_far}\n{text}")),
            });
        }
    }
    joined.map_or(Text::Omitted, Text::Plain)
}

fn append<'v>(so_far: &mut Cow<'v, str>, text: &'v str) {
    if so_far.is_empty() {
        *so_far = Cow::Borrowed(text);
    } else {
        so_far.to_mut().push_str(text);
    }
}
