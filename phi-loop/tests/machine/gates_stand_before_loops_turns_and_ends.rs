//! Gates of the loop itself: before its first turn, before each turn, before its end.

use phi_loop::{Effect, Input, NextTurn, Subject, Verdict};
use phi_types::{
    Configuration, EventKind, LimitKind, Limits, LoopError, Outcome, Point, TurnTrigger,
};

use crate::facts::{
    check, decide_all, decisions, ends, hooked, last, limits, refused, request, words,
};
use crate::support::{Bench, queue_id, user};

fn all_gates() -> Configuration {
    Configuration {
        points: vec![Point::BeforeLoop, Point::BeforeTurn, Point::BeforeEnd],
        ..Configuration::default()
    }
}

/// The points at which somebody is asked now.
fn asked(bench: &Bench) -> Vec<Point> {
    let asked = bench.effects.iter().filter_map(|effect| match effect {
        Effect::Decide(_, subject) => Some(subject.point()),
        _ => None,
    });
    asked.collect()
}

fn proceed(bench: &mut Bench) {
    decide_all(bench, &Verdict::Proceed);
}

fn reject() -> Verdict {
    Verdict::Deny {
        reason: "no".into(),
    }
}

fn fail() -> Verdict {
    Verdict::Fail {
        reason: "boom".into(),
    }
}

fn failed() -> Outcome {
    let reason = "boom".to_owned();
    let error = LoopError::Hook { reason };
    Outcome::Failed { error }
}

fn triggers(bench: &Bench) -> Vec<TurnTrigger> {
    let started = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::TurnStarted(started) => Some(started.trigger),
        _ => None,
    });
    started.collect()
}

