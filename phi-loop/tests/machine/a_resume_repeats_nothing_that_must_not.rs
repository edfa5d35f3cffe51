//! Resume: what was open when the process ended is settled by effect class, and said in the log.

use std::sync::Arc;

use phi_loop::{Effect, Input, Machine, Verdict};
use phi_types::{
    AnswerScope, Approval, Configuration, EffectId, Event, EventKind, Outcome, Point,
    ProviderErrorKind, RetryPolicy, SurfaceChanged, ToolEnding, Transcript, Usage,
};

use crate::facts::{ask, block, check, decide_all, decisions, ends, hooked, request, results};
use crate::support::{Bench, at, kind_of, prompt, restarted, surface};

/// The kinds of the events that the resume wrote.
fn written(bench: &Bench, log: &[Event]) -> Vec<String> {
    bench.events[log.len()..].iter().map(kind_of).collect()
}

#[test]
fn calls_that_must_not_run_twice_end_as_interrupted_and_the_others_run_again() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.call(&["pure", "once", "again"]);
    let running = bench.tools();
    let log = bench.events.clone();
    let mut bench = restarted(&log, at(5_000));
    assert_eq!(written(&bench, &log), ["recovered", "tool_ended"]);
    let answered = results(&bench);
    assert_eq!((answered[0].0, answered[0].1), (1, ToolEnding::Interrupted));
    assert!(answered[0].2.contains("not known"), "{}", answered[0].2);
    // The same effects, and no second announcement.
    assert_eq!(bench.tools(), [running[0].clone(), running[2].clone()]);
    assert_eq!(bench.machine.outstanding().len(), 2);
    bench.end_tool(running[0].clone(), "a");
    bench.end_tool(running[2].clone(), "b");
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn an_open_attempt_is_interrupted_and_sent_again_without_counting_as_a_failure() {
    let configuration = Configuration {
        retry: RetryPolicy {
            attempts_max: 1,
            ..RetryPolicy::default()
        },
        ..Configuration::default()
    };
    let mut log = Bench::started(configuration, "Do it.").events;
    for crash in 0..3 {
        let bench = restarted(&log, at(5_000 + crash));
        let expected = ["recovered", "model_failed", "model_started"];
        assert_eq!(written(&bench, &log), expected);
        let EventKind::ModelFailed(failed) = &bench.events[log.len() + 1].kind else {
            panic!("{:?}", bench.kinds())
        };
        assert!(failed.facts.interrupted);
        assert_eq!(failed.retry_at, Some(bench.now));
        let Some(Effect::CallModel(call)) = bench.effects.first() else {
            panic!("{:?}", bench.effects)
        };
        assert_eq!(call.index, 0, "still the first model");
        check(&bench);
        log = bench.events;
    }
}

#[test]
fn questions_are_asked_again_under_the_same_name() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(&["once"]);
    decide_all(&mut bench, &ask());
    let before = bench.effects.clone();
    assert!(matches!(before[0], Effect::AskApproval(_)));
    let mut bench = restarted(&bench.events, at(5_000));
    assert_eq!(bench.effects, before);
    let effect = before[0].id().cloned().unwrap();
    bench.handle(Input::Approval(
        effect,
        Approval::Approved {},
        AnswerScope::Once,
    ));
    assert_eq!(bench.tools().len(), 1);
    check(&bench);
}

