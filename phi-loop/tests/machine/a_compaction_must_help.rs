//! A compaction that would not help is refused, one before an overflow is never fatal, and its figures
//! are those of the request.

use std::sync::Arc;

use phi_loop::{Compact, Compacted, Effect, Input, Verdict};
use phi_types::{
    CompactAt, CompactionEnded, Configuration, CountedTokens, Delta, EventKind, LoopError, Outcome,
    Point, PrunedResult, StopReason, Target, ToolResult, Usage,
};

use crate::facts::{block, check, decisions, on_surface, request};
use crate::support::{Bench, surface};

fn ended(bench: &Bench) -> Vec<CompactionEnded> {
    let ended = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::CompactionEnded(ended) => Some((**ended).clone()),
        _ => None,
    });
    ended.collect()
}

fn at(compact_at: CompactAt) -> Configuration {
    Configuration {
        compaction: true,
        compact_at: Some(compact_at),
        ..Configuration::default()
    }
}

/// A loop on models with this window, after one turn whose result is long.
fn with_long_result(configuration: Configuration, window_tokens: Option<u64>) -> Bench {
    let mut surface = surface();
    let models = surface.models.iter().cloned();
    surface.models = models
        .map(|model| Target {
            window_tokens,
            ..model
        })
        .collect::<Arc<[Target]>>();
    let mut bench = on_surface(configuration, surface);
    let call = [
        Delta::tool_call(0, "c", "pure"),
        Delta::arguments(0, "{}"),
        Delta::part_ended(0),
        Delta::finish(StopReason::ToolUse),
    ];
    bench.answer(&call);
    for effect in bench.tools() {
        bench.end_tool(effect, &"much to read ".repeat(100));
    }
    bench
}

fn compaction(bench: &mut Bench) -> Compact {
    match bench.effects.pop() {
        Some(Effect::Compact(compact)) => *compact,
        other => panic!("{other:?}: {:?}", bench.kinds()),
    }
}

fn shorter() -> Compacted {
    let result = Arc::new(ToolResult::text("much"));
    let (entry, index) = (2, 0);
    let pruned = vec![PrunedResult {
        entry,
        index,
        result,
    }];
    Compacted {
        pruned,
        ..Compacted::default()
    }
}

#[test]
fn a_request_beyond_the_threshold_is_made_smaller_first_and_reported_as_it_is() {
    for (threshold, window) in [
        (CompactAt::Tokens(200), None),
        (CompactAt::WindowPercent(20), Some(1_000)),
    ] {
        let mut bench = with_long_result(at(threshold), window);
        let compact = compaction(&mut bench);
        assert!(compact.tokens_of(&compact.view) > 200);
        assert_eq!(
            (compact.budget_tokens, compact.window_tokens),
            (100, window)
        );
        let usage = Usage::default();
        bench.handle(Input::Compacted(compact.id.clone(), shorter(), usage));
        let ended = ended(&bench);
        assert_eq!(ended[0].error, None);
        assert_eq!(ended[0].entries, 3);
        let view = &request(&bench).view;
        assert_eq!(ended[0].tokens, Some(compact.tokens_of(view)));
        // The history keeps the whole result.
        let history = bench.machine.transcript().history();
        assert!(history.estimated_tokens() > view.estimated_tokens() + 200);
        check(&bench);
        bench.say("Done.");
        check(&bench);
    }
    let unknown = with_long_result(at(CompactAt::WindowPercent(20)), None);
    assert_eq!(ended(&unknown), []);
    request(&unknown);
}

#[test]
fn what_grows_parts_nothing_or_does_not_fit_is_refused_and_the_loop_goes_on() {
    let long = "as long as before ".repeat(100);
    let mut nothing = shorter();
    nothing.pruned[0].entry = 1;
    let cases = [
        (Compacted::default(), None, "nothing was left out"),
        (block(1, 2, &[&long]).into(), None, "as long as they were"),
        (nothing, None, "no result 0 in entry 1"),
        (
            block(1, 2, &["brief"]).into(),
            Some(30),
            "for a window of 30",
        ),
    ];
    for (compacted, window, expected) in cases {
        let mut bench = with_long_result(at(CompactAt::Tokens(100)), window);
        let compact = compaction(&mut bench);
        bench.handle(Input::Compacted(compact.id, compacted, Usage::default()));
        let ended = ended(&bench);
        let error = ended[0].error.clone().unwrap_or_default();
        assert!(error.contains(expected), "{error}");
        assert_eq!(request(&bench).view.len(), 3);
        bench.say("Done.");
        assert_eq!(bench.machine.outcome(), Some(&Outcome::Completed {}));
        check(&bench);
    }
}

fn counted(before: u64, after: u64) -> Option<CountedTokens> {
    Some(CountedTokens { before, after })
}

