//! What each event changes: the one place where a loop moves from phase to phase.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use phi_types::{
    Approval, AskedBy, AssistantMessage, ContextPruned, ContextRestored, Continuation, Event,
    EventKind, LimitKind, LoopError, Message, MessageAdded, ModelFailed, ProviderErrorKind, Queue,
    Recovered, Sent, StopReason, Surface, ToolEnded, ToolEnding, ToolStarted, TurnTrigger, Usage,
};

use super::{Answer, Calling, Phase, Purpose, Stage, State};
use crate::calls::{Calls, Running, Slot};
use crate::retry::{self, Attempts, Plan};

impl State {
    pub(super) fn change_phase(
        &mut self,
        event: &Event,
        trigger: Option<TurnTrigger>,
    ) -> Result<(), &'static str> {
        // Long: one arm for each kind of event, and nothing else.
        match &event.kind {
            EventKind::LoopStarted(started) => {
                self.configuration = started.configuration.clone();
                self.counts.purpose = match started.continuation {
                    Continuation::Compaction => Purpose::CompactedAnswer,
                    Continuation::ContextChange => Purpose::ContextChange,
                    Continuation::Initial
                    | Continuation::Default
                    | Continuation::Rerun
                    | Continuation::Branch => Purpose::Answer,
                };
                self.phase = Phase::Started;
            }
            EventKind::Recovered(Recovered::Restart { claims }) => {
                let points = &mut self.configuration.points;
                points.extend(claims);
                points.sort_unstable();
                points.dedup();
            }
            EventKind::LoopEnded(ended) => self.phase = Phase::Ended(ended.outcome.clone()),
            EventKind::StopRequested(requested) => self.stop = Some(requested.cause.clone()),
            EventKind::MessageQueued(queued) => {
                self.counts.queue_ids.insert(queued.id.clone());
            }
            EventKind::SurfaceChanged(_) => {
                let Surface {
                    system,
                    tools,
                    models,
                    options,
                } = self.transcript.surface();
                let by = self.transcript.history().digested_by();
                self.trace.surface_digest = by.of(0, &(system, tools, models, options));
            }
            EventKind::LimitWarning(warning) if warning.scope.is_loop() => {
                self.counts.warned.push(warning.limit);
            }
            EventKind::LimitWarning(warning) => self.counts.shared.warned.push(warning.limit),
            EventKind::LimitReached(reached) => {
                self.refuse_call(reached.index)?;
                self.counts.shared.reached = Some(reached.limit);
            }
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
            EventKind::CacheBroken(_) => match self.calling()?.stage {
                Stage::Due(_) => {}
                _ => return Err("no model call is due"),
            },
            EventKind::ModelStarted(started) => {
                self.counts.steered = false;
                self.counts.offered.clone_from(&started.patch.tools);
                let calling = self.calling()?;
                calling.attempts.started = started.attempt;
                calling.attempts.target = started.target;
                calling.stage = Stage::InFlight { seq: event.seq };
            }
            EventKind::ModelFailed(failed) => self.fail_attempt(failed, event.at)?,
            EventKind::CompactionStarted(_) => self.start_compaction(event.seq)?,
            EventKind::CompactionEnded(ended) => self.end_compaction(ended)?,
            EventKind::ToolStarted(started) => self.start_tool(event, started)?,
            // The transcript has taken it off its list.
            EventKind::ToolEnded(ended) if ended.ending == ToolEnding::Discarded => {}
            EventKind::ToolEnded(ended) => {
                self.set_slot(ended.index, Slot::Ended)?;
                self.counts.cost_usd += ended.spent().cost_usd.unwrap_or(0.0);
                self.note_change(ended);
            }
            EventKind::ContextPruned(ContextPruned { by, .. })
            | EventKind::ContextRestored(ContextRestored { by, .. }) => self.take_change(by)?,
            EventKind::ContextReverted(reverted) => self.take_change(&reverted.by)?,
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

    /// A model call that was refused cuts its turn short, and so does a compaction without which there is
    /// none; a tool call waits to be answered.
    fn refuse_call(&mut self, index: Option<u32>) -> Result<(), &'static str> {
        match (&mut self.phase, index) {
            (Phase::Calling(calling), None)
                if matches!(calling.stage, Stage::Due(_) | Stage::Overflowed) =>
            {
                calling.stage = Stage::Cut;
                Ok(())
            }
            (Phase::Settling { calls, .. }, Some(index)) => match calls.get(index) {
                Some(Slot::Pending(_)) => Ok(()),
                _ => Err("the call that is refused does not wait"),
            },
            _ => Err("no call is due"),
        }
    }

