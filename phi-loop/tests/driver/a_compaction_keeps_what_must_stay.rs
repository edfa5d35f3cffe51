//! The laws of every strategy: what is left fits or a typed error says that it cannot, the first task,
//! the last ask, pins and pairs stay, and nothing is compacted into growth.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{self, BoxStream, StreamExt};
use phi_loop::simulation::Dice;
use phi_loop::{
    Breaker, Compact, Compacted, CompactionFailed, Compactor, Counting, DropMiddle, InOrder, Keep,
    Scope, Summarise, TruncateResults,
};
use phi_testkit::{Reply, ScriptedProvider, check_transcript};
use phi_types::{
    Arguments, AssistantMessage, AssistantPart, Calibration, CallResult, Content, Delta, EffectId,
    Entry, EstimatedTokens, History, Identity, LoopId, Origin, PartFacts, Provider, ProviderError,
    ProviderErrorKind, RawJson, Request, StopReason, Surface, TextPart, TokenCounter, ToolCall,
    ToolResult, Usage, UserMessage,
};
use proptest::prelude::*;

use crate::support::{session, surface, user};

fn answer(parts: Vec<AssistantPart>) -> Entry {
    Entry::Assistant(Arc::new(AssistantMessage {
        parts,
        stop_reason: StopReason::EndTurn,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin: Origin::default(),
    }))
}

/// A conversation of several loops: prompts, steering, turns with calls, long and short results.
fn conversation(dice: &mut Dice, turns: u64) -> History {
    let mut view = History::new();
    let text = |dice: &mut Dice, most: u64| {
        let length = usize::try_from(1 + dice.roll(most)).unwrap();
        if dice.one_in(5) { "\u{6f22}" } else { "word " }.repeat(length)
    };
    view.push(Entry::User(user(&text(dice, 40))));
    for turn in 0..turns {
        let said = AssistantPart::Text(TextPart::new(text(dice, 60)));
        if dice.one_in(4) {
            view.push(answer(vec![said]));
            view.push(Entry::User(user(&text(dice, 30))));
            continue;
        }
        let calls = 1 + dice.roll(3);
        let calls: Vec<Arc<ToolCall>> = (0..calls)
            .map(|n| {
                let arguments = RawJson::from_value(&text(dice, 20)).unwrap();
                Arc::new(ToolCall {
                    id: format!("c{turn}-{n}").into(),
                    name: "look".into(),
                    arguments: Arguments::parse(&format!("{{\"what\":{arguments}}}")),
                    facts: PartFacts::default(),
                })
            })
            .collect();
        let parts = calls
            .iter()
            .map(|call| AssistantPart::ToolCall(Arc::clone(call)));
        view.push(answer(std::iter::once(said).chain(parts).collect()));
        let results = calls.iter().map(|call| {
            let result = ToolResult::text(text(dice, if turn % 3 == 0 { 2_000 } else { 20 }));
            let (call, result) = (Arc::clone(call), Arc::new(result));
            CallResult { call, result }
        });
        view.push(Entry::Results(results.collect()));
        if dice.one_in(6) {
            view.push(Entry::User(user(&format!("PIN {}", text(dice, 10)))));
        }
    }
    view
}

fn compact(view: &History, window_tokens: Option<u64>, budget_tokens: u64) -> Compact {
    let loop_id = LoopId::new("s.default.1").unwrap();
    Compact {
        id: EffectId { loop_id, seq: 9 },
        session: session(),
        view: view.clone(),
        surface: surface(),
        window_tokens,
        budget_tokens,
        threshold_tokens: None,
        counting: Counting::Estimated(Calibration::new(150, 100)),
        surface_tokens: EstimatedTokens.surface(&surface()),
    }
}

/// A summary has a timeout, which needs tokio's clock.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().build().unwrap().block_on(future)
}

fn is_pin(message: &UserMessage) -> bool {
    matches!(message.content.first(), Some(Content::Text { text }) if text.starts_with("PIN"))
}

/// What users said, without what stands for what they said.
fn users(view: &History) -> Vec<Arc<UserMessage>> {
    let users = view.entries().into_iter().filter_map(|entry| match entry {
        Entry::User(message) => Some(Arc::clone(message)),
        _ => None,
    });
    let stand_in = |message: &UserMessage| match &message.content[0] {
        Content::Text { text } => text.starts_with("[Earlier") || text.starts_with("[Summary"),
        Content::Image { .. } => false,
    };
    users.filter(|it| !stand_in(it)).collect()
}

