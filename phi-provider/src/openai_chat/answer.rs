//! Gives what a service sends its place among the parts of one message.

use std::borrow::Cow;
use std::mem;

use phi_types::{Delta, Finish, Started, StopReason, Usage};

use super::calls::{CallPiece, Calls};
use super::chunk::Detail;
use super::facts::ReasoningField;
use super::quirks::ThinkTags;
use super::reasoning::Reasoning;
use super::think_tags::{ThinkScan, Told};

/// One answer as far as it came.
#[derive(Debug, Default)]
pub(super) struct Answer {
    started: Option<Started>,
    next_part: u32,
    tags: ThinkScan,
    /// The text part that grows.
    text: Option<u32>,
    reasoning: Reasoning,
    calls: Calls,
    /// Text and thinking parts that are not closed.
    open: Vec<u32>,
    usage: Usage,
    ending: Ending,
}

/// Why the model stopped.
#[derive(Debug, Default)]
struct Ending {
    /// The reason as the service says it.
    stated: Option<(StopReason, Option<String>)>,
    /// The text is a refusal.
    refused: bool,
    /// What was said of it to the caller.
    finish: Option<Finish>,
    /// Something came since the parts were closed.
    unsealed: bool,
}

impl Answer {
    pub(super) fn new(tags: ThinkTags) -> Self {
        let tags = match tags {
            ThinkTags::Text => ThinkScan::Text,
            ThinkTags::Thinking => ThinkScan::Before(String::new()),
        };
        Self {
            tags,
            ..Self::default()
        }
    }

    /// Says whether nothing was shown yet.
    pub(super) fn is_empty(&self) -> bool {
        self.next_part == 0
    }

    pub(super) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.ending.finish.is_some()
    }

    /// Takes the id and the model, which may come late: the first chunk of Azure has neither.
    pub(super) fn start(&mut self, id: &str, model: &str, deltas: &mut Vec<Delta>) {
        let is_new = |known: &Option<String>, now: &str| known.is_none() && !now.is_empty();
        let first = self.started.is_none();
        let known = self.started.get_or_insert_default();
        let (new_id, new_model) = (is_new(&known.response_id, id), is_new(&known.model, model));
        if new_id {
            known.response_id = Some(id.to_owned());
        }
        if new_model {
            known.model = Some(model.to_owned());
        }
        if first || new_id || new_model {
            deltas.push(Delta::Started(known.clone()));
        }
    }

    pub(super) fn push_text(&mut self, text: Cow<'_, str>, deltas: &mut Vec<Delta>) {
        if self.tags.is_text() {
            self.push_plain(text, deltas);
        } else {
            self.ending.unsealed = true;
            let told = self.tags.take(&text);
            self.push_told(told, deltas);
        }
    }

    fn push_told(&mut self, told: Told, deltas: &mut Vec<Delta>) {
        self.push_thinking(told.thinking.into(), ReasoningField::Tags, deltas);
        self.push_plain(told.text.into(), deltas);
    }

    fn push_plain(&mut self, text: Cow<'_, str>, deltas: &mut Vec<Delta>) {
        if text.is_empty() {
            return;
        }
        let part = match self.text {
            Some(part) => part,
            None => {
                let part = self.open_part();
                *self.text.insert(part)
            }
        };
        self.ending.unsealed = true;
        deltas.push(Delta::text(part, text.into_owned()));
    }

    pub(super) fn push_refusal(&mut self, text: Cow<'_, str>, deltas: &mut Vec<Delta>) {
        if !text.is_empty() {
            self.push_plain(text, deltas);
            self.ending.refused = true;
        }
    }

    pub(super) fn push_thinking(
        &mut self,
        text: Cow<'_, str>,
        field: ReasoningField,
        deltas: &mut Vec<Delta>,
    ) {
        if text.is_empty() {
            return;
        }
        // Typed blocks have an order: reasoning after text is reasoning of its own.
        if field == ReasoningField::Content && self.text > self.reasoning.part {
            (self.text, self.reasoning.part) = (None, None);
        }
        self.reasoning.field.get_or_insert(field);
        let part = self.thinking_part();
        self.ending.unsealed = true;
        deltas.push(Delta::thinking(part, text.into_owned()));
    }

    /// Takes a piece of `reasoning_details`, and shows its text unless that was shown already.
    pub(super) fn push_detail(
        &mut self,
        detail: Detail<'_>,
        shown: bool,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), String> {
        let text = self.reasoning.details.push(detail)?;
        let part = self.thinking_part();
        self.ending.unsealed = true;
        if !shown && !text.is_empty() {
            deltas.push(Delta::thinking(part, text.into_owned()));
        }
        Ok(())
    }

    pub(super) fn push_call(
        &mut self,
        piece: CallPiece<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), String> {
        self.ending.unsealed = true;
        self.calls.push(piece, &mut self.next_part, deltas)
    }

    pub(super) fn report(&mut self, usage: Usage, deltas: &mut Vec<Delta>) {
        let before = self.usage;
        self.usage.replace_with(&usage);
        if self.usage != before {
            deltas.push(Delta::Usage(self.usage));
        }
    }

    /// Closes every part and says why the model stopped. A later reason replaces an earlier one.
    pub(super) fn stop(
        &mut self,
        reason: StopReason,
        raw: Option<String>,
        deltas: &mut Vec<Delta>,
    ) {
        self.ending.stated = Some((reason, raw));
        self.settle(deltas);
    }

    /// Closes what came after the reason to stop, which may change what it means.
    pub(super) fn settle(&mut self, deltas: &mut Vec<Delta>) {
        let Some((reason, raw)) = self.ending.stated.clone() else {
            return;
        };
        // Services say `stop` after tool calls, and `tool_calls` without any.
        let stop_reason = match reason {
            StopReason::EndTurn if self.has_calls() => StopReason::ToolUse,
            StopReason::EndTurn if self.ending.refused => StopReason::Refusal,
            other => other,
        };
        if mem::take(&mut self.ending.unsealed) {
            let held = self.tags.finish();
            self.push_told(held, deltas);
            self.ending.unsealed = false;
            let cut = matches!(
                stop_reason,
                StopReason::MaxTokens | StopReason::ContextWindow
            );
            self.seal(cut, deltas);
        }
        let finish = Finish { stop_reason, raw };
        if self.ending.finish.as_ref() != Some(&finish) {
            deltas.push(Delta::Finish(finish.clone()));
            self.ending.finish = Some(finish);
        }
    }

    fn seal(&mut self, cut: bool, deltas: &mut Vec<Delta>) {
        self.reasoning.seal(deltas);
        deltas.extend(self.open.drain(..).map(Delta::part_ended));
        self.calls.end(cut, deltas);
    }

    fn thinking_part(&mut self) -> u32 {
        if let Some(part) = self.reasoning.part {
            return part;
        }
        let part = self.open_part();
        self.reasoning.begin(part);
        part
    }

    fn open_part(&mut self) -> u32 {
        let part = self.next_part;
        self.next_part += 1;
        self.open.push(part);
        part
    }
}
