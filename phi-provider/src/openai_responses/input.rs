//! Writes the conversation as the list `input`.

use std::borrow::Cow;

use phi_types::{AssistantPart, Content, ImageSource, OpaquePart, PartFacts, ThinkingPart};
use serde::Serialize;
use serde::ser::Serializer;

use super::facts::{
    COMPACTION, CUSTOM_CALL, FUNCTION_CALL, MESSAGE, REASONING, TEXT_OF_PART, extra_of, json_string,
};
use super::quirks::{
    CallOrder, CallStatus, PlainReasoning, Quirks, Storage, SystemPrompt, ToolImages,
};
use crate::object::Object;
use crate::tool_ids::IdRule;
use crate::translate::{
    Answer, AnsweredCall, Fate, Images, Kinship, Message, Part, ResultImages, Rules,
};
use crate::view_writer::{MessageWriter, Output};

/// The field that names the program, an item of the service, that made a call.
const CALLER: &str = "caller";

/// The longest id that a service takes.
const ID_CHARS_MAX: usize = 64;

/// Says what a service takes.
pub(super) fn rules(quirks: Quirks) -> Rules {
    let is_sent = quirks.plain_reasoning == PlainReasoning::Sent;
    let is_stored = quirks.storage == Storage::Stored;
    Rules {
        call_ids: IdRule {
            chars_min: 1,
            chars_max: ID_CHARS_MAX,
            accepts: |c| !c.is_control(),
        },
        unsigned_thinking: if is_sent || is_stored {
            Fate::Keep
        } else {
            Fate::Drop
        },
        foreign_thinking: Fate::Drop,
        // The phase of a message and the form of a call mean the same to every model of a service.
        facts_from: Kinship::Service,
        opaque_from: |kind| match kind {
            COMPACTION => Kinship::Service,
            _ => Kinship::Author,
        },
        images: Images::COMMON,
        result_images: match quirks.tool_images {
            ToolImages::InResult => ResultImages::InResult,
            ToolImages::AfterResults => ResultImages::AfterResults,
        },
        keeps_blank_text: true,
    }
}

/// Writes items one after the other, separated by commas.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct InputWriter {
    quirks: Quirks,
    /// The items of the latest answer went back under their ids.
    returned_ids: bool,
}

impl MessageWriter for InputWriter {
    fn message(&mut self, message: Message<'_>, out: &mut Output) {
        match message {
            Message::User(contents) => {
                let blocks = contents.iter().map(|content| block_of(content)).collect();
                let content = content_of(blocks);
                write(
                    out,
                    &Said {
                        role: "user",
                        content,
                    },
                );
            }
            Message::Assistant(answer) => self.answer(&answer, out),
            Message::Results(results) => {
                for result in &results {
                    self.write_result(result, out);
                }
            }
        }
    }
}

/// A message of the input that is no item of an output.
#[derive(Debug, Serialize)]
struct Said<'v> {
    role: &'static str,
    content: Text<'v>,
}

