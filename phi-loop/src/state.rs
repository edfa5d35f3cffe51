//! What a loop is after some events: the fold that live machine and restored machine share.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use phi_types::{
    Approval, AssistantMessage, Configuration, EffectClass, Event, EventKind, IllegalEvent,
    LimitKind, LoopError, LoopId, Message, MessageAdded, ModelFailed, ModelPatch, Outcome,
    ProviderErrorKind, Queue, QueueId, Recovered, SessionId, StopCause, StopReason, Surface,
    ToolStarted, Transcript, TurnTrigger, Usage, digest_of,
};

use crate::calls::{Calls, Running, Slot};
use crate::retry::{self, Attempts, Plan};

/// What a loop is after some events. It changes by [`State::apply`] alone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub(crate) session: SessionId,
    pub(crate) loop_id: LoopId,
    /// The `seq` of the newest event; 0 before the first.
    pub(crate) seq: u64,
    pub(crate) configuration: Configuration,
    pub(crate) transcript: Transcript,
    pub(crate) phase: Phase,
    /// The way in which the loop was asked to end.
    pub(crate) stop: Option<StopCause>,
    pub(crate) counts: Counts,
    pub(crate) clock: Clock,
    /// Every queue id that was accepted.
    pub(crate) queue_ids: BTreeSet<QueueId>,
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
    /// An attempt runs, with this patch.
    InFlight { seq: u64, patch: ModelPatch },
    /// The view has to be made smaller first.
    Overflowed,
    /// It is being made smaller.
    Compacting { seq: u64 },
    /// There is no further attempt.
    GivenUp(LoopError),
    /// The turn was cut short by the end of the loop.
    Cut,
}

/// What is counted for the limits.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) turns: u32,
    pub(crate) tool_calls: u32,
    pub(crate) cost_usd: f64,
    pub(crate) warned: Vec<LimitKind>,
    /// The limit that allowed one last turn.
    pub(crate) grace: Option<LimitKind>,
    pub(crate) repeated: Option<Repeated>,
    pub(crate) stuck: bool,
    /// The names of the tools that the newest model call offered; `None` for all of the surface.
    pub(crate) offered: Option<Vec<Arc<str>>>,
}

/// How often one call followed itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Repeated {
    pub(crate) call: Arc<phi_types::ToolCall>,
    pub(crate) times: u32,
}

