//! What a sub-agent spends counts for the loop whose call it did, whoever ends that call.

use std::sync::Arc;

use phi_loop::{Input, ToolReport, replay};
use phi_types::{
    Configuration, EffectId, EventKind, LimitKind, Limits, Outcome, SessionId, Spawned, Spent,
    ToolEnded, ToolEnding, ToolPolicy, ToolResult, Transcript, Usage,
};

use crate::facts::{check, ends, limits, refused};
use crate::support::Bench;

fn spawned(tokens: u64) -> Spawned {
    let usage = Usage {
        input_tokens: Some(tokens),
        ..Usage::default()
    };
    let spent = Spent {
        usage,
        cost_usd: Some(0.5),
    };
    let session = SessionId::new("child").unwrap();
    Spawned { session, spent }
}

fn ends_with(bench: &mut Bench, effect: EffectId, child: Spawned) {
    let report = ToolReport {
        child: Some(child),
        ..ToolReport::returned(ToolResult::text("It is so."))
    };
    bench.handle(Input::ToolEnded(effect, report));
}

fn ended(bench: &Bench) -> Vec<&ToolEnded> {
    let ended = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::ToolEnded(ended) => Some(ended),
        _ => None,
    });
    ended.collect()
}

#[test]
fn its_tokens_and_cost_are_in_the_sums_of_turn_and_loop() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.call(&["again", "again"]);
    for effect in bench.tools() {
        ends_with(&mut bench, effect, spawned(1_000));
    }
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
    let expected = Usage {
        input_tokens: Some(2_010),
        output_tokens: Some(5),
        ..Usage::default()
    };
    let turn = bench.events.iter().find_map(|event| match &event.kind {
        EventKind::TurnEnded(ended) => Some(ended.usage),
        _ => None,
    });
    assert_eq!(turn, Some(expected));
    assert_eq!(bench.machine.transcript().usage(), expected);
    assert!((bench.machine.cost_usd() - 1.0).abs() < 1e-9);
}

#[test]
fn its_tokens_count_for_the_limit_of_its_parent() {
    let mut bench = Bench::started(
        limits(Limits {
            tokens: Some(500),
            ..Limits::default()
        }),
        "Do it.",
    );
    bench.call(&["again"]);
    for effect in bench.tools() {
        ends_with(&mut bench, effect, spawned(490));
    }
    let limit = LimitKind::Tokens;
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn a_call_that_is_broken_off_names_its_sub_agent_and_what_was_known() {
    for cancels in [true, false] {
        let configuration = Configuration {
            tools: ToolPolicy {
                timeout_ms: Some(100),
                ..ToolPolicy::default()
            },
            ..Configuration::default()
        };
        let mut bench = Bench::started(configuration, "Do it.");
        bench.call(&["again", "pure"]);
        let effects = bench.tools();
        for tokens in [7, 70] {
            let input = Input::ToolSpawned(effects[0].clone(), spawned(tokens));
            bench.handle(input);
        }
        let ending = if cancels {
            bench.handle(Input::Cancel);
            ToolEnding::Cancelled
        } else {
            bench.pass(100);
            bench.handle(Input::Timeout);
            bench.say("Done.");
            ToolEnding::TimedOut
        };
        let ends: Vec<_> = ended(&bench)
            .iter()
            .map(|it| (it.ending, it.child.clone(), it.spent()))
            .collect();
        let child = spawned(70);
        assert_eq!(
            ends,
            [
                (ending, Some(child.session), child.spent),
                (ending, None, Spent::default()),
            ]
        );
        check(&bench);
        assert_eq!(
            bench.machine.transcript().usage().input_tokens,
            Some(10 + 70)
        );
    }
}

#[test]
fn a_log_with_another_child_or_another_sum_diverges() {
    for cancels in [true, false] {
        let mut bench = Bench::started(Configuration::default(), "Do it.");
        bench.call(&["again"]);
        let effect = bench.tools().remove(0);
        bench.handle(Input::ToolSpawned(effect.clone(), spawned(7)));
        if cancels {
            bench.handle(Input::Cancel);
        } else {
            ends_with(&mut bench, effect, spawned(8));
            bench.say("Done.");
        }
        check(&bench);
        let alterations: [fn(&mut ToolEnded); 4] = [
            |ended| ended.child = Some(SessionId::new("other").unwrap()),
            |ended| ended.child = None,
            |ended| {
                let spent = ended.spent.as_mut().unwrap();
                Arc::make_mut(spent).usage.input_tokens = Some(9);
            },
            |ended| Arc::make_mut(ended.spent.as_mut().unwrap()).cost_usd = None,
        ];
        for alter in alterations {
            let mut log = bench.events.clone();
            for event in &mut log {
                if let EventKind::ToolEnded(ended) = &mut event.kind {
                    alter(ended);
                }
            }
            assert!(replay(&Transcript::new(), &log).is_err());
        }
    }
}

#[test]
fn a_sub_agent_of_a_call_that_does_not_run_is_refused() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.call(&["again"]);
    let effect = bench.tools().remove(0);
    let stranger = EffectId {
        seq: effect.seq + 1,
        ..effect.clone()
    };
    refused(&mut bench, Input::ToolSpawned(stranger, spawned(1)));
    bench.end_tool(effect.clone(), "ok");
    refused(&mut bench, Input::ToolSpawned(effect, spawned(1)));
    assert_eq!(ended(&bench)[0].child, None);
}
