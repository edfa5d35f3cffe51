//! Policy: the machine asks before it announces, and the announcement holds what was decided.

use std::sync::Arc;

use phi_loop::{Effect, Input, Machine, Subject, Verdict};
use phi_types::{
    CompactAt, Configuration, EventKind, LimitKind, Limits, LoopError, ModelPatch, Options,
    Outcome, Point, ProviderErrorKind, RawJson, SurfaceChanged, ToolEnding, Transcript, Usage,
};

use crate::facts::{check, decide_all, decisions, ends, hooked, last, request, results, words};
use crate::support::{Bench, queue_id, surface, user};

fn json(text: &str) -> RawJson {
    RawJson::parse(text).unwrap()
}

fn has(bench: &Bench, kind: &str) -> bool {
    bench.kinds().iter().any(|it| it == kind)
}

#[test]
fn an_unclaimed_point_is_not_asked() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.call(&["once"]);
    assert_eq!(decisions(&mut bench), []);
    let mut bench = Bench::started(hooked(Point::AfterTool), "Do it.");
    assert_eq!(decisions(&mut bench), []);
    bench.call(&["once"]);
    assert_eq!(decisions(&mut bench), []);
}

#[test]
fn a_call_is_announced_after_the_decision_with_the_arguments_that_run() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(&["once"]);
    assert!(!has(&bench, "tool_started"));
    assert!(matches!(
        bench.effects[0],
        Effect::Decide(_, Subject::Tool(_))
    ));
    assert_eq!(bench.machine.outstanding(), bench.effects);
    decide_all(&mut bench, &Verdict::Rewrite(json("{\"n\":7}")));
    let EventKind::ToolStarted(started) = &last(&bench).kind else {
        panic!("{:?}", bench.kinds())
    };
    assert_eq!(started.call.arguments.text(), "{\"n\":7}");
    let Some(Effect::RunTool(run)) = bench.effects.first() else {
        panic!("{:?}", bench.effects)
    };
    assert_eq!(run.arguments.as_str(), "{\"n\":7}");
    check(&bench);
}

#[test]
fn arguments_that_are_no_object_are_denied() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(&["once"]);
    decide_all(&mut bench, &Verdict::Rewrite(json("[1]")));
    assert_eq!(bench.endings(), [ToolEnding::Denied]);
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(&["once"]);
    let ask = Verdict::Ask {
        question: "?".into(),
        arguments: Some(json("1")),
    };
    decide_all(&mut bench, &ask);
    assert_eq!(bench.endings(), [ToolEnding::Denied]);
    check(&bench);
}

#[test]
fn a_denial_and_a_failed_hook_are_read_by_the_model() {
    let reason = "not here".to_owned();
    for verdict in [
        Verdict::Deny {
            reason: reason.clone(),
        },
        Verdict::Fail {
            reason: reason.clone(),
        },
    ] {
        let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
        bench.call(&["once"]);
        decide_all(&mut bench, &verdict);
        let expected = [(0, ToolEnding::Denied, reason.clone())];
        assert_eq!(results(&bench), expected);
        assert!(!has(&bench, "tool_started"));
        check(&bench);
    }
}

#[test]
fn a_call_that_cannot_run_is_not_asked_about() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(&["nosuch"]);
    assert_eq!(bench.endings(), [ToolEnding::Invalid]);
    assert_eq!(decisions(&mut bench), []);
}

#[test]
fn a_patch_is_recorded_and_used_for_this_call_alone() {
    let mut bench = Bench::started(hooked(Point::BeforeModel), "Do it.");
    assert!(!has(&bench, "model_started"));
    let options = Options {
        temperature: Some(0.5),
        ..Options::default()
    };
    let patch = ModelPatch {
        system: Some(Arc::from("Be long.")),
        tools: Some(vec![Arc::from("pure")]),
        options: Some(Arc::new(options.clone())),
        messages: vec![user("And hurry.")],
    };
    decide_all(&mut bench, &Verdict::Patch(patch.clone()));
    let EventKind::ModelStarted(started) = &last(&bench).kind else {
        panic!("{:?}", bench.kinds())
    };
    assert_eq!(started.patch, patch);
    let sent = request(&bench);
    assert_eq!((&*sent.system, &*sent.options), ("Be long.", &options));
    let tools: Vec<&str> = sent.tools.iter().map(|spec| &*spec.name).collect();
    assert_eq!(tools, ["pure"]);
    assert_eq!(words(&sent.view), ["user: Do it.", "user: And hurry."]);
    check(&bench);

    // A tool that this call did not offer cannot be called.
    bench.call(&["once"]);
    let unknown = "There is no tool named \"once\". The tools are: pure.".to_owned();
    assert_eq!(results(&bench), [(0, ToolEnding::Invalid, unknown)]);

    decide_all(&mut bench, &Verdict::Proceed);
    let sent = request(&bench);
    assert_eq!((&*sent.system, sent.tools.len()), ("Be brief.", 3));
    assert_eq!(words(&sent.view)[..2], ["user: Do it.", "model: once"]);
    check(&bench);
}

