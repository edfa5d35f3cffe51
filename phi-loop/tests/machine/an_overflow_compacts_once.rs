//! Rule 7: an overflow makes the view smaller once and sends again, or fails typed; it never loops.

use std::sync::Arc;

use phi_loop::{Effect, Input};
use phi_types::{
    CompactionBlock, Configuration, Delta, EffectId, EventKind, LimitKind, LoopError, Outcome,
    ProviderError, ProviderErrorKind, StopReason, Target, Usage,
};

use crate::facts::{block, check, ends, on_surface, request, words};
use crate::support::{Bench, queue_id, surface, user};

fn compacting() -> Configuration {
    Configuration {
        compaction: true,
        ..Configuration::default()
    }
}

/// A view of a prompt, an answer with a call and its result; then the model finds it too long.
fn overflowed(configuration: Configuration) -> Bench {
    let mut bench = Bench::started(configuration, "Do it.");
    bench.call(&["once"]);
    for effect in bench.tools() {
        bench.end_tool(effect, "ok");
    }
    bench.fail(ProviderErrorKind::ContextOverflow);
    bench
}

fn compaction(bench: &mut Bench) -> EffectId {
    let Some(Effect::Compact(compact)) = bench.effects.pop() else {
        panic!("nothing is compacted: {:?}", bench.kinds())
    };
    assert_eq!(bench.effects, []);
    compact.id
}

fn compacted(bench: &mut Bench, block: CompactionBlock) {
    let effect = compaction(bench);
    bench.handle(Input::Compacted(effect, block.into(), Usage::default()));
}

#[test]
fn rule_07_an_overflow_compacts_and_sends_again_what_was_reported() {
    let mut bench = overflowed(compacting());
    compacted(&mut bench, block(0, 3, &["What was before."]));
    assert_eq!(words(&request(&bench).view), ["user: What was before."]);
    assert_eq!(words(bench.machine.transcript().history()).len(), 3);
    let entries = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::CompactionStarted(started) => Some(started.entries),
        EventKind::CompactionEnded(ended) => Some(ended.entries),
        _ => None,
    });
    assert_eq!(entries.collect::<Vec<_>>(), [3, 1]);
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn rule_07_a_second_overflow_of_one_turn_fails_typed() {
    let mut bench = overflowed(compacting());
    compacted(&mut bench, block(1, 2, &["A call."]));
    bench.fail(ProviderErrorKind::ContextOverflow);
    let error = ProviderError::new(ProviderErrorKind::ContextOverflow, "no");
    let error = LoopError::Provider { error };
    ends(&bench, &Outcome::Failed { error });
    let begun = bench
        .kinds()
        .iter()
        .filter(|it| *it == "compaction_started")
        .count();
    assert_eq!(begun, 1);
}

#[test]
fn rule_07_without_a_compactor_an_overflow_fails_typed() {
    let bench = overflowed(Configuration::default());
    let error = ProviderError::new(ProviderErrorKind::ContextOverflow, "no");
    let error = LoopError::Provider { error };
    ends(&bench, &Outcome::Failed { error });
}

#[test]
fn rule_07_a_compaction_that_fails_ends_the_loop_and_says_why() {
    let mut bench = overflowed(compacting());
    let effect = compaction(&mut bench);
    let reason = "nothing to drop".to_owned();
    bench.handle(Input::CompactionFailed(
        effect,
        reason.clone(),
        Usage::default(),
    ));
    let error = LoopError::Overflow { reason };
    ends(&bench, &Outcome::Failed { error });
}

#[test]
fn rule_07_a_block_that_parts_a_pair_or_makes_no_progress_is_refused() {
    let refused = [
        (block(0, 1, &["as long"]), "not shorter"),
        (block(0, 3, &["a", "b", "c", "d"]), "not shorter"),
        (block(0, 2, &["a"]), "parts tool calls"),
        (block(2, 1, &[]), "parts tool calls"),
        (block(1, 1, &[]), "parts tool calls"),
        (block(0, 0, &[]), "exceeds"),
        (block(2, 2, &[]), "exceeds"),
        (block(9, 1, &[]), "exceeds"),
        (block(u64::MAX, u64::MAX, &[]), "exceeds"),
        (block(1, u64::MAX, &[]), "exceeds"),
    ];
    for (block, expected) in refused {
        let mut bench = overflowed(compacting());
        let text = format!("{block:?}");
        compacted(&mut bench, block);
        let Some(Outcome::Failed {
            error: LoopError::Overflow { reason },
        }) = bench.machine.outcome().cloned()
        else {
            panic!("{text}: {:?}", bench.machine.outcome())
        };
        assert!(reason.contains(expected), "{text}: {reason}");
        let view = bench.machine.transcript().view();
        assert_eq!(view.len(), 3, "{text}: the view stays as it was");
        check(&bench);
    }
}

#[test]
fn rule_07_an_output_limit_without_output_is_an_overflow() {
    let window = |tokens| {
        let mut surface = surface();
        let models = surface.models.iter().cloned();
        surface.models = models
            .map(|model| Target {
                window_tokens: Some(tokens),
                ..model
            })
            .collect::<Arc<[Target]>>();
        surface
    };
    let usage = Delta::Usage(Usage {
        input_tokens: Some(100),
        ..Usage::default()
    });
    let silent = |tokens, reason| {
        let mut bench = on_surface(compacting(), window(tokens));
        bench.answer(&[usage.clone(), Delta::finish(reason)]);
        bench
    };
    for reason in [StopReason::MaxTokens, StopReason::ContextWindow] {
        let mut bench = silent(100, reason);
        compaction(&mut bench);
        let failed = bench.events.iter().find_map(|event| match &event.kind {
            EventKind::ModelFailed(failed) => Some(failed),
            _ => None,
        });
        let failed = failed.expect("the attempt failed");
        assert_eq!(failed.error.kind, ProviderErrorKind::ContextOverflow);
        assert!(failed.facts.finish_seen && !failed.facts.output_seen);
        check(&bench);
    }
    // The window is far from full: the answer was cut by its own limit.
    let bench = silent(1_000, StopReason::MaxTokens);
    let limit = LimitKind::OutputTokens;
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn rule_07_a_cancel_aborts_a_compaction() {
    let mut bench = overflowed(compacting());
    let effect = compaction(&mut bench);
    bench.handle(Input::Cancel);
    assert_eq!(bench.aborted, [effect]);
    ends(&bench, &Outcome::Cancelled {});
}

#[test]
fn rule_07_a_message_that_comes_during_a_compaction_joins_after_it() {
    let mut bench = overflowed(compacting());
    bench.handle(Input::Steer(queue_id("s"), user("Hurry.")));
    compacted(&mut bench, block(0, 3, &["What was before."]));
    let view = words(&request(&bench).view);
    assert_eq!(view, ["user: What was before.", "user: Hurry."]);
    check(&bench);
}
