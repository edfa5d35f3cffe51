//! A limit that a loop shares with others: a verdict refuses a call, and the log says so.

use phi_loop::{Input, Machine, Rejected, Verdict, replay};
use phi_types::{
    CompactAt, Configuration, EventKind, LimitKind, LimitScope, Outcome, Point, ToolEnding,
    Transcript, TurnTrigger,
};

use crate::facts::{check, decide_all, decisions, ends, hooked, refused, results};
use crate::support::{Bench, queue_id, user};

const TOKENS: Verdict = Verdict::Limit {
    limit: LimitKind::Tokens,
};

fn reached() -> Outcome {
    Outcome::LimitReached {
        limit: LimitKind::Tokens,
    }
}

fn graceful(point: Point) -> Configuration {
    Configuration {
        grace_turn: true,
        ..hooked(point)
    }
}

/// One turn with one call, of which everything is let pass.
fn turn(bench: &mut Bench) {
    decide_all(bench, &Verdict::Proceed);
    bench.call(&["pure"]);
    decide_all(bench, &Verdict::Proceed);
    for effect in bench.tools() {
        bench.end_tool(effect, "ok");
    }
}

#[test]
fn a_model_call_without_room_ends_the_loop_with_the_limit() {
    for grace in [true, false] {
        let mut bench = Bench::started(
            Configuration {
                grace_turn: grace,
                ..hooked(Point::BeforeModel)
            },
            "Do it.",
        );
        decide_all(&mut bench, &TOKENS);
        assert_eq!(bench.effects, [], "there is nothing to wrap up yet");
        let kinds = bench.kinds();
        assert!(kinds.ends_with(&[
            "limit_reached".to_owned(),
            "turn_ended".to_owned(),
            "loop_ended".to_owned()
        ]));
        ends(&bench, &reached());
    }
}

#[test]
fn a_grace_turn_follows_where_there_is_something_to_wrap_up() {
    let mut bench = Bench::started(graceful(Point::BeforeModel), "Do it.");
    turn(&mut bench);
    decide_all(&mut bench, &TOKENS);
    let trigger = bench
        .events
        .iter()
        .rev()
        .find_map(|event| match &event.kind {
            EventKind::TurnStarted(started) => Some(started.trigger),
            _ => None,
        });
    assert_eq!(trigger, Some(TurnTrigger::Grace));
    decide_all(&mut bench, &Verdict::Proceed);
    bench.say("So far.");
    ends(&bench, &reached());
}

#[test]
fn a_grace_turn_without_room_ends_too() {
    let mut bench = Bench::started(graceful(Point::BeforeModel), "Do it.");
    turn(&mut bench);
    decide_all(&mut bench, &TOKENS);
    decide_all(&mut bench, &TOKENS);
    ends(&bench, &reached());
}

#[test]
fn a_retry_asks_for_room_again() {
    let mut bench = Bench::started(hooked(Point::BeforeModel), "Do it.");
    decide_all(&mut bench, &Verdict::Proceed);
    bench.fail(phi_types::ProviderErrorKind::Auth);
    decide_all(&mut bench, &TOKENS);
    ends(&bench, &reached());
}

#[test]
fn a_tool_call_without_room_is_skipped_with_all_that_wait_and_the_others_finish() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(&["pure", "pure", "pure"]);
    let asked = decisions(&mut bench);
    bench.handle(Input::Decided(asked[1], TOKENS));
    bench.handle(Input::Decided(asked[0], Verdict::Proceed));
    bench.handle(Input::Decided(asked[2], Verdict::Proceed));
    for effect in bench.tools() {
        bench.end_tool(effect, "ok");
    }
    let why = "The call did not run: the limit of tokens is reached.".to_owned();
    let skipped = (1, ToolEnding::Skipped, why);
    assert_eq!(results(&bench)[0], skipped);
    assert_eq!(results(&bench).len(), 3);
    ends(&bench, &reached());
}

#[test]
fn every_prefix_folds_goes_on_and_replays() {
    let mut bench = Bench::started(
        Configuration {
            points: vec![Point::BeforeModel, Point::BeforeTool],
            grace_turn: true,
            ..Configuration::default()
        },
        "Do it.",
    );
    decide_all(&mut bench, &Verdict::Proceed);
    bench.handle(Input::LimitNear(LimitKind::Tokens));
    bench.call(&["pure", "pure"]);
    decide_all(&mut bench, &TOKENS);
    decide_all(&mut bench, &Verdict::Proceed);
    bench.say("So far.");
    ends(&bench, &reached());
    let before = Transcript::new();
    for len in 1..=bench.events.len() {
        let log = &bench.events[..len];
        replay(&before, log).unwrap();
        let mut restored = Machine::restore(&before, log).unwrap();
        restored.resume(bench.now);
        let answered = restored.outcome().is_some()
            || restored.awaits().is_some()
            || !restored.outstanding().is_empty();
        assert!(answered, "after {len} events nothing is awaited");
    }
}

