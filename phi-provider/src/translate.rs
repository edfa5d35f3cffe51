//! Translates a conversation for the model that shall read it, and says what that cost.

use std::borrow::Cow;
use std::sync::Arc;

use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Content, Entry, History, Identity,
    ImageSource, OpaquePart, Origin, PartFacts, TextPart, ThinkingPart, ToolCall, ToolResult,
};

use crate::surrogates::without_lone_surrogates;
pub use crate::tool_ids::IdRule;
use crate::tool_ids::ToolIds;

/// The model that shall read a conversation.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The protocol and the service.
    pub identity: Identity<'a>,
    /// The name of the model.
    pub model: &'a str,
}

/// How near the author of a message is to its reader. A later one is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kinship {
    /// Another protocol or another service.
    Foreign,
    /// Another model of the same service, over the same protocol.
    Service,
    /// The reader itself.
    Author,
}

impl Reader<'_> {
    /// Says how near the author of a message is.
    #[must_use]
    pub fn kinship(&self, origin: &Origin) -> Kinship {
        if *origin.protocol != *self.identity.protocol
            || *origin.provider != *self.identity.provider
        {
            Kinship::Foreign
        } else if *origin.model == *self.model {
            Kinship::Author
        } else {
            Kinship::Service
        }
    }
}

/// What a reader takes, and what becomes of the rest.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The ids of calls that it accepts.
    pub call_ids: IdRule,
    /// What becomes of thinking of the reader that has no signature.
    pub unsigned_thinking: Fate,
    /// What becomes of thinking that others wrote.
    pub foreign_thinking: Fate,
    /// How near an author must be, so that the provider's facts of texts and calls (signatures,
    /// item ids, extra fields) go back.
    pub facts_from: Kinship,
    /// How near an author must be, so that an opaque part of this kind goes back.
    pub opaque_from: fn(kind: &str) -> Kinship,
    /// The images that it takes.
    pub images: Images,
    /// Where the images of tool results go.
    pub result_images: ResultImages,
    /// Whether a text of white space alone stays.
    pub keeps_blank_text: bool,
}

/// What becomes of something that cannot stay what it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fate {
    /// It stays all the same.
    Keep,
    /// It becomes text.
    Text,
    /// It is left out.
    #[default]
    Drop,
}

/// The images that a reader takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Images {
    /// The media types of images that travel within the request, `*` for all; none where it is
    /// empty.
    pub media_types: &'static [&'static str],
    /// Whether images may be given by their address.
    pub urls: bool,
}

impl Images {
    /// The reader takes no image.
    pub const NONE: Self = Self {
        media_types: &[],
        urls: false,
    };
    /// The formats that every service with eyes takes, also by address.
    pub const COMMON: Self = Self {
        media_types: &["image/jpeg", "image/png", "image/gif", "image/webp"],
        urls: true,
    };

    /// The reader takes images of every type: the model itself says which it does not.
    pub const ALL: Self = Self {
        media_types: &["*"],
        urls: true,
    };

    fn takes(self, media_type: &str, source: &ImageSource) -> bool {
        match source {
            ImageSource::Base64(_) => {
                self.media_types.contains(&"*") || self.media_types.contains(&media_type)
            }
            ImageSource::Url(_) => self.urls,
        }
    }
}

/// Where the images of tool results go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResultImages {
    /// In the result.
    InResult,
    /// In the result, unless the tool failed: then they are left out.
    InResultOfSuccess,
    /// In a user message after all results of the turn.
    #[default]
    AfterResults,
}

