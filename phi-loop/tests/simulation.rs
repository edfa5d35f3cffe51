//! Whatever the world does, in any order: every oracle holds, and a crash anywhere changes nothing.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use phi_loop::{CallModel, Effect, Input, Machine, Output, replay};
use phi_testkit::check_transcript;
use phi_types::{Event, EventKind, History, RequestPart, ToolEnding, Transcript, Usage};
use support::{Bench, Dice, configuration, prompt, restarted, world_move};

const SEEDS: u64 = 500;
const MOVES_MAX: u64 = 600;

#[test]
fn every_world_ends_and_keeps_every_promise() {
    let mut compactions = 0;
    for seed in 0..SEEDS {
        let bench = run(seed, None);
        check(seed, &bench);
        caches(seed, &bench);
        compactions += figures(seed, &bench);
        restores(seed, &bench.events, &bench.machine);
    }
    assert!(compactions > 20, "{compactions} compactions helped");
}

#[test]
fn a_crash_at_any_event_is_survived_and_repeats_nothing() {
    for seed in 0..SEEDS / 20 {
        let whole = run(seed, None);
        for cut in 1..whole.events.len() {
            let bench = run(seed, Some(cut));
            check(seed, &bench);
            restores(seed, &bench.events, &bench.machine);
        }
    }
}

/// Plays one world to its end; with `crash_after`, the process ends after that many events.
fn run(seed: u64, crash_after: Option<usize>) -> Bench {
    let mut dice = Dice::new(seed);
    let mut bench = Bench::new(configuration(&mut dice));
    let mut crash_after = crash_after;
    bench.handle(prompt("Do it."));
    for step in 0..MOVES_MAX {
        if let Some(cut) = crash_after.filter(|cut| bench.events.len() >= *cut) {
            crash_after = None;
            let log = bench.events[..cut].to_vec();
            bench.pass(10_000);
            bench = restarted(&log, bench.now);
            if bench.machine.awaits().is_some() {
                // Only a log without the prompt itself waits for it.
                assert!(log.len() <= 2, "seed {seed}: {:?}", bench.kinds());
                bench.handle_if_possible(prompt("Do it."));
            }
        }
        if bench.machine.outcome().is_some() {
            return bench;
        }
        let awaited = !bench.machine.outstanding().is_empty()
            || bench.machine.next_timeout().is_some()
            || bench.machine.awaits().is_some();
        assert!(
            awaited,
            "seed {seed} waits for nothing: {:?}",
            bench.kinds()
        );
        for effect in &bench.effects {
            if let Effect::CallModel(call) = effect {
                let checked = check_transcript(&call.request.view);
                assert_eq!(checked, Ok(()), "seed {seed}: {:?}", bench.kinds());
            }
        }
        if bench.machine.awaits().is_some() {
            return bench;
        }
        world_move(&mut bench, &mut dice, step);
    }
    panic!("seed {seed} does not end: {:?}", bench.kinds());
}

impl Bench {
    /// A log that was cut before its surface names no model; it cannot go on and says so.
    fn handle_if_possible(&mut self, input: Input) {
        if self.machine.handle(self.now, input).is_err() {
            assert!(self.events.len() < 2);
        }
        self.drain();
    }
}

/// The oracles over a finished log.
fn check(seed: u64, bench: &Bench) {
    let kinds = bench.kinds();
    let mut open: BTreeSet<u32> = BTreeSet::new();
    let mut started: BTreeMap<u64, u32> = BTreeMap::new();
    let mut usage = Usage::default();
    let mut turn_open = false;
    for (place, event) in bench.events.iter().enumerate() {
        let here = || format!("seed {seed}, event {}: {kinds:?}", event.seq);
        assert_eq!(event.seq, place as u64 + 1, "{}", here());
        match &event.kind {
            EventKind::TurnStarted(_) => assert!(!std::mem::replace(&mut turn_open, true)),
            EventKind::TurnEnded(_) => {
                assert!(open.is_empty(), "{}", here());
                assert!(std::mem::replace(&mut turn_open, false), "{}", here());
            }
            EventKind::ModelStarted(_) => assert!(open.is_empty() && turn_open, "{}", here()),
            EventKind::Message(added) => {
                if let phi_types::Message::Assistant(message) = &added.message {
                    usage.add(&message.usage);
                    open = (0..)
                        .zip(message.tool_calls())
                        .map(|(index, _)| index)
                        .collect();
                }
            }
            EventKind::ModelFailed(failed) => usage.add(&failed.facts.usage),
            EventKind::CompactionEnded(ended) => usage.add(&ended.usage),
            EventKind::ToolStarted(tool) => {
                assert!(open.contains(&tool.index), "{}", here());
                assert!(
                    started.values().all(|index| *index != tool.index),
                    "{}",
                    here()
                );
                started.insert(event.seq, tool.index);
            }
            EventKind::ToolEnded(tool) => {
                assert!(open.remove(&tool.index), "answered twice: {}", here());
                if let Some(seq) = tool.started {
                    assert_eq!(started.remove(&seq), Some(tool.index), "{}", here());
                } else {
                    let never_ran = !matches!(
                        tool.ending,
                        ToolEnding::Finished | ToolEnding::TimedOut | ToolEnding::Interrupted
                    );
                    assert!(never_ran, "{}", here());
                }
            }
            EventKind::LoopEnded(ended) => {
                assert_eq!(place + 1, bench.events.len(), "{}", here());
                assert!(
                    open.is_empty() && started.is_empty() && !turn_open,
                    "{}",
                    here()
                );
                assert_eq!(ended.usage, usage, "{}", here());
            }
            _ => {}
        }
    }
    let transcript = bench.machine.transcript();
    if bench.machine.outcome().is_some() && !transcript.view().is_empty() {
        assert_eq!(
            check_transcript(transcript.view()),
            Ok(()),
            "seed {seed}: {kinds:?}"
        );
    }
}

