//! The translation, one entry at a time, so that it can go on where it was left.

use std::borrow::Cow;
use std::sync::Arc;

use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Content, Entry, PartFacts, TextPart,
    ThinkingPart, ToolCall, ToolResult,
};

use super::loss::{Loss, LossKind};
use super::rules::{Fate, IdRule, Kinship, Reader, ResultImages, Rules};
use super::{Answer, AnsweredCall, Message, Part};
use crate::surrogates::without_lone_surrogates;
use crate::tool_ids::ToolIds;

/// What is known while one entry is translated.
pub(crate) struct Step<'a, 'v> {
    pub(crate) reader: Reader<'a>,
    pub(crate) rules: &'a Rules,
    /// The index of the entry in the view.
    pub(crate) entry: usize,
    /// The entries that follow it.
    pub(crate) after: &'a [&'v Entry],
    pub(crate) losses: &'a mut Vec<Loss>,
    /// Takes what becomes of the entry.
    pub(crate) each: &'a mut dyn FnMut(Message<'v>),
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

impl Step<'_, '_> {
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

    /// Translates one entry.
    pub(crate) fn entry<'v>(&mut self, step: &mut Step<'_, 'v>, entry: &'v Entry) {
        match entry {
            Entry::User(message) => self.user(step, &message.content),
            Entry::Assistant(message) => self.answer(step, message),
            Entry::Results(results) => self.strays(step, results),
            Entry::Extension(_) => {}
        }
    }

    fn answer<'v>(&mut self, step: &mut Step<'_, 'v>, message: &'v AssistantMessage) {
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
                (step.each)(Message::User(vec![Cow::Owned(Content::text(note))]));
            }
            (step.each)(Message::Assistant(Answer {
                parts,
                kinship,
                source: message,
            }));
        } else if !message.parts.is_empty() {
            step.lose(LossKind::MessageDropped);
        }
        self.results(step, calls, kinship);
    }

    /// Answers every call, with the results that stand before the next answer.
    fn results<'v>(
        &mut self,
        step: &mut Step<'_, 'v>,
        calls: Vec<(Arc<str>, &'v Arc<ToolCall>)>,
        kinship: Kinship,
    ) {
        self.written.clear();
        self.unanswered = 0;
        if calls.is_empty() {
            return;
        }
        let mut results: Vec<&'v CallResult> = step
            .after
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
        (step.each)(Message::Results(answered));
        if !moved.is_empty() {
            (step.each)(Message::User(moved));
        }
    }

    /// Tells results whose call is not in the conversation any more, which no result may be.
    fn strays<'v>(&mut self, step: &mut Step<'_, 'v>, results: &'v [CallResult]) {
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
            (step.each)(Message::User(told));
        }
    }

    fn user<'v>(&mut self, step: &mut Step<'_, 'v>, content: &'v [Content]) {
        let kept: Vec<_> = contents(step, content).collect();
        if !kept.is_empty() {
            self.begun = true;
            (step.each)(Message::User(kept));
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
    step: &mut Step<'_, 'v>,
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
    step: &mut Step<'_, 'v>,
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

fn facts<'v>(
    step: &mut Step<'_, 'v>,
    facts: &'v PartFacts,
    kinship: Kinship,
) -> Option<&'v PartFacts> {
    let kept = kept_facts(step.rules, facts, kinship);
    if kept.is_none() && !facts.is_empty() {
        step.lose(LossKind::FactsDropped);
    }
    kept
}

fn text<'v>(step: &mut Step<'_, 'v>, part: &'v TextPart, kinship: Kinship) -> Option<Part<'v>> {
    let facts = facts(step, &part.facts, kinship);
    (is_said(step.rules, &part.text) || facts.is_some()).then_some(Part::Text {
        text: Cow::Borrowed(&part.text),
        facts,
    })
}

fn thinking<'v>(
    step: &mut Step<'_, 'v>,
    part: &'v ThinkingPart,
    kinship: Kinship,
) -> Option<Part<'v>> {
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
    step: &mut Step<'_, 'v>,
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
