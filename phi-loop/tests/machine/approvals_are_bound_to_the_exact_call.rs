//! Approvals: the question names the call as it would run, and the answer is for exactly that.

use phi_loop::{AskApproval, Effect, Input, Rejected, Verdict};
use phi_types::{AnswerScope, Approval, CallHash, EffectId, EventKind, Point, RawJson, ToolEnding};

use crate::facts::{ask, check, decide_all, hooked, last, refused, request, results, words};
use crate::support::Bench;

fn questions(bench: &mut Bench) -> Vec<AskApproval> {
    let mut asked = Vec::new();
    bench.effects.retain(|effect| match effect {
        Effect::AskApproval(ask) => {
            asked.push(ask.clone());
            false
        }
        _ => true,
    });
    asked
}

fn asked(names: &[&str], verdict: &Verdict) -> (Bench, Vec<AskApproval>) {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(names);
    decide_all(&mut bench, verdict);
    let asked = questions(&mut bench);
    (bench, asked)
}

#[test]
fn an_approved_call_runs_with_the_arguments_that_were_asked_about() {
    let verdict = Verdict::Ask {
        question: "Really?".into(),
        arguments: Some(RawJson::parse("{\"n\":9}").unwrap()),
    };
    let (mut bench, asked) = asked(&["once"], &verdict);
    let EventKind::ApprovalRequested(requested) = &last(&bench).kind else {
        panic!("{:?}", bench.kinds())
    };
    let expected = AskApproval {
        id: EffectId {
            loop_id: bench.machine.loop_id().clone(),
            seq: last(&bench).seq,
        },
        tool: "once".into(),
        arguments: RawJson::parse("{\"n\":9}").unwrap(),
        question: "Really?".into(),
        hash: CallHash::new("once", &RawJson::parse("{\"n\":9}").unwrap()),
    };
    assert_eq!(asked, [expected]);
    let requested = requested.call.clone();
    bench.handle(Input::Approval(
        asked[0].id.clone(),
        Approval::Approved {},
        AnswerScope::Once,
    ));
    let EventKind::ToolStarted(started) = &last(&bench).kind else {
        panic!("{:?}", bench.kinds())
    };
    assert_eq!(started.call, requested);
    let running = bench.tools();
    bench.end_tool(running[0].clone(), "done");
    assert_eq!(words(&request(&bench).view)[2], "results: done");
    check(&bench);
}

#[test]
fn a_denied_call_ends_with_the_reason() {
    let (mut bench, asked) = asked(&["once"], &ask());
    let reason = "not today".to_owned();
    let denied = Approval::Denied {
        reason: reason.clone(),
    };
    bench.handle(Input::Approval(
        asked[0].id.clone(),
        denied,
        AnswerScope::Once,
    ));
    assert_eq!(results(&bench), [(0, ToolEnding::Denied, reason)]);
    check(&bench);
}

#[test]
fn an_answer_is_for_one_question_and_counts_once() {
    let (mut bench, asked) = asked(&["once", "once"], &ask());
    assert_ne!(asked[0].id, asked[1].id);
    bench.handle(Input::Approval(
        asked[1].id.clone(),
        Approval::Approved {},
        AnswerScope::Once,
    ));
    let EventKind::ToolStarted(started) = &last(&bench).kind else {
        panic!("{:?}", bench.kinds())
    };
    assert_eq!(started.index, 1, "the call that was asked about");
    for approval in [
        Approval::Approved {},
        Approval::Denied {
            reason: "no".into(),
        },
    ] {
        let again = Input::Approval(asked[1].id.clone(), approval, AnswerScope::Once);
        let expected = Rejected::NotOutstanding(asked[1].id.clone());
        assert_eq!(refused(&mut bench, again), expected);
    }
    let stranger = EffectId {
        seq: asked[0].id.seq + 100,
        ..asked[0].id.clone()
    };
    let wrong = Input::Approval(stranger.clone(), Approval::Approved {}, AnswerScope::Once);
    assert_eq!(
        refused(&mut bench, wrong),
        Rejected::NotOutstanding(stranger)
    );
    assert_eq!(bench.machine.outstanding().len(), 2, "one asks, one runs");
    check(&bench);
}

#[test]
fn a_call_of_an_earlier_turn_cannot_be_approved_later() {
    let (mut bench, first) = asked(&["once"], &ask());
    let denied = Approval::Denied {
        reason: "no".into(),
    };
    bench.handle(Input::Approval(
        first[0].id.clone(),
        denied,
        AnswerScope::Once,
    ));
    bench.call(&["once"]);
    decide_all(&mut bench, &ask());
    let stale = Input::Approval(
        first[0].id.clone(),
        Approval::Approved {},
        AnswerScope::Once,
    );
    let expected = Rejected::NotOutstanding(first[0].id.clone());
    assert_eq!(refused(&mut bench, stale), expected);
    check(&bench);
}
