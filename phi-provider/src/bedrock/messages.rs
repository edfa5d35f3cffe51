//! Writes the messages of a request.

use phi_types::{Content, ImageSource, PartFacts};

use super::family::{ModelFamily, is_word};
use crate::object::Object;
use crate::surrogates::without_lone_surrogates;
use crate::translate::{
    Answer, AnsweredCall, Fate, Images, Kinship, Message, Part, ResultImages, Rules,
};
use crate::view_writer::{MessageWriter, Output};

/// Says what a family of models takes.
pub(super) fn rules(family: ModelFamily) -> Rules {
    Rules {
        call_ids: family.call_ids(),
        // Only signed reasoning goes back, and only to the model that signed it: the others refuse
        // the field, or repeat what it says.
        unsigned_thinking: Fate::Drop,
        foreign_thinking: Fate::Drop,
        facts_from: Kinship::Author,
        opaque_from: |_| Kinship::Author,
        images: Images {
            media_types: MEDIA_TYPES,
            urls: false,
        },
        result_images: if family.takes_images_in_results() {
            ResultImages::InResultOfSuccess
        } else {
            ResultImages::AfterResults
        },
        keeps_blank_text: false,
    }
}

/// The media types of `FORMATS`.
const MEDIA_TYPES: &[&str] = &[
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "application/pdf",
    "text/csv",
    "text/html",
    "text/plain",
    "text/markdown",
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
];

/// The words of the protocol for the media types, in the same order.
const FORMATS: &[(&str, &str)] = &[
    ("image", "png"),
    ("image", "jpeg"),
    ("image", "gif"),
    ("image", "webp"),
    (DOCUMENT, "pdf"),
    (DOCUMENT, "csv"),
    (DOCUMENT, "html"),
    (DOCUMENT, "txt"),
    (DOCUMENT, "md"),
    (DOCUMENT, "doc"),
    (DOCUMENT, "xls"),
    (DOCUMENT, "docx"),
    (DOCUMENT, "xlsx"),
];

const DOCUMENT: &str = "document";

/// A block that says nothing, where the service insists on one.
const FILLER: &str = "{\"text\":\".\"}";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    User,
    Assistant,
}

/// Writes messages one block at a time. Blocks of the same role share a message, because the roles
/// must take turns.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct BlockWriter {
    role: Option<Role>,
    /// Where the content of the two newest user messages ends, unless no cache point may stand
    /// there.
    user_ends: [Option<usize>; 2],
    /// What was not written yet of a text that ends with white space: the service refuses such an
    /// end where the model shall continue the text.
    held: Option<String>,
    /// A call was written: the service then insists on tools.
    has_calls: bool,
    /// How many documents were written: their names must differ.
    documents: u32,
    message: UserContent,
    /// Whether nothing may stand beside the results of tools.
    results_stand_alone: bool,
}

/// What the user message that is open holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct UserContent {
    has_text: bool,
    has_document: bool,
    has_results: bool,
    /// No cache point may follow a document.
    ends_with_document: bool,
}

impl MessageWriter for BlockWriter {
    fn message(&mut self, message: Message<'_>, out: &mut Output) {
        match message {
            Message::User(contents) => {
                for content in &contents {
                    self.user(content, out);
                }
            }
            Message::Assistant(answer) => self.answer(&answer, out),
            Message::Results(results) => {
                for result in &results {
                    self.open(Role::User, out);
                    self.result(result, out);
                }
            }
        }
    }

    fn close(&mut self, out: &mut Output) {
        if self.held.take().is_some() {
            out.raw("\"}");
        }
        self.close_message(out);
    }
}

impl BlockWriter {
    pub(super) fn new(family: ModelFamily) -> Self {
        Self {
            results_stand_alone: family.wants_results_alone(),
            ..Self::default()
        }
    }

    /// Returns where a cache point goes into the two newest user messages, newest first.
    pub(super) fn cache_points(&self) -> impl Iterator<Item = usize> {
        self.user_ends.iter().flatten().copied()
    }

    pub(super) fn has_calls(&self) -> bool {
        self.has_calls
    }

    fn user(&mut self, content: &Content, out: &mut Output) {
        let is_document = is_document(content);
        if self.message.has_results && (self.results_stand_alone || is_document) {
            self.open(Role::Assistant, out);
            out.raw(FILLER);
        }
        self.open(Role::User, out);
        self.content(content, out);
        self.message.has_text |= matches!(content, Content::Text { .. });
        self.message.has_document |= is_document;
        self.message.ends_with_document = is_document;
    }

    /// Opens a block in a message of a role: what is written next is the block.
    fn open(&mut self, role: Role, out: &mut Output) {
        if let Some(white) = self.held.take() {
            out.raw(&white);
            out.raw("\"}");
        }
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
        self.message = UserContent::default();
    }

    fn close_message(&mut self, out: &mut Output) {
        if self.role == Some(Role::User) {
            let content = std::mem::take(&mut self.message);
            let mut ends_with_document = content.ends_with_document;
            if content.has_document && !content.has_text {
                // A document must not stand without a text.
                out.raw(",");
                out.raw(FILLER);
                ends_with_document = false;
            }
            let [newest, _] = self.user_ends;
            let end = (!ends_with_document).then_some(out.position());
            self.user_ends = [end, newest];
        }
        if self.role.take().is_some() {
            out.raw("]}");
        }
    }

