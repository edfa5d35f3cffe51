//! What the user said stays in what a model reads, whatever the model wishes: word for word, or in what
//! stands for it. Only the caller takes it back.

use phi_loop::{Compacted, ContextRefused, Effect, Input, Rejected, ToolReport};
use phi_types::{
    AskedBy, CompactAt, CompactionBlock, Configuration, ContextChange, Entry, Event, EventKind,
    Limits, Prune, Revert, RevertCategory, Tag, ToolEnding, ToolResult, Transcript, Usage,
};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use std::sync::Arc;

use crate::facts::{check, results, words};
use crate::support::{Bench, queue_id, user};

const LONG: &str = "line after line after line after line after line after line of a file";

fn revert(to: u64) -> ContextChange {
    ContextChange::Revert(Revert {
        to: Tag::entry(to),
        category: RevertCategory::DeadEnd,
        summary: "no".into(),
    })
}

fn prune(entry: u64) -> ContextChange {
    let tags = vec![Tag::entry(entry)];
    ContextChange::Prune(Prune { tags, memo: None })
}

fn looks(bench: &mut Bench) {
    bench.call(&["pure"]);
    for effect in bench.tools() {
        bench.end_tool(effect, LONG);
    }
}

/// The model calls a tool whose result asks for a change; says how the call ended.
fn wishes(bench: &mut Bench, change: &ContextChange) -> (ToolEnding, String) {
    bench.call(&["pure"]);
    for effect in bench.tools() {
        let result = ToolResult::text("As you wish.").with_change(change.clone());
        bench.handle(Input::ToolEnded(effect, ToolReport::returned(result)));
    }
    let (_, ending, text) = results(bench).pop().unwrap();
    (ending, text)
}

/// A compactor has put these messages in the place of entries.
fn compacts(bench: &mut Bench, (first, count): (u64, u64), replacement: &[&str]) {
    let place = bench
        .effects
        .iter()
        .position(|it| matches!(it, Effect::Compact(_)));
    let Effect::Compact(compact) = bench.effects.remove(place.expect("it compacts")) else {
        unreachable!("the place was found by its kind")
    };
    let block = CompactionBlock {
        first,
        count,
        replacement: replacement.iter().map(|text| user(text)).collect(),
    };
    let compacted = Compacted {
        block: Some(block),
        ..Compacted::default()
    };
    bench.handle(Input::Compacted(compact.id, compacted, Usage::default()));
}

fn compacting() -> Configuration {
    Configuration {
        compaction: true,
        compact_at: Some(CompactAt::Tokens(1)),
        limits: Limits {
            identical_calls: None,
            ..Limits::default()
        },
        ..Configuration::default()
    }
}

#[test]
fn a_message_that_the_model_did_not_answer_yet_stays() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    looks(&mut bench);
    bench.handle(Input::Steer(queue_id("a"), user("No, there.")));
    looks(&mut bench);
    let before = words(bench.machine.transcript().view());
    assert_eq!(before[5], "user: No, there.");
    let (ending, text) = wishes(&mut bench, &revert(2));
    assert_eq!(ending, ToolEnding::Failed);
    assert!(
        text.contains("n5 is a message of the user, which stays"),
        "{text}"
    );
    // What waits joins after the change, and what follows it may go.
    bench.call(&["pure"]);
    bench.handle(Input::Steer(queue_id("b"), user("Both.")));
    let calls = bench.tools();
    let result = ToolResult::text("As you wish.").with_change(revert(5));
    bench.handle(Input::ToolEnded(
        calls[0].clone(),
        ToolReport::returned(result),
    ));
    let view = words(bench.machine.transcript().view());
    assert!(view.contains(&"user: No, there.".to_owned()), "{view:?}");
    assert_eq!(view.last().unwrap(), "user: Both.");
    bench.say("Done.");
    check(&bench);
}

#[test]
fn a_message_that_a_compaction_kept_or_summed_up_stays_for_the_model_and_not_for_the_caller() {
    let mut bench = Bench::started(compacting(), "Do it.");
    compacts_nothing(&mut bench);
    looks(&mut bench);
    compacts_nothing(&mut bench);
    bench.handle(Input::Steer(queue_id("a"), user("Never touch main.")));
    looks(&mut bench);
    // n0 task, n1 n2 a look, n3 n4 a look with the message after it as n5.
    let pinned = ["[Summary of the earlier conversation]", "Never touch main."];
    compacts(&mut bench, (1, 5), &pinned);
    looks(&mut bench);
    let before = words(bench.machine.transcript().view());
    assert_eq!(before[2], "user: Never touch main.", "{before:?}");
    let (ending, text) = wishes(&mut bench, &revert(0));
    assert_eq!(ending, ToolEnding::Failed, "{text}");
    assert!(
        text.contains("what stands for messages of the user follows n0"),
        "{text}"
    );
    bench.handle(Input::Change(revert(0)));
    assert_eq!(bench.machine.transcript().view().len(), 2);
    bench.say("Done.");
    check(&bench);
}

fn compacts_nothing(bench: &mut Bench) {
    let compact = bench
        .effects
        .iter()
        .position(|it| matches!(it, Effect::Compact(_)));
    if let Some(Effect::Compact(compact)) = compact.map(|at| bench.effects.remove(at)) {
        let reason = "nothing can be left out".to_owned();
        let failed = Input::CompactionFailed(compact.id, reason, Usage::default());
        bench.handle(failed);
    }
}

