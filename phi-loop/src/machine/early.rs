//! Calls that start while the model still speaks: which may, and when they end.

use chrono::{DateTime, Utc};
use phi_types::{
    Delta, EarlyStart, EffectClass, EffectId, EventKind, Point, ToolCall, ToolEnded, ToolEnding,
    ToolExecution, ToolResult, ToolStarted,
};

use super::Machine;
use crate::calls::{Running, Slot};
use crate::io::{Effect, ToolReport};
use crate::state::{Calling, Phase, Stage, State};
use crate::step::Step;

impl State {
    /// Says whether one more call may start before the model has finished. It depends on what is
    /// written alone, so that a replay decides alike: a place of the cap is taken until the answer
    /// is there.
    fn may_start_early(&self) -> bool {
        let tools = &self.configuration.tools;
        let in_flight = matches!(
            &self.phase,
            Phase::Calling(Calling {
                stage: Stage::InFlight { .. },
                ..
            })
        );
        let places = match tools.execution {
            ToolExecution::Sequential => 1,
            ToolExecution::Parallel { max } => max.max(1),
            ToolExecution::Batched { size } => size.max(1),
        };
        tools.early_start
            && in_flight
            && self.transcript.early_calls().len() < usize::try_from(places).unwrap_or(usize::MAX)
            && !self.configuration.points.contains(&Point::BeforeTool)
            && !self.tool_calls_used_up()
            && self.why_skip().is_none()
    }

    /// Ends a call whose answer failed or does not hold it.
    pub(crate) fn discard_early(&self) -> Option<Step> {
        let early = self.transcript.early_calls().first()?;
        let text = "The call was not needed: no complete answer of the model asks for it.";
        let (index, call) = (early.started.index, &early.started.call);
        Some(self.answered(index, call, Some(early.seq), ToolEnding::Discarded, text))
    }
}

impl Machine {
    /// Says whether the increment may have completed a call that shall start now.
    pub(crate) fn may_complete_a_call(&self, delta: &Delta) -> bool {
        self.state.configuration.tools.early_start && matches!(delta, Delta::PartEnded(_))
    }

    /// Starts the calls that are complete, in their order, as far as they may start early.
    pub(super) fn start_early(&mut self, now: DateTime<Utc>) {
        while let Some(started) = self.next_early() {
            self.emit(now, EventKind::ToolStarted(started));
        }
        self.flush();
    }

    fn next_early(&mut self) -> Option<ToolStarted> {
        if self.attempt.early_over || !self.state.may_start_early() {
            return None;
        }
        let Phase::Calling(calling) = &self.state.phase else {
            return None;
        };
        let attempt = calling.attempts.started;
        let early = self.state.transcript.early_calls();
        let taken = |id: &str| early.iter().any(|it| *it.started.call.id == *id);
        let assembler = &self.attempt.assembler;
        let (part, call) = assembler.ended_call(early.len(), taken)?;
        let index = u32::try_from(early.len()).ok()?;
        if !self.state.is_early(&call) {
            self.attempt.early_over = true;
            return None;
        }
        Some(ToolStarted {
            index,
            call: call.into(),
            effect_class: EffectClass::Pure,
            early: Some(EarlyStart { attempt, part }),
        })
    }

    /// Says whether a call that started early runs under this effect.
    pub(super) fn runs_early(&self, effect: &EffectId) -> bool {
        effect.loop_id == self.state.loop_id && self.has_early(effect.seq)
    }

    /// Says whether a call started early under this `seq` and nothing is known of its end.
    pub(crate) fn has_early(&self, seq: u64) -> bool {
        let mut early = self.state.transcript.early_calls().iter();
        early.any(|it| it.seq == seq) && !self.held.contains_key(&seq)
    }

    /// Keeps how a call ended until the answer is there that asks for it. It does not survive a
    /// crash, after which the whole attempt is made again.
    pub(crate) fn hold(&mut self, seq: u64, mut report: ToolReport) {
        if let Some(child) = report.child.take() {
            self.spawned.insert(seq, child);
        }
        self.held.insert(seq, report);
    }

    /// Ends the calls of the answer of which it is known how they ended.
    pub(super) fn end_held(&mut self, now: DateTime<Utc>) {
        if self.held.is_empty() {
            return;
        }
        let calls = self.state.calls().into_iter().flat_map(|it| it.slots());
        let ended = calls.filter_map(|(index, slot)| match slot {
            Slot::Running(running) => {
                let report = self.held.get(&running.seq)?.clone();
                let report = self.with_fitting_change(&self.effect_id(running.seq), report);
                Some(ToolEnded {
                    index,
                    call_id: running.call.id.clone(),
                    started: Some(running.seq),
                    ending: report.ending,
                    result: report.result,
                    child: None,
                    spent: None,
                })
            }
            _ => None,
        });
        for ended in ended.collect::<Vec<_>>() {
            self.emit(now, EventKind::ToolEnded(ended));
        }
    }

    /// Stops the calls that run longer than they may.
    pub(super) fn time_out_early(&mut self, now: DateTime<Utc>) {
        let early = self.state.transcript.early_calls().iter();
        let due = early.filter(|it| !self.held.contains_key(&it.seq));
        let due = due.filter(|it| self.state.deadline(it.at).is_some_and(|at| at <= now));
        for seq in due.map(|it| it.seq).collect::<Vec<_>>() {
            let result = ToolResult::error(self.state.ran_too_long()).into();
            let (ending, child) = (ToolEnding::TimedOut, None);
            self.hold(
                seq,
                ToolReport {
                    ending,
                    result,
                    child,
                },
            );
            self.pending.aborts.push(self.effect_id(seq));
        }
    }

    /// Returns when the first call that started early has run long enough.
    pub(super) fn early_deadline(&self) -> Option<DateTime<Utc>> {
        let early = self.state.transcript.early_calls().iter();
        let running = early.filter(|it| !self.held.contains_key(&it.seq));
        running.filter_map(|it| self.state.deadline(it.at)).min()
    }

    /// Collects the calls that run and that no message holds yet.
    pub(super) fn early_effects(&self) -> impl Iterator<Item = Effect> {
        let early = self.state.transcript.early_calls().iter();
        let running = early.filter(|it| !self.held.contains_key(&it.seq));
        running.filter_map(|it| {
            self.run_tool(&Running {
                seq: it.seq,
                call: it.started.call.clone(),
                effect_class: it.started.effect_class,
                deadline: None,
            })
        })
    }
}

impl State {
    /// Says whether nothing stands against running the call before the model has finished.
    fn is_early(&self, call: &ToolCall) -> bool {
        call.arguments.object().is_some() && self.offered(&call.name) == Some(EffectClass::Pure)
    }
}
