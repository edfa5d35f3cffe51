//! How much was simulated.

use std::ops::AddAssign;

/// How much was simulated. A step is one [`crate::Machine::handle`], or one
/// [`crate::Machine::poll`] that yields, of any machine in a world: the live one, the one that was
/// restored and goes beside it, and those that are resumed to see what a resume adds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Scenarios that ran to their end.
    pub worlds: u64,
    /// Steps of all machines.
    pub steps: u64,
    /// Steps of the live machines alone.
    pub live_steps: u64,
    /// Events that were written.
    pub events: u64,
    /// Restores of the log so far, each equal to the machine at that event.
    pub restores: u64,
    /// Resumes, each of which added interruptions and nothing else.
    pub resumes: u64,
    /// Processes that ended in the middle and whose loop went on.
    pub crashes: u64,
    /// Inputs that were refused and changed nothing.
    pub refusals: u64,
    /// Logs that were replayed to the same events.
    pub replays: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        let Self {
            worlds,
            steps,
            live_steps,
            events,
            restores,
            resumes,
            crashes,
            refusals,
            replays,
        } = other;
        self.worlds += worlds;
        self.steps += steps;
        self.live_steps += live_steps;
        self.events += events;
        self.restores += restores;
        self.resumes += resumes;
        self.crashes += crashes;
        self.refusals += refusals;
        self.replays += replays;
    }
}
