//! Whatever the world does, in any order: every oracle holds, and a crash anywhere changes nothing.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Mutex;

use phi_loop::simulation::{
    Anything, Dice, Oracle, Setting, Simulation, any_configuration, every_interleaving,
};
use phi_loop::{Input, Machine, RunTool, ToolReport};
use phi_types::{
    AskedBy, Configuration, ContextChange, ContextRestored, Continuation, Event, EventKind, Point,
    Prune, Revert, RevertCategory, Tag, Tags, ToolEnding, ToolResult, Transcript,
};

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

/// Worlds whose models and callers change what the model reads, and take it back.
struct Forgetful;

/// A change of some early entry; it may not fit.
fn change(dice: &mut Dice) -> ContextChange {
    let tag = |dice: &mut Dice| Tag {
        entry: dice.roll(9),
        result: dice.one_in(4).then(|| u32::from(dice.one_in(2))),
    };
    if dice.one_in(2) {
        return ContextChange::Revert(Revert {
            to: tag(dice),
            category: RevertCategory::DeadEnd,
            summary: if dice.one_in(9) { " " } else { "no" }.to_owned(),
        });
    }
    let tags = (0..=dice.roll(2)).map(|_| tag(dice)).collect();
    let memo = dice.one_in(2).then(|| "x".to_owned());
    ContextChange::Prune(Prune { tags, memo })
}

impl Setting for Forgetful {
    fn configuration(&self, dice: &mut Dice) -> Configuration {
        let tags = match dice.roll(3) {
            0 => None,
            1 => Some(Tags::Stay),
            _ => Some(Tags::Newest(3)),
        };
        let mut configuration = any_configuration(dice);
        let gates = [
            Point::BeforeModel,
            Point::BeforeTool,
            Point::BeforeCompaction,
        ];
        configuration.points.retain(|point| gates.contains(point));
        Configuration {
            tags,
            ..configuration
        }
    }

    fn report(&self, _run: &RunTool, dice: &mut Dice) -> ToolReport {
        let text = "a long way through every file and folder there is ";
        let times = usize::try_from(dice.roll(4)).unwrap_or(0);
        let mut result = ToolResult::text(text.repeat(times));
        if dice.one_in(3) {
            result = result.with_change(change(dice));
        }
        ToolReport::returned(result)
    }

    fn context(&self, transcript: &Transcript, dice: &mut Dice) -> Option<Input> {
        let overlays: Vec<_> = transcript.overlays().cloned().collect();
        match dice.roll(3) {
            0 => None,
            1 => Some(Input::Change(change(dice))),
            _ => match overlays.get(usize::try_from(dice.roll(4)).unwrap_or(0)) {
                Some(overlay) => Some(Input::Restore(overlay.clone())),
                None => Some(Input::Change(change(dice))),
            },
        }
    }

    fn check(&self, events: &[Event], machine: &Machine) -> Result<(), String> {
        let original = machine.transcript().history().entries();
        // Whatever was laid, all of it comes off again, in any order.
        let mut transcript = machine.transcript().clone();
        let mut overlays: Vec<_> = transcript.overlays().cloned().collect();
        let by_seed = overlays.len() / 2;
        overlays.rotate_left(by_seed);
        for (more, overlay) in (1..).zip(overlays) {
            let last = events.last().ok_or("there is no event")?;
            let (by, tokens) = (AskedBy::Caller {}, 0);
            let restored = ContextRestored {
                by,
                overlay,
                tokens,
            };
            let event = Event {
                seq: last.seq + more,
                kind: EventKind::ContextRestored(restored),
                ..last.clone()
            };
            transcript
                .apply(&event)
                .map_err(|error| error.to_string())?;
        }
        let started = events.iter().find_map(|event| match &event.kind {
            EventKind::LoopStarted(started) => Some(started),
            _ => None,
        });
        let untagged = started.is_some_and(|started| started.configuration.tags.is_none());
        let view = transcript.view().entries();
        if view.len() != original.len() || (untagged && view != original) {
            return Err("the view is not the history again".to_owned());
        }
        Ok(())
    }
}

#[test]
fn worlds_that_change_their_context_keep_every_promise() {
    let tally = simulation(Forgetful).run(0..SEEDS);
    tally.unwrap_or_else(|violation| panic!("{violation}"));
    let tally = simulation(Forgetful).crash_everywhere(0..8);
    tally.unwrap_or_else(|violation| panic!("{violation}"));
}

/// Counts how the context of worlds changed.
#[derive(Default)]
struct Changes(Mutex<BTreeMap<(&'static str, bool), u32>>);

impl Setting for Changes {
    fn configuration(&self, dice: &mut Dice) -> Configuration {
        Forgetful.configuration(dice)
    }

    fn report(&self, run: &RunTool, dice: &mut Dice) -> ToolReport {
        Forgetful.report(run, dice)
    }

    fn context(&self, transcript: &Transcript, dice: &mut Dice) -> Option<Input> {
        Forgetful.context(transcript, dice)
    }

    fn check(&self, events: &[Event], _machine: &Machine) -> Result<(), String> {
        let mut changes = self.0.lock().map_err(|error| error.to_string())?;
        let alone = events.iter().any(|event| match &event.kind {
            EventKind::LoopStarted(started) => started.continuation == Continuation::ContextChange,
            _ => false,
        });
        for event in events {
            if matches!(event.kind, EventKind::TurnStarted(_)) {
                break;
            }
            let changed = matches!(
                event.kind,
                EventKind::ContextPruned(_) | EventKind::ContextReverted(_)
            );
            if changed {
                let what = if alone { "alone" } else { "before the prompt" };
                *changes.entry((what, false)).or_default() += 1;
            }
        }
        for event in events {
            let (what, by) = match &event.kind {
                EventKind::ContextPruned(pruned) => ("pruned", &pruned.by),
                EventKind::ContextReverted(reverted) => ("reverted", &reverted.by),
                EventKind::ContextRestored(restored) => ("restored", &restored.by),
                _ => continue,
            };
            let by_call = matches!(by, AskedBy::Call { .. });
            *changes.entry((what, by_call)).or_default() += 1;
        }
        Ok(())
    }
}

#[test]
fn contexts_change_in_every_way() {
    let changes = Changes::default();
    let reached = Simulation::new(&changes).run(0..1000);
    assert!(reached.is_ok(), "{reached:?}");
    let changes = changes.0.lock().unwrap();
    let kinds: Vec<_> = changes.keys().collect();
    assert_eq!(kinds.len(), 7, "{changes:?}");
    assert!(changes.values().all(|times| *times > 1), "{changes:?}");
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
