//! Decisions of hooks: asked before a step, and turned into the events that follow from them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{
    EventKind, FilterVerdict, InputFiltered, LoopError, ModelPatch, Outcome, Point, QueueId,
    ToolCall, TurnTrigger, Usage, UserMessage,
};

use super::inputs::{check_message, ill_shaped};
use super::{Asking, Machine};
use crate::calls::Slot;
use crate::decision::{DecisionId, Incoming, InputSource, NextTurn, Subject, Verdict};
use crate::io::{Effect, Rejected};
use crate::state::{Calling, Phase, State};
use crate::step::Opening;

impl Machine {
    /// Asks about the next step of the loop itself.
    pub(super) fn ask_step(&mut self, point: Point) {
        let id = DecisionId {
            seq: self.state.trace.seq,
            index: 0,
        };
        self.deciding.step = Some(Asking { id, point });
        let effect = self.step_decision();
        self.pending.effects.extend(effect);
    }

    /// Asks about a call.
    pub(super) fn ask_tool(&mut self, index: u32, call: Arc<ToolCall>) {
        self.deciding.tools.push(index);
        let id = self.tool_decision(index);
        let effect = Effect::Decide(id, Subject::Tool(call));
        self.pending.effects.push(effect);
    }

    /// Asks about every message that waits and is held, unless that was done.
    pub(super) fn ask_inputs(&mut self) {
        if self.outcome().is_some() {
            return;
        }
        let queue = self.state.transcript.queue();
        for (index, queued) in (1..).zip(queue) {
            let asked = |(_, id): &(DecisionId, QueueId)| *id == queued.id;
            if queued.held && !self.deciding.inputs.iter().any(asked) {
                let seq = self.state.trace.seq;
                let asking = (DecisionId { seq, index }, queued.id.clone());
                self.deciding.inputs.push(asking);
                let effect = self.deciding.inputs.last();
                let effect = effect.and_then(|(id, queued)| self.input_decision(*id, queued));
                self.pending.effects.extend(effect);
            }
        }
    }

    /// Collects the decisions that are outstanding.
    pub(super) fn decisions(&self) -> impl Iterator<Item = Effect> {
        let inputs = self.deciding.inputs.iter();
        let inputs = inputs.filter_map(|(id, queued)| self.input_decision(*id, queued));
        let tools = self.deciding.tools.iter();
        let tools = tools.filter_map(|index| {
            let (id, call) = self.decision_about(*index)?;
            Some(Effect::Decide(id, Subject::Tool(call)))
        });
        inputs.chain(self.step_decision()).chain(tools)
    }

    /// Returns the point at which a decision about the next step of the loop is outstanding.
    pub(crate) fn asked_at(&self) -> Option<(DecisionId, Point)> {
        let Asking { id, point } = self.deciding.step?;
        Some((id, point))
    }

    /// Returns the decision about a call that is outstanding, and the call.
    pub(crate) fn decision_about(&self, index: u32) -> Option<(DecisionId, Arc<ToolCall>)> {
        if !self.deciding.tools.contains(&index) {
            return None;
        }
        match self.state.calls()?.get(index)? {
            Slot::Pending(call) => Some((self.tool_decision(index), Arc::clone(call))),
            _ => None,
        }
    }

    /// Returns the decision about a message that is outstanding.
    pub(crate) fn decision_on_input(&self, queued: &QueueId) -> Option<DecisionId> {
        let mut inputs = self.deciding.inputs.iter();
        inputs.find(|(_, id)| id == queued).map(|(id, _)| *id)
    }

    fn input_decision(&self, id: DecisionId, queued: &QueueId) -> Option<Effect> {
        let queue = self.state.transcript.queue();
        let queued = queue.iter().find(|it| it.id == *queued)?;
        let incoming = Incoming {
            source: InputSource::Queued(queued.id.clone(), queued.queue),
            messages: vec![Arc::clone(&queued.message)],
        };
        Some(Effect::Decide(id, Subject::Input(incoming)))
    }

    fn step_decision(&self) -> Option<Effect> {
        let Asking { id, point } = self.deciding.step?;
        let view = || self.state.transcript.view().clone();
        let subject = match point {
            Point::FilterInput => Subject::Input(self.incoming_prompt()?),
            Point::BeforeLoop => Subject::Loop(view()),
            Point::BeforeTurn => Subject::Turn(self.next_turn(view())),
            Point::BeforeCompaction => Subject::Compaction(Box::new(self.compact(0))),
            Point::BeforeEnd => Subject::End(view()),
            Point::BeforeModel => {
                let Phase::Calling(calling) = &self.state.phase else {
                    return None;
                };
                let target = self.state.target_of(calling.attempts);
                let transcript = &self.state.transcript;
                let next = transcript.next_request(target, &ModelPatch::default());
                Subject::Model(next.request(&self.state.session)?)
            }
            // These are not asked about the loop itself.
            Point::BeforeTool
            | Point::BeforeToolUpdate
            | Point::AfterModel
            | Point::AfterTool
            | Point::AfterToolUpdate
            | Point::AfterCompaction
            | Point::OnError
            | Point::AfterTurn
            | Point::AfterLoop => return None,
        };
        Some(Effect::Decide(id, subject))
    }