/// What is known of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Clock {
    pub(crate) started: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
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
            seq: 0,
            configuration: Configuration::default(),
            transcript,
            phase: Phase::New,
            stop: None,
            counts: Counts::default(),
            clock: Clock::default(),
            queue_ids: BTreeSet::new(),
            surface_digest: 0,
            inputs_digest: 0,
        }
    }

    /// Folds one event in.
    pub(crate) fn apply(&mut self, event: &Event) -> Result<(), IllegalSequence> {
        let seq = event.seq;
        if event.session != self.session || event.loop_id.as_ref() != Some(&self.loop_id) {
            return Err(IllegalSequence::Stranger { seq });
        }
        if seq != self.seq + 1 {
            return Err(IllegalSequence::Gap {
                expected: self.seq + 1,
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
            .apply(event)
            .map_err(|error: IllegalEvent| impossible(seq, &error))?;
        self.seq = seq;
        self.inputs_digest = self.digest_inputs(event);
        self.change_phase(event, trigger)
            .map_err(|why| impossible(seq, &why))
    }

    fn change_phase(
        &mut self,
        event: &Event,
        trigger: Option<TurnTrigger>,
    ) -> Result<(), &'static str> {
        match &event.kind {
            EventKind::LoopStarted(started) => {
                self.configuration = started.configuration.clone();
                self.phase = Phase::Started;
            }
            EventKind::LoopEnded(ended) => self.phase = Phase::Ended(ended.outcome.clone()),
            EventKind::StopRequested(requested) => self.stop = Some(requested.cause.clone()),
            EventKind::MessageQueued(queued) => {
                self.queue_ids.insert(queued.id.clone());
            }
            EventKind::SurfaceChanged(_) => {
                let Surface {
                    system,
                    tools,
                    options,
                    ..
                } = self.transcript.surface();
                self.surface_digest = digest_of(0, &(system, tools, options));
            }
            EventKind::LimitWarning(warning) => self.counts.warned.push(warning.limit),
            EventKind::LoopStuck(_) => self.counts.stuck = true,
            EventKind::TurnStarted(started) => {
                if started.trigger == TurnTrigger::Grace {
                    self.counts.grace = self.limit_reached().or(Some(LimitKind::Turns));
                } else {
                    self.counts.turns = started.index;
                }
                let stage = Stage::Due(None);
                self.phase = Phase::Calling(Calling {
                    attempts: Attempts::default(),
                    stage,
                });
            }
            EventKind::Message(added) => self.add_message(event.seq, added, trigger)?,
            EventKind::TurnEnded(_) => self.end_turn()?,
            EventKind::ModelStarted(started) => {
                self.counts.offered.clone_from(&started.patch.tools);
                let calling = self.calling()?;
                calling.attempts.started = started.attempt;
                calling.attempts.target = started.target;
                let patch = started.patch.clone();
                calling.stage = Stage::InFlight {
                    seq: event.seq,
                    patch,
                };
            }
            EventKind::ModelFailed(failed) => self.fail_attempt(failed, event.at)?,
            EventKind::CompactionStarted(_) => {
                self.calling()?.stage = Stage::Compacting { seq: event.seq };
            }
            EventKind::CompactionEnded(ended) => {
                self.add_cost(&ended.usage);
                let stage = match (&ended.block, &ended.error) {
                    (Some(_), _) => Stage::Due(None),
                    (None, None) => Stage::Overflowed,
                    (None, Some(error)) => Stage::GivenUp(LoopError::Overflow {
                        reason: error.clone(),
                    }),
                };
                self.calling()?.stage = stage;
            }
            EventKind::ToolStarted(started) => self.start_tool(event, started)?,
            EventKind::ToolEnded(ended) => {
                self.set_slot(ended.index, Slot::Ended)?;
            }
            EventKind::ApprovalRequested(asked) => {
                let (call, question) = (Arc::clone(&asked.call), asked.question.clone());
                self.set_slot(
                    asked.index,
                    Slot::Asking {
                        request: event.seq,
                        call,
                        question,
                    },
                )?;
            }
            EventKind::ApprovalResolved(resolved) => {
                let calls = self.calls().ok_or("no call waits for an answer")?;
                let asking = calls.asking_under(resolved.request);
                let (index, call) = asking.ok_or("nobody asked this question")?;
                let call = Arc::clone(call);
                let slot = match &resolved.approval {
                    Approval::Approved {} => Slot::Approved(call),
                    Approval::Denied { reason } => Slot::Refused(call, reason.clone()),
                };
                self.set_slot(index, slot)?;
            }
            // Facts that no decision depends on, or that the transcript has folded already.
            _ => {}
        }
        Ok(())
    }

    fn trigger_of(&self, kind: &EventKind) -> Option<TurnTrigger> {
        let EventKind::Message(MessageAdded {
            message: Message::User(_),
            queued,
            ..
        }) = kind
        else {
            return None;
        };
        let Some(id) = queued else {
            return Some(TurnTrigger::Prompt);
        };
        let queued = self
            .transcript
            .queue()
            .iter()
            .find(|queued| queued.id == *id);
        Some(match queued.map(|queued| queued.queue) {
            Some(Queue::FollowUp) => TurnTrigger::FollowUp,
            Some(Queue::Steering) | None => TurnTrigger::Steering,
        })
    }

    fn add_message(
        &mut self,
        seq: u64,
        added: &MessageAdded,
        new_trigger: Option<TurnTrigger>,
    ) -> Result<(), &'static str> {
        match &added.message {
            Message::Assistant(message) => self.add_answer(seq, message),
            Message::User(_) => match &mut self.phase {
                Phase::Between { trigger, .. } => {
                    *trigger = new_trigger;
                    Ok(())
                }
                Phase::Started => {
                    self.phase = Phase::Between {
                        trigger: new_trigger,
                        answer: Answer::None,
                    };
                    Ok(())
                }
                Phase::Calling(_) => Ok(()),
                Phase::New | Phase::Settling { .. } | Phase::Ended(_) => {
                    Err("calls are being settled")
                }
            },
            Message::Extension(_) => Ok(()),
        }
    }

    fn add_answer(
        &mut self,
        seq: u64,
        message: &Arc<AssistantMessage>,
    ) -> Result<(), &'static str> {
        self.calling()?;
        self.add_cost(&message.usage);
        for call in message.tool_calls() {
            match &mut self.counts.repeated {
                Some(last)
                    if last.call.name == call.name && last.call.arguments == call.arguments =>
                {
                    last.times = last.times.saturating_add(1);
                }
                repeated => {
                    *repeated = Some(Repeated {
                        call: Arc::clone(call),
                        times: 1,
                    });
                }
            }
        }
        let answer = Answer::Stopped(message.stop_reason, message.stop_reason_raw.clone());
        self.phase = Phase::Settling {
            calls: Calls::of(message),
            message_seq: seq,
            answer,
        };
        Ok(())
    }

    fn end_turn(&mut self) -> Result<(), &'static str> {
        let between = match &self.phase {
            Phase::Calling(Calling {
                stage: Stage::GivenUp(error),
                ..
            }) => Phase::Between {
                trigger: None,
                answer: Answer::Failed(error.clone()),
            },
            Phase::Calling(_) => Phase::Between {
                trigger: None,
                answer: Answer::None,
            },
            Phase::Settling { calls, .. } if !calls.all_ended() => {
                return Err("a call has no result");
            }
            Phase::Settling { calls, answer, .. } => {
                let paused = matches!(answer, Answer::Stopped(StopReason::PauseTurn, _));
                let trigger = if calls.len() > 0 {
                    Some(TurnTrigger::ToolResults)
                } else {
                    paused.then_some(TurnTrigger::Pause)
                };
                Phase::Between {
                    trigger,
                    answer: answer.clone(),
                }
            }
            Phase::New | Phase::Started | Phase::Between { .. } | Phase::Ended(_) => {
                return Err("no turn is open");
            }
        };
        self.phase = between;
        Ok(())
    }

    fn fail_attempt(
        &mut self,
        failed: &ModelFailed,
        at: DateTime<Utc>,
    ) -> Result<(), &'static str> {
        self.add_cost(&failed.facts.usage);
        let attempts = self.calling()?.attempts;
        let targets = self.transcript.surface().models.len();
        let plan = if failed.error.kind == ProviderErrorKind::Cancelled {
            None
        } else {
            let facts = (&failed.error, &failed.facts);
            Some(retry::plan(
                attempts,
                facts,
                targets,
                &self.configuration,
                at,
            ))
        };
        let calling = self.calling()?;
        calling.stage = match plan {
            Some(Plan::Retry(attempts, at)) => {
                calling.attempts = attempts;
                Stage::Due(Some(at))
            }
            Some(Plan::Compact(attempts)) => {
                calling.attempts = attempts;
                Stage::Overflowed
            }
            Some(Plan::GiveUp) => Stage::GivenUp(LoopError::Provider {
                error: failed.error.clone(),
            }),
            None => Stage::Cut,
        };
        Ok(())
    }

    fn start_tool(&mut self, event: &Event, started: &ToolStarted) -> Result<(), &'static str> {
        self.counts.tool_calls = self.counts.tool_calls.saturating_add(1);
        let timeout = self.configuration.tools.timeout_ms;
        let span = timeout
            .and_then(|ms| i64::try_from(ms).ok())
            .and_then(TimeDelta::try_milliseconds);
        let running = Running {
            seq: event.seq,
            call: Arc::clone(&started.call),
            effect_class: started.effect_class,
            deadline: span.map(|span| retry::later(event.at, span)),
        };
        self.set_slot(started.index, Slot::Running(running))
    }

    fn set_slot(&mut self, index: u32, slot: Slot) -> Result<(), &'static str> {
        let Phase::Settling { calls, .. } = &mut self.phase else {
            return Err("no call is being settled");
        };
        if matches!(calls.get(index), None | Some(Slot::Ended)) {
            return Err("there is no such call, or it has ended");
        }
        calls.set(index, slot);
        Ok(())
    }

    fn calling(&mut self) -> Result<&mut Calling, &'static str> {
        match &mut self.phase {
            Phase::Calling(calling) => Ok(calling),
            Phase::New
            | Phase::Started
            | Phase::Between { .. }
            | Phase::Settling { .. }
            | Phase::Ended(_) => Err("no model call is due or in flight"),
        }
    }

    fn add_cost(&mut self, usage: &Usage) {
        if let Phase::Calling(calling) = &self.phase {
            let target = usize::try_from(calling.attempts.target).unwrap_or(usize::MAX);
            let target = self.transcript.surface().models.get(target);
            if let Some(price) = target.and_then(|target| target.price) {
                self.counts.cost_usd += price.cost_usd(usage);
            }
        }
    }

    /// Time in which only an approval was outstanding, or no process ran, does not count.
    fn advance_clock(&mut self, event: &Event) {
        let at = event.at;
        self.clock.started.get_or_insert(at);
        let passed = self
            .clock
            .last
            .map_or(TimeDelta::zero(), |last| (at - last).max(TimeDelta::zero()));
        let restarted = matches!(event.kind, EventKind::Recovered(Recovered::Restart {}));
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
