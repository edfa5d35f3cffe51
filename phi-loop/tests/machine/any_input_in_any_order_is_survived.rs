//! Rules 2 and 3: whatever comes in, in any order, nothing panics, a refusal changes nothing, and a
//! loop that has not ended waits for something by name.

use std::sync::Arc;

use phi_loop::simulation::{Dice, any_configuration};
use phi_loop::{DecisionId, Effect, Input, Machine, ToolReport, Verdict};
use phi_testkit::check_transcript;
use phi_types::{
    AnswerScope, Approval, ContextChange, Delta, EffectId, LoopId, ModelPatch, OverlayId,
    ProviderError, ProviderErrorKind, Prune, RawJson, Revert, RevertCategory, StopReason,
    SurfaceChanged, Tag, ToolEnding, ToolProgress, ToolResult, Transcript, Usage,
};
use proptest::prelude::{ProptestConfig, any, prop, proptest};

use crate::facts::{block, words};
use crate::support::{Bench, prompt, queue_id, user};

/// One thing that comes in: which, about what, and two free choices.
type Move = (u8, u8, u8, u8);

fn pick<T: Clone>(of: &[T], at: u8) -> T {
    of[usize::from(at) % of.len()].clone()
}

/// An effect that is outstanding, most of the time; else one that is not, or of another loop.
fn effect(machine: &Machine, at: u8, how: u8) -> EffectId {
    let open: Vec<EffectId> = machine
        .outstanding()
        .iter()
        .filter_map(|effect| effect.id().cloned())
        .collect();
    if !how.is_multiple_of(4) && !open.is_empty() {
        return pick(&open, at);
    }
    let loop_id = if how.is_multiple_of(8) {
        LoopId::new("other.default.1").unwrap()
    } else {
        machine.loop_id().clone()
    };
    let seq = pick(&[0, 1, 5, u64::from(at), u64::MAX], how);
    EffectId { loop_id, seq }
}

fn decision(machine: &Machine, at: u8, how: u8) -> DecisionId {
    let open: Vec<DecisionId> = machine
        .outstanding()
        .iter()
        .filter_map(|effect| match effect {
            Effect::Decide(id, _) => Some(*id),
            _ => None,
        })
        .collect();
    if !how.is_multiple_of(5) && !open.is_empty() {
        return pick(&open, at);
    }
    DecisionId {
        seq: u64::from(at),
        index: u32::from(how),
    }
}

fn delta(a: u8, b: u8) -> Delta {
    let part = u32::from(a % 4);
    let texts = ["", "{", "}", "{\"n\":1}", "\u{1F980}", "[1]", "null"];
    let reasons = [
        StopReason::EndTurn,
        StopReason::ToolUse,
        StopReason::MaxTokens,
        StopReason::PauseTurn,
        StopReason::ContextWindow,
        StopReason::Cancelled,
        StopReason::Other,
    ];
    let names = ["pure", "again", "once", "nosuch", ""];
    match b % 12 {
        0 | 1 => Delta::text(part, pick(&texts, b / 12)),
        2 => Delta::thinking(part, pick(&texts, b / 12)),
        3 | 4 => Delta::tool_call(part + 4, pick(&["", "a", "b"], a), pick(&names, b / 12)),
        5 | 6 => Delta::arguments(part + 4, pick(&texts, b / 12)),
        7 => Delta::part_ended(u32::from(a)),
        8 => Delta::Usage(Usage {
            input_tokens: Some(pick(&[0, 7, u64::MAX], a)),
            output_tokens: None,
            ..Usage::default()
        }),
        _ => Delta::finish(pick(&reasons, a)),
    }
}

fn verdict(a: u8, b: u8) -> Verdict {
    let arguments = RawJson::parse(pick(&["{}", "{\"n\":9}", "[1]", "1"], b)).unwrap();
    let reason = "no".to_owned();
    match a % 8 {
        0 => Verdict::Deny { reason },
        1 => Verdict::Fail { reason },
        2 => Verdict::Rewrite(arguments),
        3 => Verdict::Ask {
            question: "?".into(),
            arguments: (b.is_multiple_of(2)).then_some(arguments),
        },
        4 => Verdict::Patch(ModelPatch {
            tools: Some(vec![Arc::from("pure"), Arc::from("nosuch")]),
            messages: vec![user("and")],
            ..ModelPatch::default()
        }),
        _ => Verdict::Proceed,
    }
}