#[test]
fn a_log_with_another_limit_or_call_diverges() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.handle(Input::LimitNear(LimitKind::Cost));
    bench.call(&["pure", "pure"]);
    decide_all(&mut bench, &TOKENS);
    ends(&bench, &reached());
    let alterations: [fn(&mut EventKind); 4] = [
        |kind| {
            if let EventKind::LimitReached(reached) = kind {
                reached.limit = LimitKind::Cost;
            }
        },
        |kind| {
            if let EventKind::LimitReached(reached) = kind {
                reached.index = Some(1);
            }
        },
        |kind| {
            if let EventKind::LimitWarning(warning) = kind {
                warning.limit = LimitKind::Tokens;
            }
        },
        |kind| {
            if let EventKind::LimitWarning(warning) = kind {
                warning.scope = LimitScope::Loop;
            }
        },
    ];
    for alter in alterations {
        let mut log = bench.events.clone();
        for event in &mut log {
            alter(&mut event.kind);
        }
        assert_ne!(log, bench.events);
        assert!(replay(&Transcript::new(), &log).is_err());
    }
}

#[test]
fn a_warning_is_written_once_for_each_limit() {
    let mut bench = Bench::new(Configuration::default());
    let early = refused(&mut bench, Input::LimitNear(LimitKind::Cost));
    assert!(matches!(early, Rejected::NotNow { .. }), "{early}");
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    for limit in [LimitKind::Cost, LimitKind::Tokens, LimitKind::Cost] {
        bench.handle(Input::LimitNear(limit));
    }
    let warned = bench.kinds();
    let warned = warned.iter().filter(|kind| *kind == "limit_warning");
    assert_eq!(warned.count(), 2);
    bench.say("Done.");
    check(&bench);
}

#[test]
fn what_reserves_nothing_has_no_limit() {
    let mut bench = Bench::started(hooked(Point::BeforeTurn), "Do it.");
    let asked = decisions(&mut bench);
    let odd = refused(&mut bench, Input::Decided(asked[0], TOKENS));
    assert!(matches!(odd, Rejected::IllShaped(_)), "{odd}");
}

#[test]
fn a_message_that_waits_is_returned_undelivered() {
    let mut bench = Bench::started(hooked(Point::BeforeModel), "Do it.");
    bench.handle(Input::FollowUp(queue_id("f"), user("then this")));
    decide_all(&mut bench, &TOKENS);
    ends(&bench, &reached());
    assert_eq!(bench.machine.undelivered().len(), 1);
}

fn compacting(compact_at: Option<CompactAt>) -> Configuration {
    Configuration {
        compaction: true,
        compact_at,
        ..hooked(Point::BeforeCompaction)
    }
}

#[test]
fn a_compaction_without_room_after_an_overflow_ends_with_the_limit() {
    for grace_turn in [false, true] {
        let configuration = Configuration {
            grace_turn,
            ..compacting(None)
        };
        let mut bench = Bench::started(configuration, "Do it.");
        bench.fail(phi_types::ProviderErrorKind::ContextOverflow);
        decide_all(&mut bench, &TOKENS);
        assert_eq!(
            bench.effects,
            [],
            "nothing is asked of a compactor or a model"
        );
        let kinds = bench.kinds();
        assert!(!kinds.iter().any(|kind| kind.starts_with("compaction")));
        ends(&bench, &reached());
    }
}

#[test]
fn a_compaction_without_room_before_an_overflow_is_left_out() {
    let mut bench = Bench::started(compacting(Some(CompactAt::Tokens(1))), "Do it.");
    decide_all(&mut bench, &TOKENS);
    let ended = bench.events.iter().find_map(|event| match &event.kind {
        EventKind::CompactionEnded(ended) => ended.error.clone(),
        _ => None,
    });
    assert_eq!(ended.as_deref(), Some("the limit of tokens is reached"));
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn every_prefix_of_a_compaction_without_room_goes_on_and_replays() {
    let mut bench = Bench::started(
        Configuration {
            grace_turn: true,
            ..compacting(None)
        },
        "Do it.",
    );
    turn(&mut bench);
    bench.fail(phi_types::ProviderErrorKind::ContextOverflow);
    decide_all(&mut bench, &TOKENS);
    bench.say("So far.");
    ends(&bench, &reached());
    for len in 1..bench.events.len() {
        let log = &bench.events[..len];
        replay(&Transcript::new(), log).unwrap();
        let mut restored = Machine::restore(&Transcript::new(), log).unwrap();
        restored.resume(bench.now);
    }
}
