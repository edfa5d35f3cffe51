//! Rule 1: a conversation that phi hands out is one that every provider accepts.

use std::sync::Arc;

use phi_loop::{Effect, Input, Machine, Rejected, Verdict};
use phi_types::{
    AnswerScope, Approval, Configuration, Content, Delta, LoopError, Outcome, Point,
    ProviderErrorKind, StopReason, ToolPolicy, Usage, UserMessage,
};

use crate::facts::{ask, block, check, decide_all, hooked, refused, results};
use crate::support::{Bench, calls, queue_id, start};

#[test]
fn rule_01_a_call_without_a_name_leaves_nothing_that_an_api_refuses() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.answer(&[
        Delta::tool_call(0, "a", ""),
        Delta::arguments(0, "{}"),
        Delta::part_ended(0),
        Delta::finish(StopReason::ToolUse),
    ]);
    check(&bench);
}

#[test]
fn rule_07_a_block_that_leaves_no_conversation_is_refused() {
    for block in [block(0, 3, &[]), block(0, 1, &[]), block(0, 3, &[""])] {
        let configuration = Configuration {
            compaction: true,
            ..Configuration::default()
        };
        let mut bench = Bench::started(configuration, "Do it.");
        bench.call(&["nosuch"]);
        bench.fail(ProviderErrorKind::ContextOverflow);
        let Some(Effect::Compact(compact)) = bench.effects.pop() else {
            panic!("{:?}", bench.kinds())
        };
        let text = format!("{block:?}");
        bench.handle(Input::Compacted(compact.id, block.into(), Usage::default()));
        let typed = matches!(
            bench.machine.outcome(),
            Some(Outcome::Failed {
                error: LoopError::Overflow { .. }
            })
        );
        assert!(typed, "{text}: {:?}", bench.machine.outcome());
        check(&bench);
    }
}

#[test]
fn rule_02_to_continue_an_empty_conversation_is_ill_shaped() {
    let mut bench = Bench::with(Machine::new(start(Configuration::default())));
    let rejected = refused(&mut bench, Input::Continue);
    assert!(matches!(rejected, Rejected::IllShaped(_)), "{rejected:?}");
}

#[test]
fn rule_01_a_tool_that_says_nothing_leaves_no_empty_text() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.call(&["pure"]);
    let running = bench.tools();
    bench.end_tool(running[0].clone(), "");
    bench.say("Done.");
    assert_eq!(results(&bench)[0].2, "");
    check(&bench);
}

#[test]
fn rule_01_a_refusal_without_a_reason_leaves_no_empty_text() {
    let reason = String::new();
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(&["pure"]);
    decide_all(
        &mut bench,
        &Verdict::Deny {
            reason: reason.clone(),
        },
    );
    check(&bench);
    bench.call(&["pure"]);
    decide_all(&mut bench, &ask());
    let Some(Effect::AskApproval(asked)) = bench.effects.pop() else {
        panic!("{:?}", bench.kinds())
    };
    bench.handle(Input::Approval(
        asked.id,
        Approval::Denied { reason },
        AnswerScope::Once,
    ));
    bench.say("Done.");
    assert_eq!(results(&bench)[1].2, "The call was refused.");
    check(&bench);
}

#[test]
fn rule_01_a_message_with_an_empty_text_beside_another_is_refused() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    let content = vec![Content::text("Look."), Content::text(" ")];
    let message = Arc::new(UserMessage { content });
    let rejected = refused(&mut bench, Input::Steer(queue_id("a"), message));
    assert!(matches!(rejected, Rejected::IllShaped(_)), "{rejected:?}");
}

#[test]
fn rule_01_a_tool_that_started_early_and_says_nothing_leaves_no_empty_text() {
    let tools = ToolPolicy {
        early_start: true,
        ..ToolPolicy::default()
    };
    let configuration = Configuration {
        tools,
        ..Configuration::default()
    };
    let mut bench = Bench::started(configuration, "Do it.");
    let effect = bench.model();
    let mut deltas = calls(&["pure"]).into_iter();
    for delta in deltas.by_ref().take(3) {
        bench.handle(Input::Delta(effect.clone(), delta));
    }
    let running = bench.tools();
    bench.end_tool(running[0].clone(), "");
    for delta in deltas {
        bench.handle(Input::Delta(effect.clone(), delta));
    }
    bench.handle(Input::ModelEnded(effect));
    bench.say("Done.");
    assert_eq!(results(&bench)[0].2, "");
    check(&bench);
}
