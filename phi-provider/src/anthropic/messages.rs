//! Writes the messages of a request.

use phi_types::{Content, ImageSource, OpaquePart, PartFacts, StopReason};

use super::{CONTAINER, UnsignedThinking};
use crate::object::Object;
use crate::surrogates::without_lone_surrogates;
use crate::translate::{
    Answer, AnsweredCall, Fate, IdRule, Images, Kinship, Message, Part, ResultImages, Rules,
};
use crate::view_writer::{MessageWriter, Output};

/// Says what the provider takes.
pub(super) fn rules(unsigned_thinking: UnsignedThinking) -> Rules {
    let (unsigned_thinking, foreign_thinking) = match unsigned_thinking {
        UnsignedThinking::Drop => (Fate::Drop, Fate::Drop),
        UnsignedThinking::Text => (Fate::Text, Fate::Text),
        UnsignedThinking::Keep => (Fate::Keep, Fate::Drop),
    };
    Rules {
        call_ids: IdRule {
            chars_min: 1,
            chars_max: 64,
            accepts: |c| c.is_ascii_alphanumeric() || c == '_' || c == '-',
        },
        unsigned_thinking,
        foreign_thinking,
        facts_from: Kinship::Service,
        opaque_from: |kind| match kind {
            "redacted_thinking" => Kinship::Author,
            _ => Kinship::Service,
        },
        images: Images::COMMON,
        result_images: ResultImages::InResultOfSuccess,
        keeps_blank_text: false,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    User,
    Assistant,
}

/// Writes messages one block at a time. Blocks of the same role share a message.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct BlockWriter {
    role: Option<Role>,
    /// Where the last blocks of the two newest user messages end.
    user_ends: [Option<usize>; 2],
    /// What was not written yet of a text that ends with white space: the provider refuses such an
    /// end where the model shall continue the text.
    held: Option<HeldText>,
    /// The id of the container that the last answer ran in, as JSON.
    container: Option<String>,
}

/// The rest of a text block, as JSON.
#[derive(Debug, Clone, PartialEq)]
struct HeldText {
    white: String,
    /// The closing quote and what follows it.
    rest: String,
}

impl MessageWriter for BlockWriter {
    fn message(&mut self, message: Message<'_>, out: &mut Output) {
        match message {
            Message::User(contents) => {
                for content in &contents {
                    self.open(Role::User, out);
                    push_content(out, content);
                }
            }
            Message::Assistant(answer) => self.answer(&answer, out),
            Message::Results(results) => {
                for result in &results {
                    self.open(Role::User, out);
                    push_result(out, result);
                }
            }
        }
    }

    fn close(&mut self, out: &mut Output) {
        if let Some(HeldText { rest, .. }) = self.held.take() {
            out.raw(&rest);
        }
        self.close_message(out);
    }
}

impl BlockWriter {
    /// Returns where a cache breakpoint goes into the two newest user messages, newest first.
    pub(super) fn breakpoints(&self) -> impl Iterator<Item = usize> {
        // Before the brace that ends the last block.
        self.user_ends.iter().flatten().map(|end| end - 1)
    }

    /// Returns the id of the container that the last answer ran in, as JSON.
    pub(super) fn container(&self) -> Option<&str> {
        self.container.as_deref()
    }

    /// Opens a block in a message of a role: what is written next is the block.
    fn open(&mut self, role: Role, out: &mut Output) {
        self.release(out);
        if self.role == Some(role) {
            out.raw(",");
            return;
        }
        self.close_message(out);
        if out.position() > 0 {
            out.raw(",");
        }
        out.raw(match role {
            Role::User => "{\"role\":\"user\",\"content\":[",
            Role::Assistant => "{\"role\":\"assistant\",\"content\":[",
        });
        self.role = Some(role);
    }

    /// Writes what was held back: something follows it.
    fn release(&mut self, out: &mut Output) {
        if let Some(HeldText { white, rest }) = self.held.take() {
            out.raw(&white);
            out.raw(&rest);
        }
    }

    fn close_message(&mut self, out: &mut Output) {
        if self.role == Some(Role::User) {
            self.user_ends = [Some(out.position()), self.user_ends[0]];
        }
        if self.role.take().is_some() {
            out.raw("]}");
        }
    }

