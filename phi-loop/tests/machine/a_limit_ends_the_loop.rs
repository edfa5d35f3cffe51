//! Rule 6: turns, tokens, cost and tool calls end a loop between two turns, with one warning before.

use phi_loop::Input;
use phi_types::{
    Configuration, Delta, EventKind, LimitKind, Limits, Outcome, Price, StopReason, Usage,
};

use crate::facts::{check, ends, limits, on_surface};
use crate::support::{Bench, queue_id, surface, user};

/// One turn with one call that ends at once.
fn turn(bench: &mut Bench) {
    bench.call(&["pure"]);
    for effect in bench.tools() {
        bench.end_tool(effect, "ok");
    }
}

fn turns_until(bench: &mut Bench, limit: LimitKind) -> usize {
    let mut turns = 0;
    while bench.machine.outcome().is_none() {
        turn(bench);
        turns += 1;
        assert!(turns < 50);
    }
    ends(bench, &Outcome::LimitReached { limit });
    turns
}

fn warnings(bench: &Bench) -> Vec<LimitKind> {
    let warned = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::LimitWarning(warning) => Some(warning.limit),
        _ => None,
    });
    warned.collect()
}

#[test]
fn rule_06_turns_are_limited_and_the_limit_is_warned_of_once() {
    let mut bench = Bench::started(
        limits(Limits {
            turns: Some(10),
            ..Limits::default()
        }),
        "Do it.",
    );
    assert_eq!(turns_until(&mut bench, LimitKind::Turns), 10);
    assert_eq!(warnings(&bench), [LimitKind::Turns]);
    let place = bench
        .kinds()
        .iter()
        .position(|kind| kind == "limit_warning");
    let before = &bench.kinds()[..place.unwrap()];
    let begun = before.iter().filter(|kind| *kind == "turn_started").count();
    assert_eq!(begun, 8, "when four fifths are used");
}

#[test]
fn rule_06_an_answer_in_the_last_turn_completes() {
    let mut bench = Bench::started(
        limits(Limits {
            turns: Some(2),
            ..Limits::default()
        }),
        "Do it.",
    );
    turn(&mut bench);
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn rule_06_tokens_are_limited_with_cache_and_failed_attempts() {
    let mut bench = Bench::started(
        limits(Limits {
            tokens: Some(45),
            ..Limits::default()
        }),
        "Do it.",
    );
    assert_eq!(turns_until(&mut bench, LimitKind::Tokens), 3);

    let mut bench = Bench::started(
        limits(Limits {
            tokens: Some(45),
            ..Limits::default()
        }),
        "Do it.",
    );
    let effect = bench.model();
    let usage = Usage {
        cache_read_tokens: Some(20),
        cache_write_tokens: Some(10),
        ..Usage::default()
    };
    bench.handle(Input::Delta(effect.clone(), Delta::Usage(usage)));
    bench.handle(Input::ModelEnded(effect));
    bench.now = bench.machine.next_timeout().unwrap();
    bench.handle(Input::Timeout);
    assert_eq!(turns_until(&mut bench, LimitKind::Tokens), 1);
    assert_eq!(warnings(&bench), []);
}

#[test]
fn rule_06_cost_is_limited_where_prices_are_known() {
    let price = Price {
        input_usd: 100_000.0,
        output_usd: 0.0,
        cache_read_usd: 0.0,
        cache_write_usd: 0.0,
    };
    let mut priced = surface();
    let models = priced.models.iter().cloned();
    priced.models = models
        .map(|model| phi_types::Target {
            price: Some(price),
            ..model
        })
        .collect();
    let configuration = limits(Limits {
        cost_usd: Some(2.0),
        ..Limits::default()
    });
    let mut bench = on_surface(configuration.clone(), priced);
    assert_eq!(
        turns_until(&mut bench, LimitKind::Cost),
        2,
        "one dollar each"
    );
    assert!((bench.machine.cost_usd() - 2.0).abs() < 1e-9);
    assert_eq!(warnings(&bench), []);

    let mut bench = on_surface(configuration, surface());
    for _ in 0..5 {
        turn(&mut bench);
    }
    assert_eq!(bench.machine.outcome(), None);
    assert!(bench.machine.cost_usd().abs() < f64::EPSILON);
}

#[test]
fn rule_06_tool_calls_are_limited_and_only_started_ones_count() {
    let mut bench = Bench::started(
        limits(Limits {
            tool_calls: Some(2),
            ..Limits::default()
        }),
        "Do it.",
    );
    bench.call(&["nosuch", "nosuch"]);
    assert_eq!(bench.machine.outcome(), None, "calls that never started");
    assert_eq!(turns_until(&mut bench, LimitKind::ToolCalls), 2);
}

#[test]
fn rule_06_a_limit_returns_the_follow_ups_that_it_leaves() {
    let mut bench = Bench::started(
        limits(Limits {
            turns: Some(1),
            ..Limits::default()
        }),
        "Do it.",
    );
    bench.handle(Input::FollowUp(queue_id("f"), user("then this")));
    bench.say("Done.");
    let limit = LimitKind::Turns;
    ends(&bench, &Outcome::LimitReached { limit });
    assert_eq!(bench.machine.undelivered().len(), 1);
}

#[test]
fn rule_06_a_limit_of_nothing_ends_before_the_first_call() {
    let none = Limits {
        turns: Some(0),
        ..Limits::default()
    };
    let bench = Bench::started(limits(none), "Do it.");
    assert_eq!(bench.effects, []);
    let limit = LimitKind::Turns;
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn rule_06_limits_that_are_no_numbers_limit_nothing_and_nothing_panics() {
    for cost_usd in [f64::NAN, f64::INFINITY] {
        let odd = Limits {
            cost_usd: Some(cost_usd),
            wall_time_ms: Some(u64::MAX),
            tokens: Some(u64::MAX),
            ..Limits::default()
        };
        let mut bench = Bench::started(limits(odd), "Do it.");
        bench.answer(&[
            Delta::Usage(Usage {
                input_tokens: Some(u64::MAX),
                output_tokens: Some(u64::MAX),
                ..Usage::default()
            }),
            Delta::text(0, "Done."),
            Delta::finish(StopReason::EndTurn),
        ]);
        assert_eq!(bench.machine.outcome(), Some(&Outcome::Completed {}));
    }
}

#[test]
fn rule_06_no_limit_is_no_limit() {
    let none = Limits {
        turns: None,
        identical_calls: None,
        ..Limits::default()
    };
    let configuration = Configuration {
        limits: none,
        ..Configuration::default()
    };
    let mut bench = Bench::started(configuration, "Do it.");
    for _ in 0..150 {
        turn(&mut bench);
    }
    assert_eq!(bench.machine.outcome(), None);
    check(&bench);
}
