//! What a loop is after some events: the fold that live machine and restored machine share.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use phi_types::{
    Configuration, EffectClass, Event, EventKind, IllegalEvent, LimitKind, LoopError, LoopId,
    NextView, Outcome, QueueId, Recovered, Sent, SessionId, StopCause, StopReason, Transcript,
    TurnTrigger,
};

use crate::calls::Calls;
use crate::retry::{self, Attempts};

mod compaction;
mod context;
mod fold;
mod repeats;

pub(crate) use repeats::{Repeated, Repeats};

#[cfg(feature = "driver")]
pub(crate) use context::REVERTED;
pub(crate) use context::{PRUNED, Planned};

/// What a loop is after some events. It changes by [`State::apply`] alone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub(crate) session: SessionId,
    pub(crate) loop_id: LoopId,
    pub(crate) trace: Trace,
    pub(crate) configuration: Configuration,
    pub(crate) transcript: Transcript,
    pub(crate) phase: Phase,
    /// The way in which the loop was asked to end.
    pub(crate) stop: Option<StopCause>,
    pub(crate) counts: Counts,
    pub(crate) clock: Clock,
}

/// How far the log has come, and hashes over what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    /// The `seq` of the newest event; 0 before the first.
    pub(crate) seq: u64,
    /// A hash over what the model is shown besides the conversation.
    pub(crate) surface_digest: u64,
    /// A hash over everything that came in.
    pub(crate) inputs_digest: u64,
}

/// Where the loop stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    /// No event was written.
    New,
    /// The loop has begun; a prompt, or the word to continue, is awaited.
    Started,
    /// No turn is open. `None` as trigger: the model has given its answer.
    Between {
        trigger: Option<TurnTrigger>,
        answer: Answer,
    },
    /// A turn is open and the model has to answer.
    Calling(Calling),
    /// The model answered; its calls are being settled.
    Settling {
        calls: Calls,
        message_seq: u64,
        answer: Answer,
    },
    /// The loop has ended.
    Ended(Outcome),
}

/// What the newest turn came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// Nothing yet.
    None,
    /// The model stopped for this reason, in the provider's own word.
    Stopped(StopReason, Option<String>),
    /// The loop cannot go on.
    Failed(LoopError),
}

/// A turn in which the model has to answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Calling {
    pub(crate) attempts: Attempts,
    pub(crate) stage: Stage,
}

/// Where a turn stands in which the model has to answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stage {
    /// The next attempt starts now or at this time.
    Due(Option<DateTime<Utc>>),
    /// An attempt runs; the transcript knows what was sent.
    InFlight { seq: u64 },
    /// The view has to be made smaller first.
    Overflowed,
    /// It is being made smaller.
    Compacting {
        seq: u64,
        /// Whether nothing can be sent before.
        overflow: bool,
    },
    /// There is no further attempt.
    GivenUp(LoopError),
    /// The turn was cut short by the end of the loop.
    Cut,
}

/// What is counted, and what must not happen twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Counts {
    // Wide: whatever a loop counts from its start to its end, each count for itself.
    pub(crate) turns: u32,
    pub(crate) tool_calls: u32,
    pub(crate) cost_usd: f64,
    pub(crate) warned: Vec<LimitKind>,
    /// What is known of the limits of the tree of agents.
    pub(crate) shared: Shared,
    /// The limit that allowed one last turn.
    pub(crate) grace: Option<LimitKind>,
    pub(crate) repeats: Repeats,
    pub(crate) stuck: bool,
    /// Whether a steering message has joined since the newest model call.
    pub(crate) steered: bool,
    /// Every queue id that was accepted.
    pub(crate) queue_ids: BTreeSet<QueueId>,
    /// The names of the tools that the newest model call offered; `None` for all of the surface.
    pub(crate) offered: Option<Vec<Arc<str>>>,
    pub(crate) purpose: Purpose,
    /// Compactions in a row that did not help.
    pub(crate) compactions_failed: u32,
}

/// What a loop is there for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An answer.
    #[default]
    Answer,
    /// An answer, with a compaction before the first request, however small the view is.
    CompactedAnswer,
    /// A change of what the model reads.
    ContextChange,
    /// The change was made, and nothing is left to do.
    Served,
}

/// What a loop was told of limits that it shares.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Shared {
    pub(crate) warned: Vec<LimitKind>,
    /// The limit that forbids another call.
    pub(crate) reached: Option<LimitKind>,
}

/// What is known of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Clock {
    pub(crate) started: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
    /// The newest time as words of a hash: microseconds, and nanoseconds of its second. The events of a
    /// step share it, and a calendar is slow to ask.
    pub(crate) words: [u64; 2],
    /// Time that does not count: only an approval was outstanding, or no process ran.
    paused: TimeDelta,
}

/// Says why events are not the log of one loop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalSequence {
    /// The event belongs to another loop or session.
    #[error("event {seq} belongs to another loop or session")]
    Stranger {
        /// Its `seq`.
        seq: u64,
    },
    /// An event is missing, repeated or out of order.
    #[error("event {expected} is missing: the log goes on with event {found}")]
    Gap {
        /// The `seq` that would be right.
        expected: u64,
        /// The `seq` that came.
        found: u64,
    },
    /// The log does not begin with the start of a loop.
    #[error("the log of a loop begins with loop_started")]
    NotStarted,
    /// The event cannot happen in the state that the events before it lead to.
    #[error("event {seq} cannot happen here: {why}")]
    Impossible {
        /// Its `seq`.
        seq: u64,
        /// Why not.
        why: String,
    },
}