#[test]
fn an_exact_count_is_what_is_reported_and_corrects_the_estimate() {
    let mut bench = with_long_result(at(CompactAt::Tokens(200)), None);
    let compact = compaction(&mut bench);
    assert_eq!(compact.threshold_tokens, Some(200));
    let compacted = Compacted {
        counted: counted(900, 190),
        ..shorter()
    };
    bench.handle(Input::Compacted(compact.id, compacted, Usage::default()));
    assert_eq!(ended(&bench)[0].tokens, Some(190));
    assert_eq!(bench.machine.transcript().estimated_tokens(), 190);
    assert_eq!(request(&bench).view.len(), 3);
    check(&bench);
    bench.say("Done.");
    check(&bench);
}

#[test]
fn a_request_that_is_counted_to_be_small_enough_is_sent_as_it_is() {
    let mut bench = with_long_result(at(CompactAt::Tokens(200)), None);
    let compact = compaction(&mut bench);
    let view = compact.view.clone();
    let compacted = Compacted {
        counted: counted(150, 150),
        ..Compacted::default()
    };
    bench.handle(Input::Compacted(compact.id, compacted, Usage::default()));
    let ended = ended(&bench);
    assert_eq!((&ended[0].error, ended[0].tokens), (&None, Some(150)));
    assert_eq!(request(&bench).view, view);
    check(&bench);
    // The count holds for the next turn too: what is added to it is little.
    let call = crate::support::calls(&["pure"]);
    bench.answer(&call);
    for effect in bench.tools() {
        bench.end_tool(effect, "ok");
    }
    assert_eq!(request(&bench).view.len(), 5);
    check(&bench);
}

#[test]
fn a_count_that_does_not_help_is_refused() {
    let cases = [
        (Compacted::default(), (300, 300), "nothing was left out"),
        (Compacted::default(), (300, 100), "nothing was left out"),
        (shorter(), (300, 300), "as long as they were"),
        (shorter(), (u64::MAX, 1_001), "for a window of 1000"),
    ];
    for (compacted, (before, after), expected) in cases {
        let mut bench = with_long_result(at(CompactAt::Tokens(200)), Some(1_000));
        let compact = compaction(&mut bench);
        let compacted = Compacted {
            counted: counted(before, after),
            ..compacted
        };
        bench.handle(Input::Compacted(compact.id, compacted, Usage::default()));
        let ended = ended(&bench);
        let error = ended[0].error.clone().unwrap_or_default();
        assert!(error.contains(expected), "{error}");
        assert_eq!(ended[0].counted, None);
        bench.say("Done.");
        check(&bench);
    }
    // After an overflow no count says that the request is small enough.
    let mut bench = with_long_result(at(CompactAt::Tokens(1_000_000)), None);
    bench.fail(phi_types::ProviderErrorKind::ContextOverflow);
    let compact = compaction(&mut bench);
    assert_eq!(compact.threshold_tokens, None);
    let compacted = Compacted {
        counted: counted(1, 1),
        ..Compacted::default()
    };
    bench.handle(Input::Compacted(compact.id, compacted, Usage::default()));
    let reason = "nothing was left out".to_owned();
    let error = LoopError::Overflow { reason };
    assert_eq!(bench.machine.outcome(), Some(&Outcome::Failed { error }));
    check(&bench);
}

#[test]
fn an_overflow_after_a_compaction_of_the_same_turn_may_compact_once_more() {
    let mut bench = with_long_result(at(CompactAt::Tokens(200)), None);
    let compact = compaction(&mut bench);
    bench.handle(Input::Compacted(compact.id, shorter(), Usage::default()));
    bench.fail(phi_types::ProviderErrorKind::ContextOverflow);
    let compact = compaction(&mut bench);
    let smaller = block(1, 2, &["ok"]).into();
    bench.handle(Input::Compacted(compact.id, smaller, Usage::default()));
    bench.fail(phi_types::ProviderErrorKind::ContextOverflow);
    assert!(matches!(
        bench.machine.outcome(),
        Some(Outcome::Failed {
            error: LoopError::Provider { .. }
        })
    ));
    check(&bench);
}

#[test]
fn a_hook_that_forbids_a_compaction_before_an_overflow_leaves_the_request_as_it_is() {
    let configuration = Configuration {
        points: vec![Point::BeforeCompaction],
        ..at(CompactAt::Tokens(200))
    };
    let mut bench = with_long_result(configuration, None);
    let id = decisions(&mut bench)[0];
    let reason = "later".to_owned();
    bench.handle(Input::Decided(id, Verdict::Deny { reason }));
    assert_eq!(ended(&bench)[0].error.as_deref(), Some("later"));
    assert_eq!(request(&bench).view.len(), 3);
    bench.say("Done.");
    assert_eq!(bench.machine.outcome(), Some(&Outcome::Completed {}));
    check(&bench);
}

#[test]
fn reports_correct_the_estimate() {
    let bench = |reported: u64| {
        let mut bench = Bench::started(Configuration::default(), "Do it.");
        let mut deltas = crate::support::calls(&["pure"]);
        let usage = Delta::Usage(Usage {
            input_tokens: Some(reported),
            ..Usage::default()
        });
        deltas.insert(deltas.len() - 1, usage);
        bench.answer(&deltas);
        bench
    };
    let plain = bench(10).machine.transcript().estimated_tokens();
    let more = bench(10_000).machine.transcript().estimated_tokens();
    assert!(more > plain && plain >= 10, "{plain} {more}");
}
