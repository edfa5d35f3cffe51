//! Writes the conversation as the list `messages`.

use std::borrow::Cow;

use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Content, Entry, ImageSource, Origin,
    RawJson, ToolCall, UserMessage,
};
use serde::Serialize;
use serde::ser::Serializer;

use super::facts::{Extra, ReasoningField};
use super::quirks::{EmptyContent, Quirks, ReasoningReplay, SystemRole, ToolImages};
use crate::surrogates::without_lone_surrogates;
use crate::tool_ids::ToolIds;

/// One message of the body.
#[derive(Debug, Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Outgoing<'v> {
    System {
        content: &'v str,
    },
    Developer {
        content: &'v str,
    },
    User {
        content: Text<'v>,
    },
    Assistant(Assistant<'v>),
    Tool {
        tool_call_id: &'v str,
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
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    function: OutgoingFunction<'v>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<RawJson>,
}

#[derive(Debug, Serialize)]
struct OutgoingFunction<'v> {
    name: &'v str,
    arguments: Cow<'v, str>,
}

/// Writes messages one after the other, separated by commas.
#[derive(Debug)]
pub(super) struct MessageWriter<'v> {
    quirks: Quirks,
    /// Who would write the answer: what a service wants back goes only to itself.
    origin: &'v Origin,
    has_tools: bool,
    ids: ToolIds,
    json: Vec<u8>,
}

impl<'v> MessageWriter<'v> {
    pub(super) fn new(quirks: Quirks, origin: &'v Origin, has_tools: bool) -> Self {
        Self {
            quirks,
            origin,
            has_tools,
            ids: ToolIds::new(quirks.call_ids.rule()),
            json: vec![b'['],
        }
    }

    /// Returns the length of what is written so far.
    pub(super) fn len(&self) -> usize {
        self.json.len()
    }

    /// Returns the list.
    pub(super) fn into_list(mut self) -> Vec<u8> {
        self.json.push(b']');
        self.json
    }

    /// Writes the system prompt.
    pub(super) fn system(&mut self, content: &str) -> serde_json::Result<()> {
        if content.is_empty() {
            return Ok(());
        }
        self.write(&match self.quirks.system_role {
            SystemRole::System => Outgoing::System { content },
            SystemRole::Developer => Outgoing::Developer { content },
        })
    }

    /// Writes one entry; `next` is the one after it.
    pub(super) fn entry(
        &mut self,
        entry: &'v Entry,
        next: Option<&'v Entry>,
    ) -> serde_json::Result<()> {
        match entry {
            Entry::User(message) => self.user(message),
            Entry::Assistant(message) => {
                let results = match next {
                    Some(Entry::Results(results)) => &**results,
                    Some(Entry::User(_) | Entry::Assistant(_) | Entry::Extension(_)) | None => &[],
                };
                self.assistant(message, results)
            }
            // Results are written with the message whose calls they answer.
            Entry::Results(_) | Entry::Extension(_) => Ok(()),
        }
    }

    fn user(&mut self, message: &UserMessage) -> serde_json::Result<()> {
        let blocks = message.content.iter().filter_map(block_of).collect();
        match content_of(blocks) {
            Text::Omitted | Text::Null => Ok(()),
            content => self.write(&Outgoing::User { content }),
        }
    }

