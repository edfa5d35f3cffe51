//! Sticky approvals: an answer for the session is bound to the tool and its exact arguments.

use phi_loop::{Effect, Input, Machine, Start, Verdict};
use phi_types::{
    AnswerScope, Approval, Configuration, Delta, EffectId, EventKind, Outcome, Point, StopReason,
    ToolEnding, Transcript,
};

use crate::facts::{ask, decide_all, ends, hooked, results};
use crate::support::{Bench, prompt, session, surface};

/// Calls one tool with these arguments, and the hook has somebody asked.
fn call(bench: &mut Bench, tool: &str, arguments: &str) {
    bench.answer(&[
        Delta::tool_call(0, "c", tool),
        Delta::arguments(0, arguments),
        Delta::part_ended(0),
        Delta::finish(StopReason::ToolUse),
    ]);
    decide_all(bench, &ask());
}

fn question(bench: &mut Bench) -> Option<EffectId> {
    let place = bench
        .effects
        .iter()
        .position(|it| matches!(it, Effect::AskApproval(_)))?;
    bench.effects.remove(place).id().cloned()
}

fn answer(bench: &mut Bench, approval: Approval, scope: AnswerScope) {
    let asked = question(bench).expect("somebody is asked");
    bench.handle(Input::Approval(asked, approval, scope));
}

fn finish_tools(bench: &mut Bench) {
    for running in bench.tools() {
        bench.end_tool(running, "ran");
    }
}

fn denied() -> Approval {
    Approval::Denied {
        reason: "never".into(),
    }
}

#[test]
fn an_answer_for_one_call_is_asked_for_again() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    for _ in 0..2 {
        call(&mut bench, "once", "{\"n\":1}");
        answer(&mut bench, Approval::Approved {}, AnswerScope::Once);
        finish_tools(&mut bench);
    }
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn an_approval_for_the_session_lets_the_same_call_run_and_no_other() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    call(&mut bench, "once", "{\"n\":1,\"m\":2}");
    answer(&mut bench, Approval::Approved {}, AnswerScope::Session);
    finish_tools(&mut bench);
    // Spaces and the order of keys make no other call of it.
    call(&mut bench, "once", "{ \"m\": 2, \"n\": 1 }");
    assert_eq!(question(&mut bench), None);
    finish_tools(&mut bench);
    for (tool, arguments) in [
        ("once", "{\"n\":2,\"m\":2}"),
        ("again", "{\"n\":1,\"m\":2}"),
    ] {
        call(&mut bench, tool, arguments);
        answer(&mut bench, denied(), AnswerScope::Once);
    }
    assert_eq!(
        bench.endings(),
        [
            ToolEnding::Finished,
            ToolEnding::Finished,
            ToolEnding::Denied,
            ToolEnding::Denied
        ]
    );
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn a_denial_for_the_session_denies_the_same_call_with_its_reason() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    call(&mut bench, "once", "{}");
    answer(&mut bench, denied(), AnswerScope::Session);
    call(&mut bench, "once", "{}");
    assert_eq!(question(&mut bench), None);
    let never = (0, ToolEnding::Denied, "never".to_owned());
    assert_eq!(results(&bench), [never.clone(), never]);
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn an_answer_holds_for_the_arguments_that_a_hook_made_of_the_call() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    let rewritten = |n: &str| Verdict::Ask {
        question: "May it?".into(),
        arguments: Some(phi_types::RawJson::parse(n).unwrap()),
    };
    bench.call(&["once"]);
    decide_all(&mut bench, &rewritten("{\"n\":9}"));
    answer(&mut bench, Approval::Approved {}, AnswerScope::Session);
    finish_tools(&mut bench);
    bench.call(&["once"]);
    decide_all(&mut bench, &rewritten("{\"n\":8}"));
    assert!(question(&mut bench).is_some());
}

#[test]
fn an_answer_for_the_session_holds_in_later_loops_and_after_a_restore() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    call(&mut bench, "once", "{}");
    answer(&mut bench, Approval::Approved {}, AnswerScope::Session);
    finish_tools(&mut bench);
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});

    let restored = Machine::restore(&Transcript::new(), &bench.events).unwrap();
    let configuration: Configuration = hooked(Point::BeforeTool);
    let mut start = Start::new(session(), configuration, surface());
    start.transcript = restored.transcript().continued();
    let mut next = Bench::with(Machine::new(start));
    next.handle(prompt("Again."));
    call(&mut next, "once", "{}");
    assert_eq!(question(&mut next), None);
    let started = |kind: &EventKind| matches!(kind, EventKind::ToolStarted(_));
    assert!(next.events.iter().any(|event| started(&event.kind)));
}