/// One message as the reader takes it. None is empty.
#[derive(Debug, Clone, PartialEq)]
pub enum Message<'v> {
    /// What the user says.
    User(Vec<Cow<'v, Content>>),
    /// What a model answered.
    Assistant(Answer<'v>),
    /// The results of all calls of the answer before, one for each, in call order. Nothing stands
    /// between them and the answer.
    Results(Vec<AnsweredCall<'v>>),
}

/// What a model answered, as the reader takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<'v> {
    /// At least one part.
    pub parts: Vec<Part<'v>>,
    /// How near its author is to the reader.
    pub kinship: Kinship,
    /// The message that was translated.
    pub source: &'v AssistantMessage,
}

/// A part of an answer as the reader takes it.
#[derive(Debug, Clone, PartialEq)]
pub enum Part<'v> {
    /// Text. It is not empty, and not blank unless blank text stays or a fact of it goes back.
    Text {
        /// The text.
        text: Cow<'v, str>,
        /// What goes back beside it, where something does.
        facts: Option<&'v PartFacts>,
    },
    /// Thinking that the reader takes as thinking.
    Thinking(&'v ThinkingPart),
    /// A call.
    Call {
        /// The id that the reader accepts; no other call of the conversation has it.
        id: Arc<str>,
        /// The name of the tool.
        name: &'v str,
        /// The arguments as the text of a JSON object.
        arguments: Cow<'v, str>,
        /// What goes back beside it, where something does.
        facts: Option<&'v PartFacts>,
    },
    /// Something of the provider that only it understands, which goes back as it came.
    Opaque(&'v OpaquePart),
}

/// The result of one call as the reader takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct AnsweredCall<'v> {
    /// The id of the call, as it stands in the answer.
    pub id: Arc<str>,
    /// The name of the tool.
    pub name: &'v str,
    /// What the call itself was sent with, where something goes back.
    pub facts: Option<&'v PartFacts>,
    /// What the tool returned, perhaps nothing.
    pub content: Vec<Cow<'v, Content>>,
    /// Whether the tool failed.
    pub is_error: bool,
}

/// Something that the reader does not see as it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Loss {
    /// The index of the entry in the view.
    pub entry: usize,
    /// What was lost.
    pub kind: LossKind,
}

/// What was lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossKind {
    /// Thinking was left out.
    ThinkingDropped,
    /// Thinking became text.
    ThinkingBecameText,
    /// What the provider stated beside a text or a call was left out.
    FactsDropped,
    /// An opaque part was left out.
    OpaqueDropped {
        /// Its kind.
        kind: Arc<str>,
    },
    /// A call got another id, in the call and in its result.
    CallIdChanged,
    /// Arguments that are no JSON object were wrapped into one.
    ArgumentsWrapped,
    /// An image became a note in text.
    ImageReplaced,
    /// The images of a result follow it in a user message.
    ImageMoved,
    /// A call had no result and got one that says so.
    ResultInvented,
    /// A result had no call and became text of the user.
    ResultBecameText,
    /// The conversation began with an answer, and a note of the user precedes it.
    BeginningInvented,
    /// Nothing of a message was left.
    MessageDropped,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "entry {}: ", self.entry)?;
        match &self.kind {
            LossKind::ThinkingDropped => f.write_str("thinking was left out"),
            LossKind::ThinkingBecameText => f.write_str("thinking became text"),
            LossKind::FactsDropped => f.write_str("a signature or an item id was left out"),
            LossKind::OpaqueDropped { kind } => write!(f, "a part `{kind}` was left out"),
            LossKind::CallIdChanged => f.write_str("a call got another id"),
            LossKind::ArgumentsWrapped => f.write_str("malformed arguments were wrapped"),
            LossKind::ImageReplaced => f.write_str("an image was left out"),
            LossKind::ImageMoved => f.write_str("an image of a result moved behind it"),
            LossKind::ResultInvented => f.write_str("a call had no result"),
            LossKind::ResultBecameText => f.write_str("a result without its call became text"),
            LossKind::BeginningInvented => f.write_str("the conversation began with an answer"),
            LossKind::MessageDropped => f.write_str("nothing was left of a message"),
        }
    }
}

/// A conversation as the reader takes it, and what that cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation<'v> {
    /// The messages, oldest first.
    pub messages: Vec<Message<'v>>,
    /// What was lost, oldest first.
    pub losses: Vec<Loss>,
}