    fn assistant(
        &mut self,
        message: &'v AssistantMessage,
        results: &'v [CallResult],
    ) -> serde_json::Result<()> {
        let calls: Vec<(String, &'v ToolCall)> = message
            .tool_calls()
            .map(|call| (self.ids.next(&call.id).to_string(), &**call))
            .collect();
        let mut out = self.parts(message);
        out.tool_calls = calls
            .iter()
            .map(|(id, call)| self.call(id.clone(), call, message))
            .collect();
        let says_nothing = out.content.is_omitted();
        if says_nothing && out.tool_calls.is_empty() {
            return Ok(());
        }
        if says_nothing {
            out.content = match self.quirks.empty_content {
                EmptyContent::Null => Text::Null,
                EmptyContent::Empty => Text::Plain(Cow::Borrowed("")),
                EmptyContent::Omitted => Text::Omitted,
            };
        }
        self.write(&Outgoing::Assistant(out))?;
        self.results(&calls, results)
    }

    fn parts(&self, message: &'v AssistantMessage) -> Assistant<'v> {
        let is_own = self.is_own(message);
        let mut out = Assistant::default();
        let mut text = Cow::Borrowed("");
        let mut blocks = Vec::new();
        let mut extra = Extra::default();
        let mut thinking = Cow::Borrowed("");
        for part in &message.parts {
            match part {
                AssistantPart::Text(part) if part.text.is_empty() => {}
                AssistantPart::Text(part) => {
                    append(&mut text, &part.text);
                    blocks.push(text_block(&part.text));
                }
                AssistantPart::Thinking(part) if is_own => {
                    if !part.facts.is_empty() {
                        extra = Extra::of(&part.facts);
                    }
                    append(&mut thinking, &part.text);
                    if !part.text.is_empty() {
                        let thinking = [Box::new(text_block(&part.text))];
                        blocks.push(Block::Thinking { thinking });
                    }
                }
                AssistantPart::Thinking(_)
                | AssistantPart::ToolCall(_)
                | AssistantPart::Opaque(_) => {}
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
    fn add_reasoning(&self, out: &mut Assistant<'v>, thinking: Cow<'v, str>, extra: Extra) -> bool {
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

    fn call(&self, id: String, call: &'v ToolCall, message: &AssistantMessage) -> OutgoingCall<'v> {
        let extra = if self.is_own(message) {
            Extra::of(&call.facts)
        } else {
            Extra::default()
        };
        let arguments = match &call.arguments {
            Arguments::Object(object) => without_lone_surrogates(object.as_str()),
            // Servers that fill templates parse the arguments of the past again.
            Arguments::Malformed { raw, .. } => {
                Cow::Owned(serde_json::json!({ "malformed_arguments": raw }).to_string())
            }
        };
        OutgoingCall {
            id,
            kind: "function",
            function: OutgoingFunction {
                name: &call.name,
                arguments,
            },
            extra_content: extra.extra_content,
        }
    }

    /// Writes one result for each call, in call order, right after the calls.
    fn results(
        &mut self,
        calls: &[(String, &'v ToolCall)],
        results: &'v [CallResult],
    ) -> serde_json::Result<()> {
        let mut images = Vec::new();
        for (nth, (id, call)) in calls.iter().enumerate() {
            let matches = |result: &&CallResult| result.call.id == call.id;
            let result = match results.get(nth).filter(matches) {
                Some(result) => Some(result),
                None => results.iter().find(matches),
            };
            let content = match result {
                Some(result) => self.result(result, &mut images),
                None => Text::Plain(Cow::Borrowed("error: the call has no result")),
            };
            let tool_call_id = id.as_str();
            self.write(&Outgoing::Tool {
                tool_call_id,
                content,
            })?;
        }
        if images.is_empty() {
            return Ok(());
        }
        let content = Text::Blocks(images);
        self.write(&Outgoing::User { content })
    }

    fn result<'r>(&self, result: &'r CallResult, images: &mut Vec<Block<'r>>) -> Text<'r> {
        let CallResult { call, result } = result;
        let mut blocks: Vec<Block<'r>> = Vec::new();
        if result.is_error {
            blocks.push(text_block("error:"));
        }
        let mut moved = Vec::new();
        for block in result.content.iter().filter_map(block_of) {
            match (block, self.quirks.tool_images) {
                (block @ Block::ImageUrl { .. }, ToolImages::AfterResults) => moved.push(block),
                (block, _) => blocks.push(block),
            }
        }
        if !moved.is_empty() {
            blocks.push(text_block(
                "(the next user message shows the image of this result)",
            ));
            let told = format!("the image of the result of tool `{}`:", call.name);
            images.push(Block::Text {
                text: Cow::Owned(told),
            });
            images.append(&mut moved);
        }
        match result_of(blocks) {
            Text::Omitted | Text::Null => Text::Plain(Cow::Borrowed("(no output)")),
            content => content,
        }
    }

    fn is_own(&self, message: &AssistantMessage) -> bool {
        let origin = &message.origin;
        origin.protocol == self.origin.protocol
            && origin.provider == self.origin.provider
            && origin.model == self.origin.model
    }

    fn write(&mut self, message: &Outgoing<'_>) -> serde_json::Result<()> {
        if self.json.len() > 1 {
            self.json.push(b',');
        }
        serde_json::to_writer(&mut self.json, message)
    }
}

fn block_of(content: &Content) -> Option<Block<'_>> {
    Some(match content {
        Content::Text { text } if text.is_empty() => return None,
        Content::Text { text } => text_block(text),
        Content::Image { media_type, source } => {
            let url = match source {
                ImageSource::Base64(data) => Cow::Owned(format!("data:{media_type};base64,{data}")),
                ImageSource::Url(url) => Cow::Borrowed(url.as_str()),
            };
            let image_url = ImageUrl { url };
            Block::ImageUrl { image_url }
        }
    })
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
fn result_of(blocks: Vec<Block<'_>>) -> Text<'_> {
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
