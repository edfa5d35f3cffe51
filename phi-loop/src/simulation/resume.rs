//! A restore at every event, and what a resume from there adds.

use phi_types::{Continuation, Event, EventKind, ToolEnding};

use super::oracle::{Broken, Oracle};
use super::world::World;
use crate::io::{Effect, Output};
use crate::machine::Machine;

impl World<'_> {
    /// Folds the log so far.
    pub(super) fn folded(&self) -> Result<Machine, Broken> {
        Machine::restore(&self.scenario.before, &self.events)
            .map_err(|error| Oracle::FoldEqualsLive.broken(error.to_string()))
    }

    /// Restores at the newest event, as a process would that ended here, and resumes.
    pub(super) fn restore_here(&mut self) -> Result<Machine, Broken> {
        let folded = self.folded()?;
        self.tally.restores += 1;
        if let Some(event) = self.events.last() {
            self.watch.folds_on(event, &folded)?;
        }
        let mut machine = folded.clone();
        machine.resume(self.now);
        self.tally.resumes += 1;
        let (mut events, mut effects) = (Vec::new(), Vec::new());
        while let Some(output) = machine.poll() {
            self.tally.steps += 1;
            match output {
                Output::Events(batch) => events.extend(batch),
                Output::Effect(effect) => effects.push(effect),
                Output::Live(_) | Output::Abort(_) => {}
            }
        }
        self.adds_interruptions(&events, &effects)
            .map_err(|what| Oracle::ResumeInterrupts.broken(what))?;
        let waits = machine.outcome().is_some()
            || !machine.outstanding().is_empty()
            || machine.next_timeout().is_some()
            || machine.awaits().is_some();
        Oracle::SomethingAwaited.holds(waits, || {
            format!("after a resume at event {}", self.events.len())
        })?;
        Ok(folded)
    }

    /// After the word that a process ended come the interruptions of what was open, each once; a call
    /// that must not run twice is not run again.
    fn adds_interruptions(&self, events: &[Event], effects: &[Effect]) -> Result<(), String> {
        let open = self.watch.open();
        let mut events = events.iter().map(|event| &event.kind).peekable();
        if !open.begun {
            let has_nothing_to_do =
                self.events.iter().any(|it| is_stop(&it.kind)) || self.is_served();
            return match (events.next(), events.next()) {
                (None, _) => Ok(()),
                (Some(EventKind::Recovered(_)), Some(EventKind::LoopEnded(_)))
                    if has_nothing_to_do =>
                {
                    Ok(())
                }
                (Some(kind), _) => Err(format!("nothing was under way, and it wrote {kind:?}")),
            };
        }
        if !matches!(events.next(), Some(EventKind::Recovered(_))) {
            return Err("it does not say that the process ended".to_owned());
        }
        let (mut model, mut compaction, mut calls) = (false, false, Vec::new());
        while let Some(kind) = events.next_if(|kind| is_interruption(kind)) {
            match kind {
                EventKind::ModelFailed(_) => model = true,
                EventKind::CompactionEnded(_) => compaction = true,
                EventKind::ToolEnded(ended) => calls.push(ended.index),
                _ => {}
            }
        }
        let lost: Vec<u32> = open.lost().collect();
        if (model, compaction, &calls) != (open.model, open.compaction, &lost) {
            return Err(format!(
                "open: {open:?}; interrupted: model {model}, compaction {compaction}, calls {calls:?}"
            ));
        }
        if let Some(kind) = events.find(|kind| is_interruption(kind)) {
            return Err(format!("it interrupts what it began itself: {kind:?}"));
        }
        for effect in effects {
            if let Effect::RunTool(run) = effect
                && open.is_lost(run.id.seq)
            {
                return Err(format!("{} runs again and must not", run.id));
            }
        }
        Ok(())
    }
}

impl World<'_> {
    /// Says whether the loop was there to change the context, and has.
    fn is_served(&self) -> bool {
        let changes = |event: &Event| {
            matches!(
                event.kind,
                EventKind::ContextPruned(_)
                    | EventKind::ContextReverted(_)
                    | EventKind::ContextRestored(_)
            )
        };
        self.scenario.continuation == Continuation::ContextChange && self.events.iter().any(changes)
    }
}

fn is_stop(kind: &EventKind) -> bool {
    matches!(kind, EventKind::StopRequested(_))
}

fn is_interruption(kind: &EventKind) -> bool {
    match kind {
        EventKind::ModelFailed(failed) => failed.facts.interrupted,
        EventKind::CompactionEnded(ended) => {
            let done = ended.block.is_some() || !ended.pruned.is_empty();
            !done && ended.error.is_none() && ended.counted.is_none()
        }
        EventKind::ToolEnded(ended) => ended.ending == ToolEnding::Interrupted,
        _ => false,
    }
}
