//! Writes the conversation as the list `contents`.

use phi_types::{Content, ImageSource, OpaquePart, PartFacts};

use super::decode::ASIDES;
use super::model::Generation;
use crate::object::Object;
use crate::surrogates::without_lone_surrogates;
use crate::translate::{
    Answer, AnsweredCall, Fate, IdRule, Images, Kinship, Message, Part, ResultImages, Rules,
};
use crate::view_writer::{MessageWriter, Output};

/// What stands for a signature that no model of the service made: Gemini 3 takes no call of the turn
/// without one.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// Says what a generation takes.
pub(super) fn rules(generation: Generation) -> Rules {
    Rules {
        // Ids of the service go back as they came, and others do not go.
        call_ids: IdRule {
            chars_min: 1,
            chars_max: usize::MAX,
            accepts: |_| true,
        },
        unsigned_thinking: Fate::Keep,
        foreign_thinking: Fate::Drop,
        facts_from: Kinship::Author,
        opaque_from: |_| Kinship::Author,
        images: Images {
            media_types: &[
                "image/jpeg",
                "image/png",
                "image/webp",
                "image/heic",
                "image/heif",
            ],
            urls: true,
        },
        result_images: match generation {
            Generation::Levels => ResultImages::InResult,
            Generation::ByName | Generation::Plain | Generation::Budgets => {
                ResultImages::AfterResults
            }
        },
        keeps_blank_text: true,
    }
}

/// Writes contents one after the other. Answers that follow each other share one, because a call
/// must follow what the user or a tool says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ContentWriter {
    /// Whether calls need a signature.
    needs_signature: bool,
    /// A content of the model is open.
    is_open: bool,
}

impl MessageWriter for ContentWriter {
    fn message(&mut self, message: Message<'_>, out: &mut Output) {
        match message {
            Message::User(contents) => {
                self.begin_user(out);
                let mut before = "";
                for content in &contents {
                    out.raw(before);
                    push_content(out, content);
                    before = ",";
                }
                out.raw("]}");
            }
            Message::Assistant(answer) => self.answer(&answer, out),
            Message::Results(results) => {
                self.begin_user(out);
                let mut before = "";
                for result in &results {
                    out.raw(before);
                    push_result(out, result);
                    before = ",";
                }
                out.raw("]}");
            }
        }
    }

    fn close(&mut self, out: &mut Output) {
        if std::mem::take(&mut self.is_open) {
            out.raw("]}");
        }
    }
}

impl ContentWriter {
    pub(super) fn new(generation: Generation) -> Self {
        Self {
            needs_signature: generation == Generation::Levels,
            is_open: false,
        }
    }

    fn begin_user(&mut self, out: &mut Output) {
        self.close(out);
        if out.position() > 0 {
            out.raw(",");
        }
        out.raw("{\"role\":\"user\",\"parts\":[");
    }

    /// Begins a part of the model.
    fn begin_part(&mut self, out: &mut Output) {
        if self.is_open {
            out.raw(",");
            return;
        }
        if out.position() > 0 {
            out.raw(",");
        }
        out.raw("{\"role\":\"model\",\"parts\":[");
        self.is_open = true;
    }

    fn answer(&mut self, answer: &Answer<'_>, out: &mut Output) {
        let mut is_first_call = true;
        for part in &answer.parts {
            match part {
                Part::Text { text, facts } => {
                    self.begin_part(out);
                    out.raw("{\"text\":");
                    out.string(text);
                    push_facts(out, *facts, None);
                    out.raw("}");
                }
                Part::Thinking(part) => {
                    self.begin_part(out);
                    out.raw("{\"text\":");
                    out.string(&part.text);
                    out.raw(",\"thought\":true");
                    push_facts(out, Some(&part.facts), None);
                    out.raw("}");
                }
                Part::Call {
                    id,
                    name,
                    arguments,
                    facts,
                } => {
                    self.begin_part(out);
                    out.raw("{\"functionCall\":{");
                    push_id(out, id, *facts);
                    out.raw("\"name\":");
                    out.string(name);
                    out.raw(",\"args\":");
                    out.raw(arguments);
                    out.raw("}");
                    // Of calls side by side the first one alone carries the signature.
                    let is_first = std::mem::take(&mut is_first_call);
                    let stand_in = NO_SIGNATURE;
                    let needed = (self.needs_signature && is_first).then_some(stand_in);
                    push_facts(out, *facts, needed);
                    out.raw("}");
                }
                Part::Opaque(part) => self.opaque(part, out),
            }
        }
    }

