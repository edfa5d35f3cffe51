//! From events to outputs: one batch a step, then what to break off, then what to start.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{Assembler, CallHash, EffectId, Event, EventKind, NextView, Outcome, ToolEnding};

use super::{Attempt, Deciding, Machine, Pending};
use crate::calls::{Running, Slot};
use crate::counting::Counting;
use crate::io::{AskApproval, CallModel, Compact, Effect, Output, RunTool};
use crate::state::{Calling, Phase, Stage};
use crate::step::{Asked, Step, is_at_once};

impl Machine {
    /// Takes every step that is possible now and queues what came of it.
    pub(super) fn advance(&mut self, now: DateTime<Utc>) {
        loop {
            if let Phase::Calling(
                calling @ Calling {
                    stage: Stage::InFlight { seq },
                    ..
                },
            ) = &self.state.phase
                && self.state.stop.as_ref().is_some_and(is_at_once)
            {
                let (attempts, seq) = (calling.attempts, *seq);
                self.cut_attempt(now, attempts, seq);
                continue;
            }
            let asked = Asked {
                opening: self.deciding.opening.as_ref(),
                outstanding: self.deciding.step.map(|asking| asking.point),
                passed: self.deciding.passed,
                tools: &self.deciding.tools,
            };
            match self.state.step(&asked, now) {
                Step::Wait => break,
                Step::Emit(kind) => self.emit(now, kind),
                Step::Change(planned) => self.emit_with(now, planned.kind, Some(planned.next)),
                Step::Decide(point) => self.ask_step(point),
                Step::DecideTool(index, call) => self.ask_tool(index, call),
            }
        }
        self.ask_inputs();
        self.flush();
    }

    /// One batch, then aborts, then effects.
    pub(super) fn flush(&mut self) {
        let Pending {
            events,
            aborts,
            effects,
        } = &mut self.pending;
        if self.outbox.is_empty() {
            let outputs = usize::from(!events.is_empty()) + aborts.len() + effects.len();
            self.outbox.reserve_exact(outputs);
        }
        if !events.is_empty() {
            self.outbox
                .push_back(Output::Events(std::mem::take(events)));
        }
        if !aborts.is_empty() {
            self.outbox.extend(aborts.drain(..).map(Output::Abort));
        }
        if !effects.is_empty() {
            self.outbox.extend(effects.drain(..).map(Output::Effect));
        }
    }

    pub(super) fn emit_step(&mut self, now: DateTime<Utc>, step: Step) {
        if let Step::Emit(kind) = step {
            self.emit(now, kind);
        }
    }

    /// Writes one event down, folds it in and notes what it starts or breaks off.
    pub(super) fn emit(&mut self, now: DateTime<Utc>, kind: EventKind) {
        self.emit_with(now, kind, None);
    }

    /// Writes down an event of which the view to which it leads may be known already.
    pub(super) fn emit_with(
        &mut self,
        now: DateTime<Utc>,
        kind: EventKind,
        next: Option<NextView>,
    ) {
        self.before_apply(&kind);
        // Where it is written it stays: an event is large enough that moving it is most of its cost.
        self.pending.events.push(Event {
            session: self.state.session.clone(),
            loop_id: Some(self.state.loop_id.clone()),
            seq: self.state.trace.seq + 1,
            at: now,
            kind,
        });
        self.name_sub_agent();
        let Some(event) = self.pending.events.last() else {
            return;
        };
        let started = Started::by(event);
        if let Err(error) = self.state.apply_with(event, next) {
            // The state decides what is written, so this is a defect of the machine itself.
            debug_assert!(
                false,
                "the machine wrote an event that it cannot fold: {error}"
            );
            self.pending.events.pop();
            self.state.phase = Phase::Ended(Outcome::Aborted {
                reason: error.to_string(),
            });
            return;
        }
        self.after_apply(started);
    }

    /// Names the sub-agent of a call in the call's end, whoever ended it.
    fn name_sub_agent(&mut self) {
        if !self.spawned.is_empty()
            && let Some(event) = self.pending.events.last_mut()
            && let EventKind::ToolEnded(ended) = &mut event.kind
            && let Some(spawned) = ended.started.and_then(|seq| self.spawned.remove(&seq))
        {
            ended.child = Some(spawned.session);
            ended.spent = spawned.spent.reported();
        }
    }

    fn before_apply(&mut self, kind: &EventKind) {
        match kind {
            EventKind::ToolEnded(ended) if ended.ending == ToolEnding::Discarded => {
                if let Some(seq) = ended.started {
                    self.progress_index.remove(&seq);
                    if self.held.remove(&seq).is_none() {
                        let abort = self.effect_id(seq);
                        self.pending.aborts.push(abort);
                    }
                }
            }
            EventKind::ToolEnded(ended) => {
                self.deciding.tools.retain(|index| *index != ended.index);
                let seq = match self.slot(ended.index) {
                    // A report from outside ends the effect by itself.
                    Some(Slot::Running(running)) if !is_report(ended.ending) => {
                        Some(running.seq).filter(|seq| self.held.remove(seq).is_none())
                    }
                    Some(Slot::Asking { request, .. }) => Some(*request),
                    _ => None,
                };
                if let Some(effect) = seq.map(|seq| self.effect_id(seq)) {
                    self.take_back(effect);
                }
                if let Some(seq) = ended.started {
                    self.progress_index.remove(&seq);
                    self.held.remove(&seq);
                }
            }
            EventKind::CompactionEnded(_) if self.state.stop.as_ref().is_some_and(is_at_once) => {
                if let Phase::Calling(Calling {
                    stage: Stage::Compacting { seq, .. },
                    ..
                }) = &self.state.phase
                {
                    let abort = self.effect_id(*seq);
                    self.pending.aborts.push(abort);
                }
            }
            // The step waits for what the filters decide about it.
            EventKind::MessageQueued(queued) if queued.held => self.forget_step(),
            EventKind::TurnStarted(_) => {
                self.deciding.opening = None;
                self.forget_step();
            }
            EventKind::TurnEnded(_)
            | EventKind::Message(_)
            | EventKind::SurfaceChanged(_)
            | EventKind::ContextPruned(_)
            | EventKind::ContextReverted(_)
            | EventKind::ContextRestored(_)
            | EventKind::CompactionEnded(_) => self.forget_step(),
            EventKind::LoopEnded(_) => self.deciding = Deciding::default(),
            _ => {}
        }
    }

