//! Rule 6: the same call with the same arguments may follow itself only so often.

use phi_types::{
    Configuration, Delta, EventKind, LimitKind, Limits, LoopStuck, Outcome, StopReason, ToolEnding,
};

use crate::facts::{check, ends, limits, words};
use crate::support::Bench;

fn twice() -> Configuration {
    limits(Limits {
        identical_calls: Some(2),
        ..Limits::default()
    })
}

fn call(bench: &mut Bench, arguments: &[&str]) {
    let mut deltas = Vec::new();
    for (part, arguments) in (0..).zip(arguments) {
        deltas.push(Delta::tool_call(part, "c", "pure"));
        deltas.push(Delta::arguments(part, *arguments));
        deltas.push(Delta::part_ended(part));
    }
    deltas.push(Delta::finish(StopReason::ToolUse));
    bench.answer(&deltas);
    for effect in bench.tools() {
        bench.end_tool(effect, "ok");
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
