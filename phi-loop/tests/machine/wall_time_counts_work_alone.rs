//! Rule 6: wall time ends a loop in mid-turn; waiting for a person and lying dead do not count.

use chrono::TimeDelta;
use phi_loop::{Input, Verdict};
use phi_types::{
    AnswerScope, Approval, Configuration, EventKind, LimitKind, Limits, Outcome, Point, StopCause,
    ToolExecution, ToolPolicy,
};

use crate::facts::{ask, check, decide_all, decisions, ends};
use crate::support::{Bench, at, queue_id, restarted, user};

fn a_second() -> Configuration {
    Configuration {
        limits: Limits {
            wall_time_ms: Some(1_000),
            ..Limits::default()
        },
        points: vec![Point::BeforeTool],
        ..Configuration::default()
    }
}

#[test]
fn rule_06_wall_time_aborts_a_model_call() {
    let mut bench = Bench::started(a_second(), "Do it.");
    let effect = bench.model();
    assert_eq!(bench.machine.next_timeout(), Some(at(1_000)));
    bench.pass(999);
    bench.handle(Input::Timeout);
    assert_eq!(bench.machine.outcome(), None);
    bench.pass(1);
    bench.handle(Input::Timeout);
    assert_eq!(bench.aborted, [effect]);
    let limit = LimitKind::WallTime;
    ends(&bench, &Outcome::LimitReached { limit });
    let cause = bench.events.iter().find_map(|event| match &event.kind {
        EventKind::StopRequested(requested) => Some(requested.cause.clone()),
        _ => None,
    });
    assert_eq!(cause, Some(StopCause::Limit { limit }));
}

#[test]
fn rule_06_time_does_not_count_while_only_an_approval_is_outstanding() {
    let mut bench = Bench::started(a_second(), "Do it.");
    bench.pass(100);
    bench.call(&["once"]);
    decide_all(&mut bench, &ask());
    assert_eq!(bench.machine.next_timeout(), None);
    bench.pass(3_600_000);
    bench.handle(Input::Timeout);
    assert_eq!(bench.machine.outcome(), None);
    // An event in between changes nothing of that.
    bench.handle(Input::FollowUp(queue_id("f"), user("then this")));
    bench.pass(3_600_000);
    let request = bench
        .events
        .iter()
        .rev()
        .find_map(|event| match &event.kind {
            EventKind::ApprovalRequested(_) => Some(event.seq),
            _ => None,
        });
    let effect = phi_types::EffectId {
        loop_id: bench.machine.loop_id().clone(),
        seq: request.unwrap(),
    };
    bench.handle(Input::Approval(
        effect,
        Approval::Approved {},
        AnswerScope::Once,
    ));
    let due = at(1_000) + TimeDelta::milliseconds(7_200_000);
    assert_eq!(bench.machine.next_timeout(), Some(due));
    check(&bench);
    bench.now = due;
    bench.handle(Input::Timeout);
    let limit = LimitKind::WallTime;
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn rule_06_time_counts_while_another_call_runs_beside_the_question() {
    let mut bench = Bench::started(a_second(), "Do it.");
    bench.call(&["once", "once"]);
    let asked = decisions(&mut bench);
    bench.handle(Input::Decided(asked[0], ask()));
    bench.handle(Input::Decided(asked[1], Verdict::Proceed));
    assert_eq!(bench.machine.next_timeout(), Some(at(1_000)));
    bench.pass(1_000);
    bench.handle(Input::Timeout);
    let limit = LimitKind::WallTime;
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn rule_06_the_time_between_a_crash_and_the_resume_does_not_count() {
    let mut bench = Bench::started(a_second(), "Do it.");
    bench.pass(300);
    bench.call(&["pure"]);
    decide_all(&mut bench, &Verdict::Proceed);
    let mut bench = restarted(&bench.events, at(300 + 3_600_000));
    assert_eq!(bench.machine.next_timeout(), Some(at(1_000 + 3_600_000)));
    check(&bench);
    bench.now = at(1_000 + 3_600_000);
    bench.handle(Input::Timeout);
    let limit = LimitKind::WallTime;
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn rule_06_a_call_has_its_whole_time_again_after_a_crash() {
    let configuration = Configuration {
        tools: ToolPolicy {
            execution: ToolExecution::Sequential,
            timeout_ms: Some(400),
            ..ToolPolicy::default()
        },
        ..Configuration::default()
    };
    let mut bench = Bench::started(configuration, "Do it.");
    bench.call(&["pure"]);
    let bench = restarted(&bench.events, at(3_600_000));
    assert_eq!(bench.machine.next_timeout(), Some(at(3_600_400)));
}
