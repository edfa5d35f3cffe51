//! Whatever the world does, in any order: every oracle holds, and a crash anywhere changes nothing.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Mutex;

use phi_loop::Machine;
use phi_loop::simulation::{Anything, Oracle, Setting, Simulation, every_interleaving};
use phi_types::{Event, EventKind, ToolEnding};

/// `.ci/run` runs many more with an optimised build.
const SEEDS: u64 = 300;

fn simulation<S: Setting>(setting: S) -> Simulation<S> {
    let threads = std::thread::available_parallelism();
    Simulation::new(setting).threads(threads.unwrap_or(NonZeroUsize::MIN))
}

#[test]
fn every_world_ends_and_keeps_every_promise() {
    let tally = simulation(Anything).run(0..SEEDS);
    let tally = tally.unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!((tally.worlds, tally.replays), (SEEDS, SEEDS));
    assert_eq!(
        (tally.restores, tally.resumes),
        (tally.events, tally.events)
    );
    assert!(tally.crashes > SEEDS / 10, "{tally:?}");
    assert!(tally.refusals > SEEDS / 4, "{tally:?}");
}

#[test]
fn a_crash_at_any_event_is_survived_and_repeats_nothing() {
    let tally = simulation(Anything).crash_everywhere(0..10);
    let tally = tally.unwrap_or_else(|violation| panic!("{violation}"));
    assert!(
        tally.worlds > 200 && tally.crashes >= tally.worlds - 10,
        "{tally:?}"
    );
}

/// `.ci/run` tries turns of up to three calls.
#[test]
fn every_interleaving_of_a_turn_keeps_every_promise() {
    let found = every_interleaving(1, NonZeroUsize::MIN);
    let found = found.unwrap_or_else(|violation| panic!("{violation}"));
    // Three effect classes, four ways to run, with hooks and without.
    assert_eq!(found.cases, 24);
    assert!(found.states > 50 * found.cases, "{found:?}");
    assert!(found.transitions > 3 * found.states, "{found:?}");
    assert_eq!(found.tally.replays, found.states);
    assert_eq!(found.tally.worlds, found.ends);
}

/// Collects what worlds came to.
#[derive(Default)]
struct Seen(Mutex<BTreeSet<String>>);

impl Setting for Seen {
    fn check(&self, events: &[Event], _machine: &Machine) -> Result<(), String> {
        let mut seen = self.0.lock().map_err(|error| error.to_string())?;
        for event in events {
            let value = serde_json::to_value(&event.kind).map_err(|error| error.to_string())?;
            seen.insert(value["type"].as_str().unwrap_or_default().to_owned());
            match &event.kind {
                EventKind::ToolEnded(ended) => seen.insert(format!("{:?}", ended.ending)),
                EventKind::LoopEnded(ended) => seen.insert(value_of(&ended.outcome)),
                _ => false,
            };
        }
        Ok(())
    }
}

fn value_of(outcome: &phi_types::Outcome) -> String {
    let text = format!("{outcome:?}");
    text.split([' ', '{']).next().unwrap_or_default().to_owned()
}

#[test]
fn worlds_reach_every_event_ending_and_outcome() {
    let seen = Seen::default();
    let reached = Simulation::new(&seen).run(0..600);
    assert!(reached.is_ok(), "{reached:?}");
    let expected = "loop_started loop_ended stop_requested surface_changed limit_warning loop_stuck \
        turn_started turn_ended cache_broken model_started model_failed message message_queued \
        tool_started tool_ended approval_requested approval_resolved compaction_started \
        compaction_ended recovered \
        Finished Failed Denied Skipped Invalid TimedOut Cancelled Interrupted Discarded \
        Completed Rejected Cancelled Failed LimitReached Aborted";
    let seen = seen.0.lock().unwrap();
    let missing: Vec<&str> = expected
        .split_whitespace()
        .filter(|it| !seen.contains(*it))
        .collect();
    assert!(missing.is_empty(), "not reached: {missing:?}");
}

/// An oracle that is wrong on purpose: it says that no tool ever fails.
struct NoToolFails;

impl Setting for NoToolFails {
    fn check(&self, events: &[Event], _machine: &Machine) -> Result<(), String> {
        let fails = |event: &&Event| match &event.kind {
            EventKind::ToolEnded(ended) => ended.ending == ToolEnding::Failed,
            _ => false,
        };
        match events.iter().find(fails) {
            Some(event) => Err(format!("event {}", event.seq)),
            None => Ok(()),
        }
    }
}

#[test]
fn a_scenario_that_breaks_a_promise_is_made_as_small_as_it_gets() {
    for from in [0, 100, 200] {
        let violation = *Simulation::new(NoToolFails)
            .run(from..from + 50)
            .unwrap_err();
        assert_eq!(violation.broken.oracle, Oracle::Setting);
        // A model call that asks for the tool, and the tool that fails.
        let moves: Vec<&str> = violation
            .scenario
            .moves
            .iter()
            .map(|it| it.name())
            .collect();
        assert_eq!(moves, ["settle", "settle"], "{violation}");
        assert!(violation.story.len() < 50, "{violation}");
    }
}

/// A setting that panics, as a machine with a defect would.
struct Panics;

impl Setting for Panics {
    fn check(&self, _events: &[Event], _machine: &Machine) -> Result<(), String> {
        panic!("on purpose")
    }
}

#[test]
fn a_panic_is_a_violation_with_its_scenario() {
    let violation = *Simulation::new(Panics).run(7..8).unwrap_err();
    assert_eq!(violation.broken.oracle, Oracle::NoPanic);
    assert_eq!(
        (violation.seed, violation.broken.what.as_str()),
        (Some(7), "on purpose")
    );
    assert_eq!(violation.scenario.moves.len(), 0);
}
