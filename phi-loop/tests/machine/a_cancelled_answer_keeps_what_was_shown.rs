//! Rule 1: a cancelled model call keeps the text that was shown and drops what nobody can send again.

use phi_loop::Input;
use phi_types::{
    Arguments, AssistantMessage, AssistantPart, Configuration, Delta, EventKind, Facts, Message,
    Outcome, PartFacts, PartFactsDelta, ProviderErrorKind, StopReason, TextPart, ThinkingPart,
    ToolCall, ToolEnding, Usage,
};
use std::sync::Arc;

use crate::facts::{ends, words};
use crate::support::Bench;

/// The model has yielded this much when somebody cancels.
fn cancelled_after(deltas: &[Delta]) -> Bench {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    let effect = bench.model();
    for delta in deltas {
        bench.handle(Input::Delta(effect.clone(), delta.clone()));
    }
    bench.handle(Input::Cancel);
    assert_eq!(bench.aborted, [effect]);
    ends(&bench, &Outcome::Cancelled {});
    bench
}

fn answer(bench: &Bench) -> Option<&Arc<AssistantMessage>> {
    bench.events.iter().find_map(|event| match &event.kind {
        EventKind::Message(added) => match &added.message {
            Message::Assistant(message) => Some(message),
            _ => None,
        },
        _ => None,
    })
}

fn signature(part: u32) -> Delta {
    let facts = PartFacts::from(Facts {
        signature: Some("sig".into()),
        ..Facts::default()
    });
    Delta::PartFacts(PartFactsDelta { part, facts })
}

#[test]
fn rule_01_text_is_kept_unsigned_thinking_and_open_calls_are_dropped() {
    let usage = Usage {
        input_tokens: Some(4),
        ..Usage::default()
    };
    let bench = cancelled_after(&[
        Delta::thinking(0, "signed"),
        signature(0),
        Delta::thinking(1, "not signed"),
        Delta::text(2, "Let me "),
        Delta::text(2, "look"),
        Delta::tool_call(3, "c0", "once"),
        Delta::arguments(3, "{\"n\":1"),
        Delta::Usage(usage),
    ]);
    let signed = ThinkingPart {
        text: "signed".into(),
        facts: PartFacts::from(Facts {
            signature: Some("sig".into()),
            ..Facts::default()
        }),
    };
    let parts = vec![
        AssistantPart::Thinking(signed),
        AssistantPart::Text(TextPart::new("Let me look")),
    ];
    let message = answer(&bench).expect("the text is kept");
    assert_eq!(message.parts, parts);
    assert_eq!(message.stop_reason, StopReason::Cancelled);
    assert_eq!(message.usage, usage);
    assert_eq!(bench.machine.transcript().usage(), usage);
    assert_eq!(bench.endings(), []);
}

#[test]
fn rule_01_a_call_that_was_complete_is_kept_and_answered() {
    let bench = cancelled_after(&[
        Delta::tool_call(0, "c0", "once"),
        Delta::arguments(0, "{}"),
        Delta::part_ended(0),
        Delta::tool_call(1, "c1", "once"),
    ]);
    let call = ToolCall {
        id: Arc::from("c0"),
        name: Arc::from("once"),
        arguments: Arguments::parse("{}"),
        facts: PartFacts::default(),
    };
    let message = answer(&bench).expect("the call is kept");
    assert_eq!(message.parts, [AssistantPart::ToolCall(Arc::new(call))]);
    assert_eq!(bench.endings(), [ToolEnding::Cancelled]);
    assert_eq!(bench.effects, [], "nothing was started");
}

#[test]
fn rule_01_where_nothing_was_shown_no_message_is_left() {
    let shown: [&[Delta]; 3] = [
        &[],
        &[Delta::thinking(0, "not signed")],
        &[Delta::tool_call(0, "c0", "once")],
    ];
    for deltas in shown {
        let bench = cancelled_after(deltas);
        assert_eq!(answer(&bench), None);
        let failed = bench.events.iter().find_map(|event| match &event.kind {
            EventKind::ModelFailed(failed) => Some(failed),
            _ => None,
        });
        let failed = failed.expect("the attempt ends");
        assert_eq!(failed.error.kind, ProviderErrorKind::Cancelled);
        assert_eq!(failed.facts.output_seen, !deltas.is_empty());
        assert_eq!(words(bench.machine.transcript().view()), ["user: Do it."]);
    }
}