impl State {
    pub(crate) fn new(session: SessionId, loop_id: LoopId, transcript: Transcript) -> Self {
        Self {
            session,
            loop_id,
            trace: Trace::default(),
            configuration: Configuration::default(),
            transcript,
            phase: Phase::New,
            stop: None,
            counts: Counts::default(),
            clock: Clock::default(),
        }
    }

    /// Folds one event in.
    pub(crate) fn apply(&mut self, event: &Event) -> Result<(), IllegalSequence> {
        self.apply_with(event, None)
    }

    /// Folds one event in, of which the view to which it leads may be known already.
    pub(crate) fn apply_with(
        &mut self,
        event: &Event,
        next: Option<NextView>,
    ) -> Result<(), IllegalSequence> {
        let seq = event.seq;
        if event.session != self.session || event.loop_id.as_ref() != Some(&self.loop_id) {
            return Err(IllegalSequence::Stranger { seq });
        }
        if seq != self.trace.seq + 1 {
            return Err(IllegalSequence::Gap {
                expected: self.trace.seq + 1,
                found: seq,
            });
        }
        if (self.phase == Phase::New) != matches!(event.kind, EventKind::LoopStarted(_)) {
            return Err(IllegalSequence::NotStarted);
        }
        if matches!(self.phase, Phase::Ended(_)) {
            return Err(impossible(seq, &"the loop has ended"));
        }
        self.advance_clock(event);
        // Who takes a message out of the queue is known only before the transcript takes it.
        let trigger = self.trigger_of(&event.kind);
        self.transcript
            .apply_with(event, next)
            .map_err(|error: IllegalEvent| impossible(seq, &error))?;
        self.trace.seq = seq;
        self.trace.inputs_digest = self.digest_inputs(event);
        self.change_phase(event, trigger)
            .map_err(|why| impossible(seq, &why))?;
        // What is spent before the prompt is let in is nobody's work.
        if self.clock.started.is_none() && !matches!(self.phase, Phase::New | Phase::Started) {
            self.clock.started = Some(event.at);
        }
        Ok(())
    }

    /// Time in which only an approval was outstanding, or no process ran, does not count.
    fn advance_clock(&mut self, event: &Event) {
        let at = event.at;
        if self.clock.last == Some(at) {
            return;
        }
        let passed = self
            .clock
            .last
            .map_or(TimeDelta::zero(), |last| (at - last).max(TimeDelta::zero()));
        let restarted = matches!(event.kind, EventKind::Recovered(Recovered::Restart { .. }));
        if restarted || self.waits_for_approval_only() {
            self.clock.paused = self
                .clock
                .paused
                .checked_add(&passed)
                .unwrap_or(TimeDelta::MAX);
        }
        if let (true, Phase::Settling { calls, .. }) = (restarted, &mut self.phase) {
            calls.postpone(passed);
        }
        self.clock.last = Some(at);
        self.clock.words = [
            at.timestamp_micros().cast_unsigned(),
            u64::from(at.timestamp_subsec_nanos()),
        ];
    }

    /// Says whether the loop does nothing but wait for a person.
    pub(crate) fn waits_for_approval_only(&self) -> bool {
        self.calls().is_some_and(Calls::only_asking)
    }

    /// Returns when the wall time is used up, not counting what does not count.
    pub(crate) fn wall_deadline(&self) -> Option<DateTime<Utc>> {
        let limit = self.configuration.limits.wall_time_ms?;
        let limit = i64::try_from(limit)
            .ok()
            .and_then(TimeDelta::try_milliseconds)?;
        let allowed = limit.checked_add(&self.clock.paused)?;
        self.clock
            .started
            .map(|started| retry::later(started, allowed))
    }

    /// Returns the calls that are being settled.
    pub(crate) fn calls(&self) -> Option<&Calls> {
        match &self.phase {
            Phase::Settling { calls, .. } => Some(calls),
            Phase::New
            | Phase::Started
            | Phase::Between { .. }
            | Phase::Calling(_)
            | Phase::Ended(_) => None,
        }
    }

    /// Returns what the attempt in flight was sent, whatever has changed since it began.
    pub(crate) fn in_flight(&self) -> Option<&Sent> {
        match &self.phase {
            Phase::Calling(Calling {
                stage: Stage::InFlight { .. },
                ..
            }) => self.transcript.sent(),
            Phase::New
            | Phase::Started
            | Phase::Between { .. }
            | Phase::Calling(_)
            | Phase::Settling { .. }
            | Phase::Ended(_) => None,
        }
    }

    /// Says whether the loop was there to change the context, and has.
    pub(crate) fn is_served(&self) -> bool {
        self.counts.purpose == Purpose::Served
    }

    /// Returns the number of the open turn, or of the next one.
    pub(crate) fn turn_index(&self) -> u32 {
        match &self.phase {
            Phase::Calling(_) | Phase::Settling { .. } => self.counts.turns,
            Phase::New | Phase::Started | Phase::Between { .. } | Phase::Ended(_) => {
                self.counts.turns.saturating_add(1)
            }
        }
    }

    /// Returns the effect class of a tool that the newest model call offered.
    pub(crate) fn offered(&self, name: &str) -> Option<EffectClass> {
        if self.counts.grace.is_some() {
            return None;
        }
        let offered = &self.counts.offered;
        if offered
            .as_ref()
            .is_some_and(|names| !names.iter().any(|offered| **offered == *name))
        {
            return None;
        }
        let tools = &self.transcript.surface().tools;
        tools
            .iter()
            .find(|spec| *spec.name == *name)
            .map(|spec| spec.effect_class)
    }
}

fn impossible(seq: u64, why: &dyn std::fmt::Display) -> IllegalSequence {
    IllegalSequence::Impossible {
        seq,
        why: why.to_string(),
    }
}
