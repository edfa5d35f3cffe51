//! Rule 2: a stale, repeated, unknown or ill-shaped input is refused with which it was.

use std::sync::Arc;

use phi_loop::{DecisionId, Input, Machine, Rejected, Start, ToolReport, Verdict};
use phi_types::{
    AnswerScope, Approval, Configuration, Content, Delta, EffectId, Point, ProviderError,
    ProviderErrorKind, Surface, SurfaceChanged, ToolEnding, ToolProgress, ToolResult, Usage,
    UserMessage,
};

use crate::facts::{block, check, decisions, hooked, refused};
use crate::support::{Bench, prompt, queue_id, session, user};

fn report() -> ToolReport {
    ToolReport::returned(ToolResult::text("ok"))
}

/// Every input that answers an effect.
fn answers(effect: &EffectId) -> Vec<Input> {
    let error = ProviderError::new(ProviderErrorKind::Server, "no");
    vec![
        Input::Delta(effect.clone(), Delta::text(0, "hi")),
        Input::ModelEnded(effect.clone()),
        Input::ModelFailed(effect.clone(), error),
        Input::ToolProgress(effect.clone(), ToolProgress { text: "x".into() }),
        Input::ToolEnded(effect.clone(), report()),
        Input::Approval(effect.clone(), Approval::Approved {}, AnswerScope::Once),
        Input::Compacted(effect.clone(), block(0, 1, &[]).into(), Usage::default()),
        Input::CompactionFailed(effect.clone(), "no".into(), Usage::default()),
    ]
}

#[test]
fn rule_02_an_answer_to_nothing_is_refused_by_name() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    let model = bench.model();
    bench.effects.clear();
    let stranger = EffectId {
        loop_id: phi_types::LoopId::new("other.default.1").unwrap(),
        seq: model.seq,
    };
    let unknown = EffectId {
        seq: 99,
        ..model.clone()
    };
    for effect in [stranger, unknown] {
        for input in answers(&effect) {
            let expected = Rejected::NotOutstanding(effect.clone());
            assert_eq!(refused(&mut bench, input), expected);
        }
    }
    // The model call is outstanding, but it is no tool, no question and no compaction.
    for input in answers(&model).split_off(3) {
        let expected = Rejected::NotOutstanding(model.clone());
        assert_eq!(refused(&mut bench, input), expected);
    }
    check(&bench);
}

#[test]
fn rule_02_a_stale_or_second_answer_is_refused() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.call(&["once", "pure"]);
    let running = bench.tools();
    bench.end_tool(running[0].clone(), "done");
    for input in answers(&running[0]) {
        let expected = Rejected::NotOutstanding(running[0].clone());
        assert_eq!(refused(&mut bench, input), expected);
    }
    bench.end_tool(running[1].clone(), "done");
    let stale = bench.model();
    bench.handle(Input::ModelFailed(
        stale.clone(),
        ProviderError::new(ProviderErrorKind::Network, "cut"),
    ));
    for input in answers(&stale) {
        let expected = Rejected::NotOutstanding(stale.clone());
        assert_eq!(refused(&mut bench, input), expected);
    }
    check(&bench);
}

#[test]
fn rule_02_a_second_decision_is_refused() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(&["once"]);
    let id = decisions(&mut bench)[0];
    bench.handle(Input::Decided(id, Verdict::Proceed));
    let other = DecisionId { index: 7, ..id };
    for id in [id, other] {
        let again = Input::Decided(id, Verdict::Proceed);
        assert_eq!(refused(&mut bench, again), Rejected::NotAsked(id));
    }
}

#[test]
fn rule_02_what_comes_too_early_or_too_late_is_refused() {
    let mut bench = Bench::new(Configuration::default());
    let loop_id = bench.machine.loop_id().clone();
    let not_begun = Rejected::NotNow {
        loop_id: loop_id.clone(),
        why: "has not begun",
    };
    for input in [
        Input::Steer(queue_id("a"), user("hi")),
        Input::FollowUp(queue_id("a"), user("hi")),
        Input::SurfaceChanged(SurfaceChanged::default()),
        Input::Stop("no".into()),
        Input::Cancel,
    ] {
        assert_eq!(refused(&mut bench, input), not_begun);
    }
    assert_eq!(bench.machine.awaits(), Some("prompt"));
    bench.handle(prompt("Do it."));
    assert_eq!(bench.machine.awaits(), None);
    let why = "has begun already";
    for input in [prompt("again"), Input::Continue] {
        let loop_id = loop_id.clone();
        assert_eq!(
            refused(&mut bench, input),
            Rejected::NotNow { loop_id, why }
        );
    }
}

#[test]
fn rule_02_a_message_without_content_is_ill_shaped() {
    let ill = |rejected: &Rejected| matches!(rejected, Rejected::IllShaped(_));
    let empty = |content: Vec<Content>| Arc::new(UserMessage { content });
    let empties = [
        empty(vec![]),
        empty(vec![Content::text("")]),
        empty(vec![Content::text(" \n")]),
    ];
    let mut bench = Bench::new(Configuration::default());
    assert!(ill(&refused(&mut bench, Input::Prompt(vec![]))));
    for message in &empties {
        let prompts = vec![user("fine"), Arc::clone(message)];
        assert!(ill(&refused(&mut bench, Input::Prompt(prompts))));
    }
    bench.handle(prompt("Do it."));
    for message in empties {
        let id = queue_id("a");
        let steer = Input::Steer(id.clone(), Arc::clone(&message));
        assert!(ill(&refused(&mut bench, steer)));
        assert!(ill(&refused(&mut bench, Input::FollowUp(id, message))));
    }
    // The refused id is still free.
    bench.handle(Input::Steer(queue_id("a"), user("hi")));
}

#[test]
fn rule_02_a_report_that_no_tool_makes_is_ill_shaped() {
    use ToolEnding as E;
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.call(&["once"]);
    let effect = bench.tools().remove(0);
    let wrong = [
        E::Denied,
        E::Skipped,
        E::TimedOut,
        E::Cancelled,
        E::Interrupted,
        E::Discarded,
    ];
    for ending in wrong {
        let report = ToolReport { ending, ..report() };
        let rejected = refused(&mut bench, Input::ToolEnded(effect.clone(), report));
        assert!(matches!(rejected, Rejected::IllShaped(_)), "{rejected:?}");
    }
    bench.end_tool(effect, "done");
    check(&bench);
}

#[test]
fn rule_02_a_surface_without_a_model_is_ill_shaped() {
    let start = Start::new(session(), Configuration::default(), Surface::default());
    let mut bench = Bench::with(Machine::new(start));
    for input in [prompt("Do it."), Input::Continue] {
        let rejected = refused(&mut bench, input);
        assert!(matches!(rejected, Rejected::IllShaped(_)), "{rejected:?}");
    }
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    let none = SurfaceChanged {
        models: Some(Arc::from([])),
        ..SurfaceChanged::default()
    };
    let rejected = refused(&mut bench, Input::SurfaceChanged(none));
    assert!(matches!(rejected, Rejected::IllShaped(_)), "{rejected:?}");
}