    fn incoming_prompt(&self) -> Option<Incoming> {
        match &self.deciding.opening {
            Some(Opening::Prompt(messages)) => Some(Incoming {
                source: InputSource::Prompt,
                messages: messages.clone(),
            }),
            Some(Opening::Continue) | None => None,
        }
    }

    fn next_turn(&self, view: phi_types::History) -> NextTurn {
        let trigger = match &self.state.phase {
            Phase::Between {
                trigger: Some(trigger),
                ..
            } if self.state.limit_reached().is_none() => *trigger,
            Phase::Between { .. } => TurnTrigger::Grace,
            Phase::New
            | Phase::Started
            | Phase::Calling(_)
            | Phase::Settling { .. }
            | Phase::Ended(_) => TurnTrigger::Continue,
        };
        NextTurn {
            index: self.state.next_turn_index(trigger),
            trigger,
            view,
        }
    }

    /// Names the decision about a call after the message that asks for it.
    fn tool_decision(&self, index: u32) -> DecisionId {
        let seq = match &self.state.phase {
            Phase::Settling { message_seq, .. } => *message_seq,
            Phase::New
            | Phase::Started
            | Phase::Between { .. }
            | Phase::Calling(_)
            | Phase::Ended(_) => 0,
        };
        DecisionId { seq, index }
    }

    pub(super) fn on_decided(
        &mut self,
        now: DateTime<Utc>,
        id: DecisionId,
        verdict: Verdict,
    ) -> Result<(), Rejected> {
        if let Some(asking) = self.deciding.step.filter(|asking| asking.id == id) {
            return match asking.point {
                Point::FilterInput => self.decided_prompt(now, verdict),
                Point::BeforeModel => self.decided_model(now, verdict),
                Point::BeforeCompaction => self.decided_compaction(now, verdict),
                point => self.decided_gate(now, point, verdict),
            };
        }
        let inputs = &self.deciding.inputs;
        if let Some(place) = inputs.iter().position(|(asked, _)| *asked == id) {
            return self.decided_input(now, place, verdict);
        }
        let tools = &self.deciding.tools;
        let asked = |index: &u32| self.tool_decision(*index) == id;
        let place = tools.iter().position(asked);
        let pending = match self.state.calls().and_then(|calls| calls.get(id.index)) {
            Some(Slot::Pending(call)) => Some(Arc::clone(call)),
            _ => None,
        };
        let (Some(place), Some(call)) = (place, pending) else {
            return Err(Rejected::NotAsked(id));
        };
        if let Verdict::Limit { limit } = verdict {
            self.deciding.tools.swap_remove(place);
            self.emit(now, State::reached(limit, Some(id.index)));
            return Ok(());
        }
        let Some(step) = self.state.decided_tool(id.index, &call, verdict) else {
            return Err(ill_shaped(
                "a tool call is let run, rewritten, asked about or denied",
            ));
        };
        self.deciding.tools.swap_remove(place);
        self.emit_step(now, step);
        Ok(())
    }

    fn decided_prompt(&mut self, now: DateTime<Utc>, verdict: Verdict) -> Result<(), Rejected> {
        let refused = match &verdict {
            Verdict::Deny { reason } => Some(rejected(reason)),
            Verdict::Fail { reason } => Some(failed(reason)),
            _ => None,
        };
        let verdict = filtered(verdict)?;
        let Some(Opening::Prompt(mut messages)) = self.deciding.opening.take() else {
            return Ok(());
        };
        self.deciding.step = None;
        if let (FilterVerdict::Warned { warning }, Some(last)) = (&verdict, messages.last_mut()) {
            *last = Arc::new(last.warned(warning));
        }
        let (rejected, messages) = match &refused {
            Some(_) => (messages, Vec::new()),
            None => (Vec::new(), messages),
        };
        self.emit(
            now,
            EventKind::InputFiltered(InputFiltered {
                queued: None,
                verdict,
                rejected,
            }),
        );
        self.say(now, messages);
        if let Some(outcome) = refused {
            let ended = self.state.loop_ended(outcome);
            self.emit(now, ended);
        }
        Ok(())
    }

    fn decided_input(
        &mut self,
        now: DateTime<Utc>,
        place: usize,
        verdict: Verdict,
    ) -> Result<(), Rejected> {
        let verdict = filtered(verdict)?;
        let (_, queued) = self.deciding.inputs.swap_remove(place);
        self.emit(
            now,
            EventKind::InputFiltered(InputFiltered {
                queued: Some(queued),
                verdict,
                rejected: Vec::new(),
            }),
        );
        Ok(())
    }

