//! Gives what a service sends its place among the parts of one message.

use std::borrow::Cow;
use std::mem;

use phi_types::{Delta, Finish, PartFactsDelta, RawJson, Started, StopReason, Usage};

use super::calls::{CallPiece, Calls};
use super::chunk::Detail;
use super::details::Details;
use super::facts::{Extra, ReasoningField};

/// One answer as far as it came.
#[derive(Debug, Default)]
pub(super) struct Answer {
    started: Option<Started>,
    next_part: u32,
    text: Option<u32>,
    thinking: Option<u32>,
    /// The part that carries what the service wants back of its reasoning.
    reasoned: Option<u32>,
    field: Option<ReasoningField>,
    details: Details,
    /// The text is a refusal.
    refused: bool,
    calls: Calls,
    /// Text and thinking parts that are not closed.
    open: Vec<u32>,
    usage: Usage,
    /// Why the model stopped, as the service says it.
    stated: Option<(StopReason, Option<String>)>,
    finish: Option<Finish>,
    /// Something came since the parts were closed.
    unsealed: bool,
}

impl Answer {
    /// Says whether nothing was shown yet.
    pub(super) fn is_empty(&self) -> bool {
        self.next_part == 0
    }

    pub(super) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finish.is_some()
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
        self.unsealed = true;
        deltas.push(Delta::text(part, text.into_owned()));
    }

    pub(super) fn push_refusal(&mut self, text: Cow<'_, str>, deltas: &mut Vec<Delta>) {
        if !text.is_empty() {
            self.push_text(text, deltas);
            self.refused = true;
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
        let is_later = field == ReasoningField::Content && self.text > self.thinking;
        if is_later && self.thinking.is_some() {
            (self.text, self.thinking) = (None, None);
        }
        self.field.get_or_insert(field);
        let part = self.thinking_part();
        self.unsealed = true;
        deltas.push(Delta::thinking(part, text.into_owned()));
    }

    /// Takes a piece of `reasoning_details`, and shows its text unless that was shown already.
    pub(super) fn push_detail(
        &mut self,
        detail: Detail<'_>,
        shown: bool,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), String> {
        let text = self.details.push(detail)?;
        let part = self.thinking_part();
        self.unsealed = true;
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
        self.unsealed = true;
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
        self.stated = Some((reason, raw));
        self.settle(deltas);
    }

    /// Closes what came after the reason to stop, which may change what it means.
    pub(super) fn settle(&mut self, deltas: &mut Vec<Delta>) {
        let Some((reason, raw)) = self.stated.clone() else {
            return;
        };
        // Services say `stop` after tool calls, and `tool_calls` without any.
        let stop_reason = match reason {
            StopReason::EndTurn if self.has_calls() => StopReason::ToolUse,
            StopReason::EndTurn if self.refused => StopReason::Refusal,
            other => other,
        };
        if mem::take(&mut self.unsealed) {
            let cut = matches!(
                stop_reason,
                StopReason::MaxTokens | StopReason::ContextWindow
            );
            self.seal(cut, deltas);
        }
        let finish = Finish { stop_reason, raw };
        if self.finish.as_ref() != Some(&finish) {
            deltas.push(Delta::Finish(finish.clone()));
            self.finish = Some(finish);
        }
    }

    fn seal(&mut self, cut: bool, deltas: &mut Vec<Delta>) {
        if let Some(part) = self.reasoned {
            let extra = Extra {
                field: self.field,
                reasoning_details: self.reasoning_details(),
                ..Extra::default()
            };
            let facts = extra.facts();
            deltas.push(Delta::PartFacts(PartFactsDelta { part, facts }));
        }
        deltas.extend(self.open.drain(..).map(Delta::part_ended));
        self.calls.end(cut, deltas);
    }

    fn reasoning_details(&self) -> Option<RawJson> {
        if self.details.is_empty() {
            return None;
        }
        let mut json = String::new();
        self.details.write(&mut json);
        RawJson::parse(&json).ok()
    }

    fn thinking_part(&mut self) -> u32 {
        if let Some(part) = self.thinking {
            return part;
        }
        let part = self.open_part();
        self.reasoned.get_or_insert(part);
        *self.thinking.insert(part)
    }

    fn open_part(&mut self) -> u32 {
        let part = self.next_part;
        self.next_part += 1;
        self.open.push(part);
        part
    }
}
