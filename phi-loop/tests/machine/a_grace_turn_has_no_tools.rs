//! Rule 6: at a limit one more turn, without tools and outside the count, lets the model wrap up.

use phi_types::{
    Configuration, EventKind, LimitKind, Limits, Outcome, ToolEnding, TurnStarted, TurnTrigger,
};

use crate::facts::{check, ends, request, results, words};
use crate::support::Bench;

fn one_turn(grace_turn: bool) -> Configuration {
    Configuration {
        limits: Limits {
            turns: Some(1),
            ..Limits::default()
        },
        grace_turn,
        ..Configuration::default()
    }
}

/// The one turn is over and its call has its result.
fn used_up(grace_turn: bool) -> Bench {
    let mut bench = Bench::started(one_turn(grace_turn), "Do it.");
    bench.call(&["once"]);
    for effect in bench.tools() {
        bench.end_tool(effect, "ok");
    }
    bench
}

const REACHED: Outcome = Outcome::LimitReached {
    limit: LimitKind::Turns,
};

#[test]
fn rule_06_a_grace_turn_is_off_by_default() {
    assert!(!Configuration::default().grace_turn);
    ends(&used_up(false), &REACHED);
}

#[test]
fn rule_06_the_model_wraps_up_without_tools() {
    let mut bench = used_up(true);
    assert_eq!(request(&bench).tools.len(), 0);
    let started = bench
        .events
        .iter()
        .rev()
        .find_map(|event| match &event.kind {
            EventKind::TurnStarted(started) => Some(started.clone()),
            _ => None,
        });
    let expected = TurnStarted {
        index: 1,
        trigger: TurnTrigger::Grace,
    };
    assert_eq!(started, Some(expected), "outside the count");
    bench.say("So far so good.");
    ends(&bench, &REACHED);
    let view = words(bench.machine.transcript().view());
    assert_eq!(view.last().unwrap(), "model: So far so good.");
}

#[test]
fn rule_06_a_call_in_the_grace_turn_never_runs_and_the_loop_ends() {
    let mut bench = used_up(true);
    bench.call(&["once"]);
    assert_eq!(bench.effects, []);
    let answered = results(&bench).pop().unwrap();
    assert_eq!((answered.0, answered.1), (0, ToolEnding::Invalid));
    assert!(
        answered.2.contains("no tool is available"),
        "{}",
        answered.2
    );
    ends(&bench, &REACHED);
}

#[test]
fn rule_06_a_complete_answer_needs_no_grace() {
    let mut bench = Bench::started(one_turn(true), "Do it.");
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
    check(&bench);
}
