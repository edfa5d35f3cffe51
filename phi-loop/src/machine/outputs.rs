//! From events to outputs: one batch a step, then what to break off, then what to start.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{EffectId, Event, EventKind, ModelPatch, Outcome, Point};

use super::{Attempt, Machine, Pending};
use crate::calls::{Running, Slot};
use crate::counting::Counting;
use crate::io::{AskApproval, CallModel, Compact, DecisionId, Effect, Output, RunTool, Subject};
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
            let points = &self.state.configuration.points;
            let asked = Asked {
                before_model: points.contains(&Point::BeforeModel),
                before_tool: points.contains(&Point::BeforeTool),
                before_compaction: points.contains(&Point::BeforeCompaction),
                model: self.deciding.model,
                tools: &self.deciding.tools,
            };
            match self.state.step(&asked, now) {
                Step::Wait => break,
                Step::Emit(kind) => self.emit(now, kind),
                Step::DecideModel | Step::DecideCompaction => {
                    let Phase::Calling(calling) = &self.state.phase else {
                        break;
                    };
                    self.deciding.model = Some(DecisionId {
                        seq: self.state.trace.seq,
                        index: 0,
                    });
                    self.pending.effects.extend(self.decide_model(calling));
                }
                Step::DecideTool(index, call) => {
                    self.deciding.tools.push(index);
                    let id = self.tool_decision(index);
                    self.pending
                        .effects
                        .push(Effect::Decide(id, Subject::Tool(call)));
                }
            }
        }
        self.flush();
    }

    /// One batch, then aborts, then effects.
    fn flush(&mut self) {
        if !self.pending.events.is_empty() {
            self.outbox
                .push_back(Output::Events(std::mem::take(&mut self.pending.events)));
        }
        let Pending {
            aborts, effects, ..
        } = &mut self.pending;
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
        self.before_apply(&kind);
        let event = Event {
            session: self.state.session.clone(),
            loop_id: Some(self.state.loop_id.clone()),
            seq: self.state.trace.seq + 1,
            at: now,
            kind,
        };
        if let Err(error) = self.state.apply(&event) {
            // The state decides what is written, so this is a defect of the machine itself.
            debug_assert!(
                false,
                "the machine wrote an event that it cannot fold: {error}"
            );
            self.state.phase = Phase::Ended(Outcome::Aborted {
                reason: error.to_string(),
            });
            return;
        }
        self.after_apply(&event);
        self.pending.events.push(event);
    }

    fn before_apply(&mut self, kind: &EventKind) {
        match kind {
            EventKind::ToolEnded(ended) => {
                self.deciding.tools.retain(|index| *index != ended.index);
                let slot = self.state.calls().and_then(|calls| calls.get(ended.index));
                let seq = match slot {
                    // A report from outside ends the effect by itself.
                    Some(Slot::Running(running)) if !is_report(ended.ending) => Some(running.seq),
                    Some(Slot::Asking { request, .. }) => Some(*request),
                    _ => None,
                };
                if let Some(effect) = seq.map(|seq| self.effect_id(seq)) {
                    self.take_back(effect);
                }
                if let Some(seq) = ended.started {
                    self.progress_index.remove(&seq);
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
            EventKind::TurnEnded(_)
            | EventKind::Message(_)
            | EventKind::SurfaceChanged(_)
            | EventKind::CompactionEnded(_) => {
                self.deciding.model = None;
            }
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

    fn after_apply(&mut self, event: &Event) {
        let seq = event.seq;
        match &event.kind {
            EventKind::ModelStarted(_) => {
                self.attempt = Attempt::default();
                self.deciding.model = None;
                let call = self.call_model();
                self.pending.effects.extend(call);
            }
            EventKind::CompactionStarted(_) => {
                self.deciding.model = None;
                self.pending
                    .effects
                    .push(Effect::Compact(self.compact(seq)));
            }
            EventKind::ToolStarted(started) => {
                let calls = self.state.calls();
                let slot = calls.and_then(|calls| calls.get(started.index));
                if let Some(Slot::Running(running)) = slot {
                    self.pending.effects.extend(self.run_tool(running));
                }
            }
            EventKind::ApprovalRequested(asked) => {
                let calls = self.state.calls();
                let slot = calls.and_then(|calls| calls.get(asked.index));
                self.pending
                    .effects
                    .extend(slot.and_then(|slot| self.ask(slot)));
            }
            _ => {}
        }
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
        Some(Effect::CallModel(CallModel {
            id,
            index,
            target,
            request,
        }))
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

    pub(super) fn decide_model(&self, calling: &Calling) -> Option<Effect> {
        let id = self.deciding.model?;
        if calling.stage == Stage::Overflowed || self.state.compaction_due() {
            return Some(Effect::Decide(id, Subject::Compaction(self.compact(0))));
        }
        let target = self.state.target_of(calling.attempts);
        let next = self
            .state
            .transcript
            .next_request(target, &ModelPatch::default());
        let request = next.request(&self.state.session)?;
        Some(Effect::Decide(id, Subject::Model(request)))
    }

    /// Names the decision about a call after the message that asks for it.
    pub(super) fn tool_decision(&self, index: u32) -> DecisionId {
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

    pub(super) fn effect_id(&self, seq: u64) -> EffectId {
        EffectId {
            loop_id: self.state.loop_id.clone(),
            seq,
        }
    }
}

fn is_report(ending: phi_types::ToolEnding) -> bool {
    use phi_types::ToolEnding as E;
    matches!(ending, E::Finished | E::Failed | E::Invalid)
}