    fn answer(&mut self, answer: &Answer<'_>, out: &mut Output) {
        // A paused turn goes back unchanged.
        let may_trim = answer.source.stop_reason != StopReason::PauseTurn;
        for part in &answer.parts {
            match part {
                Part::Text { text, facts } => self.text(text, *facts, may_trim, out),
                Part::Thinking(part) => {
                    self.open(Role::Assistant, out);
                    out.raw("{\"type\":\"thinking\",\"thinking\":");
                    out.string(&part.text);
                    out.raw(",\"signature\":");
                    out.string(part.facts.signature.as_deref().unwrap_or_default());
                    out.raw("}");
                }
                Part::Call {
                    id,
                    name,
                    arguments,
                    facts,
                } => {
                    self.open(Role::Assistant, out);
                    out.raw("{\"type\":\"tool_use\",\"id\":");
                    out.string(id);
                    out.raw(",\"name\":");
                    out.string(name);
                    out.raw(",\"input\":");
                    out.raw(arguments);
                    out.raw(&extra_fields(*facts));
                    out.raw("}");
                }
                Part::Opaque(part) => self.opaque(part, out),
            }
        }
    }

    fn text(&mut self, text: &str, facts: Option<&PartFacts>, may_trim: bool, out: &mut Output) {
        // The provider refuses a text without anything to read, whatever stands beside it.
        if text.trim().is_empty() {
            return;
        }
        self.open(Role::Assistant, out);
        out.raw("{\"type\":\"text\",\"text\":");
        let (said, white) = text.split_at(text.trim_end().len());
        let rest = extra_fields(facts) + "}";
        if white.is_empty() || !may_trim {
            out.string(text);
            out.raw(&rest);
            return;
        }
        out.open_string(said);
        self.held = Some(HeldText {
            white: inner_json(white),
            rest: format!("\"{rest}"),
        });
    }

    fn opaque(&mut self, part: &OpaquePart, out: &mut Output) {
        if part.kind == CONTAINER {
            if let Ok(container) = Object::read(part.data.as_str())
                && let Some(id) = container.field("id")
            {
                self.container = Some(without_lone_surrogates(id).into_owned());
            }
        } else if part.data.is_object() {
            self.open(Role::Assistant, out);
            out.raw(&without_lone_surrogates(part.data.as_str()));
        }
    }
}

/// Returns a text as JSON without its quotes.
fn inner_json(text: &str) -> String {
    let mut out = Output::default();
    out.open_string(text);
    let json = out.into_string();
    json.strip_prefix('"').map(str::to_owned).unwrap_or(json)
}

/// Returns what the provider sent beside a part, each field with a comma before it.
fn extra_fields(facts: Option<&PartFacts>) -> String {
    let extra = facts.and_then(|facts| facts.extra.as_ref());
    let Some(Ok(extra)) = extra.map(|extra| Object::read(extra.as_str())) else {
        return String::new();
    };
    let mut out = Output::default();
    for (name, value) in extra.into_fields() {
        out.raw(",");
        out.string(&name);
        out.raw(":");
        out.raw(&without_lone_surrogates(&value));
    }
    out.into_string()
}

fn push_content(out: &mut Output, content: &Content) {
    match content {
        Content::Text { text } => {
            out.raw("{\"type\":\"text\",\"text\":");
            out.string(text);
            out.raw("}");
        }
        Content::Image { media_type, source } => {
            out.raw("{\"type\":\"image\",\"source\":");
            match source {
                ImageSource::Base64(data) => {
                    out.raw("{\"type\":\"base64\",\"media_type\":");
                    out.string(media_type);
                    out.raw(",\"data\":");
                    out.string(data);
                }
                ImageSource::Url(url) => {
                    out.raw("{\"type\":\"url\",\"url\":");
                    out.string(url);
                }
            }
            out.raw("}}");
        }
    }
}

fn push_result(out: &mut Output, result: &AnsweredCall<'_>) {
    out.raw("{\"type\":\"tool_result\",\"tool_use_id\":");
    out.string(&result.id);
    let mut before = ",\"content\":[";
    for content in &result.content {
        out.raw(before);
        push_content(out, content);
        before = ",";
    }
    if !result.content.is_empty() {
        out.raw("]");
    }
    if result.is_error {
        out.raw(",\"is_error\":true");
    }
    out.raw("}");
}