// Long: an arm for each kind of input.
fn input(machine: &Machine, (kind, at, a, b): Move) -> Input {
    use ProviderErrorKind as K;
    let errors = [
        K::RateLimited,
        K::Auth,
        K::ContextOverflow,
        K::Cancelled,
        K::Network,
    ];
    let endings = [
        ToolEnding::Finished,
        ToolEnding::Failed,
        ToolEnding::Invalid,
        ToolEnding::Finished,
        ToolEnding::Interrupted,
    ];
    let effect = effect(machine, at, a);
    match kind % 27 {
        0 => prompt(pick(&["hi", "", " "], a)),
        1 => Input::Prompt(vec![]),
        2 => Input::Continue,
        3 => Input::Steer(
            queue_id(pick(&["a", "b", "c"], a)),
            user(pick(&["x", ""], b)),
        ),
        4 => Input::FollowUp(queue_id(pick(&["a", "d", "e"], a)), user("y")),
        5..=10 => Input::Delta(effect, delta(a, b)),
        11 | 12 => Input::ModelEnded(effect),
        13 => {
            let mut error = ProviderError::new(pick(&errors, b), "no");
            error.retry_after_ms = pick(&[None, Some(0), Some(900), Some(u64::MAX)], a);
            Input::ModelFailed(effect, error)
        }
        14 => Input::ToolProgress(effect, ToolProgress { text: "p".into() }),
        15 | 16 => {
            let mut result = ToolResult::text("ok");
            if a.is_multiple_of(3) {
                result = result.with_change(ContextChange::Revert(Revert {
                    to: Tag::entry(u64::from(at % 5)),
                    category: RevertCategory::DeadEnd,
                    summary: "s".to_owned(),
                }));
            }
            let report = ToolReport::returned(result);
            let ending = pick(&endings, b);
            Input::ToolEnded(effect, ToolReport { ending, ..report })
        }
        17 => {
            let reason = "no".to_owned();
            let approval = pick(&[Approval::Approved {}, Approval::Denied { reason }], b);
            Input::Approval(effect, approval, AnswerScope::Once)
        }
        18 => {
            let (first, count) = (u64::from(a % 4), pick(&[0, 1, 2, 3, u64::MAX], b));
            Input::Compacted(
                effect,
                block(first, count, &["before"]).into(),
                Usage::default(),
            )
        }
        19 => Input::CompactionFailed(effect, "no".into(), Usage::default()),
        20 | 21 => Input::Decided(decision(machine, at, a), verdict(a, b)),
        24 => {
            let tag = |at: u8| Tag {
                entry: pick(&[0, 1, u64::from(at), u64::MAX], at),
                result: pick(&[None, Some(0), Some(u32::MAX)], b),
            };
            Input::Change(ContextChange::Prune(Prune {
                tags: (0..b % 3).map(|more| tag(a.wrapping_add(more))).collect(),
                memo: pick(&[None, Some("m".to_owned()), Some(String::new())], at),
            }))
        }
        25 => Input::Change(ContextChange::Revert(Revert {
            to: Tag::entry(u64::from(a % 8)),
            category: pick(
                &[RevertCategory::Done, RevertCategory::Other(String::new())],
                b / 8,
            ),
            summary: pick(&["s", " "], b / 16).to_owned(),
        })),
        26 => {
            let overlays: Vec<OverlayId> = machine.transcript().overlays().cloned().collect();
            if overlays.is_empty() || b.is_multiple_of(8) {
                let loop_id = machine.loop_id().clone();
                return Input::Restore(OverlayId {
                    loop_id,
                    seq: u64::from(a),
                });
            }
            Input::Restore(pick(&overlays, a))
        }
        22 => match b % 16 {
            0 => Input::Stop("enough".into()),
            1 => Input::Cancel,
            2 => Input::SurfaceChanged(SurfaceChanged {
                models: Some(Arc::from([])),
                ..SurfaceChanged::default()
            }),
            3 => Input::SurfaceChanged(SurfaceChanged {
                tools: Some(Arc::from([])),
                ..SurfaceChanged::default()
            }),
            _ => Input::Timeout,
        },
        _ => Input::Timeout,
    }
}

/// Plays the moves and checks after each; says how many were taken and how many refused.
fn play(seed: u64, moves: &[Move]) -> (usize, usize) {
    let mut bench = Bench::new(any_configuration(&mut Dice::new(seed)));
    let (mut taken, mut refused) = (0, 0);
    for it in moves {
        bench.pass(i64::from(it.3) * 3);
        let input = input(&bench.machine, *it);
        let before = bench.machine.clone();
        let text = format!("{input:?}");
        if bench.machine.handle(bench.now, input).is_ok() {
            taken += 1;
        } else {
            refused += 1;
            assert_eq!(before, bench.machine, "{text}");
            let (before, after) = (format!("{before:?}"), format!("{:?}", bench.machine));
            assert_eq!(before, after, "{text}");
            assert_eq!(bench.machine.poll(), None, "{text}");
        }
        bench.drain();
        let machine = &bench.machine;
        let awaited = machine.outcome().is_some()
            || !machine.outstanding().is_empty()
            || machine.next_timeout().is_some()
            || machine.awaits().is_some();
        assert!(
            awaited,
            "{text}: nothing is awaited after {:?}",
            bench.kinds()
        );
        for effect in &bench.effects {
            if let Effect::CallModel(call) = effect {
                let view = &call.request.view;
                let checked = check_transcript(view);
                assert_eq!(checked, Ok(()), "{text}: {:?}", words(view));
            }
        }
        bench.effects.clear();
    }
    if !bench.events.is_empty() {
        let restored = Machine::restore(&Transcript::new(), &bench.events).unwrap();
        assert_eq!(restored, bench.machine);
    }
    (taken, refused)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rule_02_nothing_panics_and_a_refusal_changes_nothing(
        seed in any::<u64>(),
        moves in prop::collection::vec(any::<Move>(), 0..80),
    ) {
        // Most sequences begin as a loop does.
        let mut all = vec![(0, 0, 0, 0)];
        if seed.is_multiple_of(8) {
            all.clear();
        }
        all.extend(moves);
        play(seed, &all);
    }
}

#[test]
fn the_moves_reach_both_sides() {
    let mut dice = Dice::new(7);
    let mut byte = || u8::try_from(dice.roll(256)).unwrap();
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..30 {
        let mut moves: Vec<Move> = vec![(0, 0, 0, 0)];
        moves.extend((0..60).map(|_| (byte(), byte(), byte(), byte())));
        let (yes, no) = play(seed, &moves);
        taken += yes;
        refused += no;
    }
    assert!(
        taken > 200 && refused > 200,
        "{taken} taken, {refused} refused"
    );
}