/// What a compaction reports, before and after, is what the request of the effect and the next request
/// hold, and it is less each time.
fn figures(seed: u64, bench: &Bench) -> u32 {
    let mut view = History::new();
    let mut reported: Option<(u64, u64)> = None;
    let mut helped = 0;
    for output in &bench.outputs {
        let events = match output {
            Output::Events(events) => events.as_slice(),
            Output::Effect(Effect::Compact(compact)) => {
                let sizes = (compact.view.len() as u64, compact.tokens_of(&compact.view));
                assert_eq!(reported, Some(sizes), "seed {seed}: {:?}", bench.kinds());
                view = compact.view.clone();
                &[]
            }
            _ => &[],
        };
        for event in events {
            match &event.kind {
                EventKind::CompactionStarted(started) => {
                    reported = Some((started.entries, started.tokens.unwrap()));
                }
                EventKind::CompactionEnded(ended) if ended.error.is_none() => {
                    let after = view.overlaid(&ended.pruned, ended.block.as_ref()).unwrap();
                    assert_eq!(after.len() as u64, ended.entries, "seed {seed}");
                    let smaller = after.estimated_tokens() < view.estimated_tokens();
                    let changed = ended.block.is_some() || !ended.pruned.is_empty();
                    match &ended.counted {
                        Some(counted) => {
                            assert_eq!(ended.tokens, Some(counted.after), "seed {seed}");
                            assert_eq!(counted.after < counted.before, changed, "seed {seed}");
                        }
                        None => {
                            let before = reported.map(|(_, tokens)| tokens);
                            assert!(smaller && ended.tokens <= before, "seed {seed}");
                        }
                    }
                    helped += u32::from(changed);
                }
                _ => {}
            }
        }
    }
    let history = bench.machine.transcript().history();
    let view = bench.machine.transcript().view();
    assert_eq!(helped > 0, !view.is_same_path(history), "seed {seed}");
    helped
}

/// A request that does not continue the one before it is reported just before its announcement, with
/// the first part that differs; nothing else is.
fn caches(seed: u64, bench: &Bench) {
    let calls = bench.outputs.iter().filter_map(|output| match output {
        Output::Effect(Effect::CallModel(call)) => Some(call),
        _ => None,
    });
    let mut reported = None;
    let mut announced = Vec::new();
    for event in &bench.events {
        match &event.kind {
            EventKind::CacheBroken(broken) => {
                let earlier = reported.replace((event.seq, broken.part));
                assert_eq!(earlier, None, "seed {seed}: {:?}", bench.kinds());
            }
            EventKind::ModelStarted(_) => {
                let reported = reported.take();
                assert!(reported.is_none_or(|(seq, _)| seq + 1 == event.seq));
                announced.push((event.seq, reported.map(|(_, part)| part)));
            }
            _ => {}
        }
    }
    assert_eq!(reported, None, "seed {seed}: {:?}", bench.kinds());
    let mut before: Option<&CallModel> = None;
    for (call, (seq, reported)) in calls.zip(announced) {
        assert_eq!(call.id.seq, seq);
        let expected = before.and_then(|before| first_difference(before, call));
        assert_eq!(
            reported,
            expected,
            "seed {seed}, {seq}: {:?}",
            bench.kinds()
        );
        before = Some(call);
    }
}

fn first_difference(before: &CallModel, after: &CallModel) -> Option<RequestPart> {
    let (was, is) = (&before.request, &after.request);
    if before.target != after.target {
        return Some(RequestPart::Model {});
    }
    if was.tools != is.tools {
        return Some(RequestPart::Tools {});
    }
    if was.system != is.system {
        return Some(RequestPart::System {});
    }
    if was.options != is.options {
        return Some(RequestPart::Options {});
    }
    let (was, is) = (was.view.entries(), is.view.entries());
    let same = was.iter().zip(&is).take_while(|(a, b)| a == b).count();
    (same < was.len()).then_some(RequestPart::Entry { index: same as u64 })
}

/// The log folds to the machine that wrote it, and replays to the same events.
fn restores(seed: u64, events: &[Event], machine: &Machine) {
    let restored = Machine::restore(&Transcript::new(), events).unwrap();
    assert_eq!(restored, *machine, "seed {seed}");
    if let Err(diverged) = replay(&Transcript::new(), events) {
        let kinds: Vec<String> = events.iter().map(support::kind_of).collect();
        panic!("seed {seed}: {diverged}\n{diverged:#?}\n{kinds:?}");
    }
}