/// Translates a view for a reader.
///
/// What comes out holds, for every view: the first message is of the user; no message and no part
/// is empty; every call has an id that
/// the reader accepts and that no other call has; the message after an answer with calls holds one
/// result for each, in call order; what only its author may read goes to its author alone. Every
/// wire of this crate sends what this function makes.
#[must_use]
pub fn translate<'v>(view: &'v History, reader: Reader<'_>, rules: &Rules) -> Translation<'v> {
    let entries = view.entries();
    let mut translator = Translator::new(rules.call_ids);
    let mut messages = Vec::new();
    let mut losses = Vec::new();
    let mut rest = entries.as_slice();
    let mut index = 0;
    while let Some((entry, after)) = rest.split_first() {
        let mut step = Step {
            reader,
            rules,
            entry: index,
            losses: &mut losses,
        };
        translator.entry(&mut step, entry, after, &mut |message| {
            messages.push(message);
        });
        rest = after;
        index += 1;
    }
    Translation { messages, losses }
}

/// What is known while one entry is translated.
pub(crate) struct Step<'a> {
    pub(crate) reader: Reader<'a>,
    pub(crate) rules: &'a Rules,
    pub(crate) entry: usize,
    pub(crate) losses: &'a mut Vec<Loss>,
}

/// What must be known of the entries before, in order to translate the next one.
#[derive(Debug)]
pub(crate) struct Translator {
    pub(crate) ids: ToolIds,
    /// The ids, as the model named them, of calls whose results were written and did not pass yet.
    written: Vec<Arc<str>>,
    /// How many calls of the newest answer had no result.
    unanswered: usize,
    /// A message was written.
    begun: bool,
}

impl Step<'_> {
    fn lose(&mut self, kind: LossKind) {
        let entry = self.entry;
        self.losses.push(Loss { entry, kind });
    }
}

impl Translator {
    pub(crate) fn new(call_ids: IdRule) -> Self {
        Self {
            ids: ToolIds::new(call_ids),
            written: Vec::new(),
            unanswered: 0,
            begun: false,
        }
    }

    /// Goes back to a place that was settled, where `ids` ids had been given out.
    pub(crate) fn rewind(&mut self, ids: usize, begun: bool) {
        self.begun = begun;
        self.ids.truncate(ids);
        self.written.clear();
        self.unanswered = 0;
    }

    /// Says whether what was written so far stays the same whatever entries follow.
    pub(crate) fn is_settled(&self) -> bool {
        self.written.is_empty() && self.unanswered == 0
    }