/// A strategy for each seed: alone, in every scope, in order, with a model that fails now and then.
fn strategy(dice: &mut Dice) -> Box<dyn Compactor> {
    let keep = match dice.roll(3) {
        0 => Keep::Budget,
        1 => Keep::Tokens(dice.roll(2_000)),
        _ => Keep::Loops(usize::try_from(dice.roll(4)).unwrap()),
    };
    let scope = Scope::new().keep(keep).pinned(is_pin);
    let length = usize::try_from(dice.roll(3_000)).unwrap();
    let fails = dice.one_in(3);
    let model: Arc<dyn Provider> = Arc::new(ScriptedProvider::from_fn(move |_, _| {
        let reply = Reply::text(format!("It was about {}.", "words ".repeat(length)));
        let error = ProviderError::new(ProviderErrorKind::Server, "no");
        Some(if fails {
            reply.failing_after(1, error)
        } else {
            reply
        })
    }));
    match dice.roll(4) {
        0 => Box::new(TruncateResults::new(
            usize::try_from(dice.roll(3_000)).unwrap(),
        )),
        1 => Box::new(DropMiddle::new(scope)),
        2 => Box::new(Summarise::new(model, "m", scope)),
        _ => Box::new(InOrder::usual(model, "m", scope)),
    }
}

/// Counts letters, so that it differs from the estimate.
struct Letters;

impl TokenCounter for Letters {
    fn text(&self, text: &str) -> u64 {
        text.chars().count() as u64 / 3
    }
}

/// What a strategy returned makes the view smaller and keeps what must stay.
fn kept(before: &Compact, done: &Compacted) -> History {
    let after = before
        .view
        .overlaid(&done.pruned, done.block.as_ref())
        .unwrap();
    let counted = |view| before.counting.view(view);
    assert!(counted(&after) < counted(&before.view), "{done:?}");
    assert_eq!(check_transcript(&after), Ok(()));
    let (was, is) = (users(&before.view), users(&after));
    assert_eq!(was.first(), is.first(), "the first task");
    assert_eq!(was.last(), is.last(), "the last ask");
    let pins = |users: &[Arc<UserMessage>]| -> Vec<_> {
        users.iter().filter(|it| is_pin(it)).cloned().collect()
    };
    assert_eq!(pins(&was), pins(&is), "the pins");
    after
}