    fn opaque(&mut self, part: &OpaquePart, out: &mut Output) {
        if part.data.is_object() && !ASIDES.contains(&part.kind.as_str()) {
            self.begin_part(out);
            out.raw(&without_lone_surrogates(part.data.as_str()));
        }
    }
}

/// Appends the id of a call where the service gave it: it takes its own ids alone.
fn push_id(out: &mut Output, id: &str, facts: Option<&PartFacts>) {
    if facts.is_some_and(|facts| facts.item_id.is_some()) {
        out.raw("\"id\":");
        out.string(id);
        out.raw(",");
    }
}

/// Appends what the service sent beside a part, each field with a comma before it.
fn push_facts(out: &mut Output, facts: Option<&PartFacts>, stand_in: Option<&str>) {
    let signature = facts.and_then(|facts| facts.signature.as_deref());
    if let Some(signature) = signature.filter(|it| !it.is_empty()).or(stand_in) {
        out.raw(",\"thoughtSignature\":");
        out.string(signature);
    }
    let extra = facts.and_then(|facts| facts.extra.as_ref());
    let Some(Ok(extra)) = extra.map(|extra| Object::read(extra.as_str())) else {
        return;
    };
    for (name, value) in extra.into_fields() {
        out.raw(",");
        out.string(&name);
        out.raw(":");
        out.raw(&without_lone_surrogates(&value));
    }
}

fn push_content(out: &mut Output, content: &Content) {
    match content {
        Content::Text { text } => {
            out.raw("{\"text\":");
            out.string(text);
            out.raw("}");
        }
        Content::Image { media_type, source } => push_image(out, media_type, source),
    }
}

fn push_image(out: &mut Output, media_type: &str, source: &ImageSource) {
    let (kind, field, value) = match source {
        ImageSource::Base64(data) => ("inlineData", "data", data),
        ImageSource::Url(url) => ("fileData", "fileUri", url),
    };
    out.raw("{\"");
    out.raw(kind);
    out.raw("\":{");
    if !media_type.is_empty() {
        out.raw("\"mimeType\":");
        out.string(media_type);
        out.raw(",");
    }
    out.raw("\"");
    out.raw(field);
    out.raw("\":");
    out.string(value);
    out.raw("}}");
}

/// Appends a result. Its texts are one text under the name that the service gives to what a
/// function returned, or to how it failed.
fn push_result(out: &mut Output, result: &AnsweredCall<'_>) {
    let mut text = String::new();
    let mut images = Vec::new();
    let mut is_first = true;
    for content in &result.content {
        match &**content {
            Content::Text { text: line } => {
                if !std::mem::take(&mut is_first) {
                    text.push('\n');
                }
                text.push_str(line);
            }
            Content::Image { media_type, source } => images.push((media_type, source)),
        }
    }
    out.raw("{\"functionResponse\":{");
    push_id(out, &result.id, result.facts);
    out.raw("\"name\":");
    out.string(result.name);
    out.raw(if result.is_error {
        ",\"response\":{\"error\":"
    } else {
        ",\"response\":{\"output\":"
    });
    out.string(&text);
    out.raw("}");
    let mut before = ",\"parts\":[";
    for (media_type, source) in &images {
        out.raw(before);
        push_image(out, media_type, source);
        before = ",";
    }
    out.raw(if images.is_empty() { "}}" } else { "]}}" });
}
