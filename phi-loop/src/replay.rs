//! Replay: a fresh machine, driven with the inputs that a log holds, compared event by event.

use std::sync::Arc;

use phi_types::{
    ApprovalRequested, CompactionEnded, Content, EffectId, Event, EventKind, Message, MessageAdded,
    Point, Queue, Recovered, StopCause, StopRequested, ToolCall, ToolEnded, ToolEnding,
    ToolStarted, Transcript,
};

use crate::decision::Verdict;
use crate::io::{Compacted, Effect, Input, Output, Rejected, ToolReport};
use crate::machine::Machine;
use crate::replay::sub_agent::spawned;

mod context;
mod gates;
mod model;
mod sub_agent;

/// Says where a replay and its log part.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the replay diverges at event {seq}: {why}")]
pub struct Diverged {
    /// The `seq` of the first event that differs.
    pub seq: u64,
    /// What the log holds; `None` where it ends.
    pub recorded: Option<Box<Event>>,
    /// What the machine wrote; `None` where it wrote nothing.
    pub replayed: Option<Box<Event>>,
    /// What is wrong, for a person.
    pub why: String,
}

/// Drives a fresh machine with the inputs that the log of one loop holds and compares every event.
///
/// `before` is the conversation that the loop continues: empty for the first loop of a session. No
/// model, tool or hook is called. A log that stops in the middle of a step, because its process
/// ended there, is compared as far as it goes.
///
/// # Errors
/// [`Diverged`] with both sides of the first difference.
pub fn replay(before: &Transcript, events: &[Event]) -> Result<Machine, Diverged> {
    if let [
        Event {
            kind: EventKind::LoopStarted(_),
            ..
        },
    ] = events
    {
        // The process ended before the loop had any input: there is nothing to drive.
        return Machine::restore(before, events)
            .map_err(|error| diverged(events.first(), None, &error.to_string()));
    }
    let mut replay = Replay::new(before, events)?;
    while let Some(event) = replay.next() {
        let before = (replay.matched, replay.asked);
        replay.wait_for_question(event);
        replay.feed(event)?;
        replay.compare()?;
        // A decision is no event: that one is asked for is progress too.
        if (replay.matched, replay.asked) == before {
            return Err(diverged(
                Some(event),
                None,
                "nothing that came in leads to this event",
            ));
        }
    }
    Ok(replay.machine)
}

#[derive(Clone)]
struct Replay<'a> {
    before: &'a Transcript,
    machine: Machine,
    events: &'a [Event],
    matched: usize,
    /// How many decisions the machine has asked for.
    asked: usize,
}

impl<'a> Replay<'a> {
    /// Takes the policy and the surface from the log; everything after them is compared.
    fn new(before: &'a Transcript, events: &'a [Event]) -> Result<Self, Diverged> {
        let announced = events.iter().take(2).take_while(|event| {
            matches!(
                event.kind,
                EventKind::LoopStarted(_) | EventKind::SurfaceChanged(_)
            )
        });
        let matched = announced.count();
        Ok(Self {
            before,
            machine: restored(before, events, matched)?,
            events,
            matched,
            asked: 0,
        })
    }