    /// Translates one entry; `after` are the entries that follow it.
    pub(crate) fn entry<'v>(
        &mut self,
        step: &mut Step<'_>,
        entry: &'v Entry,
        after: &[&'v Entry],
        each: &mut dyn FnMut(Message<'v>),
    ) {
        match entry {
            Entry::User(message) => self.user(step, &message.content, each),
            Entry::Assistant(message) => self.answer(step, message, after, each),
            Entry::Results(results) => self.strays(step, results, each),
            Entry::Extension(_) => {}
        }
    }

    fn answer<'v>(
        &mut self,
        step: &mut Step<'_>,
        message: &'v AssistantMessage,
        after: &[&'v Entry],
        each: &mut dyn FnMut(Message<'v>),
    ) {
        let kinship = step.reader.kinship(&message.origin);
        let mut calls: Vec<(Arc<str>, &'v Arc<ToolCall>)> = Vec::new();
        let mut parts = Vec::with_capacity(message.parts.len());
        for part in &message.parts {
            match part {
                AssistantPart::Text(part) => parts.extend(text(step, part, kinship)),
                AssistantPart::Thinking(part) => parts.extend(thinking(step, part, kinship)),
                AssistantPart::ToolCall(call) => {
                    let id = self.ids.next(&call.id);
                    if *id != *call.id {
                        step.lose(LossKind::CallIdChanged);
                    }
                    calls.push((Arc::clone(&id), call));
                    parts.push(call_part(step, call, id, kinship));
                }
                AssistantPart::Opaque(part) if kinship >= (step.rules.opaque_from)(&part.kind) => {
                    parts.push(Part::Opaque(part));
                }
                AssistantPart::Opaque(part) => step.lose(LossKind::OpaqueDropped {
                    kind: Arc::from(part.kind.as_str()),
                }),
            }
        }
        if !parts.is_empty() {
            if !std::mem::replace(&mut self.begun, true) {
                step.lose(LossKind::BeginningInvented);
                let note = "(the beginning of the conversation is not shown)";
                each(Message::User(vec![Cow::Owned(Content::text(note))]));
            }
            each(Message::Assistant(Answer {
                parts,
                kinship,
                source: message,
            }));
        } else if !message.parts.is_empty() {
            step.lose(LossKind::MessageDropped);
        }
        self.results(step, calls, kinship, after, each);
    }

    /// Answers every call, with the results that stand before the next answer.
    fn results<'v>(
        &mut self,
        step: &mut Step<'_>,
        calls: Vec<(Arc<str>, &'v Arc<ToolCall>)>,
        kinship: Kinship,
        after: &[&'v Entry],
        each: &mut dyn FnMut(Message<'v>),
    ) {
        self.written.clear();
        self.unanswered = 0;
        if calls.is_empty() {
            return;
        }
        let mut results: Vec<&'v CallResult> = after
            .iter()
            .take_while(|entry| !matches!(entry, Entry::Assistant(_)))
            .filter_map(|entry| match entry {
                Entry::Results(results) => Some(results.iter()),
                Entry::User(_) | Entry::Assistant(_) | Entry::Extension(_) => None,
            })
            .flatten()
            .collect();
        let mut answered = Vec::with_capacity(calls.len());
        let mut moved = Vec::new();
        for (id, call) in calls {
            let at = results
                .iter()
                .position(|result| Arc::ptr_eq(&result.call, call))
                .or_else(|| results.iter().position(|result| result.call.id == call.id));
            let facts = kept_facts(step.rules, &call.facts, kinship);
            let (content, is_error) = match at {
                Some(at) => {
                    let result = &results.remove(at).result;
                    self.written.push(Arc::clone(&call.id));
                    (
                        result_content(step, call, result, &mut moved),
                        result.is_error,
                    )
                }
                None => {
                    self.unanswered += 1;
                    step.lose(LossKind::ResultInvented);
                    let note = Content::text("no result was recorded");
                    (vec![Cow::Owned(note)], true)
                }
            };
            answered.push(AnsweredCall {
                id,
                name: &call.name,
                facts,
                content,
                is_error,
            });
        }
        each(Message::Results(answered));
        if !moved.is_empty() {
            each(Message::User(moved));
        }
    }

    /// Tells results whose call is not in the conversation any more, which no result may be.
    fn strays<'v>(
        &mut self,
        step: &mut Step<'_>,
        results: &'v [CallResult],
        each: &mut dyn FnMut(Message<'v>),
    ) {
        let mut told = Vec::new();
        for CallResult { call, result } in results {
            if let Some(at) = self.written.iter().position(|id| *id == call.id) {
                self.written.swap_remove(at);
                continue;
            }
            step.lose(LossKind::ResultBecameText);
            let note = format!("[result of an earlier call of `{}`]", call.name);
            told.push(Cow::Owned(Content::text(note)));
            told.extend(contents(step, &result.content));
        }
        if !told.is_empty() {
            self.begun = true;
            each(Message::User(told));
        }
    }

    fn user<'v>(
        &mut self,
        step: &mut Step<'_>,
        content: &'v [Content],
        each: &mut dyn FnMut(Message<'v>),
    ) {
        let kept: Vec<_> = contents(step, content).collect();
        if !kept.is_empty() {
            self.begun = true;
            each(Message::User(kept));
        } else if !content.is_empty() {
            step.lose(LossKind::MessageDropped);
        }
    }
}

fn is_said(rules: &Rules, text: &str) -> bool {
    !text.is_empty() && (rules.keeps_blank_text || !text.trim().is_empty())
}

/// Leaves out what is empty, and replaces the images that the reader does not take.
fn contents<'v>(
    step: &mut Step<'_>,
    content: &'v [Content],
) -> impl Iterator<Item = Cow<'v, Content>> {
    content.iter().filter_map(move |content| match content {
        Content::Text { text } => is_said(step.rules, text).then_some(Cow::Borrowed(content)),
        Content::Image { media_type, source } if step.rules.images.takes(media_type, source) => {
            Some(Cow::Borrowed(content))
        }
        Content::Image { media_type, .. } => {
            step.lose(LossKind::ImageReplaced);
            Some(Cow::Owned(image_note(media_type)))
        }
    })
}

fn image_note(media_type: &str) -> Content {
    Content::text(format!("[an image of type {media_type} was left out]"))
}

/// Returns what a tool returned; images that may not stand there join `moved`.
fn result_content<'v>(
    step: &mut Step<'_>,
    call: &ToolCall,
    result: &'v ToolResult,
    moved: &mut Vec<Cow<'v, Content>>,
) -> Vec<Cow<'v, Content>> {
    let rules = step.rules;
    let mut kept = Vec::with_capacity(result.content.len());
    let mut has_moved = false;
    let all: Vec<_> = contents(step, &result.content).collect();
    for content in all {
        let Content::Image { media_type, .. } = &*content else {
            kept.push(content);
            continue;
        };
        match rules.result_images {
            ResultImages::InResult => kept.push(content),
            ResultImages::InResultOfSuccess if !result.is_error => kept.push(content),
            ResultImages::InResultOfSuccess => {
                step.lose(LossKind::ImageReplaced);
                kept.push(Cow::Owned(image_note(media_type)));
            }
            ResultImages::AfterResults => {
                if !std::mem::replace(&mut has_moved, true) {
                    let note = format!("the image of the result of tool `{}`:", call.name);
                    moved.push(Cow::Owned(Content::text(note)));
                }
                step.lose(LossKind::ImageMoved);
                moved.push(content);
            }
        }
    }
    if has_moved {
        let note = "(the next user message shows the image of this result)";
        kept.push(Cow::Owned(Content::text(note)));
    }
    kept
}

fn kept_facts<'v>(rules: &Rules, facts: &'v PartFacts, kinship: Kinship) -> Option<&'v PartFacts> {
    (kinship >= rules.facts_from && !facts.is_empty()).then_some(facts)
}

