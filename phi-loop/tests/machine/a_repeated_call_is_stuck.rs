//! Rule 6: a call, or a short cycle of calls, that reads the same may come again only so often.

use phi_loop::Input;
use phi_types::{
    Configuration, Delta, EventKind, LimitKind, Limits, LoopStuck, Outcome, StopReason, ToolEnding,
};

use crate::facts::{check, ends, limits, words};
use crate::support::{Bench, calls, user};

fn twice() -> Configuration {
    limits(Limits {
        identical_calls: Some(2),
        ..Limits::default()
    })
}

fn call(bench: &mut Bench, arguments: &[&str]) {
    call_and_read(bench, arguments, "ok");
}

/// The model calls, and every call that runs ends with this text.
fn call_and_read(bench: &mut Bench, arguments: &[&str], text: &str) {
    let mut deltas = Vec::new();
    for (part, arguments) in (0..).zip(arguments) {
        deltas.push(Delta::tool_call(part, "c", "pure"));
        deltas.push(Delta::arguments(part, *arguments));
        deltas.push(Delta::part_ended(part));
    }
    deltas.push(Delta::finish(StopReason::ToolUse));
    bench.answer(&deltas);
    for effect in bench.tools() {
        bench.end_tool(effect, text);
    }
}

fn stuck(bench: &Bench) -> Vec<&LoopStuck> {
    let stuck = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::LoopStuck(stuck) => Some(stuck),
        _ => None,
    });
    stuck.collect()
}

