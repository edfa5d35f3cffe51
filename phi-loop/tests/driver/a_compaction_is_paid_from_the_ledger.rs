//! A compaction takes its room in the ledger before it asks a model, and gives back what it did not
//! spend; without room it is the limit that is reached, and not the window.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use phi_loop::{
    Budget, Compact, Compacted, CompactionFailed, Compactor, Driver, DropMiddle, InOrder, Ledger,
    Scope, Spending, Start, Summarise, replay,
};
use phi_testkit::{Reply, ScriptedProvider, ScriptedTool};
use phi_types::{
    CompactAt, Configuration, Event, EventKind, LimitKind, Options, Outcome, Provider,
    ProviderError, ProviderErrorKind, Transcript, Usage,
};

use crate::facts::{all, calling, done, driver, events, finished};
use crate::support::session;

/// Nothing in these loops reports its tokens but where it says so, so estimates hold.
const OUTPUT: u64 = 300;

fn tokens(tokens: u64) -> Ledger {
    Ledger::new(Budget {
        tokens: Some(tokens),
        ..Budget::default()
    })
}

fn overflow() -> Reply {
    let error = ProviderError::new(ProviderErrorKind::ContextOverflow, "too long");
    Reply::new().failing_after(0, error)
}

fn replying(replies: impl IntoIterator<Item = Reply>) -> Arc<ScriptedProvider> {
    let replies: Mutex<VecDeque<Reply>> = Mutex::new(replies.into_iter().collect());
    let next = move |_, _: &_| replies.lock().unwrap().pop_front();
    Arc::new(ScriptedProvider::from_fn(next))
}

/// A driver whose third request overflows, with a model of its own that sums up.
struct Scene {
    driver: Driver,
    summaries: Arc<ScriptedProvider>,
    ledger: Ledger,
}

fn usage(input: u64, output: u64) -> Usage {
    Usage {
        input_tokens: Some(input),
        output_tokens: Some(output),
        ..Usage::default()
    }
}

fn scene(ledger: Ledger, overflows: bool) -> Scene {
    let third = if overflows { overflow() } else { done() };
    let replies = [calling(&["look"]), calling(&["look"]), third, done()];
    let look = ScriptedTool::returning("look", &"much to see ".repeat(50));
    let summary = || Reply::text("They looked twice.").with_usage(usage(40, 7));
    let summaries = Arc::new(ScriptedProvider::new([summary(), summary(), summary()]));
    let of_its_own = Arc::clone(&summaries) as Arc<dyn Provider>;
    let summarise = Summarise::new(of_its_own, "small", Scope::new()).summary_tokens(OUTPUT);
    let driver = driver(&replying(replies), &[&look])
        .compactor(Arc::new(summarise))
        .ledger(ledger.clone());
    Scene {
        driver,
        summaries,
        ledger,
    }
}

async fn run_of(driver: &Driver, configuration: Configuration) -> (Vec<Event>, Outcome) {
    let mut surface = driver.surface("", "m");
    surface.options = Arc::new(Options {
        output_tokens_max: Some(20),
        ..Options::default()
    });
    let start = Start::new(session(), configuration, surface);
    let mut run = driver.prompt(start, "Do it.").unwrap();
    let events = events(&all(&mut run).await);
    for len in 1..=events.len() {
        let replayed = replay(&Transcript::new(), &events[..len]);
        assert!(replayed.is_ok(), "{len}: {replayed:?}");
    }
    (events, finished(&run).outcome)
}

fn limit_reached() -> Outcome {
    let limit = LimitKind::Tokens;
    Outcome::LimitReached { limit }
}

fn has(events: &[Event], kind: &str) -> bool {
    events.iter().any(|it| crate::support::kind_of(it) == kind)
}

/// The least budget with which the loop comes to its end.
async fn least(overflows: bool) -> u64 {
    let (mut too_little, mut enough) = (0, 20_000);
    while enough - too_little > 1 {
        let budget = u64::midpoint(too_little, enough);
        let scene = scene(tokens(budget), overflows);
        match run_of(&scene.driver, Configuration::default()).await.1 {
            Outcome::Completed {} => enough = budget,
            _ => too_little = budget,
        }
    }
    enough
}

