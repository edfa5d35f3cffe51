//! Writes the messages of a request.

use std::sync::Arc;

use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Content, Entry, Identity, ImageSource,
    OpaquePart, Origin, PartFacts, RawJson, StopReason, TextPart, ThinkingPart, ToolCall,
};

use super::{CONTAINER, UnsignedThinking};
use crate::object::{Object, push_string};
use crate::surrogates::without_lone_surrogates;
use crate::tool_ids::{IdRule, ToolIds};

/// The ids of tool calls that the provider accepts.
const ID_RULE: IdRule = IdRule {
    chars_min: 1,
    chars_max: 64,
    accepts: |c| c.is_ascii_alphanumeric() || c == '_' || c == '-',
};

/// Who is asked: what only its author may read back is sent to the author alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) identity: Identity<'a>,
    pub(super) model: &'a str,
    pub(super) unsigned_thinking: UnsignedThinking,
}

impl Asked<'_> {
    fn is_service_of(&self, origin: &Origin) -> bool {
        *origin.protocol == *self.identity.protocol && *origin.provider == *self.identity.provider
    }

    fn is_author_of(&self, origin: &Origin) -> bool {
        self.is_service_of(origin) && *origin.model == *self.model
    }
}

/// The messages as JSON, and what else the conversation says.
#[derive(Debug)]
pub(super) struct Messages {
    /// The items of the array, without its brackets.
    pub(super) json: String,
    /// The id of the container that the last answer ran in.
    pub(super) container: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    User,
    Assistant,
}

/// Writes messages one block at a time. Blocks of the same role share a message.
struct Writer<'a> {
    asked: Asked<'a>,
    out: String,
    role: Option<Role>,
    /// Where the last blocks of the user messages end, the newest last.
    user_ends: Vec<usize>,
    ids: ToolIds,
    /// An assistant message was met.
    has_answer: bool,
    /// The text block that was written last, if nothing was written after it.
    last_text: Option<LastText<'a>>,
    container: Option<String>,
}

/// Where a text block begins, and what it says.
struct LastText<'a> {
    at: usize,
    part: &'a TextPart,
    message: &'a AssistantMessage,
}

/// Writes a conversation. `cache_control` is set after the last two user messages.
pub(super) fn messages<'a>(
    entries: &[&'a Entry],
    asked: Asked<'a>,
    cache_control: Option<&str>,
) -> Messages {
    let mut writer = Writer {
        asked,
        out: String::new(),
        role: None,
        user_ends: Vec::new(),
        ids: ToolIds::new(ID_RULE),
        has_answer: false,
        last_text: None,
        container: None,
    };
    let mut rest = entries;
    while let Some((entry, after)) = rest.split_first() {
        rest = after;
        match entry {
            Entry::User(message) => message
                .content
                .iter()
                .for_each(|content| writer.user(content)),
            Entry::Assistant(message) => writer.turn(message, after),
            // Later results are written with the calls that they answer.
            Entry::Results(results) if !writer.has_answer => {
                results.iter().for_each(|result| writer.tell(result));
            }
            Entry::Results(_) | Entry::Extension(_) => {}
        }
    }
    writer.trim_prefill();
    writer.close();
    if let Some(cache_control) = cache_control {
        for end in writer.user_ends.iter().rev().take(2) {
            writer.out.insert_str(end - 1, cache_control);
        }
    }
    Messages {
        json: writer.out,
        container: writer.container,
    }
}

impl<'a> Writer<'a> {
    /// Opens a block in a message of a role: what is pushed to `out` next is the block.
    fn open(&mut self, role: Role) {
        self.last_text = None;
        if self.role == Some(role) {
            self.out.push(',');
            return;
        }
        self.close();
        if !self.out.is_empty() {
            self.out.push(',');
        }
        self.out.push_str(match role {
            Role::User => "{\"role\":\"user\",\"content\":[",
            Role::Assistant => "{\"role\":\"assistant\",\"content\":[",
        });
        self.role = Some(role);
    }

    /// Closes the message that is open.
    fn close(&mut self) {
        if self.role == Some(Role::User) {
            self.user_ends.push(self.out.len());
        }
        if self.role.take().is_some() {
            self.out.push_str("]}");
        }
    }