#[test]
fn every_attempt_is_asked_about() {
    let mut bench = Bench::started(hooked(Point::BeforeModel), "Do it.");
    decide_all(&mut bench, &Verdict::Proceed);
    bench.fail(ProviderErrorKind::Auth);
    let asked = decisions(&mut bench);
    assert_eq!(asked.len(), 1);
    bench.handle(Input::Decided(asked[0], Verdict::Proceed));
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn a_refused_model_call_was_never_announced() {
    let mut bench = Bench::started(hooked(Point::BeforeModel), "Do it.");
    let reason = "no".to_owned();
    let deny = Verdict::Deny {
        reason: reason.clone(),
    };
    decide_all(&mut bench, &deny);
    assert!(!has(&bench, "model_started"));
    ends(&bench, &Outcome::Rejected { reason });
}

#[test]
fn a_tool_that_goes_away_while_hooks_decide_is_replayed() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(&["once", "pure"]);
    let without = SurfaceChanged {
        tools: Some(surface().tools.iter().take(2).cloned().collect()),
        ..SurfaceChanged::default()
    };
    bench.handle(Input::SurfaceChanged(without));
    decide_all(&mut bench, &Verdict::Proceed);
    let running = bench.tools();
    bench.end_tool(running[0].clone(), "ok");
    bench.say("Done.");
    assert_eq!(bench.endings(), [ToolEnding::Invalid, ToolEnding::Finished]);
    check(&bench);
}

#[test]
fn a_decision_that_comes_after_the_wall_time_is_replayed() {
    let configuration = Configuration {
        limits: Limits {
            wall_time_ms: Some(10_000),
            ..Limits::default()
        },
        ..hooked(Point::BeforeModel)
    };
    let mut bench = Bench::started(configuration, "Do it.");
    decide_all(&mut bench, &Verdict::Proceed);
    bench.fail(ProviderErrorKind::Network);
    // The wait ends in time and leaves no event; the hooks take long.
    bench.now = bench.machine.next_timeout().unwrap();
    bench.handle(Input::Timeout);
    bench.pass(60_000);
    decide_all(&mut bench, &Verdict::Proceed);
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
    check(&bench);
}

#[test]
fn a_decision_that_a_compaction_makes_moot_is_replayed() {
    let configuration = Configuration {
        compaction: true,
        compact_at: Some(CompactAt::Tokens(60)),
        ..hooked(Point::BeforeModel)
    };
    let mut bench = Bench::started(configuration, "Do it.");
    let asked = bench.effects.clone();
    assert!(matches!(asked[..], [Effect::Decide(_, Subject::Model(_))]));
    // The message makes the view too large, and nobody is asked about the compaction.
    let long = user(&"long ".repeat(100));
    bench.handle(Input::Steer(queue_id("a"), long));
    assert!(has(&bench, "compaction_started"), "{:?}", bench.kinds());
    let Some(Effect::Compact(compact)) = bench.effects.pop() else {
        panic!("{:?}", bench.effects)
    };
    let failed = Input::CompactionFailed(compact.id, "no".into(), Usage::default());
    bench.handle(failed);
    bench.effects.remove(0);
    decide_all(&mut bench, &Verdict::Proceed);
    bench.say("Done.");
    check(&bench);
}

#[test]
fn a_limit_that_hooks_find_right_after_a_wait_is_replayed() {
    let mut bench = Bench::started(hooked(Point::BeforeModel), "Do it.");
    decide_all(&mut bench, &Verdict::Proceed);
    bench.fail(ProviderErrorKind::Network);
    bench.now = bench.machine.next_timeout().unwrap();
    bench.handle(Input::Timeout);
    let limit = LimitKind::Tokens;
    decide_all(&mut bench, &Verdict::Limit { limit });
    ends(&bench, &Outcome::LimitReached { limit });
    check(&bench);
}

#[test]
fn a_patch_with_an_empty_message_fails_the_loop_and_no_model_is_called() {
    let mut bench = Bench::started(hooked(Point::BeforeModel), "Do it.");
    let patch = ModelPatch {
        messages: vec![user("Hurry."), user(" ")],
        ..ModelPatch::default()
    };
    decide_all(&mut bench, &Verdict::Patch(patch));
    assert!(!has(&bench, "model_started"));
    let Some(Outcome::Failed {
        error: LoopError::Hook { reason },
    }) = bench.machine.outcome()
    else {
        panic!("{:?}", bench.kinds())
    };
    assert!(reason.contains("empty"), "{reason}");
    check(&bench);
}

#[test]
fn a_surface_that_changes_in_the_moment_of_a_restart_is_replayed() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(&["pure", "once"]);
    let mut machine = Machine::restore(&Transcript::new(), &bench.events).unwrap();
    machine.resume(bench.now);
    let mut again = Bench::with(machine);
    again.events.splice(0..0, bench.events.iter().cloned());
    let asked = decisions(&mut again);
    let tools = surface().tools.iter().take(2).cloned().collect();
    again.handle(Input::SurfaceChanged(SurfaceChanged {
        tools: Some(tools),
        ..SurfaceChanged::default()
    }));
    for id in asked {
        again.handle(Input::Decided(id, Verdict::Proceed));
    }
    let running = again.tools();
    again.end_tool(running[0].clone(), "seen");
    assert_eq!(again.endings(), [ToolEnding::Invalid, ToolEnding::Finished]);
    again.say("Done.");
    ends(&again, &Outcome::Completed {});
}
