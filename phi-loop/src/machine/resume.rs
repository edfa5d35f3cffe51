//! Going on after a restore: what was open is settled by its class.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{
    AttemptFacts, EffectClass, EventKind, ModelFailed, Point, ProviderError, ProviderErrorKind,
    Recovered, Surface, ToolEnding, Usage,
};

use super::Machine;
use super::inputs::no_model;
use crate::calls::Slot;
use crate::io::Rejected;
use crate::state::{Calling, Phase, Stage};

impl Machine {
    /// Goes on after a restore: what was open when the process ended is settled by effect class.
    ///
    /// An open model attempt ends as interrupted and a new one starts; pure and idempotent calls run
    /// again under the same effect id; calls that must not run twice end as interrupted; questions
    /// are asked again. A machine that awaits its prompt, or has ended, stays as it is.
    pub fn resume(&mut self, now: DateTime<Utc>) {
        self.settle(now, &[]);
        self.advance(now);
    }

    /// Like [`Machine::resume`]; from then on the model is shown this surface. What differs from
    /// the log is recorded, before the first request that uses it.
    ///
    /// # Errors
    /// [`Rejected::IllShaped`] for a surface without a model.
    pub fn resume_with(&mut self, now: DateTime<Utc>, surface: &Surface) -> Result<(), Rejected> {
        self.resume_claiming(now, surface, &[])
    }

    /// Like [`Machine::resume_with`]; from then on these points are claimed too, besides those that the
    /// log says.
    ///
    /// # Errors
    /// [`Rejected::IllShaped`] for a surface without a model.
    pub fn resume_claiming(
        &mut self,
        now: DateTime<Utc>,
        surface: &Surface,
        claims: &[Point],
    ) -> Result<(), Rejected> {
        if surface.models.is_empty() {
            return Err(no_model());
        }
        self.settle(now, claims);
        if let Some(changed) = self.state.transcript.surface().difference(surface)
            && self.outcome().is_none()
        {
            self.emit(now, EventKind::SurfaceChanged(Arc::new(changed)));
        }
        self.advance(now);
        Ok(())
    }

    /// Resumes as a log says that it was done, without another surface.
    pub(crate) fn resume_again(&mut self, now: DateTime<Utc>, claims: &[Point]) {
        self.settle(now, claims);
        self.advance(now);
    }

    fn settle(&mut self, now: DateTime<Utc>, claims: &[Point]) {
        match self.state.phase {
            Phase::New | Phase::Ended(_) => return,
            // Nothing has begun; but a loop that has nothing left to do goes on to its end.
            Phase::Started if self.state.stop.is_none() && !self.state.is_served() => return,
            Phase::Started | Phase::Between { .. } | Phase::Calling(_) | Phase::Settling { .. } => {
            }
        }
        let new = claims.iter().filter(|point| !self.state.claims(**point));
        let claims = new.copied().collect();
        self.emit(now, EventKind::Recovered(Recovered::Restart { claims }));
        let interrupted = "the process ended while the call ran";
        match &self.state.phase {
            Phase::Calling(Calling {
                stage: Stage::InFlight { .. },
                attempts,
            }) => {
                let facts = AttemptFacts {
                    interrupted: true,
                    ..AttemptFacts::default()
                };
                let error = ProviderError::new(ProviderErrorKind::Incomplete, interrupted);
                let (attempt, retry_at) = (attempts.started, Some(now));
                let failed = ModelFailed {
                    attempt,
                    error,
                    facts,
                    retry_at,
                };
                self.emit(now, EventKind::ModelFailed(Arc::new(failed)));
            }
            Phase::Calling(Calling {
                stage: Stage::Compacting { .. },
                ..
            }) => {
                let again = self.state.compaction_failed(None, Usage::default());
                self.emit(now, again);
            }
            Phase::Settling { .. } => self.resume_calls(now),
            Phase::New
            | Phase::Started
            | Phase::Between { .. }
            | Phase::Calling(_)
            | Phase::Ended(_) => {}
        }
    }

    fn resume_calls(&mut self, now: DateTime<Utc>) {
        let Some(calls) = self.state.calls() else {
            return;
        };
        let mut lost = Vec::new();
        for (index, slot) in calls.slots() {
            match slot {
                Slot::Running(running) => match running.effect_class {
                    EffectClass::AtMostOnce => lost.push((index, running.clone())),
                    EffectClass::Pure | EffectClass::Idempotent => {
                        self.pending.effects.extend(self.run_tool(running));
                    }
                },
                Slot::Asking { .. } => self.pending.effects.extend(self.ask(slot)),
                Slot::Pending(_) | Slot::Approved(_) | Slot::Refused(..) | Slot::Ended => {}
            }
        }
        for (index, running) in lost {
            let text = "The process ended while this call ran. It is not known whether it took \
                        effect, and it was not run again.";
            let ending = ToolEnding::Interrupted;
            let ended = self
                .state
                .answered(index, &running.call, Some(running.seq), ending, text);
            self.emit_step(now, ended);
        }
    }
}
