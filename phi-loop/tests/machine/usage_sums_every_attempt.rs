//! Rule 10: usage counts answers, failed attempts and compactions; what nobody reported stays unknown.

use phi_loop::{Effect, Input};
use phi_types::{
    Configuration, Delta, EventKind, Outcome, ProviderError, ProviderErrorKind, StopReason, Usage,
};

use crate::facts::{block, ends};
use crate::support::Bench;

fn input(tokens: u64) -> Usage {
    Usage {
        input_tokens: Some(tokens),
        ..Usage::default()
    }
}

fn fails_after(bench: &mut Bench, kind: ProviderErrorKind, usage: Usage) {
    let effect = bench.model();
    bench.handle(Input::Delta(effect.clone(), Delta::Usage(usage)));
    let error = ProviderError::new(kind, "no");
    bench.handle(Input::ModelFailed(effect, error));
}

#[test]
fn rule_10_failed_attempts_and_compactions_count() {
    let configuration = Configuration {
        compaction: true,
        ..Configuration::default()
    };
    let mut bench = Bench::started(configuration, "Do it.");
    bench.call(&["nosuch"]);
    fails_after(&mut bench, ProviderErrorKind::Auth, input(1));
    fails_after(&mut bench, ProviderErrorKind::ContextOverflow, input(20));
    let Some(Effect::Compact(compact)) = bench.effects.pop() else {
        panic!("{:?}", bench.kinds())
    };
    let before = block(0, 3, &["Before."]);
    bench.handle(Input::Compacted(compact.id, before.into(), input(300)));
    bench.answer(&[
        Delta::text(0, "Done."),
        Delta::Usage(Usage {
            output_tokens: Some(0),
            ..input(4_000)
        }),
        Delta::finish(StopReason::EndTurn),
    ]);
    ends(&bench, &Outcome::Completed {});
    let expected = Usage {
        input_tokens: Some(10 + 4_321),
        output_tokens: Some(5),
        ..Usage::default()
    };
    let turns = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::TurnEnded(ended) => Some(ended.usage),
        EventKind::LoopEnded(ended) => Some(ended.usage),
        _ => None,
    });
    let first = Usage {
        output_tokens: Some(5),
        ..input(10)
    };
    let second = Usage {
        output_tokens: Some(0),
        ..input(4_321)
    };
    assert_eq!(turns.collect::<Vec<_>>(), [first, second, expected]);
    assert_eq!(bench.machine.transcript().usage(), expected);
}

#[test]
fn rule_10_what_nobody_reported_is_not_zero() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
    assert_eq!(bench.machine.transcript().usage(), Usage::default());
    assert_eq!(Usage::default().input_tokens, None);
}

#[test]
fn rule_10_a_later_report_of_one_attempt_replaces_the_earlier_one() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.answer(&[
        Delta::Usage(input(7)),
        Delta::text(0, "Done."),
        Delta::Usage(Usage {
            output_tokens: Some(9),
            ..input(8)
        }),
        Delta::finish(StopReason::EndTurn),
    ]);
    let expected = Usage {
        output_tokens: Some(9),
        ..input(8)
    };
    assert_eq!(bench.machine.transcript().usage(), expected);
}

#[test]
fn rule_10_a_failed_compaction_counts_too() {
    let configuration = Configuration {
        compaction: true,
        ..Configuration::default()
    };
    let mut bench = Bench::started(configuration, "Do it.");
    bench.fail(ProviderErrorKind::ContextOverflow);
    let Some(Effect::Compact(compact)) = bench.effects.pop() else {
        panic!("{:?}", bench.kinds())
    };
    bench.handle(Input::CompactionFailed(compact.id, "no".into(), input(5)));
    assert_eq!(bench.machine.transcript().usage(), input(5));
    assert!(matches!(
        bench.machine.outcome(),
        Some(Outcome::Failed { .. })
    ));
}