    fn text(&mut self, role: Role, text: &str) {
        // The provider refuses a text without anything to read.
        if !text.trim().is_empty() {
            self.open(role);
            push_text(&mut self.out, text);
            self.out.push('}');
        }
    }

    fn user(&mut self, content: &Content) {
        match content {
            Content::Text { text } => self.text(Role::User, text),
            Content::Image { media_type, source } => {
                self.open(Role::User);
                push_image(&mut self.out, media_type, source);
            }
        }
    }

    /// Writes an answer and the results of its calls, which stand before the next answer.
    fn turn(&mut self, message: &'a AssistantMessage, after: &[&Entry]) {
        self.has_answer = true;
        let mut calls: Vec<(&Arc<ToolCall>, String)> = Vec::new();
        for part in &message.parts {
            match part {
                AssistantPart::Text(part) => self.answer(part, message),
                AssistantPart::Thinking(part) => self.thinking(part, &message.origin),
                AssistantPart::ToolCall(call) => {
                    let id = self.ids.next(&call.id).to_string();
                    self.call(call, &id, &message.origin);
                    calls.push((call, id));
                }
                AssistantPart::Opaque(part) => self.opaque(part, &message.origin),
            }
        }
        let results = after
            .iter()
            .take_while(|entry| !matches!(entry, Entry::Assistant(_)))
            .filter_map(|entry| match entry {
                Entry::Results(results) => Some(results.iter()),
                Entry::User(_) | Entry::Assistant(_) | Entry::Extension(_) => None,
            });
        self.results(&calls, results.flatten().collect());
    }

    fn answer(&mut self, part: &'a TextPart, message: &'a AssistantMessage) {
        if part.text.trim().is_empty() {
            return;
        }
        self.open(Role::Assistant);
        let at = self.out.len();
        self.push_answer(&part.text, &part.facts, &message.origin);
        self.last_text = Some(LastText { at, part, message });
    }

    fn push_answer(&mut self, text: &str, facts: &PartFacts, origin: &Origin) {
        push_text(&mut self.out, text);
        self.push_extra(facts, origin);
        self.out.push('}');
    }

    /// Trims the text that the model shall continue: the provider refuses white space at its end.
    /// A paused turn goes back unchanged.
    fn trim_prefill(&mut self) {
        let Some(LastText { at, part, message }) = self.last_text.take() else {
            return;
        };
        if self.role == Some(Role::Assistant) && message.stop_reason != StopReason::PauseTurn {
            self.out.truncate(at);
            self.push_answer(part.text.trim_end(), &part.facts, &message.origin);
        }
    }

    fn thinking(&mut self, part: &ThinkingPart, origin: &Origin) {
        let signature = part.facts.signature.as_deref().unwrap_or_default();
        let is_own = self.asked.is_author_of(origin);
        match self.asked.unsigned_thinking {
            _ if is_own && !signature.is_empty() => self.push_thinking(&part.text, signature),
            UnsignedThinking::Drop => {}
            UnsignedThinking::Text => self.text(Role::Assistant, &part.text),
            UnsignedThinking::Keep if is_own => self.push_thinking(&part.text, ""),
            UnsignedThinking::Keep => {}
        }
    }

    fn push_thinking(&mut self, text: &str, signature: &str) {
        self.open(Role::Assistant);
        self.out.push_str("{\"type\":\"thinking\",\"thinking\":");
        push_string(&mut self.out, text);
        self.out.push_str(",\"signature\":");
        push_string(&mut self.out, signature);
        self.out.push('}');
    }

    fn call(&mut self, call: &ToolCall, id: &str, origin: &Origin) {
        self.open(Role::Assistant);
        self.out.push_str("{\"type\":\"tool_use\",\"id\":");
        push_string(&mut self.out, id);
        self.out.push_str(",\"name\":");
        push_string(&mut self.out, &call.name);
        self.out.push_str(",\"input\":");
        match &call.arguments {
            Arguments::Object(object) => {
                self.out.push_str(&without_lone_surrogates(object.as_str()));
            }
            // The input must be an object, and the model shall see what it wrote.
            Arguments::Malformed { raw, .. } => {
                self.out.push_str("{\"malformed_arguments\":");
                push_string(&mut self.out, raw);
                self.out.push('}');
            }
        }
        self.push_extra(&call.facts, origin);
        self.out.push('}');
    }

