//! Rule 5: what follows a failed attempt depends on its facts alone.

use chrono::TimeDelta;
use phi_loop::{Effect, Input};
use phi_types::{
    Configuration, Delta, EventKind, LoopError, ModelFailed, Outcome, ProviderError,
    ProviderErrorKind, RetryPolicy, StopReason,
};

use crate::facts::{check, ends, request};
use crate::support::{Bench, queue_id, user};

fn failures(bench: &Bench) -> Vec<&ModelFailed> {
    let failed = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::ModelFailed(failed) => Some(&**failed),
        _ => None,
    });
    failed.collect()
}

/// The attempt in flight: its number and its place in the list of models.
fn attempt(bench: &Bench) -> Option<(u32, u32)> {
    let open = bench
        .effects
        .iter()
        .any(|it| matches!(it, Effect::CallModel(_)));
    let started = bench
        .events
        .iter()
        .rev()
        .find_map(|event| match &event.kind {
            EventKind::ModelStarted(started) => Some((started.attempt, started.target)),
            _ => None,
        });
    started.filter(|_| open)
}

fn time_comes(bench: &mut Bench) {
    bench.now = bench.machine.next_timeout().expect("a time is awaited");
    bench.handle(Input::Timeout);
}

fn retrying(attempts_max: u32, seed: u64) -> Configuration {
    Configuration {
        retry: RetryPolicy {
            attempts_max,
            wait_first_ms: 1_000,
            wait_max_ms: 5_000,
        },
        seed,
        ..Configuration::default()
    }
}

#[test]
fn rule_05_a_wait_that_the_provider_asks_for_is_obeyed() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    let effect = bench.model();
    let wait = std::time::Duration::from_secs(7);
    let error = ProviderError::new(ProviderErrorKind::RateLimited, "slow").with_retry_after(wait);
    bench.handle(Input::ModelFailed(effect, error));
    let due = bench.now + TimeDelta::seconds(7);
    assert_eq!(failures(&bench)[0].retry_at, Some(due));
    assert_eq!(bench.machine.next_timeout(), Some(due));
    bench.pass(6_999);
    bench.handle(Input::Timeout);
    assert_eq!(attempt(&bench), None, "it came too early");
    bench.pass(1);
    bench.handle(Input::Timeout);
    assert_eq!(attempt(&bench), Some((2, 0)));
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn rule_05_waits_are_seeded_bounded_and_then_the_next_model_is_tried() {
    let waits = |seed| {
        let mut bench = Bench::started(retrying(5, seed), "Do it.");
        let mut waits = Vec::new();
        for full in [1_000, 2_000, 4_000, 5_000] {
            bench.fail(ProviderErrorKind::Overloaded);
            let due = bench.machine.next_timeout().expect("it waits");
            let wait = (due - bench.now).num_milliseconds();
            assert!((full / 2..=full).contains(&wait), "{wait} of {full}");
            waits.push(wait);
            time_comes(&mut bench);
        }
        assert_eq!(attempt(&bench), Some((5, 0)));
        bench.fail(ProviderErrorKind::Overloaded);
        assert_eq!(attempt(&bench), Some((6, 1)), "at once");
        assert_eq!(&*request(&bench).model, "second");
        check(&bench);
        waits
    };
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(2));
}