#[tokio::test]
async fn a_compaction_without_room_reaches_the_limit_of_the_tree_and_asks_no_model() {
    let least = least(true).await;
    let scene = scene(tokens(least - 1), true);
    let (events, outcome) = run_of(&scene.driver, Configuration::default()).await;
    assert_eq!(outcome, limit_reached());
    assert!(has(&events, "limit_reached") && !has(&events, "compaction_started"));
    assert_eq!(scene.summaries.request_count(), 0);
    assert!(scene.ledger.spent().tokens < least);
    assert_eq!(scene.ledger.reserved(), Spending::default());
}

#[tokio::test]
async fn the_room_holds_the_view_and_all_that_the_summary_may_write() {
    let with_overflow = least(true).await;
    let scene = scene(tokens(with_overflow), true);
    let (events, outcome) = run_of(&scene.driver, Configuration::default()).await;
    assert_eq!(outcome, Outcome::Completed {});
    assert!(has(&events, "compaction_ended"));
    assert_eq!(scene.summaries.request_count(), 1);
    // What was there when it began: the calls before it, the view, its instructions, its output.
    let before: u64 = with_overflow - OUTPUT;
    let view = scene.summaries.last_request().unwrap().view;
    assert!(before > view.estimated_tokens(), "{with_overflow}");
    let spent = scene.ledger.spent().tokens;
    assert!(spent + OUTPUT < with_overflow, "{spent} of {with_overflow}");
    assert_eq!(scene.ledger.reserved(), Spending::default());
    assert_eq!(Spending::of_logs([&events[..]]).tokens, spent);
}

#[tokio::test]
async fn what_a_compaction_was_billed_is_spent_and_the_rest_is_free_again() {
    let scene = scene(tokens(100_000), true);
    let (events, _) = run_of(&scene.driver, Configuration::default()).await;
    let billed = events.iter().find_map(|event| match &event.kind {
        EventKind::CompactionEnded(ended) => Some(ended.usage),
        _ => None,
    });
    assert_eq!(billed, Some(usage(40, 7)));
    assert_eq!(scene.ledger.reserved(), Spending::default());
    let spent = scene.ledger.spent();
    assert_eq!(spent, Spending::of_logs([&events[..]]));
}

#[tokio::test]
async fn a_compaction_that_was_only_early_is_left_out_and_the_loop_goes_on() {
    let configuration = || Configuration {
        compact_at: Some(CompactAt::Tokens(100)),
        ..Configuration::default()
    };
    let least = least(false).await;
    let scene = scene(tokens(least), false);
    let (events, outcome) = run_of(&scene.driver, configuration()).await;
    assert_eq!(outcome, Outcome::Completed {});
    assert_eq!(scene.summaries.request_count(), 0);
    assert!(has(&events, "compaction_ended") && !has(&events, "limit_reached"));
    // With less, it is the model call that meets the limit.
    let scene = self::scene(tokens(least - 1), false);
    let (events, outcome) = run_of(&scene.driver, configuration()).await;
    assert_eq!(outcome, limit_reached());
    assert!(has(&events, "limit_reached") && has(&events, "compaction_ended"));
}

#[tokio::test]
async fn a_strategy_that_asks_no_model_needs_no_room() {
    let free: [Arc<dyn Compactor>; 2] = [
        Arc::new(DropMiddle::default()),
        Arc::new(InOrder::new(vec![Arc::new(DropMiddle::default())])),
    ];
    let with_summary = least(true).await;
    for compactor in free {
        // The middle is left out where there would be no room for a summary.
        let scene = scene(tokens(with_summary - OUTPUT), true);
        let driver = scene.driver.clone().compactor(compactor);
        let (events, outcome) = run_of(&driver, Configuration::default()).await;
        assert_eq!(outcome, Outcome::Completed {}, "{events:?}");
        assert_eq!(scene.ledger.reserved(), Spending::default());
    }
}

/// A strategy of somebody else that does not know what it costs.
struct Unsure;

#[async_trait]
impl Compactor for Unsure {
    async fn compact(&self, compact: &Compact) -> Result<(Compacted, Usage), CompactionFailed> {
        DropMiddle::default().compact(compact).await
    }

    fn spends_at_most(&self, _: &Compact) -> Spending {
        panic!("how would it know")
    }
}

#[tokio::test]
async fn a_strategy_that_panics_over_its_cost_breaks_no_run() {
    let scene = scene(tokens(100_000), true);
    let driver = scene.driver.clone().compactor(Arc::new(Unsure));
    let (_, outcome) = run_of(&driver, Configuration::default()).await;
    assert_eq!(outcome, Outcome::Completed {});
    assert_eq!(scene.ledger.reserved(), Spending::default());
}
