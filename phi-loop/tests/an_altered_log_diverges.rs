//! Altering any field of any event of a finished loop makes its replay diverge.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use phi_loop::{Input, replay};
use phi_types::{
    Configuration, ContextChange, Event, EventKind, Prune, Revert, RevertCategory, Tag, Transcript,
};
use serde_json::Value;
use support::{Bench, Dice, configuration, prompt, world_move};

#[test]
fn every_field_of_every_event_is_covered() {
    let (mut altered, mut early) = (0, 0);
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..19 {
        let events = if seed < 18 {
            finished(seed)
        } else {
            reverted()
        };
        if events.len() > 40 {
            continue;
        }
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
                    "seed {seed}: not noticed in event {}:\n{value}\n{text}",
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

fn finished(seed: u64) -> Vec<Event> {
    let mut dice = Dice::new(seed);
    let mut configuration = configuration(&mut dice);
    if seed >= 14 {
        configuration.tools.early_start = true;
        configuration.points.clear();
    }
    let mut bench = Bench::new(configuration);
    bench.handle(prompt("Do it."));
    let mut step = 0;
    while bench.machine.outcome().is_none() {
        world_move(&mut bench, &mut dice, step);
        step += 1;
    }
    bench.events
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