#[test]
fn rule_05_each_kind_of_failure_is_sent_again_falls_back_or_ends() {
    use ProviderErrorKind as K;
    let again = [
        K::RateLimited,
        K::Overloaded,
        K::Server,
        K::Network,
        K::Timeout,
        K::Incomplete,
    ];
    for kind in again {
        let mut bench = Bench::started(retrying(2, 0), "Do it.");
        bench.fail(kind);
        assert_eq!(attempt(&bench), None, "{kind} waits");
        time_comes(&mut bench);
        assert_eq!(attempt(&bench), Some((2, 0)), "{kind}");
    }
    for kind in [K::Auth, K::Billing, K::InvalidRequest, K::Protocol] {
        let mut bench = Bench::started(retrying(5, 0), "Do it.");
        bench.fail(kind);
        assert_eq!(attempt(&bench), Some((2, 1)), "{kind} falls back at once");
        bench.fail(kind);
        let error = ProviderError::new(kind, "no");
        let error = LoopError::Provider { error };
        ends(&bench, &Outcome::Failed { error });
    }
    for kind in [K::ContextOverflow, K::ContentFilter] {
        let mut bench = Bench::started(retrying(5, 0), "Do it.");
        bench.fail(kind);
        let error = ProviderError::new(kind, "no");
        let error = LoopError::Provider { error };
        ends(&bench, &Outcome::Failed { error });
        assert_eq!(failures(&bench)[0].retry_at, None);
    }
}

#[test]
fn rule_05_an_error_after_the_finish_takes_nothing_away() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    let effect = bench.model();
    for delta in [Delta::text(0, "Done."), Delta::finish(StopReason::EndTurn)] {
        bench.handle(Input::Delta(effect.clone(), delta));
    }
    let error = ProviderError::new(ProviderErrorKind::Network, "reset");
    bench.handle(Input::ModelFailed(effect, error));
    assert_eq!(failures(&bench), [] as [&ModelFailed; 0]);
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn rule_05_a_stream_that_ends_before_its_finish_is_incomplete_and_sent_again() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.answer(&[Delta::text(0, "Half of it")]);
    let failed = failures(&bench)[0];
    assert_eq!(failed.error.kind, ProviderErrorKind::Incomplete);
    assert!(failed.facts.output_seen, "a user interface takes it back");
    assert!(!failed.facts.finish_seen);
    time_comes(&mut bench);
    bench.say("All of it");
    ends(&bench, &Outcome::Completed {});
    let view = bench.machine.transcript().view();
    assert_eq!(
        crate::facts::words(view),
        ["user: Do it.", "model: All of it"]
    );
}

#[test]
fn rule_05_a_part_that_changes_its_nature_is_a_protocol_error_and_stops_the_stream() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    let effect = bench.model();
    bench.handle(Input::Delta(effect.clone(), Delta::text(0, "hi")));
    bench.handle(Input::Delta(
        effect.clone(),
        Delta::tool_call(0, "c", "once"),
    ));
    assert_eq!(failures(&bench)[0].error.kind, ProviderErrorKind::Protocol);
    assert_eq!(bench.aborted, [effect]);
    assert_eq!(attempt(&bench), Some((2, 1)));
    check(&bench);
}

#[test]
fn rule_05_a_cancel_ends_a_wait_at_once() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.fail(ProviderErrorKind::Overloaded);
    assert_eq!(bench.machine.outstanding(), []);
    bench.handle(Input::Cancel);
    ends(&bench, &Outcome::Cancelled {});
}

#[test]
fn rule_05_a_wait_that_is_longer_than_allowed_falls_back_instead() {
    let mut bench = Bench::started(retrying(5, 0), "Do it.");
    for expected in [Some((2, 1)), None] {
        let effect = bench.model();
        let wait = std::time::Duration::from_millis(5_001);
        let error = ProviderError::new(ProviderErrorKind::RateLimited, "no").with_retry_after(wait);
        bench.handle(Input::ModelFailed(effect, error));
        assert_eq!(attempt(&bench), expected);
    }
    let failed = matches!(bench.machine.outcome(), Some(Outcome::Failed { .. }));
    assert!(failed, "{:?}", bench.machine.outcome());
}

#[test]
fn rule_05_every_turn_begins_with_the_first_model_and_fresh_attempts() {
    let mut bench = Bench::started(retrying(2, 0), "Do it.");
    bench.fail(ProviderErrorKind::Auth);
    assert_eq!(attempt(&bench), Some((2, 1)));
    bench.handle(Input::Steer(queue_id("s"), user("and then?")));
    bench.say("First.");
    assert_eq!(attempt(&bench), Some((1, 0)));
    check(&bench);
}