    /// Decides before the first turn, before a turn, or before the end.
    fn decided_gate(
        &mut self,
        now: DateTime<Utc>,
        point: Point,
        verdict: Verdict,
    ) -> Result<(), Rejected> {
        let at_end = point == Point::BeforeEnd;
        let outcome = match verdict {
            Verdict::Proceed => {
                self.deciding.step = None;
                self.deciding.passed = Some(point);
                return Ok(());
            }
            Verdict::Continue(messages) if at_end => match sayable(&messages) {
                Ok(()) => {
                    self.say(now, messages);
                    return Ok(());
                }
                Err(refused) => failed(&refused.to_string()),
            },
            Verdict::Deny { reason } if !at_end => rejected(&reason),
            Verdict::Fail { reason } => failed(&reason),
            Verdict::Deny { .. }
            | Verdict::Continue(_)
            | Verdict::Limit { .. }
            | Verdict::Warn { .. }
            | Verdict::Patch(_)
            | Verdict::Rewrite(_)
            | Verdict::Ask { .. } => {
                return Err(ill_shaped(if at_end {
                    "the end is let pass, or messages keep the loop from it"
                } else {
                    "a turn is let pass or refused"
                }));
            }
        };
        let ended = self.state.loop_ended(outcome);
        self.emit(now, ended);
        Ok(())
    }

    fn decided_model(&mut self, now: DateTime<Utc>, verdict: Verdict) -> Result<(), Rejected> {
        let Phase::Calling(Calling { attempts, .. }) = &self.state.phase else {
            return Ok(());
        };
        let attempts = *attempts;
        let outcome = match sendable(verdict) {
            verdict @ (Verdict::Proceed | Verdict::Patch(_)) => {
                let patch = match verdict {
                    Verdict::Patch(patch) => patch,
                    _ => ModelPatch::default(),
                };
                self.deciding.step = None;
                if let Some(broken) = self.state.cache_broken(attempts, &patch) {
                    self.emit(now, broken);
                }
                let started = self.state.model_started(attempts, patch);
                self.emit(now, started);
                return Ok(());
            }
            Verdict::Limit { limit } => {
                self.deciding.step = None;
                self.emit(now, State::reached(limit, None));
                return Ok(());
            }
            Verdict::Deny { reason } => rejected(&reason),
            Verdict::Fail { reason } => failed(&reason),
            Verdict::Rewrite(_)
            | Verdict::Ask { .. }
            | Verdict::Warn { .. }
            | Verdict::Continue(_) => {
                return Err(ill_shaped("a model call is let pass, patched or refused"));
            }
        };
        self.deciding.step = None;
        let ended = self.state.turn_ended();
        self.emit_step(now, ended);
        let ended = self.state.loop_ended(outcome);
        self.emit(now, ended);
        Ok(())
    }

    fn decided_compaction(&mut self, now: DateTime<Utc>, verdict: Verdict) -> Result<(), Rejected> {
        let kind = match verdict {
            Verdict::Proceed => self.state.compaction_started(),
            Verdict::Deny { reason } | Verdict::Fail { reason } => {
                self.state.compaction_failed(Some(reason), Usage::default())
            }
            Verdict::Limit { limit } if self.state.has_overflowed() => {
                self.deciding.step = None;
                State::reached(limit, None)
            }
            // The model call that follows meets the limit itself.
            Verdict::Limit { limit } => {
                let reason = format!("the limit of {} is reached", limit.as_str());
                self.state.compaction_failed(Some(reason), Usage::default())
            }
            Verdict::Patch(_)
            | Verdict::Rewrite(_)
            | Verdict::Ask { .. }
            | Verdict::Warn { .. }
            | Verdict::Continue(_) => {
                return Err(ill_shaped("a compaction goes on or is left out"));
            }
        };
        self.emit(now, kind);
        Ok(())
    }
}

/// A patch with a message that no provider accepts is a hook that failed.
fn sendable(verdict: Verdict) -> Verdict {
    let Verdict::Patch(patch) = &verdict else {
        return verdict;
    };
    let mut messages = patch.messages.iter();
    match messages.try_for_each(|message| check_message(message)) {
        Ok(()) => verdict,
        Err(refused) => Verdict::Fail {
            reason: refused.to_string(),
        },
    }
}

fn rejected(reason: &str) -> Outcome {
    let reason = reason.to_owned();
    Outcome::Rejected { reason }
}

fn failed(reason: &str) -> Outcome {
    let reason = reason.to_owned();
    Outcome::Failed {
        error: LoopError::Hook { reason },
    }
}

fn filtered(verdict: Verdict) -> Result<FilterVerdict, Rejected> {
    Ok(match verdict {
        Verdict::Proceed => FilterVerdict::Passed {},
        Verdict::Warn { warning } => FilterVerdict::Warned { warning },
        Verdict::Deny { reason } | Verdict::Fail { reason } => FilterVerdict::Rejected { reason },
        Verdict::Patch(_)
        | Verdict::Rewrite(_)
        | Verdict::Ask { .. }
        | Verdict::Limit { .. }
        | Verdict::Continue(_) => {
            return Err(ill_shaped("an input is let in, warned about or rejected"));
        }
    })
}

/// A hook that keeps the loop from its end has something to say.
fn sayable(messages: &[Arc<UserMessage>]) -> Result<(), Rejected> {
    if messages.is_empty() {
        return Err(ill_shaped("a hook went on without a message"));
    }
    messages
        .iter()
        .try_for_each(|message| check_message(message))
}