#[test]
fn what_stands_for_the_work_of_the_model_alone_may_go() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    for _ in 0..3 {
        looks(&mut bench);
    }
    let (ending, text) = wishes(&mut bench, &revert(4));
    assert_eq!(ending, ToolEnding::Finished, "{text}");
    looks(&mut bench);
    looks(&mut bench);
    let (ending, text) = wishes(&mut bench, &revert(0));
    assert_eq!(ending, ToolEnding::Finished, "{text}");
    assert_eq!(bench.machine.transcript().view().len(), 4);
    bench.say("Done.");
    check(&bench);
}

#[test]
fn a_prune_takes_no_message() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    looks(&mut bench);
    for (entry, why) in [(0, "n0 is no tool result"), (1, "n1 is no tool result")] {
        let (ending, text) = wishes(&mut bench, &prune(entry));
        assert_eq!(ending, ToolEnding::Failed);
        assert!(text.contains(why), "{text}");
    }
    let refused = bench.machine.handle(bench.now, Input::Change(prune(0)));
    let tag = Tag::entry(0);
    let why = ContextRefused::NoResults { tag };
    assert_eq!(
        refused,
        Err(Rejected::Context(why)),
        "not for the caller either"
    );
}

/// What a view holds of what the user said: the messages by their places in the history, and the
/// stand-ins for such messages.
fn said(transcript: &Transcript) -> (Vec<usize>, Vec<Entry>) {
    let history = transcript.history().entries();
    let is_user = |at: &usize| matches!(history[*at], Entry::User(_));
    let (mut shown, mut meant) = (Vec::new(), Vec::new());
    for (place, entry) in transcript.view().entries().into_iter().enumerate() {
        let mut stands_for = transcript.stands_for(place).into_iter().flatten();
        match transcript.original_at(place) {
            Some(original) => shown.extend(Some(original).filter(is_user)),
            None => meant.extend(stands_for.any(|at| is_user(&at)).then(|| entry.clone())),
        }
    }
    (shown, meant)
}

/// Folds a log and checks every change that a call made; returns how many there were.
fn changes_of_the_model(events: &[Event]) -> usize {
    let (mut transcript, mut changes) = (Transcript::new(), 0);
    for event in events {
        let before = said(&transcript);
        transcript.apply(event).unwrap();
        let by = match &event.kind {
            EventKind::ContextPruned(pruned) => &pruned.by,
            EventKind::ContextReverted(reverted) => &reverted.by,
            _ => continue,
        };
        if matches!(by, AskedBy::Call { .. }) {
            assert_eq!(said(&transcript), before, "{event:?}");
            changes += 1;
        }
    }
    changes
}

/// Some entries of the view after the first, with every call beside its results.
fn middle(bench: &Bench, (a, b): (u8, u8)) -> (u64, u64) {
    let view = bench.machine.transcript().view().entries();
    let starts = |at: &usize| !matches!(view.get(*at), Some(Entry::Results(_)));
    let places: Vec<usize> = (1..=view.len()).filter(starts).collect();
    let first = usize::from(a) % (places.len() - 1).clamp(1, 2);
    let rest = places.len() - first - 1;
    let last = first + rest.min(1 + usize::from(b) % rest.max(1));
    let (first, end) = (places[first], places[last]);
    (first as u64, end.saturating_sub(first) as u64)
}

/// A loop in which the user, the caller, a compactor and the model do these things. It returns how
/// many changes of the model were made, and how many were refused.
fn play(moves: &[(u8, u8, u8)]) -> (usize, usize) {
    let configuration = Configuration {
        // Every report says that the request before took ten.
        compact_at: Some(CompactAt::Tokens(10)),
        ..compacting()
    };
    let mut bench = Bench::started(configuration, "Do it.");
    let mut refused = 0;
    for (n, (kind, a, b)) in (0..).zip(moves.iter().copied()) {
        let history = bench.machine.transcript().history().len() as u64;
        // The task rather often: whatever follows it would go.
        let entry = u64::from(a / 2) % (history + 1) * u64::from(a % 2);
        if bench
            .effects
            .iter()
            .any(|it| matches!(it, Effect::Compact(_)))
        {
            let block = middle(&bench, (a, b));
            let texts = ["so far", "kept"];
            compacts(&mut bench, block, &texts[..1 + usize::from(kind % 2)]);
        }
        if bench.machine.outcome().is_some() {
            break;
        }
        match kind % 8 {
            0..3 => looks(&mut bench),
            3 => {
                let text = Arc::new(phi_types::UserMessage::text(format!("ask {n}")));
                bench.handle(Input::Steer(queue_id(&format!("q{n}")), text));
                looks(&mut bench);
            }
            4 | 5 => {
                let (ending, _) = wishes(&mut bench, &revert(entry));
                refused += usize::from(ending == ToolEnding::Failed);
            }
            6 => {
                let (ending, _) = wishes(&mut bench, &prune(entry));
                refused += usize::from(ending == ToolEnding::Failed);
            }
            // The caller may do everything, where it fits.
            _ => {
                drop(
                    bench
                        .machine
                        .handle(bench.now, Input::Change(revert(entry))),
                );
                bench.drain();
            }
        }
    }
    (changes_of_the_model(&bench.events), refused)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_model_wishes_every_word_of_the_user_stays(
        moves in prop::collection::vec(any::<(u8, u8, u8)>(), 0..40),
    ) {
        play(&moves);
    }
}

#[test]
fn the_wishes_are_granted_and_refused() {
    let mut state = 7_u64;
    let mut byte = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        u8::try_from(state >> 56).unwrap()
    };
    let (mut granted, mut refused) = (0, 0);
    for _ in 0..20 {
        let moves: Vec<_> = (0..40).map(|_| (byte(), byte(), byte())).collect();
        let (changes, failed) = play(&moves);
        (granted, refused) = (granted + changes, refused + failed);
    }
    assert!(granted > 20 && refused > 20, "{granted} {refused}");
}
