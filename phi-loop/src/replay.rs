//! Replay: a fresh machine, driven with the inputs that a log holds, compared event by event.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{
    Delta, EffectId, Event, EventKind, Finish, LoopError, Message, MessageAdded, ModelFailed,
    Outcome, ProviderErrorKind, Queue, Recovered, StopCause, StopReason, StopRequested, ToolCall,
    ToolEnded, ToolEnding, Transcript, TurnTrigger, UserMessage,
};

use crate::io::{DecisionId, Effect, Input, Output, Rejected, Subject, ToolReport, Verdict};
use crate::machine::Machine;

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

struct Replay<'a> {
    before: &'a Transcript,
    machine: Machine,
    events: &'a [Event],
    matched: usize,
    /// How many decisions the machine has asked for.
    asked: usize,
    deciding_model: Option<DecisionId>,
    deciding_tools: Vec<(DecisionId, Arc<ToolCall>)>,
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
            deciding_model: None,
            deciding_tools: Vec::new(),
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
                        if let EventKind::ToolEnded(ended) = &replayed.kind {
                            self.deciding_tools
                                .retain(|(id, _)| id.index != ended.index);
                        }
                        self.matched += 1;
                    }
                }
                Output::Effect(Effect::Decide(id, Subject::Model(_))) => {
                    self.asked += 1;
                    self.deciding_model = Some(id);
                }
                Output::Effect(Effect::Decide(id, Subject::Tool(call))) => {
                    self.asked += 1;
                    self.deciding_tools.push((id, call));
                }
                Output::Effect(_) | Output::Abort(_) | Output::Live(_) => {}
            }
        }
        Ok(())
    }

    /// Feeds what led to an event.
    fn feed(&mut self, event: &'a Event) -> Result<(), Diverged> {
        let now = event.at;
        let none = |why: &str| Err(diverged(Some(event), None, why));
        let input = match &event.kind {
            EventKind::Message(MessageAdded {
                message: Message::User(_),
                queued: None,
                ..
            }) => Input::Prompt(self.prompts(now)),
            EventKind::TurnStarted(started) if started.trigger == TurnTrigger::Continue => {
                Input::Continue
            }
            EventKind::Message(MessageAdded {
                message: Message::Assistant(message),
                ..
            }) => {
                let Some(effect) = self.model_call() else {
                    return none("no model call is in flight");
                };
                for delta in message.deltas() {
                    self.input(event, now, Input::Delta(effect.clone(), delta))?;
                }
                Input::ModelEnded(effect)
            }
            EventKind::ModelFailed(failed) => {
                let Some(effect) = self.model_call() else {
                    return none("no model call is in flight");
                };
                self.feed_facts(event, &effect, failed)?;
                if failed.facts.finish_seen {
                    Input::ModelEnded(effect)
                } else {
                    Input::ModelFailed(effect, failed.error.clone())
                }
            }
            EventKind::MessageQueued(queued) => {
                let (id, message) = (queued.id.clone(), Arc::clone(&queued.message));
                match queued.queue {
                    Queue::Steering => Input::Steer(id, message),
                    Queue::FollowUp => Input::FollowUp(id, message),
                }
            }
            EventKind::StopRequested(StopRequested { cause }) => {
                self.feed_partial(event)?;
                match cause {
                    StopCause::Cancel {} => Input::Cancel,
                    StopCause::Stop { reason } => Input::Stop(reason.clone()),
                    StopCause::Limit { .. } => Input::Timeout,
                }
            }
            EventKind::SurfaceChanged(changed) => Input::SurfaceChanged(changed.as_ref().clone()),
            EventKind::Recovered(Recovered::Restart {}) => return self.restart(event),
            EventKind::ApprovalResolved(resolved) => {
                Input::Approval(self.effect(resolved.request), resolved.approval.clone())
            }
            EventKind::CompactionEnded(ended) => match (&ended.block, &ended.error) {
                (Some(block), _) => {
                    let Some(effect) = self.compaction() else {
                        return none("no compaction is under way");
                    };
                    Input::Compacted(effect, block.clone(), ended.usage)
                }
                (None, error) => {
                    let Some(effect) = self.compaction() else {
                        return none("no compaction is under way");
                    };
                    Input::CompactionFailed(effect, error.clone().unwrap_or_default(), ended.usage)
                }
            },
            EventKind::ToolEnded(ended) => self.tool_ended(ended),
            EventKind::ToolStarted(started) => match self.tool_decision(started.index) {
                Some((id, asked)) if asked.arguments == started.call.arguments => {
                    Input::Decided(id, Verdict::Proceed)
                }
                Some((id, _)) => match started.call.arguments.object() {
                    Some(arguments) => Input::Decided(id, Verdict::Rewrite(arguments.clone())),
                    None => return none("a call with malformed arguments never starts"),
                },
                None => return none("nobody decided that this call may start"),
            },
            EventKind::ApprovalRequested(asked) => match self.tool_decision(asked.index) {
                Some((id, call)) => {
                    let question = asked.question.clone();
                    let changed = call.arguments != asked.call.arguments;
                    let arguments = asked.call.arguments.object().filter(|_| changed).cloned();
                    Input::Decided(
                        id,
                        Verdict::Ask {
                            question,
                            arguments,
                        },
                    )
                }
                None => return none("nobody decided that this call needs an approval"),
            },
            EventKind::ModelStarted(started) => match self.deciding_model.take() {
                Some(id) if started.patch.is_empty() => Input::Decided(id, Verdict::Proceed),
                Some(id) => Input::Decided(id, Verdict::Patch(started.patch.clone())),
                None => Input::Timeout,
            },
            EventKind::TurnEnded(_) => match (self.deciding_model.take(), self.following()) {
                (Some(id), following) => Input::Decided(id, refusal(following)),
                (None, _) => Input::Timeout,
            },
            // What is left follows from the passing of time, if from anything.
            _ => Input::Timeout,
        };
        self.input(event, now, input)
    }

    /// The messages of the prompt that came in now.
    fn prompts(&self, now: DateTime<Utc>) -> Vec<Arc<UserMessage>> {
        let rest = self
            .events
            .iter()
            .skip(self.matched)
            .take_while(|event| event.at == now);
        let prompts = rest.map_while(|event| match &event.kind {
            EventKind::Message(MessageAdded {
                message: Message::User(message),
                queued: None,
                ..
            }) => Some(Arc::clone(message)),
            _ => None,
        });
        prompts.collect()
    }

    fn tool_ended(&mut self, ended: &ToolEnded) -> Input {
        if let Some((id, _)) = self.tool_decision(ended.index) {
            let content = ended.result.content.first();
            let reason = match content {
                Some(phi_types::Content::Text { text }) => text.clone(),
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
                let (ending, child) = (ended.ending, ended.child.clone());
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

    /// What had come of an attempt before it failed.
    fn feed_facts(
        &mut self,
        event: &Event,
        effect: &EffectId,
        failed: &ModelFailed,
    ) -> Result<(), Diverged> {
        let facts = failed.facts;
        let mut deltas = vec![Delta::Usage(facts.usage)];
        if facts.output_seen {
            // Thinking without a signature shows output and leaves nothing behind.
            deltas.push(Delta::thinking(0, ""));
        }
        if facts.finish_seen {
            let stop_reason = StopReason::ContextWindow;
            deltas.push(Delta::Finish(Finish {
                stop_reason,
                raw: None,
            }));
        }
        for delta in deltas {
            self.input(event, event.at, Input::Delta(effect.clone(), delta))?;
        }
        Ok(())
    }

    /// What a model call had yielded when it was cut off; the event after the request holds it.
    fn feed_partial(&mut self, event: &Event) -> Result<(), Diverged> {
        let Some(effect) = self.model_call() else {
            return Ok(());
        };
        match self.following().map(|event| &event.kind) {
            Some(EventKind::Message(MessageAdded {
                message: Message::Assistant(message),
                ..
            })) if message.stop_reason == StopReason::Cancelled => {
                for delta in message.deltas() {
                    self.input(event, event.at, Input::Delta(effect.clone(), delta))?;
                }
                Ok(())
            }
            Some(EventKind::ModelFailed(failed))
                if failed.error.kind == ProviderErrorKind::Cancelled =>
            {
                self.feed_facts(event, &effect, failed)
            }
            _ => Ok(()),
        }
    }

    /// A restart forgets what no log holds; it may come with another surface.
    fn restart(&mut self, event: &Event) -> Result<(), Diverged> {
        self.deciding_model = None;
        self.deciding_tools.clear();
        self.machine = restored(self.before, self.events, self.matched)?;
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
            self.machine.resume(event.at);
            return Ok(());
        };
        let mut surface = self.machine.transcript().surface().clone();
        surface.change(changed);
        self.machine
            .resume_with(event.at, &surface)
            .map_err(|rejected| refused(event, &rejected))
    }

    fn input(&mut self, event: &Event, now: DateTime<Utc>, input: Input) -> Result<(), Diverged> {
        self.machine
            .handle(now, input)
            .map_err(|rejected| refused(event, &rejected))
    }

    fn tool_decision(&mut self, index: u32) -> Option<(DecisionId, Arc<ToolCall>)> {
        let place = self
            .deciding_tools
            .iter()
            .position(|(id, _)| id.index == index)?;
        Some(self.deciding_tools.swap_remove(place))
    }

    fn model_call(&self) -> Option<EffectId> {
        self.machine
            .outstanding()
            .into_iter()
            .find_map(|effect| match effect {
                Effect::CallModel(call) => Some(call.id),
                _ => None,
            })
    }

    fn compaction(&self) -> Option<EffectId> {
        self.machine
            .outstanding()
            .into_iter()
            .find_map(|effect| match effect {
                Effect::Compact(compact) => Some(compact.id),
                _ => None,
            })
    }

    fn effect(&self, seq: u64) -> EffectId {
        EffectId {
            loop_id: self.machine.loop_id().clone(),
            seq,
        }
    }
}

/// Reads from the end of a loop what a hook had decided about its model call.
fn refusal(following: Option<&Event>) -> Verdict {
    match following.map(|event| &event.kind) {
        Some(EventKind::LoopEnded(ended)) => match &ended.outcome {
            Outcome::Failed {
                error: LoopError::Hook { reason },
            } => Verdict::Fail {
                reason: reason.clone(),
            },
            Outcome::Rejected { reason } => Verdict::Deny {
                reason: reason.clone(),
            },
            _ => Verdict::Deny {
                reason: String::new(),
            },
        },
        _ => Verdict::Deny {
            reason: String::new(),
        },
    }
}

fn restored(before: &Transcript, events: &[Event], len: usize) -> Result<Machine, Diverged> {
    Machine::restore(before, events.iter().take(len))
        .map_err(|error| diverged(events.first(), None, &error.to_string()))
}

fn is_restart(event: &Event) -> bool {
    matches!(event.kind, EventKind::Recovered(Recovered::Restart {}))
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