    pub(super) fn trigger_of(&self, kind: &EventKind) -> Option<TurnTrigger> {
        let EventKind::Message(MessageAdded {
            message: Message::User(_),
            queued,
            ..
        }) = kind
        else {
            return None;
        };
        let Some(id) = queued else {
            return Some(match &self.phase {
                // What nobody sent keeps the loop from its end.
                Phase::Between { trigger, .. } => trigger.unwrap_or(TurnTrigger::Hook),
                _ => TurnTrigger::Prompt,
            });
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
        self.counts.steered |= new_trigger == Some(TurnTrigger::Steering);
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
        if self.configuration.limits.identical_calls.is_some() {
            let history = self.transcript.history();
            self.counts.repeats.note(message, history);
        }
        let answer = Answer::Stopped(message.stop_reason, message.stop_reason_raw.clone());
        let calls = self.calls_of(message);
        self.phase = Phase::Settling {
            calls,
            message_seq: seq,
            answer,
        };
        Ok(())
    }

    fn end_turn(&mut self) -> Result<(), &'static str> {
        if !self.transcript.early_calls().is_empty() {
            return Err("a call that started early has not ended");
        }
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

    /// Makes the calls of an answer; those that started early run already.
    fn calls_of(&self, message: &AssistantMessage) -> Calls {
        let mut calls = Calls::of(message);
        for (index, open) in (0..).zip(self.transcript.open_calls()) {
            if let Some(early) = &open.early {
                calls.set(
                    index,
                    Slot::Running(Running {
                        seq: early.seq,
                        call: Arc::clone(&open.call),
                        effect_class: early.started.effect_class,
                        deadline: self.deadline(early.at),
                    }),
                );
            }
        }
        calls
    }

    fn start_tool(&mut self, event: &Event, started: &ToolStarted) -> Result<(), &'static str> {
        self.counts.tool_calls = self.counts.tool_calls.saturating_add(1);
        if let Some(early) = started.early {
            // The transcript has put it on its list.
            let place = self.transcript.early_calls().len().checked_sub(1);
            let calling = self.calling()?;
            return match calling.stage {
                Stage::InFlight { .. } if calling.attempts.started != early.attempt => {
                    Err("the call belongs to another attempt")
                }
                Stage::InFlight { .. } if usize::try_from(started.index).ok() == place => Ok(()),
                Stage::InFlight { .. } => Err("calls start early in their order"),
                _ => Err("no model call is in flight"),
            };
        }
        let running = Running {
            seq: event.seq,
            call: Arc::clone(&started.call),
            effect_class: started.effect_class,
            deadline: self.deadline(event.at),
        };
        self.set_slot(started.index, Slot::Running(running))
    }

    /// Returns when a call that started then has run as long as it may.
    pub(crate) fn deadline(&self, started: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let timeout = self.configuration.tools.timeout_ms;
        let span = timeout
            .and_then(|ms| i64::try_from(ms).ok())
            .and_then(TimeDelta::try_milliseconds)?;
        Some(retry::later(started, span))
    }

    /// Says to the model that a call ran longer than it may.
    pub(crate) fn ran_too_long(&self) -> String {
        let allowed_ms = self.configuration.tools.timeout_ms.unwrap_or(0);
        format!("The call was stopped: it ran longer than {allowed_ms} ms.")
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

    /// Keeps what a call wants changed until all calls have their results.
    fn note_change(&mut self, ended: &ToolEnded) {
        let (Some(change), Some(seq)) = (&ended.result.change, ended.started) else {
            return;
        };
        if let (ToolEnding::Finished, Phase::Settling { calls, .. }) =
            (ended.ending, &mut self.phase)
        {
            calls.note_change(ended.index, seq, change);
        }
    }

    fn take_change(&mut self, by: &AskedBy) -> Result<(), &'static str> {
        if let (Phase::Started, Purpose::ContextChange) = (&self.phase, self.counts.purpose) {
            self.counts.purpose = Purpose::Served;
        }
        let AskedBy::Call { effect } = by else {
            return Ok(());
        };
        match &mut self.phase {
            Phase::Settling { calls, .. } if effect.loop_id == self.loop_id => {
                calls.take_change(effect.seq)
            }
            _ => Err("no call asks for this change"),
        }
    }

    pub(super) fn calling(&mut self) -> Result<&mut Calling, &'static str> {
        match &mut self.phase {
            Phase::Calling(calling) => Ok(calling),
            Phase::New
            | Phase::Started
            | Phase::Between { .. }
            | Phase::Settling { .. }
            | Phase::Ended(_) => Err("no model call is due or in flight"),
        }
    }

    pub(super) fn add_cost(&mut self, usage: &Usage) {
        if !matches!(self.phase, Phase::Calling(_)) {
            return;
        }
        // A compaction is billed like the first model, which made it or is nearest to what did.
        let first = self.transcript.surface().models.first();
        let target = self.in_flight().and_then(Sent::target).or(first);
        if let Some(price) = target.and_then(|target| target.price) {
            self.counts.cost_usd += price.cost_usd(usage);
        }
    }
}