#[test]
fn hooks_decide_again() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(&["once"]);
    let mut bench = restarted(&bench.events, at(5_000));
    assert_eq!(decisions(&mut bench).len(), 1);

    let bench = Bench::started(hooked(Point::BeforeModel), "Do it.");
    let mut bench = restarted(&bench.events, at(5_000));
    decide_all(&mut bench, &Verdict::Proceed);
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn an_open_compaction_begins_anew() {
    let configuration = Configuration {
        compaction: true,
        ..Configuration::default()
    };
    let mut bench = Bench::started(configuration, "Do it.");
    bench.call(&["nosuch"]);
    bench.fail(ProviderErrorKind::ContextOverflow);
    let log = bench.events.clone();
    let mut bench = restarted(&log, at(5_000));
    let expected = ["recovered", "compaction_ended", "compaction_started"];
    assert_eq!(written(&bench, &log), expected);
    let Some(Effect::Compact(compact)) = bench.effects.pop() else {
        panic!("{:?}", bench.effects)
    };
    let before = block(0, 3, &["Before."]);
    bench.handle(Input::Compacted(
        compact.id,
        before.into(),
        Usage::default(),
    ));
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn a_wait_goes_on_to_its_time() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.fail(ProviderErrorKind::Overloaded);
    let due = bench.machine.next_timeout();
    let log = bench.events.clone();
    let bench = restarted(&log, at(1));
    assert_eq!(written(&bench, &log), ["recovered"]);
    assert_eq!(bench.machine.next_timeout(), due);
    assert_eq!(bench.effects, []);
    let bench = restarted(&log, at(3_600_000));
    assert_eq!(written(&bench, &log), ["recovered", "model_started"]);
}

#[test]
fn a_requested_stop_is_not_forgotten() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.call(&["once", "pure"]);
    let running: Vec<EffectId> = bench.tools();
    bench.handle(Input::Stop("enough".into()));
    let mut bench = restarted(&bench.events, at(5_000));
    assert_eq!(bench.tools(), [running[1].clone()]);
    bench.end_tool(running[1].clone(), "done");
    let reason = "enough".to_owned();
    ends(&bench, &Outcome::Aborted { reason });
}

#[test]
fn another_surface_is_recorded_before_the_first_request_that_uses_it() {
    let log = Bench::started(Configuration::default(), "Do it.").events;
    let resumed = |surface: &phi_types::Surface| {
        let mut machine = Machine::restore(&Transcript::new(), &log).unwrap();
        machine.resume_with(at(5_000), surface).unwrap();
        let mut bench = Bench::with(machine);
        bench.events.splice(0..0, log.iter().cloned());
        bench
    };
    let same = resumed(&surface());
    let expected = ["recovered", "model_failed", "model_started"];
    assert_eq!(written(&same, &log), expected);

    let mut other = surface();
    other.system = Arc::from("Be long.");
    let bench = resumed(&other);
    let expected = [
        "recovered",
        "model_failed",
        "surface_changed",
        "cache_broken",
        "model_started",
    ];
    assert_eq!(written(&bench, &log), expected);
    let change = SurfaceChanged {
        system: Some(Arc::from("Be long.")),
        ..SurfaceChanged::default()
    };
    let changed = bench
        .events
        .iter()
        .rev()
        .find_map(|event| match &event.kind {
            EventKind::SurfaceChanged(changed) => Some(changed.as_ref().clone()),
            _ => None,
        });
    assert_eq!(changed, Some(change));
    assert_eq!(&*request(&bench).system, "Be long.");
    check(&bench);
    let mut machine = Machine::restore(&Transcript::new(), &log).unwrap();
    let none = phi_types::Surface::default();
    assert!(machine.resume_with(at(5_000), &none).is_err());
}

#[test]
fn a_loop_that_awaits_its_prompt_goes_on_waiting_and_takes_it() {
    let whole = Bench::started(Configuration::default(), "Do it.");
    let mut bench = restarted(&whole.events[..2], at(5_000));
    assert_eq!(bench.events.len(), 2);
    assert_eq!(bench.machine.awaits(), Some("prompt"));
    bench.handle(prompt("Do it."));
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn a_call_that_a_cancel_reaches_is_not_run_again() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.call(&["once", "again"]);
    bench.handle(Input::Cancel);
    // The process ended while the end was written: the second call has no result.
    let cut = bench.kinds().iter().position(|kind| kind == "tool_ended");
    let log = bench.events[..=cut.unwrap()].to_vec();
    let bench = restarted(&log, at(5_000));
    ends(&bench, &Outcome::Cancelled {});
    assert_eq!((&bench.effects, &bench.aborted), (&vec![], &vec![]));
    check(&bench);
}
