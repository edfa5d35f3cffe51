//! Between two loops the caller changes what the model reads: a loop of its own records it and ends,
//! or the change comes before the prompt of the loop that begins.

use phi_loop::{ContextRefused, Input, Machine, Rejected, replay};
use phi_types::{
    Configuration, ContextChange, Continuation, EventKind, IllegalEvent, LoopId, Outcome,
    OverlayId, Prune, Revert, RevertCategory, Tag, Transcript,
};

use crate::facts::{refused, request, words};
use crate::support::{Bench, prompt, start};

const LONG: &str = "line after line after line after line after line after line of a file";
const NOTE: &str = "results: [This result was pruned.]";

/// What a loop leaves that looked twice.
fn earlier() -> Transcript {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    for _ in 0..2 {
        bench.call(&["pure"]);
        for effect in bench.tools() {
            bench.end_tool(effect, LONG);
        }
    }
    bench.say("Done.");
    bench.machine.transcript().clone()
}

/// The loop of that number, which continues a conversation in some way.
fn next(before: &Transcript, number: u32, continuation: Continuation) -> Bench {
    let mut start = start(Configuration::default());
    start.loop_id = LoopId::numbered(&start.session, &start.configuration.id, number);
    start.continuation = continuation;
    start.transcript = before.clone();
    Bench::with(Machine::new(start))
}

fn prune(entry: u64) -> Input {
    let tags = vec![Tag::entry(entry)];
    Input::Change(ContextChange::Prune(Prune { tags, memo: None }))
}

fn revert(to: u64) -> Input {
    Input::Change(ContextChange::Revert(Revert {
        to: Tag::entry(to),
        category: RevertCategory::Done,
        summary: "It is done.".into(),
    }))
}

/// Every first part of the log folds, goes on to the same view, and its whole replays.
fn holds(before: &Transcript, bench: &Bench) {
    let live = &bench.machine;
    assert_eq!(&Machine::restore(before, &bench.events).unwrap(), live);
    assert_eq!(&replay(before, &bench.events).unwrap(), live);
}

#[test]
fn a_loop_that_is_there_for_a_change_makes_it_and_ends() {
    let before = earlier();
    let mut bench = next(&before, 2, Continuation::ContextChange);
    assert_eq!(bench.machine.awaits(), Some("prompt"));
    bench.handle(prune(2));
    let kinds = [
        "loop_started",
        "surface_changed",
        "context_pruned",
        "loop_ended",
    ];
    assert_eq!(bench.kinds(), kinds);
    assert_eq!(bench.machine.outcome(), Some(&Outcome::Completed {}));
    assert_eq!(bench.effects, []);
    holds(&before, &bench);
    let view = words(bench.machine.transcript().view());
    assert_eq!(view[2], NOTE);
    assert_eq!(view.len(), 6, "nothing but the result is gone");
    assert_eq!(refused(&mut bench, prune(4)), Rejected::Ended);
    assert_eq!(refused(&mut bench, prompt("And now?")), Rejected::Ended);
}

#[test]
fn a_process_that_ends_in_such_a_loop_loses_nothing_that_was_written() {
    let before = earlier();
    let mut whole = next(&before, 2, Continuation::ContextChange);
    whole.handle(revert(2));
    for cut in 1..=whole.events.len() {
        let mut bench = next(&before, 2, Continuation::ContextChange);
        bench.events = whole.events[..cut].to_vec();
        bench.machine = Machine::restore(&before, &bench.events).unwrap();
        bench.pass(5_000);
        bench.machine.resume(bench.now);
        bench.drain();
        if cut < 3 {
            assert_eq!(bench.machine.awaits(), Some("prompt"), "cut at {cut}");
            bench.handle(revert(2));
        }
        assert_eq!(
            bench.machine.outcome(),
            Some(&Outcome::Completed {}),
            "cut at {cut}"
        );
        holds(&before, &bench);
        let (view, expected) = (bench.machine.transcript(), whole.machine.transcript());
        assert_eq!(view.view(), expected.view(), "cut at {cut}");
    }
}

#[test]
fn a_change_may_come_before_the_prompt_of_the_same_loop() {
    let before = earlier();
    let mut bench = next(&before, 2, Continuation::Default);
    bench.handle(prune(2));
    assert_eq!(bench.machine.awaits(), Some("prompt"));
    bench.handle(revert(2));
    bench.handle(prompt("And now?"));
    let asked = words(&request(&bench).view);
    let summary = "user: [What followed was taken back (done). What is left of it:]\nIt is done.";
    assert_eq!(
        asked,
        [
            "user: Do it.",
            "model: pure",
            NOTE,
            summary,
            "user: And now?"
        ]
    );
    bench.say("Nothing.");
    holds(&before, &bench);
    for cut in 1..bench.events.len() {
        let folded = Machine::restore(&before, &bench.events[..cut]);
        assert!(folded.is_ok(), "cut at {cut}: {folded:?}");
    }
}

#[test]
fn what_does_not_fit_begins_nothing() {
    let missing = |loop_id: LoopId| {
        let overlay = OverlayId { loop_id, seq: 3 };
        let why = IllegalEvent::NoSuchOverlay(overlay.clone());
        (Input::Restore(overlay), ContextRefused::Impossible(why))
    };
    let tag = Tag::entry(9);
    for continuation in [Continuation::ContextChange, Continuation::Default] {
        let before = earlier();
        let mut bench = next(&before, 2, continuation);
        let unknown = missing(bench.machine.loop_id().clone());
        let cases = [
            (prune(9), ContextRefused::NoSuchEntry { tag, len: 6 }),
            unknown,
        ];
        for (input, why) in cases {
            assert_eq!(refused(&mut bench, input), Rejected::Context(why));
        }
        assert_eq!(bench.events, []);
        // What fits still does.
        bench.handle(prune(2));
        assert_eq!(
            bench.events.len(),
            if continuation == Continuation::Default {
                3
            } else {
                4
            }
        );
    }
    let mut first = next(&Transcript::new(), 1, Continuation::ContextChange);
    let (tag, len) = (Tag::entry(0), 0);
    let why = ContextRefused::NoSuchEntry { tag, len };
    assert_eq!(refused(&mut first, revert(0)), Rejected::Context(why));
}

#[test]
fn an_overlay_of_any_loop_before_comes_off_between_loops() {
    let first = earlier();
    let mut pruned = next(&first, 2, Continuation::ContextChange);
    pruned.handle(prune(2));
    let pruned = pruned.machine.transcript().clone();
    let mut worked = next(&pruned, 3, Continuation::Default);
    worked.handle(prompt("And now?"));
    worked.say("Nothing.");
    let worked = worked.machine.transcript().clone();
    let mut reverted = next(&worked, 4, Continuation::ContextChange);
    reverted.handle(revert(0));
    let reverted = reverted.machine.transcript().clone();
    let overlays: Vec<OverlayId> = reverted.overlays().cloned().collect();
    assert_eq!(overlays.len(), 2);
    for order in [[0, 1], [1, 0]] {
        let mut before = reverted.clone();
        for (number, place) in (5..).zip(order) {
            let mut bench = next(&before, number, Continuation::ContextChange);
            bench.handle(Input::Restore(overlays[place].clone()));
            assert!(matches!(
                bench.events[2].kind,
                EventKind::ContextRestored(_)
            ));
            holds(&before, &bench);
            before = bench.machine.transcript().clone();
        }
        assert!(before.view().is_same_path(before.history()));
        assert_eq!(before.history().len(), 8);
    }
}