/// `content` or `output`: a plain string wherever that is enough.
#[derive(Debug)]
enum Text<'v> {
    Plain(Cow<'v, str>),
    Blocks(Vec<Block<'v>>),
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(text) => serializer.serialize_str(text),
            Self::Blocks(blocks) => blocks.serialize(serializer),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'v> {
    InputText { text: Cow<'v, str> },
    InputImage { image_url: Cow<'v, str> },
}

impl InputWriter {
    pub(super) fn new(quirks: Quirks) -> Self {
        Self {
            quirks,
            returned_ids: false,
        }
    }

    /// Returns the system prompt as the first of the items, without the comma after it.
    pub(super) fn system(&self, content: &str) -> Output {
        let mut out = Output::default();
        let role = match self.quirks.system_prompt {
            SystemPrompt::Instructions => return out,
            SystemPrompt::System => "system",
            SystemPrompt::Developer => "developer",
        };
        if !content.is_empty() {
            let content = Text::Plain(Cow::Borrowed(content));
            out.json(&Said { role, content });
        }
        out
    }

    fn answer(&mut self, answer: &Answer<'_>, out: &mut Output) {
        let returns_ids = returns_ids(answer);
        self.returned_ids = returns_ids;
        let followed = answer
            .parts
            .iter()
            .rposition(|part| !matches!(part, Part::Thinking(_)))
            .unwrap_or(0);
        let mut rest = answer.parts.as_slice();
        let mut at = 0;
        let mut calls = Output::default();
        while let Some((part, after)) = rest.split_first() {
            let mut taken = 1;
            match part {
                Part::Text { text, facts } => {
                    let facts = *facts;
                    let id = facts.and_then(|facts| item_id(facts, "msg_"));
                    let id = id.filter(|_| returns_ids);
                    taken += same_message(facts, after);
                    let texts = rest.get(..taken).unwrap_or_default();
                    match id {
                        Some(id) => write_message(id, texts, out),
                        None if text.is_empty() && taken == 1 => {}
                        None => write_plain(texts, out),
                    }
                }
                Part::Thinking(part) if at < followed => write_reasoning(part, out),
                // The service refuses reasoning that nothing follows.
                Part::Thinking(_) => {}
                Part::Call { .. } if self.quirks.call_order == CallOrder::Adjacent => {
                    self.write_call(part, &mut calls);
                }
                Part::Call { .. } => self.write_call(part, out),
                Part::Opaque(part) => write_opaque(part, returns_ids, out),
            }
            at += taken;
            rest = rest.get(taken..).unwrap_or_default();
        }
        if calls.position() > 0 {
            separate(out);
            out.raw(&calls.into_string());
        }
    }

    fn write_call(&self, part: &Part<'_>, out: &mut Output) {
        let Part::Call {
            id,
            name,
            arguments,
            facts,
        } = part
        else {
            return;
        };
        let mut extra = extra_of(*facts);
        let is_custom = is_custom(&mut extra);
        let mut call = Object::default();
        let kind = if is_custom {
            CUSTOM_CALL
        } else {
            FUNCTION_CALL
        };
        call.set("type", json_string(kind));
        let prefix = if is_custom { "ctc_" } else { "fc_" };
        let item = facts.and_then(|facts| item_id(facts, prefix));
        if let Some(item) = item.filter(|_| self.returned_ids) {
            call.set("id", json_string(item));
        }
        call.set("call_id", json_string(id));
        call.set("name", json_string(name));
        if is_custom {
            call.set("input", json_string(&input_of(arguments)));
        } else {
            call.set("arguments", json_string(arguments));
        }
        if self.quirks.call_status == CallStatus::Null {
            call.set("status", "null");
        }
        if !self.returned_ids {
            extra.remove(CALLER);
        }
        for (name, value) in extra.into_fields() {
            call.set(&name, value);
        }
        separate(out);
        out.raw(&call.text());
    }

    fn write_result(&self, result: &AnsweredCall<'_>, out: &mut Output) {
        let mut extra = extra_of(result.facts);
        let kind = if is_custom(&mut extra) {
            "custom_tool_call_output"
        } else {
            "function_call_output"
        };
        separate(out);
        out.raw("{\"type\":\"");
        out.raw(kind);
        out.raw("\",\"call_id\":");
        out.string(&result.id);
        out.raw(",\"output\":");
        out.json(&output_of(result));
        if let Some(caller) = extra.remove(CALLER).filter(|_| self.returned_ids) {
            out.raw(",\"caller\":");
            out.raw(&caller);
        }
        out.raw("}");
    }
}

/// Says whether the items go back under their ids: then the service looks for all that belonged to
/// them, and the reasoning must be there.
fn returns_ids(answer: &Answer<'_>) -> bool {
    let parts = answer.parts.iter();
    let returned = parts.filter(|part| matches!(part, Part::Thinking(_)));
    let parts = answer.source.parts.iter();
    let written = parts.filter(|part| matches!(part, AssistantPart::Thinking(_)));
    answer.kinship == Kinship::Author && returned.count() == written.count()
}

/// Returns the id of an item, unless the service would refuse it.
fn item_id<'f>(facts: &'f PartFacts, prefix: &str) -> Option<&'f str> {
    let id = facts.item_id.as_deref()?;
    (id.starts_with(prefix) && is_id(id)).then_some(id)
}

fn is_id(id: &str) -> bool {
    let accepts = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    !id.is_empty() && id.len() <= ID_CHARS_MAX && id.chars().all(accepts) && !id.ends_with('_')
}

/// Returns how many of the next parts belong to the same message.
fn same_message(facts: Option<&PartFacts>, after: &[Part<'_>]) -> usize {
    let Some(id) = facts.and_then(|facts| facts.item_id.as_deref()) else {
        return 0;
    };
    let same = |part: &&Part<'_>| {
        let Part::Text { facts, .. } = part else {
            return false;
        };
        facts.and_then(|facts| facts.item_id.as_deref()) == Some(id)
    };
    after.iter().take_while(same).count()
}

fn separate(out: &mut Output) {
    if out.position() > 0 {
        out.raw(",");
    }
}

fn write<T: Serialize>(out: &mut Output, item: &T) {
    separate(out);
    out.json(item);
}

/// Writes a message as the item that it was.
fn write_message(id: &str, texts: &[Part<'_>], out: &mut Output) {
    separate(out);
    out.raw("{\"type\":\"");
    out.raw(MESSAGE);
    out.raw("\",\"id\":");
    out.string(id);
    out.raw(",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[");
    let mut phase = None;
    for (nth, part) in texts.iter().enumerate() {
        let Part::Text { text, facts } = part else {
            continue;
        };
        let mut extra = extra_of(*facts);
        phase = extra.remove("phase").or(phase);
        if nth > 0 {
            out.raw(",");
        }
        if extra.remove("type").is_some() {
            out.raw("{\"type\":\"refusal\",\"refusal\":");
            out.string(text);
        } else {
            out.raw("{\"type\":\"output_text\",\"text\":");
            out.string(text);
            out.raw(",\"annotations\":");
            out.raw(extra.remove("annotations").as_deref().unwrap_or("[]"));
        }
        out.raw("}");
    }
    out.raw("]");
    write_phase(phase.as_deref(), out);
}

/// Writes a message of which the service need not know where it came from.
fn write_plain(texts: &[Part<'_>], out: &mut Output) {
    let mut joined = Cow::Borrowed("");
    let mut phase = None;
    for part in texts {
        if let Part::Text { text, facts } = part {
            phase = extra_of(*facts).remove("phase").or(phase);
            if joined.is_empty() {
                joined = Cow::Borrowed(&**text);
            } else {
                joined.to_mut().push_str(text);
            }
        }
    }
    separate(out);
    out.raw("{\"role\":\"assistant\",\"content\":");
    out.string(&joined);
    write_phase(phase.as_deref(), out);
}

/// Ends a message.
fn write_phase(phase: Option<&str>, out: &mut Output) {
    if let Some(phase) = phase {
        out.raw(",\"phase\":");
        out.raw(phase);
    }
    out.raw("}");
}

/// Writes a reasoning item as it came.
fn write_reasoning(part: &ThinkingPart, out: &mut Output) {
    let facts = &part.facts;
    if facts.is_empty() {
        return;
    }
    let mut extra = extra_of(Some(facts));
    let mut item = Object::default();
    item.set("type", json_string(REASONING));
    if let Some(id) = facts.item_id.as_deref().filter(|id| is_id(id)) {
        item.set("id", json_string(id));
    }
    let mut texts = |name: &str, kind: &str| {
        let given = extra.remove(name)?;
        if given == TEXT_OF_PART {
            let text = json_string(&part.text);
            return Some(Cow::Owned(format!(
                "[{{\"type\":\"{kind}\",\"text\":{text}}}]"
            )));
        }
        Some(given)
    };
    let summary = texts("summary", "summary_text");
    item.set("summary", summary.unwrap_or(Cow::Borrowed("[]")));
    if let Some(content) = texts("content", "reasoning_text") {
        item.set("content", content);
    }
    if let Some(encrypted) = &facts.signature {
        item.set("encrypted_content", json_string(encrypted));
    }
    for (name, value) in extra.into_fields() {
        item.set(&name, value);
    }
    separate(out);
    out.raw(&item.text());
}

/// Writes an item of the service's own as it came. Without the reasoning that it came from the
/// service refuses it, except for what stands for a conversation.
fn write_opaque(part: &OpaquePart, returns_ids: bool, out: &mut Output) {
    if returns_ids || part.kind == COMPACTION {
        separate(out);
        out.raw(part.data.as_str());
    }
}

/// Takes the type of a call out of its facts.
fn is_custom(extra: &mut Object<'_>) -> bool {
    let custom = json_string(CUSTOM_CALL);
    extra.remove("type").is_some_and(|kind| kind == custom)
}

/// Returns the input of a call of a custom tool; arguments that phi did not make are the input.
fn input_of(arguments: &str) -> Cow<'_, str> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        input: String,
    }
    let read = serde_json::from_str::<Arguments>(arguments);
    read.map_or(Cow::Borrowed(arguments), |read| Cow::Owned(read.input))
}

/// Returns the output of a call, whose failure stands in its text.
fn output_of<'r>(result: &'r AnsweredCall<'_>) -> Text<'r> {
    let failure = result.is_error.then_some(Block::InputText {
        text: Cow::Borrowed("error:"),
    });
    let blocks = result.content.iter().map(|content| block_of(content));
    let blocks: Vec<_> = failure.into_iter().chain(blocks).collect();
    let is_text = |block: &Block<'_>| matches!(block, Block::InputText { .. });
    if !blocks.iter().all(is_text) {
        return Text::Blocks(blocks);
    }
    let mut joined: Option<Cow<'_, str>> = None;
    for block in blocks {
        if let Block::InputText { text } = block {
            joined = Some(match joined {
                None => text,
                Some(so_far) => Cow::Owned(format!("{so_far}\n{text}")),
            });
        }
    }
    Text::Plain(joined.unwrap_or(Cow::Borrowed("(no output)")))
}

fn block_of(content: &Content) -> Block<'_> {
    match content {
        Content::Text { text } => Block::InputText {
            text: Cow::Borrowed(text),
        },
        Content::Image { media_type, source } => Block::InputImage {
            image_url: match source {
                ImageSource::Base64(data) => Cow::Owned(format!("data:{media_type};base64,{data}")),
                ImageSource::Url(url) => Cow::Borrowed(url.as_str()),
            },
        },
    }
}

/// One text is a plain string, several things are blocks.
fn content_of(mut blocks: Vec<Block<'_>>) -> Text<'_> {
    match (blocks.pop(), blocks.is_empty()) {
        (Some(Block::InputText { text }), true) => Text::Plain(text),
        (Some(last), _) => {
            blocks.push(last);
            Text::Blocks(blocks)
        }
        (None, _) => Text::Plain(Cow::Borrowed("")),
    }
}
