//! Altering any field of any event of a finished loop makes its replay diverge.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::sync::Mutex;

use phi_loop::simulation::{Dice, Setting, Simulation, any_configuration};
use phi_loop::{Input, Machine, replay};
use phi_types::{
    Configuration, ContextChange, Event, EventKind, Prune, Revert, RevertCategory, Tag, Transcript,
};
use serde_json::Value;
use support::Bench;

#[test]
fn every_field_of_every_event_is_covered() {
    let (mut altered, mut early) = (0, 0);
    let mut kinds = std::collections::BTreeSet::new();
    let logs = short_logs();
    for (number, events) in logs.iter().chain([&reverted()]).enumerate() {
        for (place, event) in events.iter().enumerate() {
            kinds.insert(support::kind_of(event));
            early += u32::from(is_early(event));
            let value = serde_json::to_value(event).unwrap();
            for alteration in alterations(&value, &mut 0) {
                let text = serde_json::to_string(&alteration).unwrap();
                // What is no event any more is refused before any replay.
                let Ok(changed) = serde_json::from_str::<Event>(&text) else {
                    continue;
                };
                if changed == *event {
                    continue;
                }
                let mut log = events.clone();
                log[place] = changed;
                altered += 1;
                assert!(
                    replay(&Transcript::new(), &log).is_err(),
                    "log {number}: not noticed in event {}:\n{value}\n{text}",
                    event.seq
                );
            }
        }
    }
    assert!(altered > 3_000 && kinds.len() >= 13, "{altered} {kinds:?}");
    let also = [
        "cache_broken",
        "context_pruned",
        "context_reverted",
        "context_restored",
    ];
    for kind in also {
        assert!(kinds.contains(kind), "{kind} is not in {kinds:?}");
    }
    assert!(early > 3, "{early} calls started early");
}

fn is_early(event: &Event) -> bool {
    matches!(&event.kind, EventKind::ToolStarted(started) if started.early.is_some())
}

/// Keeps the logs of worlds in which no process ended, as long as they are short.
#[derive(Default)]
struct Logs(Mutex<Vec<Vec<Event>>>);

impl Setting for Logs {
    fn before(&self, _: &mut Dice) -> Transcript {
        Transcript::new()
    }

    fn check(&self, events: &[Event], _: &Machine) -> Result<(), String> {
        let restart = |event: &Event| matches!(event.kind, EventKind::Recovered(_));
        if events.len() <= 40 && !events.iter().any(restart) {
            let mut logs = self.0.lock().map_err(|error| error.to_string())?;
            logs.push(events.to_vec());
        }
        Ok(())
    }
}

/// Worlds whose calls start while the model speaks.
#[derive(Default)]
struct Early(Logs);

impl Setting for Early {
    fn configuration(&self, dice: &mut Dice) -> Configuration {
        let mut configuration = any_configuration(dice);
        configuration.tools.early_start = true;
        configuration.points.clear();
        configuration
    }

    fn before(&self, dice: &mut Dice) -> Transcript {
        self.0.before(dice)
    }

    fn check(&self, events: &[Event], machine: &Machine) -> Result<(), String> {
        match events.iter().any(is_early) {
            true => self.0.check(events, machine),
            false => Ok(()),
        }
    }
}

fn short_logs() -> Vec<Vec<Event>> {
    let (logs, early) = (Logs::default(), Early::default());
    for reached in [
        Simulation::new(&logs).run(0..40),
        Simulation::new(&early).run(0..40),
    ] {
        assert!(reached.is_ok(), "{reached:?}");
    }
    let mut logs = logs.0.into_inner().unwrap();
    logs.truncate(14);
    logs.extend(early.0.0.into_inner().unwrap().into_iter().take(4));
    logs
}

/// A loop whose caller takes its second turn back and changes their mind, twice.
fn reverted() -> Vec<Event> {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    for _ in 0..2 {
        bench.call(&["pure"]);
        for effect in bench.tools() {
            bench.end_tool(effect, "ok");
        }
    }
    let (to, category) = (Tag::entry(2), RevertCategory::Other("wrong file".into()));
    let summary = "nothing of use".to_owned();
    let revert = Revert {
        to,
        category,
        summary,
    };
    for _ in 0..2 {
        let change = ContextChange::Revert(revert.clone());
        bench.handle(Input::Change(change));
        let overlay = bench.machine.transcript().overlays().next().cloned();
        bench.handle(Input::Restore(overlay.unwrap()));
    }
    let tags = vec![Tag::entry(2)];
    let memo = Some("Nothing of use.".to_owned());
    let prune = ContextChange::Prune(Prune { tags, memo });
    bench.handle(Input::Change(prune));
    bench.say("Done.");
    bench.events
}

/// The value with one leaf changed, one key removed or one element removed, in every way.
fn alterations(value: &Value, turn: &mut usize) -> Vec<Value> {
    match value {
        Value::Null => vec![Value::from(1), Value::from("x")],
        Value::Bool(it) => vec![Value::from(!it)],
        Value::Number(it) => match it.as_u64() {
            Some(it) => vec![Value::from(it + 1)],
            None => vec![Value::from(0.5)],
        },
        Value::String(it) => {
            *turn += 1;
            other_words(it, *turn)
        }
        Value::Array(items) => {
            let mut all = Vec::new();
            for (place, item) in items.iter().enumerate() {
                for changed in alterations(item, turn) {
                    let mut items = items.clone();
                    items[place] = changed;
                    all.push(Value::from(items));
                }
                let mut items = items.clone();
                items.remove(place);
                all.push(Value::from(items));
            }
            all
        }
        Value::Object(fields) => {
            let mut all = Vec::new();
            for (key, field) in fields {
                for changed in alterations(field, turn) {
                    let mut fields = fields.clone();
                    fields.insert(key.clone(), changed);
                    all.push(Value::from(fields));
                }
                let mut fields = fields.clone();
                fields.remove(key);
                all.push(Value::from(fields));
            }
            all
        }
    }
}

/// Words that fields with a closed set of words know too, so that the change still parses: two of
/// them in turn, and one that no field knows.
fn other_words(word: &str, turn: usize) -> Vec<Value> {
    let known = [
        "end_turn",
        "finished",
        "pure",
        "steering",
        "prompt",
        "server",
        "1970-01-01T00:00:00.001Z",
        "tool_use",
        "failed",
        "at_most_once",
        "follow_up",
        "tool_results",
        "network",
        "cancelled",
    ];
    let two = known.iter().cycle().skip(turn * 2 % known.len()).take(2);
    let mut words: Vec<Value> = two
        .filter(|it| **it != word)
        .map(|it| (*it).into())
        .collect();
    words.push(format!("{word}x").into());
    words
}
