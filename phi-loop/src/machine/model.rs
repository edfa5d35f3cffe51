//! The inputs of a model call: what it yields, how it ends, what is left when it is cut off.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{
    Assembler, AttemptFacts, Delta, EffectId, EventKind, Increment, Live, Message, MessageAdded,
    ModelFailed, ProviderError, ProviderErrorKind, Sent, StopReason, Target,
};

use super::Machine;
use crate::io::Rejected;
use crate::retry::{self, Attempts, Plan};
use crate::state::{Calling, Phase, Stage};

impl Machine {
    pub(super) fn on_delta(
        &mut self,
        now: DateTime<Utc>,
        effect: EffectId,
        delta: Delta,
    ) -> Result<Option<Live>, Rejected> {
        self.check_in_flight(&effect)?;
        if let Err(misplaced) = self.attempt.assembler.push(&delta) {
            let error = ProviderError::new(ProviderErrorKind::Protocol, misplaced.to_string());
            let failed = self.failed(self.check_in_flight(&effect)?, error, now);
            self.emit(now, EventKind::ModelFailed(Arc::new(failed)));
            self.pending.aborts.push(effect);
            self.advance(now);
            return Ok(None);
        }
        let index = self.attempt.live_index;
        self.attempt.live_index += 1;
        let increment = Increment::Delta(delta);
        Ok(Some(Live {
            effect,
            index,
            increment,
        }))
    }

    /// The stream of a model call is over, with an error or without.
    pub(super) fn on_model_ended(
        &mut self,
        now: DateTime<Utc>,
        effect: &EffectId,
        error: Option<ProviderError>,
    ) -> Result<(), Rejected> {
        let attempts = self.check_in_flight(effect)?;
        let target = self.state.in_flight().and_then(Sent::target);
        // After the finish nothing is missing: an error there takes nothing away.
        let error = match (self.attempt.assembler.finish(), error) {
            (Some(_), _) => self.silent_overflow(target.and_then(|it| it.window_tokens)),
            (None, Some(error)) => Some(error),
            (None, None) => Some(ProviderError::new(
                ProviderErrorKind::Incomplete,
                "the stream ended before its finish reason",
            )),
        };
        if let Some(error) = error {
            let failed = self.failed(attempts, error, now);
            self.emit(now, EventKind::ModelFailed(Arc::new(failed)));
            return Ok(());
        }
        let origin = target.map(Target::origin).unwrap_or_default();
        let assembler = std::mem::take(&mut self.attempt.assembler);
        if let Some(message) = assembler.into_message(origin) {
            let turn = self.state.turn_index();
            let message = Message::Assistant(Arc::new(message));
            self.emit(
                now,
                EventKind::Message(MessageAdded {
                    message,
                    turn,
                    queued: None,
                }),
            );
            self.end_held(now);
        }
        Ok(())
    }

    /// Replaces what the attempt in flight has yielded, and starts nothing of it early.
    pub(crate) fn retell(&mut self, deltas: impl IntoIterator<Item = Delta>) {
        self.attempt.early_over = true;
        self.attempt.assembler = Assembler::new();
        for delta in deltas {
            if self.attempt.assembler.push(&delta).is_err() {
                break;
            }
        }
    }

    /// An output limit with no output is an overflow that the provider did not name.
    fn silent_overflow(&self, window_tokens: Option<u64>) -> Option<ProviderError> {
        let reason = self.attempt.assembler.finish()?.stop_reason;
        let full = match reason {
            StopReason::ContextWindow => true,
            StopReason::MaxTokens => window_tokens
                .is_some_and(|window| self.attempt.assembler.usage().total_tokens() >= window),
            StopReason::EndTurn
            | StopReason::ToolUse
            | StopReason::StopSequence
            | StopReason::PauseTurn
            | StopReason::Refusal
            | StopReason::ContentFilter
            | StopReason::Cancelled
            | StopReason::Other => false,
        };
        (full && !self.attempt.assembler.has_output()).then(|| {
            let message = "the prompt fills the model's window and leaves no room for an answer";
            ProviderError::new(ProviderErrorKind::ContextOverflow, message)
        })
    }

    fn failed(&self, attempts: Attempts, error: ProviderError, now: DateTime<Utc>) -> ModelFailed {
        let facts = facts(&self.attempt.assembler);
        let targets = self.state.transcript.surface().models.len();
        let configuration = &self.state.configuration;
        let retry_at = match retry::plan(attempts, (&error, &facts), targets, configuration, now) {
            Plan::Retry(_, at) => Some(at),
            Plan::Compact(_) => Some(now),
            Plan::GiveUp => None,
        };
        ModelFailed {
            attempt: attempts.started,
            error,
            facts,
            retry_at,
        }
    }

    /// Ends the attempt in flight: text that was shown is kept.
    pub(super) fn cut_attempt(&mut self, now: DateTime<Utc>, attempts: Attempts, seq: u64) {
        let assembler = std::mem::replace(&mut self.attempt.assembler, Assembler::new());
        let facts = facts(&assembler);
        let target = self.state.in_flight().and_then(Sent::target);
        let origin = target.map(Target::origin).unwrap_or_default();
        let kind = match assembler.into_cancelled(origin) {
            Some(message) => EventKind::Message(MessageAdded {
                message: Message::Assistant(Arc::new(message)),
                turn: self.state.turn_index(),
                queued: None,
            }),
            None => EventKind::ModelFailed(Arc::new(ModelFailed {
                attempt: attempts.started,
                error: ProviderError::new(ProviderErrorKind::Cancelled, "the call was cancelled"),
                facts,
                retry_at: None,
            })),
        };
        self.pending.aborts.push(self.effect_id(seq));
        self.emit(now, kind);
        self.end_held(now);
    }

    /// Checks that this attempt is in flight and returns how the turn's attempts stand.
    fn check_in_flight(&self, effect: &EffectId) -> Result<Attempts, Rejected> {
        match &self.state.phase {
            Phase::Calling(Calling {
                stage: Stage::InFlight { seq },
                attempts,
            }) if *seq == effect.seq && effect.loop_id == self.state.loop_id => Ok(*attempts),
            _ => Err(Rejected::NotOutstanding(effect.clone())),
        }
    }
}

/// Says how far an attempt has come.
fn facts(assembler: &Assembler) -> AttemptFacts {
    AttemptFacts {
        output_seen: assembler.has_output(),
        finish_seen: assembler.finish().is_some(),
        interrupted: false,
        usage: assembler.usage(),
    }
}
