//! Rule 4: each way to end has its own outcome, and nothing of what came in is lost.

use phi_loop::{Input, Verdict};
use phi_types::{
    Configuration, Delta, LimitKind, Limits, LoopError, Outcome, Point, ProviderError,
    ProviderErrorKind, Queue, Queued, StopReason,
};

use crate::facts::{decide_all, ends, hooked, limits, words};
use crate::support::{Bench, queue_id, user};

#[test]
fn rule_04_an_answer_completes() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn rule_04_a_refused_model_call_rejects() {
    let mut bench = Bench::started(hooked(Point::BeforeModel), "Do it.");
    let reason = "not this".to_owned();
    let verdict = Verdict::Deny {
        reason: reason.clone(),
    };
    decide_all(&mut bench, &verdict);
    ends(&bench, &Outcome::Rejected { reason });
}

#[test]
fn rule_04_a_hook_that_fails_before_a_model_call_fails_the_loop() {
    let mut bench = Bench::started(hooked(Point::BeforeModel), "Do it.");
    let reason = "hook broke".to_owned();
    let verdict = Verdict::Fail {
        reason: reason.clone(),
    };
    decide_all(&mut bench, &verdict);
    let error = LoopError::Hook { reason };
    ends(&bench, &Outcome::Failed { error });
}

#[test]
fn rule_04_cancel_stop_failure_and_limit_are_told_apart() {
    let started = || Bench::started(Configuration::default(), "Do it.");
    let mut bench = started();
    bench.handle(Input::Cancel);
    ends(&bench, &Outcome::Cancelled {});

    let mut bench = started();
    bench.handle(Input::Stop("enough".into()));
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});

    let mut bench = started();
    bench.handle(Input::Stop("enough".into()));
    bench.call(&["once"]);
    let reason = "enough".to_owned();
    ends(&bench, &Outcome::Aborted { reason });

    let mut bench = started();
    bench.fail(ProviderErrorKind::Billing);
    bench.fail(ProviderErrorKind::Auth);
    let error = ProviderError::new(ProviderErrorKind::Auth, "no");
    let error = LoopError::Provider { error };
    ends(&bench, &Outcome::Failed { error });

    let mut bench = Bench::started(
        limits(Limits {
            turns: Some(1),
            ..Limits::default()
        }),
        "Do it.",
    );
    bench.call(&["nosuch"]);
    let limit = LimitKind::Turns;
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn rule_04_what_was_not_delivered_and_what_was_done_is_returned() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.call(&["once"]);
    let running = bench.tools();
    bench.end_tool(running[0].clone(), "done");
    let effect = bench.model();
    bench.handle(Input::Delta(effect, Delta::text(0, "So")));
    bench.handle(Input::FollowUp(queue_id("f"), user("then this")));
    bench.handle(Input::Steer(queue_id("s"), user("no, that")));
    bench.handle(Input::Cancel);
    ends(&bench, &Outcome::Cancelled {});
    let queued = |id, queue, text| Queued {
        id: queue_id(id),
        queue,
        message: user(text),
        held: false,
    };
    let expected = [
        queued("f", Queue::FollowUp, "then this"),
        queued("s", Queue::Steering, "no, that"),
    ];
    assert_eq!(bench.machine.undelivered(), expected);
    let view = words(bench.machine.transcript().view());
    let expected = ["user: Do it.", "model: once", "results: done", "model: So"];
    assert_eq!(view, expected);
}

#[test]
fn rule_04_a_failed_loop_returns_its_follow_ups() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.handle(Input::FollowUp(queue_id("f"), user("then this")));
    bench.answer(&[Delta::text(0, "No."), Delta::finish(StopReason::Refusal)]);
    let reason = "refusal".to_owned();
    let error = LoopError::Stopped { reason };
    ends(&bench, &Outcome::Failed { error });
    assert_eq!(bench.machine.undelivered().len(), 1);
}
