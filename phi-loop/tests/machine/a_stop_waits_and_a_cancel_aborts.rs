//! Rule 9: a stop waits for what runs and starts nothing new; a cancel aborts it.

use phi_loop::Input;
use phi_types::{Configuration, Outcome, Point, StopCause, ToolEnding, ToolExecution};

use crate::facts::{ask, decide_all, ends, execution, hooked};
use crate::support::Bench;

fn aborted() -> Outcome {
    let reason = "enough".to_owned();
    Outcome::Aborted { reason }
}

fn stop(bench: &mut Bench) {
    bench.handle(Input::Stop("enough".into()));
}

#[test]
fn rule_09_a_stop_lets_the_model_finish_and_skips_what_it_asks_for() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    stop(&mut bench);
    assert_eq!(bench.aborted, []);
    bench.call(&["once", "once"]);
    assert_eq!(bench.endings(), [ToolEnding::Skipped; 2]);
    ends(&bench, &aborted());
}

#[test]
fn rule_09_a_stop_lets_running_calls_finish() {
    let mut bench = Bench::started(execution(ToolExecution::Parallel { max: 2 }), "Do it.");
    bench.call(&["once", "once", "once"]);
    let running = bench.tools();
    stop(&mut bench);
    bench.end_tool(running[1].clone(), "two");
    assert_eq!(bench.machine.outcome(), None);
    bench.end_tool(running[0].clone(), "one");
    assert_eq!(bench.aborted, []);
    ends(&bench, &aborted());
}

#[test]
fn rule_09_a_stop_ends_questions() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(&["once"]);
    decide_all(&mut bench, &ask());
    stop(&mut bench);
    assert_eq!(bench.endings(), [ToolEnding::Skipped]);
    ends(&bench, &aborted());
}

#[test]
fn rule_09_a_stop_can_still_become_a_cancel_and_no_request_is_written_twice() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.call(&["once"]);
    let running = bench.tools();
    stop(&mut bench);
    stop(&mut bench);
    bench.handle(Input::Cancel);
    assert_eq!(bench.aborted, running);
    assert_eq!(bench.endings(), [ToolEnding::Cancelled]);
    ends(&bench, &Outcome::Cancelled {});
    let causes = bench.events.iter().filter_map(|event| match &event.kind {
        phi_types::EventKind::StopRequested(requested) => Some(requested.cause.clone()),
        _ => None,
    });
    let reason = "enough".to_owned();
    let expected = [StopCause::Stop { reason }, StopCause::Cancel {}];
    assert_eq!(causes.collect::<Vec<_>>(), expected);
}
