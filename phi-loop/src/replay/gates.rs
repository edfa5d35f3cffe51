//! What led to the events of input filters and gates: read off what came of it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{
    Event, EventKind, FilterVerdict, InputFiltered, LimitReached, LoopError, Message, MessageAdded,
    Outcome, Point, TurnTrigger, UserMessage,
};

use super::{Diverged, Replay, diverged};
use crate::decision::{DecisionId, Verdict};
use crate::io::Input;

impl Replay<'_> {
    /// Returns the decision about the next step of the loop if it is outstanding at this point.
    pub(super) fn asked_at(&self, point: Point) -> Option<DecisionId> {
        let (id, asked) = self.machine.asked_at()?;
        (asked == point).then_some(id)
    }

    /// What let a step pass at this point, if anybody was asked.
    pub(super) fn passed(&self, point: Point) -> Input {
        match self.asked_at(point) {
            Some(id) => Input::Decided(id, Verdict::Proceed),
            None => Input::Timeout,
        }
    }

    /// Says whether the process ended between the verdict about a prompt and what follows from it.
    pub(super) fn is_torn(&self, now: DateTime<Utc>, filtered: &InputFiltered) -> bool {
        if filtered.queued.is_some() {
            return false;
        }
        match filtered.verdict {
            FilterVerdict::Rejected { .. } => !matches!(
                self.following().map(|event| &event.kind),
                Some(EventKind::LoopEnded(_))
            ),
            FilterVerdict::Passed {} | FilterVerdict::Warned { .. } => {
                self.spoken_after(1, now).is_empty()
            }
        }
    }

    /// A prompt leads to its verdict in two steps: it comes in, then it is decided about.
    pub(super) fn filtered(
        &self,
        event: &Event,
        filtered: &InputFiltered,
    ) -> Result<Input, Diverged> {
        let id = match &filtered.queued {
            Some(queued) => self.machine.decision_on_input(queued),
            None => self.asked_at(Point::FilterInput),
        };
        let Some(id) = id else {
            if filtered.queued.is_some() {
                let why = "nobody decided about this message";
                return Err(diverged(Some(event), None, why));
            }
            return Ok(Input::Prompt(self.filtered_prompt(event.at, filtered)));
        };
        Ok(Input::Decided(
            id,
            match &filtered.verdict {
                FilterVerdict::Passed {} => Verdict::Proceed,
                FilterVerdict::Warned { warning } => Verdict::Warn {
                    warning: warning.clone(),
                },
                FilterVerdict::Rejected { .. } if filtered.queued.is_none() => self.refusal(),
                FilterVerdict::Rejected { reason } => Verdict::Deny {
                    reason: reason.clone(),
                },
            },
        ))
    }

    /// The prompt as it came in, without the warning that joined it.
    fn filtered_prompt(
        &self,
        now: DateTime<Utc>,
        filtered: &InputFiltered,
    ) -> Vec<Arc<UserMessage>> {
        if let FilterVerdict::Rejected { .. } = filtered.verdict {
            return filtered.rejected.clone();
        }
        let mut prompt = self.spoken_after(1, now);
        let FilterVerdict::Warned { warning } = &filtered.verdict else {
            return prompt;
        };
        let last = prompt.last_mut();
        match last.and_then(|last| Some((last.unwarned(warning)?, last))) {
            Some((unwarned, last)) => *last = Arc::new(unwarned),
            // The process ended before the last message was written, which the warning joined.
            None => prompt.push(Arc::new(UserMessage::text(warning.clone()))),
        }
        prompt
    }

    /// What the user said without a queue: a prompt, or what a hook said in their name.
    pub(super) fn spoken(&self, now: DateTime<Utc>) -> Input {
        let messages = self.spoken_after(0, now);
        match self.asked_at(Point::BeforeEnd) {
            Some(id) => Input::Decided(id, Verdict::Continue(messages)),
            None => Input::Prompt(messages),
        }
    }

    fn spoken_after(&self, skipped: usize, now: DateTime<Utc>) -> Vec<Arc<UserMessage>> {
        let rest = self.events.iter().skip(self.matched + skipped);
        let messages =
            rest.take_while(|event| event.at == now)
                .map_while(|event| match &event.kind {
                    EventKind::Message(MessageAdded {
                        message: Message::User(message),
                        queued: None,
                        ..
                    }) => Some(Arc::clone(message)),
                    _ => None,
                });
        messages.collect()
    }

    pub(super) fn turn_started(&self, trigger: TurnTrigger) -> Input {
        match self.machine.asked_at() {
            Some((id, _)) => Input::Decided(id, Verdict::Proceed),
            None if trigger == TurnTrigger::Continue => Input::Continue,
            None => Input::Timeout,
        }
    }

    /// A loop that ends while hooks decide ends by what they decided.
    pub(super) fn ended(&self, outcome: &Outcome) -> Input {
        match self.machine.asked_at() {
            Some((id, _)) => Input::Decided(id, refusal(outcome).unwrap_or(Verdict::Proceed)),
            // Only to go on without a prompt leaves no event where it is refused.
            None if self.machine.awaits().is_some() => Input::Continue,
            None => Input::Timeout,
        }
    }

    /// What refused a call was a limit that the loop shares.
    pub(super) fn limit_reached(
        &self,
        event: &Event,
        reached: &LimitReached,
    ) -> Result<Input, Diverged> {
        let asked = match reached.index {
            None => self
                .asked_at(Point::BeforeModel)
                .or_else(|| self.asked_at(Point::BeforeCompaction)),
            Some(index) => self.machine.decision_about(index).map(|(id, _)| id),
        };
        let Some(id) = asked else {
            return Err(diverged(
                Some(event),
                None,
                "nobody decided about this call",
            ));
        };
        let limit = reached.limit;
        Ok(Input::Decided(id, Verdict::Limit { limit }))
    }

    /// Reads from the end of the loop, the event after this one, how a hook refused a step.
    pub(super) fn refusal(&self) -> Verdict {
        let outcome = match self.following().map(|event| &event.kind) {
            Some(EventKind::LoopEnded(ended)) => refusal(&ended.outcome),
            _ => None,
        };
        let reason = String::new();
        outcome.unwrap_or(Verdict::Deny { reason })
    }
}

fn refusal(outcome: &Outcome) -> Option<Verdict> {
    match outcome {
        Outcome::Failed {
            error: LoopError::Hook { reason },
        } => Some(Verdict::Fail {
            reason: reason.clone(),
        }),
        Outcome::Rejected { reason } => Some(Verdict::Deny {
            reason: reason.clone(),
        }),
        Outcome::Completed {}
        | Outcome::Cancelled {}
        | Outcome::Failed { .. }
        | Outcome::LimitReached { .. }
        | Outcome::Aborted { .. } => None,
    }
}
