//! Rule 1: results find their calls by effect id; the ids that models give repeat.

use phi_loop::Effect;
use phi_types::{Configuration, Delta, EventKind, StopReason};

use crate::facts::{check, request, words};
use crate::support::Bench;

/// Two calls under one id, as some models write them.
fn twins() -> Vec<Delta> {
    let mut deltas = Vec::new();
    for part in 0..2 {
        deltas.push(Delta::tool_call(part, "same", "once"));
        deltas.push(Delta::arguments(part, format!("{{\"n\":{part}}}")));
        deltas.push(Delta::part_ended(part));
    }
    deltas.push(Delta::finish(StopReason::ToolUse));
    deltas
}

#[test]
fn rule_01_two_calls_with_one_id_get_their_own_results_in_call_order() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.answer(&twins());
    let effects = bench.effects.iter();
    let arguments = effects.map(|effect| match effect {
        Effect::RunTool(run) => run.arguments.as_str(),
        other => panic!("{other:?}"),
    });
    assert_eq!(arguments.collect::<Vec<_>>(), ["{\"n\":0}", "{\"n\":1}"]);
    let running = bench.tools();
    bench.end_tool(running[1].clone(), "of the second");
    bench.end_tool(running[0].clone(), "of the first");
    let view = words(&request(&bench).view);
    assert_eq!(view[2], "results: of the first | of the second");
    check(&bench);
}

#[test]
fn rule_01_an_id_that_comes_again_in_a_later_turn_is_another_call() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    let mut effects = Vec::new();
    for text in ["first", "second", "third"] {
        bench.call(&["once"]);
        let running = bench.tools();
        bench.end_tool(running[0].clone(), text);
        effects.extend(running);
    }
    bench.say("Done.");
    let view = words(bench.machine.transcript().view());
    let expected = ["results: first", "results: second", "results: third"];
    let results: Vec<_> = view.iter().filter(|it| it.starts_with("results")).collect();
    assert_eq!(results, expected.iter().collect::<Vec<_>>());
    let starts = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::ToolStarted(_) => Some(event.seq),
        _ => None,
    });
    let seqs: Vec<u64> = effects.iter().map(|effect| effect.seq).collect();
    assert_eq!(starts.collect::<Vec<_>>(), seqs);
    check(&bench);
}