    fn next(&self) -> Option<&'a Event> {
        self.events.get(self.matched)
    }

    fn following(&self) -> Option<&'a Event> {
        self.events.get(self.matched + 1)
    }

    /// Takes what the machine wrote and holds it against the log.
    fn compare(&mut self) -> Result<(), Diverged> {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Events(batch) => {
                    for replayed in batch {
                        let Some(recorded) = self.next() else { break };
                        if is_restart(recorded) && !is_restart(&replayed) {
                            // The process ended in the middle of this step.
                            break;
                        }
                        if *recorded != replayed {
                            let why = "the machine wrote something else";
                            return Err(diverged(Some(recorded), Some(replayed), why));
                        }
                        self.matched += 1;
                    }
                }
                Output::Effect(Effect::Decide(..)) => self.asked += 1,
                Output::Effect(_) | Output::Abort(_) | Output::Live(_) => {}
            }
        }
        Ok(())
    }

    /// Feeds what led to an event.
    fn feed(&mut self, event: &'a Event) -> Result<(), Diverged> {
        if is_restart(event) {
            return self.restart(event);
        }
        self.feed_sub_agents(event);
        let input = match &event.kind {
            EventKind::Message(MessageAdded {
                message: Message::Assistant(message),
                ..
            }) => self.feed_answer(event, message)?,
            EventKind::ModelFailed(failed) => self.feed_failure(event, failed)?,
            EventKind::StopRequested(StopRequested { cause }) => {
                self.feed_partial(event);
                match cause {
                    StopCause::Cancel {} => Input::Cancel,
                    StopCause::Stop { reason } => Input::Stop(reason.clone()),
                    StopCause::Limit { .. } => Input::Timeout,
                }
            }
            EventKind::InputFiltered(filtered) if self.is_torn(event.at, filtered) => {
                self.cut_short()?;
                // No restart is written before the prompt: messages that wait are asked about again.
                self.machine.resume(event.at);
                return Ok(());
            }
            EventKind::InputFiltered(filtered) => self.filtered(event, filtered)?,
            EventKind::LoopEnded(ended) => self.ended(&ended.outcome),
            EventKind::CompactionStarted(_) => self.passed(Point::BeforeCompaction),
            EventKind::CompactionEnded(ended) => self.compaction_ended(event, ended)?,
            EventKind::ToolEnded(ended) => self.tool_ended(ended),
            EventKind::ToolStarted(ToolStarted {
                early: Some(early),
                call,
                ..
            }) => return self.feed_early(event, *early, call),
            EventKind::ToolStarted(ToolStarted { index, call, .. }) => {
                self.tool_decided(event, *index, call, None)?
            }
            EventKind::ApprovalRequested(ApprovalRequested {
                index,
                call,
                question,
            }) => self.tool_decided(event, *index, call, Some(question))?,
            EventKind::CacheBroken(_) if self.asked_at(Point::BeforeModel).is_some() => {
                match self.following().map(|event| &event.kind) {
                    Some(EventKind::ModelStarted(started)) => self.model_decided(started),
                    _ => return self.cut_short(),
                }
            }
            EventKind::ModelStarted(started) => self.model_decided(started),
            EventKind::LimitReached(reached) => self.limit_reached(event, reached)?,
            EventKind::TurnEnded(_) => match self.asked_at(Point::BeforeModel) {
                Some(id) => Input::Decided(id, self.refusal()),
                None => Input::Timeout,
            },
            kind => match self.context_changed(kind) {
                Some(input) => input,
                None => self.said(event),
            },
        };
        self.input(event, input)
    }

    /// What somebody outside said; everything else follows from the passing of time, if from
    /// anything.
    fn said(&self, event: &Event) -> Input {
        match &event.kind {
            EventKind::Message(MessageAdded {
                message: Message::User(_),
                queued: None,
                ..
            }) => self.spoken(event.at),
            EventKind::TurnStarted(started) => self.turn_started(started.trigger),
            EventKind::MessageQueued(queued) => {
                let (id, message) = (queued.id.clone(), Arc::clone(&queued.message));
                match queued.queue {
                    Queue::Steering => Input::Steer(id, message),
                    Queue::FollowUp => Input::FollowUp(id, message),
                }
            }
            EventKind::LimitWarning(warning) if !warning.scope.is_loop() => {
                Input::LimitNear(warning.limit)
            }
            EventKind::SurfaceChanged(changed) => Input::SurfaceChanged(changed.as_ref().clone()),
            EventKind::ApprovalResolved(resolved) => {
                let (effect, scope) = (self.effect(resolved.request), resolved.scope);
                Input::Approval(effect, resolved.approval.clone(), scope)
            }
            _ => Input::Timeout,
        }
    }

    fn compaction_ended(&self, event: &Event, ended: &CompactionEnded) -> Result<Input, Diverged> {
        if let Some(id) = self.asked_at(Point::BeforeCompaction) {
            let reason = ended.error.clone().unwrap_or_default();
            return Ok(Input::Decided(id, Verdict::Deny { reason }));
        }
        let outstanding = self.machine.outstanding();
        let Some(Effect::Compact(compact)) = outstanding.into_iter().next() else {
            return Err(diverged(Some(event), None, "no compaction is under way"));
        };
        let compacted = Compacted {
            pruned: ended.pruned.clone(),
            block: ended.block.clone(),
            counted: ended.counted.as_deref().copied(),
        };
        Ok(if compacted != Compacted::default() {
            Input::Compacted(compact.id, compacted, ended.usage)
        } else {
            let reason = ended.error.clone().unwrap_or_default();
            Input::CompactionFailed(compact.id, reason, ended.usage)
        })
    }

    /// Reads what the hooks decided off what came of it.
    fn tool_decided(
        &self,
        event: &Event,
        index: u32,
        call: &ToolCall,
        question: Option<&String>,
    ) -> Result<Input, Diverged> {
        let Some((id, asked)) = self.machine.decision_about(index) else {
            return Err(diverged(
                Some(event),
                None,
                "nobody decided about this call",
            ));
        };
        let arguments = match call.arguments.object() {
            Some(_) if asked.arguments == call.arguments => None,
            Some(arguments) => Some(arguments.clone()),
            None => {
                let why = "a call with malformed arguments never starts";
                return Err(diverged(Some(event), None, why));
            }
        };
        Ok(Input::Decided(
            id,
            match (question.cloned(), arguments) {
                (Some(question), arguments) => Verdict::Ask {
                    question,
                    arguments,
                },
                (None, Some(arguments)) => Verdict::Rewrite(arguments),
                (None, None) => Verdict::Proceed,
            },
        ))
    }

    fn tool_ended(&self, ended: &ToolEnded) -> Input {
        if let Some((id, _)) = self.machine.decision_about(ended.index) {
            if ended.ending == ToolEnding::Invalid {
                // It was let run, and its tool was taken away meanwhile.
                return Input::Decided(id, Verdict::Proceed);
            }
            let content = ended.result.content.first();
            let reason = match content {
                Some(Content::Text { text }) => text.clone(),
                _ => String::new(),
            };
            return Input::Decided(id, Verdict::Deny { reason });
        }
        match ended.ending {
            ToolEnding::TimedOut => Input::Timeout,
            ToolEnding::Finished
            | ToolEnding::Failed
            | ToolEnding::Invalid
            | ToolEnding::Denied
            | ToolEnding::Skipped
            | ToolEnding::Cancelled
            | ToolEnding::Interrupted
            | ToolEnding::Discarded => {
                let effect = self.effect(ended.started.unwrap_or(0));
                let (ending, child) = (ended.ending, spawned(ended));
                let result = Arc::clone(&ended.result);
                Input::ToolEnded(
                    effect,
                    ToolReport {
                        ending,
                        result,
                        child,
                    },
                )
            }
        }
    }

    /// A restart forgets what no log holds; it may come with another surface.
    fn restart(&mut self, event: &Event) -> Result<(), Diverged> {
        self.machine = restored(self.before, self.events, self.matched)?;
        let claims: &[Point] = match &event.kind {
            EventKind::Recovered(Recovered::Restart { claims }) => claims,
            _ => &[],
        };
        let settled = self.events.iter().skip(self.matched + 1);
        let mut settled = settled
            .take_while(|next| next.at == event.at)
            .skip_while(|next| {
                matches!(
                    next.kind,
                    EventKind::ModelFailed(_)
                        | EventKind::CompactionEnded(_)
                        | EventKind::ToolEnded(_)
                )
            });
        let Some(EventKind::SurfaceChanged(changed)) = settled.next().map(|next| &next.kind) else {
            self.machine.resume_again(event.at, claims);
            return Ok(());
        };
        let mut surface = self.machine.transcript().surface().clone();
        surface.change(changed);
        let mut with_surface = self.clone();
        with_surface
            .machine
            .resume_claiming(event.at, &surface, claims)
            .map_err(|rejected| refused(event, &rejected))?;
        if with_surface.compare().is_ok() {
            *self = with_surface;
        } else {
            // The surface changed in the same moment, but only after the restart.
            self.machine.resume_again(event.at, claims);
        }
        Ok(())
    }

    fn input(&mut self, event: &Event, input: Input) -> Result<(), Diverged> {
        self.machine
            .handle(event.at, input)
            .map_err(|rejected| refused(event, &rejected))
    }

    fn effect(&self, seq: u64) -> EffectId {
        EffectId {
            loop_id: self.machine.loop_id().clone(),
            seq,
        }
    }
}

fn restored(before: &Transcript, events: &[Event], len: usize) -> Result<Machine, Diverged> {
    Machine::restore(before, events.iter().take(len))
        .map_err(|error| diverged(events.first(), None, &error.to_string()))
}

fn is_restart(event: &Event) -> bool {
    matches!(event.kind, EventKind::Recovered(Recovered::Restart { .. }))
}

fn refused(event: &Event, rejected: &Rejected) -> Diverged {
    diverged(
        Some(event),
        None,
        &format!("the machine refuses what led to it: {rejected}"),
    )
}

fn diverged(recorded: Option<&Event>, replayed: Option<Event>, why: &str) -> Diverged {
    let seq = recorded
        .map(|event| event.seq)
        .or_else(|| replayed.as_ref().map(|event| event.seq));
    Diverged {
        seq: seq.unwrap_or(0),
        recorded: recorded.cloned().map(Box::new),
        replayed: replayed.map(Box::new),
        why: why.to_owned(),
    }
}