#[test]
fn each_gate_is_asked_in_its_place_and_once() {
    let mut bench = Bench::started(all_gates(), "Do it.");
    let mut order = Vec::new();
    for _ in 0..2 {
        order.push(asked(&bench));
        proceed(&mut bench);
    }
    bench.call(&["pure"]);
    let running = bench.tools();
    bench.end_tool(running[0].clone(), "seen");
    order.push(asked(&bench));
    proceed(&mut bench);
    bench.say("Done.");
    order.push(asked(&bench));
    proceed(&mut bench);
    let expected = [
        Point::BeforeLoop,
        Point::BeforeTurn,
        Point::BeforeTurn,
        Point::BeforeEnd,
    ];
    assert_eq!(order, expected.map(|point| vec![point]));
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn a_rejected_loop_keeps_its_prompt_and_calls_no_model() {
    for (point, verdict, outcome) in [
        (Point::BeforeLoop, reject(), None),
        (Point::BeforeTurn, reject(), None),
        (Point::BeforeLoop, fail(), Some(failed())),
        (Point::BeforeTurn, fail(), Some(failed())),
    ] {
        let mut bench = Bench::started(hooked(point), "Do it.");
        decide_all(&mut bench, &verdict);
        assert!(!bench.kinds().contains(&"turn_started".to_owned()));
        assert_eq!(words(bench.machine.transcript().view()), ["user: Do it."]);
        let reason = "no".to_owned();
        ends(&bench, &outcome.unwrap_or(Outcome::Rejected { reason }));
    }
}

#[test]
fn a_loop_that_goes_on_without_a_prompt_passes_the_same_gates() {
    for verdict in [Verdict::Proceed, reject(), fail()] {
        let before = {
            let mut bench = Bench::started(Configuration::default(), "Do it.");
            bench.say("Done.");
            bench.machine.transcript().continued()
        };
        let mut start = crate::support::start(all_gates());
        start.transcript = before.clone();
        let mut bench = Bench::with(phi_loop::Machine::new(start));
        bench.handle(Input::Continue);
        refused(&mut bench, Input::Continue);
        assert_eq!(asked(&bench), [Point::BeforeLoop]);
        proceed(&mut bench);
        let [Effect::Decide(_, Subject::Turn(turn))] = &bench.effects[..] else {
            panic!("{:?}", bench.effects)
        };
        assert_eq!((turn.index, turn.trigger), (1, TurnTrigger::Continue));
        decide_all(&mut bench, &verdict);
        if verdict == Verdict::Proceed {
            bench.say("Still done.");
            proceed(&mut bench);
        }
        assert!(bench.machine.outcome().is_some());
        phi_loop::replay(&before, &bench.events).unwrap();
    }
}

#[test]
fn a_later_turn_is_refused_after_its_calls_were_answered() {
    let mut bench = Bench::started(hooked(Point::BeforeTurn), "Do it.");
    proceed(&mut bench);
    bench.call(&["once"]);
    let running = bench.tools();
    bench.end_tool(running[0].clone(), "seen");
    let [Effect::Decide(_, Subject::Turn(turn))] = &bench.effects[..] else {
        panic!("{:?}", bench.effects)
    };
    let expected = NextTurn {
        index: 2,
        trigger: TurnTrigger::ToolResults,
        view: bench.machine.transcript().view().clone(),
    };
    assert_eq!(*turn, expected);
    decide_all(&mut bench, &reject());
    let reason = "no".to_owned();
    ends(&bench, &Outcome::Rejected { reason });
}

#[test]
fn a_grace_turn_passes_the_gate_too() {
    let configuration = Configuration {
        grace_turn: true,
        points: vec![Point::BeforeTurn],
        ..limits(Limits {
            turns: Some(1),
            ..Limits::default()
        })
    };
    let mut bench = Bench::started(configuration, "Do it.");
    proceed(&mut bench);
    bench.call(&["pure"]);
    let running = bench.tools();
    bench.end_tool(running[0].clone(), "seen");
    let [Effect::Decide(_, Subject::Turn(turn))] = &bench.effects[..] else {
        panic!("{:?}", bench.effects)
    };
    assert_eq!((turn.index, turn.trigger), (1, TurnTrigger::Grace));
    proceed(&mut bench);
    bench.say("I stop here.");
    let limit = LimitKind::Turns;
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn a_hook_keeps_the_loop_from_its_end_with_messages_that_the_limits_count() {
    let configuration = Configuration {
        points: vec![Point::BeforeEnd],
        ..limits(Limits {
            turns: Some(2),
            ..Limits::default()
        })
    };
    let mut bench = Bench::started(configuration, "Do it.");
    bench.say("Done.");
    decide_all(
        &mut bench,
        &Verdict::Continue(vec![user("Sure?"), user("Look again.")]),
    );
    assert_eq!(
        words(&request(&bench).view),
        [
            "user: Do it.",
            "model: Done.",
            "user: Sure?",
            "user: Look again."
        ]
    );
    assert_eq!(triggers(&bench), [TurnTrigger::Prompt, TurnTrigger::Hook]);
    bench.say("Yes.");
    decide_all(&mut bench, &Verdict::Continue(vec![user("Really?")]));
    let limit = LimitKind::Turns;
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn a_hook_that_goes_on_without_a_word_or_fails_fails_the_loop() {
    let verdicts = [
        (Verdict::Continue(Vec::new()), "without a message"),
        (Verdict::Continue(vec![user(" ")]), "empty"),
        (fail(), "boom"),
    ];
    for (verdict, why) in verdicts {
        let mut bench = Bench::started(hooked(Point::BeforeEnd), "Do it.");
        bench.say("Done.");
        decide_all(&mut bench, &verdict);
        let outcome = bench.machine.outcome().cloned();
        let Some(Outcome::Failed {
            error: LoopError::Hook { reason },
        }) = outcome
        else {
            panic!("{outcome:?}")
        };
        assert!(reason.contains(why), "{reason}");
        check(&bench);
    }
}

#[test]
fn who_asked_the_loop_to_stop_is_not_asked_to_go_on() {
    let mut bench = Bench::started(hooked(Point::BeforeEnd), "Do it.");
    bench.handle(Input::Stop("enough".into()));
    bench.say("Done.");
    assert_eq!(asked(&bench), []);
    ends(&bench, &Outcome::Completed {});

    let mut bench = Bench::started(hooked(Point::BeforeEnd), "Do it.");
    bench.say("Done.");
    bench.handle(Input::Stop("enough".into()));
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn a_follow_up_that_arrives_while_a_hook_decides_about_the_end_comes_first() {
    let mut bench = Bench::started(hooked(Point::BeforeEnd), "Do it.");
    bench.say("Done.");
    let stale = decisions(&mut bench);
    bench.handle(Input::FollowUp(queue_id("q"), user("One more.")));
    assert_eq!(
        triggers(&bench),
        [TurnTrigger::Prompt, TurnTrigger::FollowUp]
    );
    refused(&mut bench, Input::Decided(stale[0], Verdict::Proceed));
    bench.say("Done too.");
    proceed(&mut bench);
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn a_message_that_joins_has_the_gate_asked_again() {
    let mut bench = Bench::started(hooked(Point::BeforeTurn), "Do it.");
    let stale = decisions(&mut bench);
    bench.handle(Input::Steer(queue_id("q"), user("Faster.")));
    refused(&mut bench, Input::Decided(stale[0], Verdict::Proceed));
    let [Effect::Decide(_, Subject::Turn(turn))] = &bench.effects[..] else {
        panic!("{:?}", bench.effects)
    };
    assert_eq!(words(&turn.view), ["user: Do it.", "user: Faster."]);
    proceed(&mut bench);
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn a_verdict_of_another_gate_is_refused() {
    let mut bench = Bench::started(all_gates(), "Do it.");
    let [Effect::Decide(id, _)] = bench.effects[..] else {
        panic!("{:?}", bench.effects)
    };
    let continued = Verdict::Continue(vec![user("more")]);
    refused(&mut bench, Input::Decided(id, continued));
    proceed(&mut bench);
    proceed(&mut bench);
    bench.say("Done.");
    let [Effect::Decide(id, _)] = bench.effects[..] else {
        panic!("{:?}", bench.effects)
    };
    refused(&mut bench, Input::Decided(id, reject()));
    assert!(matches!(last(&bench).kind, EventKind::TurnEnded(_)));
}