#[test]
fn rule_06_a_call_that_repeats_itself_too_often_ends_the_loop() {
    let mut bench = Bench::started(twice(), "Do it.");
    call(&mut bench, &["{\"n\":1}"]);
    call(&mut bench, &["{\"n\":1}"]);
    assert_eq!(stuck(&bench), [] as [&LoopStuck; 0]);
    call(&mut bench, &["{\"n\":1}"]);
    let expected = LoopStuck {
        tool: "pure".into(),
        times: 3,
        period: 1,
    };
    assert_eq!(stuck(&bench), [&expected]);
    let last = bench.endings().pop();
    assert_eq!(last, Some(ToolEnding::Skipped));
    let limit = LimitKind::IdenticalCalls;
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn rule_06_repeats_inside_one_answer_count_too() {
    let mut bench = Bench::started(twice(), "Do it.");
    call(&mut bench, &["{}", "{}", "{}"]);
    assert_eq!(stuck(&bench).len(), 1);
    assert_eq!(bench.endings(), [ToolEnding::Skipped; 3]);
    let limit = LimitKind::IdenticalCalls;
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn rule_06_another_call_in_between_starts_the_count_anew() {
    let mut bench = Bench::started(twice(), "Do it.");
    for n in 0..8 {
        let arguments = format!("{{\"n\":{}}}", n / 2);
        call(&mut bench, &[&arguments]);
    }
    assert_eq!(stuck(&bench), [] as [&LoopStuck; 0]);
    assert_eq!(bench.machine.outcome(), None);
    check(&bench);
}

#[test]
fn rule_06_a_stuck_loop_with_a_grace_turn_wraps_up() {
    let configuration = Configuration {
        grace_turn: true,
        ..twice()
    };
    let mut bench = Bench::started(configuration, "Do it.");
    for _ in 0..3 {
        call(&mut bench, &["{}"]);
    }
    bench.say("I was stuck.");
    let limit = LimitKind::IdenticalCalls;
    ends(&bench, &Outcome::LimitReached { limit });
    let view = words(bench.machine.transcript().view());
    assert_eq!(view.last().unwrap(), "model: I was stuck.");
}

/// How often each turn of the cycle comes until the loop is stuck; `None` if it never is.
fn until_stuck(cycle: &[&[&str]], turns: usize) -> Option<(usize, LoopStuck)> {
    let mut bench = Bench::started(twice(), "Do it.");
    for turn in 0..turns {
        call(&mut bench, cycle[turn % cycle.len()]);
        check(&bench);
        if let [stuck] = stuck(&bench).as_slice() {
            let stuck = (*stuck).clone();
            assert_eq!(bench.endings().pop(), Some(ToolEnding::Skipped));
            let limit = LimitKind::IdenticalCalls;
            ends(&bench, &Outcome::LimitReached { limit });
            return Some((turn + 1, stuck));
        }
    }
    None
}

#[test]
fn rule_06_a_cycle_of_up_to_four_turns_is_stuck() {
    let turns: [&[&str]; 4] = [
        &["{\"n\":1}"],
        &["{\"n\":2}", "{}"],
        &["{}"],
        &["{\"n\":4}"],
    ];
    for period in 1..=4 {
        let expected = LoopStuck {
            tool: "pure".into(),
            times: 3,
            period: u32::try_from(period).unwrap(),
        };
        let found = until_stuck(&turns[..period], 40);
        assert_eq!(found, Some((period * 3, expected)));
    }
}

#[test]
fn rule_06_a_cycle_of_five_turns_is_left_to_the_other_limits() {
    let turns: [&[&str]; 5] = [
        &["{\"n\":1}"],
        &["{}"],
        &["{\"n\":3}"],
        &["{\"n\":4}"],
        &["[]"],
    ];
    assert_eq!(until_stuck(&turns, 40), None);
}

#[test]
fn rule_06_the_same_calls_in_another_order_are_a_repetition() {
    let (one, two, three) = ("{\"n\":1}", "{\"n\":2}", "{\"n\":3}");
    let turns: [&[&str]; 3] = [&[one, two, three], &[three, one, two], &[two, one, three]];
    let found = until_stuck(&turns, 9).map(|(turns, stuck)| (turns, stuck.period));
    assert_eq!(found, Some((3, 1)));
    // Calls that are as long and not the same are none.
    let turns: [&[&str]; 2] = [&[one, two], &[one, three]];
    let found = until_stuck(&turns, 9).map(|(turns, stuck)| (turns, stuck.period));
    assert_eq!(found, Some((6, 2)));
}

#[test]
fn rule_06_a_cycle_inside_one_answer_counts() {
    let cycle = ["{}", "{\"n\":1}", "{}", "{\"n\":1}", "{}", "{\"n\":1}"];
    let found = until_stuck(&[&cycle], 9);
    let found = found.map(|(turns, stuck)| (turns, stuck.period, stuck.times));
    assert_eq!(found, Some((1, 2, 3)));
}

#[test]
fn rule_06_a_call_whose_result_changes_is_no_repetition() {
    let mut bench = Bench::started(twice(), "Do it.");
    for n in 0..30 {
        call_and_read(&mut bench, &["{}"], &format!("still at {n}"));
    }
    assert_eq!(stuck(&bench), [] as [&LoopStuck; 0]);
    // From here on nothing changes any more.
    call_and_read(&mut bench, &["{}"], "done");
    call_and_read(&mut bench, &["{}"], "done");
    assert_eq!(stuck(&bench), [] as [&LoopStuck; 0]);
    call_and_read(&mut bench, &["{}"], "done");
    assert_eq!(stuck(&bench).len(), 1);
    check(&bench);
}

#[test]
fn rule_06_results_of_a_wide_turn_are_compared_call_by_call() {
    let mut bench = Bench::started(twice(), "Do it.");
    for n in 0..6 {
        bench.answer(&calls(&["pure", "again"]));
        let texts = if n % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
        for (effect, text) in bench.tools().into_iter().zip(texts) {
            bench.end_tool(effect, text);
        }
    }
    let found: Vec<u32> = stuck(&bench).iter().map(|it| it.period).collect();
    // The results change places, so every second turn is the same and no turn is like the one before.
    assert_eq!(found, [2]);
}

#[test]
fn rule_06_an_answer_without_a_call_starts_the_count_anew() {
    let mut bench = Bench::started(twice(), "Do it.");
    for _ in 0..6 {
        call(&mut bench, &["{}"]);
        call(&mut bench, &["{}"]);
        let id = crate::support::queue_id(&format!("q{}", bench.events.len()));
        bench.handle(Input::FollowUp(id, user("And again.")));
        bench.say("Nothing new.");
    }
    assert_eq!(stuck(&bench), [] as [&LoopStuck; 0]);
    assert_eq!(bench.machine.outcome(), None);
    check(&bench);
}