    /// Breaks off an effect, or does not hand it out where a resume has just queued it.
    fn take_back(&mut self, effect: EffectId) {
        let Pending {
            effects, aborts, ..
        } = &mut self.pending;
        let queued = effects.len();
        effects.retain(|pending| pending.id() != Some(&effect));
        if effects.len() == queued {
            aborts.push(effect);
        }
    }

    fn after_apply(&mut self, started: Started) {
        let effect = match started {
            Started::Nothing => return,
            Started::Model => {
                let tools = Arc::clone(&self.state.transcript.surface().tools);
                self.attempt = Attempt {
                    assembler: Assembler::for_tools(tools),
                    ..Attempt::default()
                };
                self.forget_step();
                self.call_model()
            }
            Started::Compaction { seq } => {
                self.forget_step();
                Some(Effect::Compact(Box::new(self.compact(seq))))
            }
            Started::EarlyTool => self.early_effects().last(),
            Started::Tool { index } => match self.slot(index) {
                Some(Slot::Running(running)) => self.run_tool(running),
                _ => None,
            },
            Started::Question { index } => self.slot(index).and_then(|slot| self.ask(slot)),
        };
        if self.pending.effects.is_empty() {
            // Most steps start one effect.
            self.pending.effects.reserve_exact(1);
        }
        self.pending.effects.extend(effect);
    }

    fn slot(&self, index: u32) -> Option<&Slot> {
        self.state.calls()?.get(index)
    }

    /// Builds the call of the attempt in flight.
    pub(super) fn call_model(&self) -> Option<Effect> {
        let Phase::Calling(calling) = &self.state.phase else {
            return None;
        };
        let Stage::InFlight { seq } = calling.stage else {
            return None;
        };
        let (id, index) = (self.effect_id(seq), calling.attempts.target);
        let sent = self.state.transcript.sent()?;
        let (target, request) = (sent.target()?.clone(), sent.request(&self.state.session)?);
        Some(Effect::CallModel(Box::new(CallModel {
            id,
            index,
            target,
            request,
        })))
    }

    pub(super) fn run_tool(&self, running: &Running) -> Option<Effect> {
        let call = Arc::clone(&running.call);
        let arguments = call.arguments.object()?.clone();
        Some(Effect::RunTool(RunTool {
            id: self.effect_id(running.seq),
            call,
            arguments,
        }))
    }

    pub(super) fn ask(&self, slot: &Slot) -> Option<Effect> {
        let Slot::Asking {
            request,
            call,
            question,
        } = slot
        else {
            return None;
        };
        Some(Effect::AskApproval(AskApproval {
            id: self.effect_id(*request),
            tool: Arc::clone(&call.name),
            arguments: call.arguments.object()?.clone(),
            question: question.clone(),
            hash: CallHash::of(call)?,
        }))
    }

    pub(super) fn compact(&self, seq: u64) -> Compact {
        let transcript = &self.state.transcript;
        Compact {
            id: self.effect_id(seq),
            session: self.state.session.clone(),
            view: transcript.view().clone(),
            surface: transcript.surface().clone(),
            window_tokens: self.state.window_tokens(),
            budget_tokens: self.state.budget_tokens(),
            threshold_tokens: self.state.exceeded_tokens(),
            counting: Counting::Estimated(transcript.calibration()),
            surface_tokens: transcript.surface_tokens(),
        }
    }

    /// What was decided about the next step, or is being decided, was about another one.
    fn forget_step(&mut self) {
        (self.deciding.step, self.deciding.passed) = (None, None);
    }

    pub(super) fn effect_id(&self, seq: u64) -> EffectId {
        EffectId {
            loop_id: self.state.loop_id.clone(),
            seq,
        }
    }
}

/// What an event starts, to be handed out once the event is folded in.
#[derive(Debug, Clone, Copy)]
enum Started {
    Nothing,
    Model,
    Compaction { seq: u64 },
    EarlyTool,
    Tool { index: u32 },
    Question { index: u32 },
}

impl Started {
    fn by(event: &Event) -> Self {
        match &event.kind {
            EventKind::ModelStarted(_) => Self::Model,
            EventKind::CompactionStarted(_) => Self::Compaction { seq: event.seq },
            EventKind::ToolStarted(started) if started.early.is_some() => Self::EarlyTool,
            EventKind::ToolStarted(started) => Self::Tool {
                index: started.index,
            },
            EventKind::ApprovalRequested(asked) => Self::Question { index: asked.index },
            _ => Self::Nothing,
        }
    }
}

fn is_report(ending: ToolEnding) -> bool {
    use ToolEnding as E;
    matches!(ending, E::Finished | E::Failed | E::Invalid)
}
