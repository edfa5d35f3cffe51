//! Rule 1: every call has exactly one result before the next model call, however it ended.

use phi_loop::{Input, ToolReport, Verdict};
use phi_types::{
    Configuration, LimitKind, Limits, Outcome, Point, ToolEnding, ToolExecution, ToolPolicy,
    ToolResult,
};

use crate::facts::{
    ask, check, decide_all, decisions, ends, execution, hooked, limits, request, results, words,
};
use crate::support::Bench;

use ToolEnding::{Cancelled, Denied, Failed, Finished, Invalid, Skipped, TimedOut};

fn called(configuration: Configuration) -> Bench {
    let mut bench = Bench::started(configuration, "Do it.");
    bench.call(&["once", "once", "once"]);
    bench
}

#[test]
fn rule_01_every_call_is_answered_on_cancel() {
    let mut bench = called(execution(ToolExecution::Sequential));
    let running = bench.tools();
    bench.handle(Input::Cancel);
    assert_eq!(bench.endings(), [Cancelled; 3]);
    assert_eq!(bench.aborted, running);
    ends(&bench, &Outcome::Cancelled {});
}

#[test]
fn rule_01_a_cancel_answers_what_runs_what_is_asked_and_what_is_decided() {
    let mut bench = called(hooked(Point::BeforeTool));
    let asked = decisions(&mut bench);
    bench.handle(Input::Decided(asked[0], ask()));
    bench.handle(Input::Decided(asked[1], Verdict::Proceed));
    bench.handle(Input::Cancel);
    assert_eq!(bench.endings(), [Cancelled; 3]);
    assert_eq!(bench.aborted.len(), 2, "the question and the running call");
    assert_eq!(bench.effects.len(), 0);
    ends(&bench, &Outcome::Cancelled {});
}

#[test]
fn rule_01_every_call_is_answered_on_stop() {
    let mut bench = called(execution(ToolExecution::Parallel { max: 1 }));
    let running = bench.tools();
    bench.handle(Input::Stop("enough".into()));
    assert_eq!(bench.endings(), [Skipped, Skipped]);
    assert_eq!(bench.machine.outcome(), None, "what runs may finish");
    bench.end_tool(running[0].clone(), "done");
    assert_eq!(bench.endings(), [Skipped, Skipped, Finished]);
    let reason = "enough".to_owned();
    ends(&bench, &Outcome::Aborted { reason });
    let view = words(bench.machine.transcript().view());
    assert!(view[2].starts_with("results: done | "), "{view:?}");
}

#[test]
fn rule_01_every_call_is_answered_on_timeout() {
    let mut configuration = Configuration::default();
    configuration.tools = ToolPolicy {
        timeout_ms: Some(400),
        ..configuration.tools
    };
    let mut bench = called(configuration);
    let running = bench.tools();
    bench.pass(200);
    bench.end_tool(running[1].clone(), "in time");
    bench.pass(200);
    assert_eq!(bench.machine.next_timeout(), Some(bench.now));
    bench.handle(Input::Timeout);
    assert_eq!(bench.endings(), [Finished, TimedOut, TimedOut]);
    assert_eq!(bench.aborted, [running[0].clone(), running[2].clone()]);
    let late = "The call was stopped: it ran longer than 400 ms.";
    assert_eq!(
        words(&request(&bench).view)[2],
        format!("results: {late} | in time | {late}")
    );
    check(&bench);
}

#[test]
fn rule_01_every_call_is_answered_on_denial() {
    let mut bench = called(hooked(Point::BeforeTool));
    let reason = "not here".to_owned();
    decide_all(&mut bench, &Verdict::Deny { reason });
    assert_eq!(bench.endings(), [Denied; 3]);
    let view = words(&request(&bench).view);
    assert_eq!(view[2], "results: not here | not here | not here");
    check(&bench);
}

#[test]
fn rule_01_every_call_is_answered_on_a_limit() {
    let mut bench = called(limits(Limits {
        tool_calls: Some(1),
        ..Limits::default()
    }));
    let running = bench.tools();
    assert_eq!(running.len(), 1);
    bench.end_tool(running[0].clone(), "done");
    assert_eq!(bench.endings(), [Skipped, Skipped, Finished]);
    let limit = LimitKind::ToolCalls;
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn rule_01_every_call_is_answered_when_the_wall_time_is_used_up() {
    let mut bench = called(limits(Limits {
        wall_time_ms: Some(1_000),
        ..Limits::default()
    }));
    bench.pass(1_000);
    bench.handle(Input::Timeout);
    assert_eq!(bench.endings(), [Cancelled; 3]);
    let limit = LimitKind::WallTime;
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn rule_01_a_failed_a_refused_and_an_unknown_call_are_answered() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.call(&["once", "pure", "nosuch"]);
    let running = bench.tools();
    let broke = ToolReport::returned(ToolResult::error("it broke"));
    bench.handle(Input::ToolEnded(running[0].clone(), broke));
    let invalid = ToolReport {
        ending: Invalid,
        ..ToolReport::returned(ToolResult::error("n is missing"))
    };
    bench.handle(Input::ToolEnded(running[1].clone(), invalid));
    let unknown = "There is no tool named \"nosuch\". The tools are: pure, again, once.";
    let expected = [
        (2, Invalid, unknown.to_owned()),
        (0, Failed, "it broke".to_owned()),
        (1, Invalid, "n is missing".to_owned()),
    ];
    assert_eq!(results(&bench), expected);
    check(&bench);
}
