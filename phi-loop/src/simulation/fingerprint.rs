//! What the future of a world depends on, as one number.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;

use super::world::World;
use crate::calls::{Calls, Slot};
use crate::io::Effect;
use crate::state::{Calling, Phase, Stage, State};

impl World<'_> {
    /// Returns a number that two worlds have in common whose machines decide alike from here on. How
    /// the calls of the open turn ended counts; what was said, how many events there are and what
    /// time it is does not; the order of deadlines does.
    pub(super) fn fingerprint(&self) -> u64 {
        let state = self.process.machine.state();
        let mut hasher = DefaultHasher::new();
        self.phase(state, &mut hasher);
        state.stop.as_ref().map(discriminant).hash(&mut hasher);
        let transcript = self.process.machine.transcript();
        (transcript.history().len(), transcript.view().len()).hash(&mut hasher);
        for queued in transcript.queue() {
            discriminant(&queued.queue).hash(&mut hasher);
        }
        let counts = &state.counts;
        let seen = (counts.turns, counts.tool_calls, counts.warned.len());
        (seen, counts.grace.is_some(), counts.stuck).hash(&mut hasher);
        counts.queue_ids.len().hash(&mut hasher);
        for (index, ending) in &self.watch.open().endings {
            (index, discriminant(ending)).hash(&mut hasher);
        }
        self.tally.crashes.hash(&mut hasher);
        let mut effects: Vec<_> = self
            .process
            .effects
            .iter()
            .map(|it| self.effect(it))
            .collect();
        effects.sort_unstable();
        effects.hash(&mut hasher);
        hasher.finish()
    }

    fn phase(&self, state: &State, hasher: &mut DefaultHasher) {
        discriminant(&state.phase).hash(hasher);
        match &state.phase {
            Phase::New | Phase::Started => {}
            Phase::Between { trigger, answer } => {
                (trigger.map(|it| discriminant(&it)), discriminant(answer)).hash(hasher);
            }
            Phase::Calling(Calling { attempts, stage }) => {
                (attempts.target, attempts.failures).hash(hasher);
                discriminant(stage).hash(hasher);
                if let Stage::Due(at) = stage {
                    at.map(|at| at <= self.now).hash(hasher);
                }
            }
            Phase::Settling { calls, .. } => self.calls(calls, hasher),
            Phase::Ended(outcome) => discriminant(outcome).hash(hasher),
        }
    }

    fn calls(&self, calls: &Calls, hasher: &mut DefaultHasher) {
        for (index, slot) in calls.slots() {
            (index, discriminant(slot)).hash(hasher);
            if let Slot::Running(running) = slot {
                let overdue = running.deadline.is_some_and(|at| at <= self.now);
                (discriminant(&running.effect_class), overdue).hash(hasher);
            }
        }
        for (index, _) in calls.running() {
            index.hash(hasher);
        }
    }

    /// Returns a number for what was handed out and its call.
    fn effect(&self, effect: &Effect) -> u64 {
        let mut hasher = DefaultHasher::new();
        discriminant(effect).hash(&mut hasher);
        let calls = self.process.machine.state().calls();
        let index = match effect {
            Effect::RunTool(run) => calls
                .and_then(|calls| calls.running_under(run.id.seq))
                .map(|(index, _)| index),
            Effect::AskApproval(ask) => calls
                .and_then(|calls| calls.asking_under(ask.id.seq))
                .map(|(index, _)| index),
            Effect::Decide(id, _) => Some(id.index),
            Effect::CallModel(_) | Effect::Compact(_) => None,
        };
        index.hash(&mut hasher);
        hasher.finish()
    }
}
