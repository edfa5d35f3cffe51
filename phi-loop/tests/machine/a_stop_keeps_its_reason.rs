//! Rule 9: a stop ends what waits, and the outcome names its reason.

use phi_loop::{Effect, Input};
use phi_types::{Configuration, Outcome, Point, ProviderErrorKind, Usage};

use crate::facts::{block, ends, hooked};
use crate::support::Bench;

fn aborted() -> Outcome {
    let reason = "enough".to_owned();
    Outcome::Aborted { reason }
}

fn stop(bench: &mut Bench) {
    bench.handle(Input::Stop("enough".into()));
}

#[test]
fn rule_09_a_stop_ends_the_wait_for_another_attempt() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.fail(ProviderErrorKind::Overloaded);
    stop(&mut bench);
    ends(&bench, &aborted());
}

#[test]
fn rule_09_a_stop_does_not_wait_for_a_hook_that_decides_about_a_model_call() {
    let mut bench = Bench::started(hooked(Point::BeforeModel), "Do it.");
    stop(&mut bench);
    ends(&bench, &aborted());
}

#[test]
fn rule_09_a_stop_waits_for_a_compaction() {
    let configuration = Configuration {
        compaction: true,
        ..Configuration::default()
    };
    let mut bench = Bench::started(configuration, "Do it.");
    bench.call(&["nosuch"]);
    bench.fail(ProviderErrorKind::ContextOverflow);
    stop(&mut bench);
    assert_eq!(bench.machine.outcome(), None);
    let Some(Effect::Compact(compact)) = bench.effects.pop() else {
        panic!("{:?}", bench.kinds())
    };
    let before = block(0, 3, &["Before."]);
    bench.handle(Input::Compacted(
        compact.id,
        before.into(),
        Usage::default(),
    ));
    ends(&bench, &aborted());
}