fn pinning() -> DropMiddle {
    DropMiddle::new(Scope::new().pinned(is_pin))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_the_conversation_is(seed: u64, turns in 0_u64..40, budget in 0_u64..20_000) {
        let mut dice = Dice::new(seed);
        let view = conversation(&mut dice, turns);
        let window = dice.one_in(2).then(|| budget * 2);
        let strategy = strategy(&mut dice);
        let mut before = compact(&view, window, budget);
        if dice.one_in(3) {
            before = before.counted_by(Arc::new(Letters));
        }
        // Again and again, as a loop would: it ends, because each time less is left.
        for _ in 0..200 {
            match block_on(strategy.compact(&before)) {
                Ok((done, _)) => before.view = kept(&before, &done),
                Err(failed) => {
                    prop_assert!(!failed.to_string().is_empty());
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "it does not end");
    }

    #[test]
    fn leaving_out_keeps_to_the_budget_where_the_newest_turn_does(seed: u64, turns in 4_u64..40) {
        let mut dice = Dice::new(seed);
        let view = conversation(&mut dice, turns);
        let all = compact(&view, None, 0);
        let budget = all.tokens_of(&view) / 2;
        let before = compact(&view, None, budget);
        if let Ok((done, _)) = block_on(pinning().compact(&before)) {
            let after = kept(&before, &done);
            let small = before.tokens_of(&after) <= budget;
            // Otherwise everything that may go is gone.
            let note_and_kept = done.block.unwrap().replacement.len();
            let newest = after.len() - note_and_kept - 1;
            prop_assert!(small || newest <= 2, "{newest} entries are left");
        }
    }
}

fn fixed(turns: u64) -> History {
    conversation(&mut Dice::new(7), turns)
}

#[test]
fn a_view_that_cannot_fit_is_a_typed_error() {
    let view = fixed(20);
    let failed = block_on(DropMiddle::default().compact(&compact(&view, Some(20), 10)));
    let Err(CompactionFailed::CannotFit {
        tokens,
        most_tokens,
    }) = failed
    else {
        panic!("{failed:?}")
    };
    assert!(tokens > most_tokens && most_tokens == 20);
    let one: History = [Entry::User(user("Hi."))].into_iter().collect();
    let failed = block_on(DropMiddle::default().compact(&compact(&one, None, 0)));
    assert_eq!(failed, Err(CompactionFailed::NothingToLeaveOut));
}

#[test]
fn the_newest_loops_stay_as_they_are() {
    let view = fixed(30);
    let strategy = DropMiddle::new(Scope::new().keep(Keep::Loops(2)));
    let (done, _) = block_on(strategy.compact(&compact(&view, None, 0))).unwrap();
    let block = done.block.unwrap();
    let entries = view.entries();
    let end = usize::try_from(block.first + block.count).unwrap();
    let starts = |from: usize| {
        let pairs = entries[from..].windows(2);
        pairs
            .filter(|it| matches!(it, [Entry::Assistant(_), Entry::User(_)]))
            .count()
    };
    assert!(matches!(entries[end], Entry::User(_)));
    assert_eq!(starts(end - 1), 2);
}

#[test]
fn long_results_lose_their_middle_the_oldest_first_until_it_is_enough() {
    let view = fixed(30);
    let all = compact(&view, None, 0).tokens_of(&view);
    let before = compact(&view, None, all - 1_000);
    let (done, _) = block_on(TruncateResults::new(500).compact(&before)).unwrap();
    let after = kept(&before, &done);
    assert!(before.tokens_of(&after) <= before.budget_tokens);
    let later = block_on(TruncateResults::new(500).compact(&compact(&view, None, 0)))
        .unwrap()
        .0;
    assert!(done.pruned.len() < later.pruned.len());
    assert_eq!(done.pruned[..], later.pruned[..done.pruned.len()]);
}

#[test]
fn a_summary_stands_for_what_the_model_read() {
    let view = fixed(12);
    let provider = Arc::new(ScriptedProvider::new([Reply::text("They looked around.")
        .with_usage(Usage {
            input_tokens: Some(70),
            ..Usage::default()
        })]));
    let model = Arc::clone(&provider) as Arc<dyn Provider>;
    let strategy =
        Summarise::new(model, "small", Scope::new().pinned(is_pin)).input_bytes_max(3_000);
    let before = compact(&view, None, 900);
    let (done, usage) = block_on(strategy.compact(&before)).unwrap();
    kept(&before, &done);
    assert_eq!(usage.input_tokens, Some(70));
    let summary = &done.block.unwrap().replacement[0];
    let expected = "[Summary of the earlier conversation]\nThey looked around.";
    assert_eq!(**summary, UserMessage::text(expected));
    let request = provider.last_request().unwrap();
    assert_eq!((&*request.model, request.tools.len()), ("small", 0));
    assert!(
        EstimatedTokens.surface(&Surface {
            system: request.system,
            ..Surface::default()
        }) > 0
    );
    let [asked] = &users(&request.view)[..] else {
        panic!("one message is read")
    };
    let Content::Text { text } = &asked.content[0] else {
        panic!("it is text")
    };
    assert!(
        text.starts_with("<conversation>\n") && text.len() < 3_100,
        "{}",
        text.len()
    );
}

#[test]
fn a_strategy_that_failed_too_often_rests_and_is_tried_again() {
    let provider = Arc::new(ScriptedProvider::from_fn(|_, _| {
        let error = ProviderError::new(ProviderErrorKind::Server, "no");
        Some(Reply::new().failing_after(0, error))
    }));
    let model = Arc::clone(&provider) as Arc<dyn Provider>;
    let breaker = Breaker::new(Summarise::new(model, "m", Scope::new()), 3);
    let before = compact(&fixed(12), None, 500);
    let mut resting = 0;
    for _ in 0..12 {
        let failed = block_on(breaker.compact(&before)).unwrap_err();
        resting += usize::from(matches!(failed, CompactionFailed::Resting { failures: 3 }));
    }
    assert_eq!((provider.request_count(), resting), (4, 8));
}

/// A model that says a word each second and never ends.
struct Slow;

impl Provider for Slow {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: "slow",
            provider: "slow",
        }
    }

    fn stream(&self, _: Request) -> BoxStream<'static, Result<Delta, ProviderError>> {
        let usage = Delta::Usage(Usage {
            input_tokens: Some(70),
            ..Usage::default()
        });
        let words = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok(Delta::text(0, "and ")), ()))
        });
        stream::iter([Ok(usage)]).chain(words).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_summary_that_takes_too_long_fails_with_what_it_took() {
    let began = tokio::time::Instant::now();
    for (strategy, seconds) in [
        (Summarise::new(Arc::new(Slow), "m", Scope::new()), 120),
        (
            Summarise::new(Arc::new(Slow), "m", Scope::new()).timeout(Duration::from_secs(5)),
            125,
        ),
    ] {
        let failed = strategy.compact(&compact(&fixed(12), None, 500)).await;
        assert_eq!(began.elapsed().as_secs(), seconds);
        let Err(CompactionFailed::Model(failed)) = failed else {
            panic!("{failed:?}")
        };
        assert_eq!(failed.error.kind, ProviderErrorKind::Timeout);
        assert_eq!(failed.usage.input_tokens, Some(70));
    }
}

/// A model that always has something to say at once.
struct Endless;

impl Provider for Endless {
    fn identity(&self) -> Identity<'_> {
        Slow.identity()
    }

    fn stream(&self, _: Request) -> BoxStream<'static, Result<Delta, ProviderError>> {
        stream::repeat_with(|| Ok(Delta::text(0, ""))).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_summary_that_never_pauses_lets_others_run_and_has_its_timeout_too() {
    let strategy = Summarise::new(Arc::new(Endless), "m", Scope::new());
    let compact = compact(&fixed(12), None, 500);
    let mut summary = strategy.compact(&compact);
    for _ in 0..10 {
        assert!((&mut summary).now_or_never().is_none());
    }
    tokio::time::advance(Duration::from_secs(121)).await;
    let failed = summary.await;
    let Err(CompactionFailed::Model(failed)) = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(failed.error.kind, ProviderErrorKind::Timeout);
}