fn facts<'v>(step: &mut Step<'_>, facts: &'v PartFacts, kinship: Kinship) -> Option<&'v PartFacts> {
    let kept = kept_facts(step.rules, facts, kinship);
    if kept.is_none() && !facts.is_empty() {
        step.lose(LossKind::FactsDropped);
    }
    kept
}

fn text<'v>(step: &mut Step<'_>, part: &'v TextPart, kinship: Kinship) -> Option<Part<'v>> {
    let facts = facts(step, &part.facts, kinship);
    (is_said(step.rules, &part.text) || facts.is_some()).then_some(Part::Text {
        text: Cow::Borrowed(&part.text),
        facts,
    })
}

fn thinking<'v>(step: &mut Step<'_>, part: &'v ThinkingPart, kinship: Kinship) -> Option<Part<'v>> {
    let is_signed = part
        .facts
        .signature
        .as_deref()
        .is_some_and(|it| !it.is_empty());
    let fate = match kinship {
        Kinship::Author if is_signed => Fate::Keep,
        Kinship::Author => step.rules.unsigned_thinking,
        Kinship::Service | Kinship::Foreign => step.rules.foreign_thinking,
    };
    if part.text.is_empty() && part.facts.is_empty() {
        return None;
    }
    match fate {
        Fate::Keep => Some(Part::Thinking(part)),
        Fate::Text if is_said(step.rules, &part.text) => {
            step.lose(LossKind::ThinkingBecameText);
            Some(Part::Text {
                text: Cow::Borrowed(&part.text),
                facts: None,
            })
        }
        Fate::Text | Fate::Drop => {
            step.lose(LossKind::ThinkingDropped);
            None
        }
    }
}

fn call_part<'v>(
    step: &mut Step<'_>,
    call: &'v ToolCall,
    id: Arc<str>,
    kinship: Kinship,
) -> Part<'v> {
    let arguments = match &call.arguments {
        Arguments::Object(object) => without_lone_surrogates(object.as_str()),
        // The arguments must be an object, and the model shall see what it wrote.
        Arguments::Malformed { raw, .. } => {
            step.lose(LossKind::ArgumentsWrapped);
            Cow::Owned(serde_json::json!({ "malformed_arguments": raw }).to_string())
        }
    };
    Part::Call {
        id,
        name: &call.name,
        arguments,
        facts: facts(step, &call.facts, kinship),
    }
}