    fn opaque(&mut self, part: &OpaquePart, origin: &Origin) {
        if part.kind == CONTAINER {
            if self.asked.is_service_of(origin)
                && let Ok(container) = Object::read(part.data.as_str())
                && let Some(id) = container.field("id")
            {
                self.container = Some(without_lone_surrogates(id).into_owned());
            }
            return;
        }
        let may_read = if part.kind == "redacted_thinking" {
            self.asked.is_author_of(origin)
        } else {
            self.asked.is_service_of(origin)
        };
        if may_read && part.data.is_object() {
            self.open(Role::Assistant);
            self.out
                .push_str(&without_lone_surrogates(part.data.as_str()));
        }
    }

    /// Appends what the provider sent beside a part, to the provider alone.
    fn push_extra(&mut self, facts: &PartFacts, origin: &Origin) {
        let extra = facts.extra.as_ref().map(RawJson::as_str);
        let Some(extra) = extra.filter(|_| self.asked.is_service_of(origin)) else {
            return;
        };
        let Ok(extra) = Object::read(extra) else {
            return;
        };
        for (name, value) in extra.into_fields() {
            self.out.push(',');
            push_string(&mut self.out, &name);
            self.out.push(':');
            self.out.push_str(&without_lone_surrogates(&value));
        }
    }

    /// Answers every call, in call order, before anything else that the user says.
    fn results(&mut self, calls: &[(&Arc<ToolCall>, String)], mut results: Vec<&CallResult>) {
        for (call, id) in calls {
            let at = results
                .iter()
                .position(|result| Arc::ptr_eq(&result.call, call))
                .or_else(|| results.iter().position(|result| result.call.id == call.id));
            let result = at.map(|at| results.remove(at));
            self.open(Role::User);
            self.out
                .push_str("{\"type\":\"tool_result\",\"tool_use_id\":");
            push_string(&mut self.out, id);
            match result {
                Some(result) => push_result(&mut self.out, &result.result),
                None => self.out.push_str(
                    ",\"content\":[{\"type\":\"text\",\"text\":\"no result was recorded\"}],\
                     \"is_error\":true",
                ),
            }
            self.out.push('}');
        }
        results.into_iter().for_each(|result| self.tell(result));
    }

    /// Tells a result whose call is not in the conversation any more, which no result may be.
    fn tell(&mut self, result: &CallResult) {
        let name = &result.call.name;
        self.text(
            Role::User,
            &format!("[result of an earlier call of `{name}`]"),
        );
        result
            .result
            .content
            .iter()
            .for_each(|content| self.user(content));
    }
}

fn push_text(out: &mut String, text: &str) {
    out.push_str("{\"type\":\"text\",\"text\":");
    push_string(out, text);
}

/// Appends an image, or what stands for it where the provider does not take its media type.
fn push_image(out: &mut String, media_type: &str, source: &ImageSource) {
    const ACCEPTED: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];
    match source {
        ImageSource::Base64(data) if ACCEPTED.contains(&media_type) => {
            out.push_str("{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":");
            push_string(out, media_type);
            out.push_str(",\"data\":");
            push_string(out, data);
            out.push_str("}}");
        }
        ImageSource::Url(url) => {
            out.push_str("{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":");
            push_string(out, url);
            out.push_str("}}");
        }
        ImageSource::Base64(_) => {
            let text = format!("[an image of type {media_type} was left out: use PNG or JPEG]");
            push_text(out, &text);
            out.push('}');
        }
    }
}

/// Appends the content of a result and whether it failed. A failed one holds text alone.
fn push_result(out: &mut String, result: &phi_types::ToolResult) {
    let mut is_first = true;
    let mut open = |out: &mut String| {
        out.push_str(if is_first { ",\"content\":[" } else { "," });
        is_first = false;
    };
    for content in &result.content {
        match content {
            Content::Text { text } if text.trim().is_empty() => {}
            Content::Text { text } => {
                open(out);
                push_text(out, text);
                out.push('}');
            }
            Content::Image { media_type, .. } if result.is_error => {
                open(out);
                push_text(
                    out,
                    &format!("[an image of type {media_type} was left out]"),
                );
                out.push('}');
            }
            Content::Image { media_type, source } => {
                open(out);
                push_image(out, media_type, source);
            }
        }
    }
    if !is_first {
        out.push(']');
    }
    if result.is_error {
        out.push_str(",\"is_error\":true");
    }
}
