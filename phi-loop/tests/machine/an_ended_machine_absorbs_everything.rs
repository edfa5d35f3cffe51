//! Rule 2: after the end every input is refused as too late, whichever way the loop ended.

use phi_loop::{DecisionId, Input, Rejected, ToolReport, Verdict};
use phi_types::{
    AnswerScope, Approval, Configuration, Delta, EffectId, EventKind, LimitKind, Limits, LoopError,
    Outcome, ProviderError, ProviderErrorKind, SurfaceChanged, ToolProgress, ToolResult, Usage,
};

use crate::facts::{block, ends, limits, refused};
use crate::support::{Bench, at, prompt, queue_id, user};

/// One of each kind of input, about effects that the loop once had.
fn every_input(bench: &Bench, seq: u64) -> Vec<Input> {
    let loop_id = bench.machine.loop_id().clone();
    let effect = EffectId { loop_id, seq };
    let text = "late".to_owned();
    vec![
        prompt("again"),
        Input::Continue,
        Input::Steer(queue_id("s"), user("wait")),
        Input::FollowUp(queue_id("f"), user("then")),
        Input::Delta(effect.clone(), Delta::text(0, "late")),
        Input::ModelEnded(effect.clone()),
        Input::ModelFailed(
            effect.clone(),
            ProviderError::new(ProviderErrorKind::Server, "late"),
        ),
        Input::ToolProgress(effect.clone(), ToolProgress { text: text.clone() }),
        Input::ToolEnded(
            effect.clone(),
            ToolReport::returned(ToolResult::text("late")),
        ),
        Input::Approval(effect.clone(), Approval::Approved {}, AnswerScope::Once),
        Input::Compacted(effect.clone(), block(0, 1, &[]).into(), Usage::default()),
        Input::CompactionFailed(effect, text, Usage::default()),
        Input::Decided(DecisionId { seq, index: 0 }, Verdict::Proceed),
        Input::SurfaceChanged(SurfaceChanged::default()),
        Input::Timeout,
        Input::Stop("late".into()),
        Input::Cancel,
    ]
}

fn absorbs(mut bench: Bench, outcome: &Outcome) {
    ends(&bench, outcome);
    assert!(matches!(
        bench.events.last().unwrap().kind,
        EventKind::LoopEnded(_)
    ));
    let events = bench.events.len();
    for seq in [0, 5, 7, u64::MAX] {
        for input in every_input(&bench, seq) {
            bench.now = at(1_000_000);
            assert_eq!(refused(&mut bench, input), Rejected::Ended);
        }
    }
    bench.machine.resume(bench.now);
    bench.drain();
    assert_eq!(bench.events.len(), events);
    ends(&bench, outcome);
}

#[test]
fn rule_02_a_completed_loop_takes_nothing() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.say("Done.");
    absorbs(bench, &Outcome::Completed {});
}

#[test]
fn rule_02_a_cancelled_loop_takes_nothing() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.call(&["once"]);
    bench.handle(Input::Cancel);
    absorbs(bench, &Outcome::Cancelled {});
}

#[test]
fn rule_02_a_failed_loop_takes_nothing() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.fail(ProviderErrorKind::Auth);
    bench.fail(ProviderErrorKind::Auth);
    let error = ProviderError::new(ProviderErrorKind::Auth, "no");
    let error = LoopError::Provider { error };
    absorbs(bench, &Outcome::Failed { error });
}

#[test]
fn rule_02_a_limited_loop_takes_nothing() {
    let mut bench = Bench::started(
        limits(Limits {
            turns: Some(1),
            ..Limits::default()
        }),
        "Do it.",
    );
    bench.call(&["nosuch"]);
    let limit = LimitKind::Turns;
    absorbs(bench, &Outcome::LimitReached { limit });
}