    fn answer(&mut self, answer: &Answer<'_>, out: &mut Output) {
        for part in &answer.parts {
            match part {
                Part::Text { text, facts } => self.text(text, *facts, out),
                Part::Thinking(part) => {
                    self.open(Role::Assistant, out);
                    out.raw("{\"reasoningContent\":{\"reasoningText\":{\"text\":");
                    out.string(&part.text);
                    out.raw(",\"signature\":");
                    out.string(part.facts.signature.as_deref().unwrap_or_default());
                    out.raw("}}}");
                }
                Part::Call {
                    id,
                    name,
                    arguments,
                    facts: _,
                } => {
                    self.open(Role::Assistant, out);
                    self.has_calls = true;
                    out.raw("{\"toolUse\":{\"toolUseId\":");
                    out.string(id);
                    out.raw(",\"name\":");
                    out.string(&tool_name(name));
                    out.raw(",\"input\":");
                    out.raw(arguments);
                    out.raw("}}");
                }
                Part::Opaque(part) => {
                    if part.data.is_object() {
                        self.open(Role::Assistant, out);
                        // A tool that the service ran is a call to it as well.
                        let block = Object::read(part.data.as_str());
                        self.has_calls |= block.is_ok_and(|it| it.field("toolUse").is_some());
                        out.raw(&without_lone_surrogates(part.data.as_str()));
                    }
                }
            }
        }
    }

    fn text(&mut self, text: &str, facts: Option<&PartFacts>, out: &mut Output) {
        // The service refuses a text without anything to read, whatever stands beside it.
        if text.trim().is_empty() {
            return;
        }
        self.open(Role::Assistant, out);
        if let Some(citations) = citations(facts) {
            out.raw("{\"citationsContent\":{\"content\":[{\"text\":");
            out.string(text);
            out.raw("}],\"citations\":");
            out.raw(&citations);
            out.raw("}}");
            return;
        }
        out.raw("{\"text\":");
        let (said, white) = text.split_at(text.trim_end().len());
        if white.is_empty() {
            out.string(text);
            out.raw("}");
        } else {
            out.open_string(said);
            self.held = Some(inner_json(white));
        }
    }

    fn result(&mut self, result: &AnsweredCall<'_>, out: &mut Output) {
        out.raw("{\"toolResult\":{\"toolUseId\":");
        out.string(&result.id);
        out.raw(",\"content\":[");
        for (at, content) in result.content.iter().enumerate() {
            if at > 0 {
                out.raw(",");
            }
            self.content(content, out);
        }
        if result.content.is_empty() {
            out.raw("{\"text\":\"(no output)\"}");
        }
        out.raw("]");
        if result.is_error {
            out.raw(",\"status\":\"error\"");
        }
        out.raw("}}");
        self.message.has_results = true;
        self.message.ends_with_document = false;
    }

    /// Writes a text, an image or a document.
    fn content(&mut self, content: &Content, out: &mut Output) {
        let (media_type, data) = match content {
            Content::Text { text } => {
                out.raw("{\"text\":");
                out.string(text);
                out.raw("}");
                return;
            }
            Content::Image { media_type, source } => match source {
                ImageSource::Base64(data) | ImageSource::Url(data) => (media_type, data),
            },
        };
        let (kind, format) = format_of(media_type);
        out.raw("{\"");
        out.raw(kind);
        out.raw("\":{\"format\":");
        out.string(format);
        if kind == DOCUMENT {
            self.documents = self.documents.saturating_add(1);
            out.raw(",\"name\":");
            out.string(&format!("Document {}", self.documents));
        }
        out.raw(",\"source\":{\"bytes\":");
        out.string(data);
        out.raw("}}}");
    }
}

/// Returns the words of the protocol for a media type.
fn format_of(media_type: &str) -> (&'static str, &'static str) {
    let known = MEDIA_TYPES.iter().position(|known| *known == media_type);
    let known = known.and_then(|at| FORMATS.get(at));
    known.copied().unwrap_or(("image", "png"))
}

fn is_document(content: &Content) -> bool {
    match content {
        Content::Text { .. } => false,
        Content::Image { media_type, .. } => format_of(media_type).0 == DOCUMENT,
    }
}

/// Returns a text as JSON without its quotes.
fn inner_json(text: &str) -> String {
    let mut out = Output::default();
    out.open_string(text);
    let json = out.into_string();
    json.strip_prefix('"').map(str::to_owned).unwrap_or(json)
}

/// Returns what a text cites, as a JSON array.
fn citations(facts: Option<&PartFacts>) -> Option<String> {
    let extra = Object::read(facts?.extra.as_ref()?.as_str()).ok()?;
    let citations = extra.field("citations")?;
    let is_list = citations.trim_start().starts_with('[');
    is_list.then(|| without_lone_surrogates(citations).into_owned())
}

/// Makes the name of a tool that another service allowed one that this service does.
fn tool_name(name: &str) -> String {
    const CHARS_MAX: usize = 64;
    let kept = |c| if is_word(c) { c } else { '_' };
    name.chars().map(kept).take(CHARS_MAX).collect()
}
