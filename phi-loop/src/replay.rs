//! Replay: a fresh machine, driven with the inputs that a log holds, compared event by event.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{
    Delta, EffectId, Event, EventKind, Finish, LoopError, LoopStarted, Message, MessageAdded,
    ModelFailed, Outcome, ProviderErrorKind, Queue, Recovered, StopCause, StopReason,
    StopRequested, Surface, SurfaceChanged, ToolEnded, ToolEnding, Transcript, UserMessage,
};

use crate::io::{DecisionId, Effect, Input, Output, Rejected, Subject, ToolReport, Verdict};
use crate::machine::{Machine, Start};

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
    let mut replay = Replay::new(before, events)?;
    while let Some(event) = replay.next() {
        let matched = replay.matched;
        replay.feed(event)?;
        replay.compare()?;
        if replay.matched == matched {
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
    machine: Machine,
    events: &'a [Event],
    matched: usize,
    deciding_model: Option<DecisionId>,
    deciding_tools: Vec<(DecisionId, Arc<phi_types::ToolCall>)>,
}

impl<'a> Replay<'a> {
    fn new(before: &Transcript, events: &'a [Event]) -> Result<Self, Diverged> {
        let Some(first) = events.first() else {
            return Err(Diverged {
                seq: 1,
                recorded: None,
                replayed: None,
                why: "the log is empty".to_owned(),
            });
        };
        let (EventKind::LoopStarted(started), Some(loop_id)) = (&first.kind, &first.loop_id) else {
            return Err(diverged(
                Some(first),
                None,
                "the log of a loop begins with loop_started",
            ));
        };
        let surface = match events.get(1).map(|event| &event.kind) {
            Some(EventKind::SurfaceChanged(changed)) => surface(changed),
            _ => Surface::default(),
        };
        let LoopStarted {
            agent,
            parent,
            continuation,
            configuration,
            metadata,
        } = started.as_ref().clone();
        let start = Start {
            session: first.session.clone(),
            loop_id: loop_id.clone(),
            agent,
            parent,
            continuation,
            configuration,
            metadata,
            transcript: before.clone(),
            surface,
        };
        Ok(Self {
            machine: Machine::new(start),
            events,
            matched: 0,
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
                        let Some(recorded) = self.next() else {
                            continue;
                        };
                        if *recorded != replayed {
                            let why = "the machine wrote something else";
                            return Err(diverged(Some(recorded), Some(replayed), why));
                        }
                        self.matched += 1;
                    }
                }
                Output::Effect(Effect::Decide(id, Subject::Model(_))) => {
                    self.deciding_model = Some(id);
                }
                Output::Effect(Effect::Decide(id, Subject::Tool(call))) => {
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
            EventKind::LoopStarted(_) => self.first_input(),
            EventKind::Message(MessageAdded {
                message: Message::User(message),
                ..
            }) => Input::Prompt(vec![Arc::clone(message)]),
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
            EventKind::Recovered(Recovered::Restart {}) => {
                self.deciding_model = None;
                self.deciding_tools.clear();
                self.machine = self.restarted(event)?;
                self.machine.resume(now);
                return Ok(());
            }
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
                    Input::CompactionFailed(effect, error.clone().unwrap_or_default())
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
                (None, _) => return none("the turn is not over"),
            },
            _ => return none("nothing that came in leads to this event"),
        };
        self.input(event, now, input)
    }

    fn first_input(&self) -> Input {
        let prompts = self
            .events
            .iter()
            .skip(2)
            .map_while(|event| match &event.kind {
                EventKind::Message(MessageAdded {
                    message: Message::User(message),
                    queued: None,
                    ..
                }) => Some(Arc::clone(message)),
                _ => None,
            });
        let prompts: Vec<Arc<UserMessage>> = prompts.collect();
        if prompts.is_empty() {
            Input::Continue
        } else {
            Input::Prompt(prompts)
        }
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

    /// A restart forgets what no log holds, as the process did.
    fn restarted(&self, event: &Event) -> Result<Machine, Diverged> {
        let mut machine = self.machine.clone();
        machine.forget();
        if machine.outcome().is_some() {
            return Err(diverged(Some(event), None, "the loop has ended"));
        }
        Ok(machine)
    }

    fn input(&mut self, event: &Event, now: DateTime<Utc>, input: Input) -> Result<(), Diverged> {
        self.machine
            .handle(now, input)
            .map_err(|rejected: Rejected| {
                diverged(
                    Some(event),
                    None,
                    &format!("the machine refuses what led to it: {rejected}"),
                )
            })
    }

    fn tool_decision(&mut self, index: u32) -> Option<(DecisionId, Arc<phi_types::ToolCall>)> {
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

fn surface(changed: &SurfaceChanged) -> Surface {
    let empty = Surface::default();
    Surface {
        system: changed.system.clone().unwrap_or(empty.system),
        tools: changed.tools.clone().unwrap_or(empty.tools),
        models: changed.models.clone().unwrap_or(empty.models),
        options: changed.options.clone().unwrap_or(empty.options),
    }
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
