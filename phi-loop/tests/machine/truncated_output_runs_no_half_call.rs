//! Rule 9: closed calls run, an open one ends as invalid, malformed arguments are never `{}`.

use phi_loop::Effect;
use phi_types::{Configuration, Delta, EventKind, StopReason, ToolEnding};

use crate::facts::{check, request, results};
use crate::support::Bench;

fn cut(reason: StopReason) -> Vec<Delta> {
    vec![
        Delta::tool_call(0, "a", "once"),
        Delta::arguments(0, "{\"n\":1}"),
        Delta::part_ended(0),
        Delta::tool_call(1, "b", "once"),
        Delta::arguments(1, "{\"n\":2}"),
        Delta::finish(reason),
    ]
}

#[test]
fn rule_09_a_length_stop_runs_the_closed_call_and_ends_the_open_one_as_invalid() {
    for reason in [StopReason::MaxTokens, StopReason::ContextWindow] {
        let mut bench = Bench::started(Configuration::default(), "Do it.");
        bench.answer(&cut(reason));
        // Its arguments happen to read as an object: it was cut off all the same.
        let text = "the call was cut off before its arguments were complete".to_owned();
        assert_eq!(results(&bench), [(1, ToolEnding::Invalid, text)]);
        let running = bench.tools();
        assert_eq!(running.len(), 1);
        bench.end_tool(running[0].clone(), "done");
        assert_eq!(request(&bench).view.len(), 3, "the model reads of both");
        check(&bench);
    }
}

#[test]
fn rule_09_a_stream_that_breaks_off_runs_nothing() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    let mut deltas = cut(StopReason::ToolUse);
    deltas.pop();
    bench.answer(&deltas);
    assert_eq!(bench.effects, []);
    assert_eq!(results(&bench), []);
    assert!(bench.machine.next_timeout().is_some(), "it is sent again");
    check(&bench);
}

#[test]
fn rule_09_malformed_arguments_end_as_invalid_with_what_was_wrong() {
    let malformed = [
        ("{\"n\":", "not JSON"),
        ("[1]", "not an object"),
        ("{}<|end|>", "not JSON"),
        ("null", "not an object"),
    ];
    for (arguments, wrong) in malformed {
        let mut bench = Bench::started(Configuration::default(), "Do it.");
        bench.answer(&[
            Delta::tool_call(0, "a", "once"),
            Delta::arguments(0, arguments),
            Delta::part_ended(0),
            Delta::finish(StopReason::ToolUse),
        ]);
        let answered = results(&bench);
        assert_eq!(answered[0].1, ToolEnding::Invalid, "{arguments}");
        assert!(
            answered[0].2.contains(wrong),
            "{arguments}: {}",
            answered[0].2
        );
        let started = bench.events.iter();
        let started = started.filter(|it| matches!(it.kind, EventKind::ToolStarted(_)));
        assert_eq!(started.count(), 0, "{arguments}");
        check(&bench);
    }
}

#[test]
fn rule_09_no_arguments_at_all_are_an_empty_object() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.answer(&[
        Delta::tool_call(0, "a", "once"),
        Delta::finish(StopReason::ToolUse),
    ]);
    let Some(Effect::RunTool(run)) = bench.effects.first() else {
        panic!("it runs: {:?}", bench.kinds())
    };
    assert_eq!(run.arguments.as_str(), "{}");
}
