//! A budget that several loops share ends them in time, and the log says so.

use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use phi_loop::simulation::Dice;
use phi_loop::{Budget, Driver, Ledger, Run, Spending, Start, Update, replay};
use phi_testkit::{MemoryJournal, Reply, ScriptedProvider, ScriptedTool};
use phi_types::{
    Configuration, Delta, Event, EventKind, Identity, LimitKind, LimitScope, Options, Outcome,
    Point, Provider, ProviderError, Request, SessionId, ToolEnding, Transcript, TurnTrigger, Usage,
};

use crate::facts::{
    all, calling, done, driver, endings, events, finished, provider, until_it_waits,
};

fn usage(tokens: u64) -> Usage {
    Usage {
        input_tokens: Some(tokens),
        output_tokens: Some(0),
        ..Usage::default()
    }
}

fn tokens(tokens: u64) -> Ledger {
    Ledger::new(Budget {
        tokens: Some(tokens),
        ..Budget::default()
    })
}

fn start(driver: &Driver, session: &str, configuration: Configuration) -> Start {
    let mut surface = driver.surface("", "m");
    surface.options = Arc::new(Options {
        output_tokens_max: Some(20),
        ..Options::default()
    });
    Start::new(SessionId::new(session).unwrap(), configuration, surface)
}

fn begin(driver: &Driver, configuration: Configuration) -> Run {
    driver
        .prompt(start(driver, "s", configuration), "Do it.")
        .unwrap()
}

fn looking() -> (ScriptedTool, fn() -> Reply) {
    let tool = ScriptedTool::returning("look", "seen");
    (tool, || calling(&["look"]).with_usage(usage(40)))
}

fn warned(updates: &[Update]) -> Vec<(LimitKind, LimitScope)> {
    let events = events(updates);
    let warned = events.iter().filter_map(|event| match &event.kind {
        EventKind::LimitWarning(warning) => Some((warning.limit, warning.scope)),
        _ => None,
    });
    warned.collect()
}

fn limit_of(updates: &[Update]) -> Option<LimitKind> {
    events(updates).iter().find_map(|event| match &event.kind {
        EventKind::LimitReached(reached) => Some(reached.limit),
        _ => None,
    })
}

fn replays(updates: &[Update]) {
    let log = events(updates);
    replay(&Transcript::new(), &log).unwrap();
    for len in 1..log.len() {
        replay(&Transcript::new(), &log[..len]).unwrap();
    }
}

#[tokio::test]
async fn a_loop_ends_before_the_call_that_would_exceed_it() {
    let (tool, looks) = looking();
    let provider = provider([looks(), looks(), looks(), done()]);
    let ledger = tokens(130);
    let driver = driver(&provider, &[&tool]).ledger(ledger.clone());
    let mut run = begin(&driver, Configuration::default());
    let updates = all(&mut run).await;
    let limit = LimitKind::Tokens;
    assert_eq!(finished(&run).outcome, Outcome::LimitReached { limit });
    assert_eq!(limit_of(&updates), Some(limit));
    assert_eq!(provider.request_count() as u64 * 40, ledger.spent().tokens);
    assert!(ledger.spent().tokens <= 130);
    assert_eq!(ledger.reserved(), Spending::default());
    replays(&updates);
}

#[tokio::test]
async fn four_fifths_are_warned_of_once_in_every_loop() {
    let (tool, looks) = looking();
    let provider = provider([looks(), looks(), looks(), looks(), looks(), done()]);
    let driver = driver(&provider, &[&tool]).ledger(tokens(245));
    let mut run = begin(&driver, Configuration::default());
    let updates = all(&mut run).await;
    assert_eq!(warned(&updates), [(LimitKind::Tokens, LimitScope::Tree)]);
    replays(&updates);
}

#[tokio::test]
async fn a_grace_turn_wraps_up_beyond_the_budget_and_counts() {
    let (tool, looks) = looking();
    let provider = Arc::new(ScriptedProvider::from_fn(move |_, request| {
        Some(if request.tools.is_empty() {
            Reply::text("So far.").with_usage(usage(7))
        } else {
            looks()
        })
    }));
    let ledger = tokens(200);
    let driver = driver(&provider, &[&tool]).ledger(ledger.clone());
    let configuration = Configuration {
        grace_turn: true,
        ..Configuration::default()
    };
    let mut run = begin(&driver, configuration);
    let updates = all(&mut run).await;
    let limit = LimitKind::Tokens;
    assert_eq!(finished(&run).outcome, Outcome::LimitReached { limit });
    let triggers = events(&updates);
    let mut triggers = triggers.iter().filter_map(|event| match &event.kind {
        EventKind::TurnStarted(started) => Some(started.trigger),
        _ => None,
    });
    assert_eq!(triggers.next_back(), Some(TurnTrigger::Grace));
    assert!(provider.last_request().unwrap().tools.is_empty());
    let looked = provider.request_count() as u64 - 1;
    assert!((2..5).contains(&looked), "{looked}");
    assert_eq!(ledger.spent().tokens, looked * 40 + 7);
    assert_eq!(ledger.reserved(), Spending::default());
    replays(&updates);
}

#[tokio::test]
async fn a_budget_without_room_for_one_call_asks_no_model() {
    for grace_turn in [true, false] {
        let provider = provider([done()]);
        let driver = driver(&provider, &[]).ledger(tokens(3));
        let configuration = Configuration {
            grace_turn,
            ..Configuration::default()
        };
        let mut run = begin(&driver, configuration);
        let updates = all(&mut run).await;
        let limit = LimitKind::Tokens;
        assert_eq!(finished(&run).outcome, Outcome::LimitReached { limit });
        assert_eq!(provider.request_count(), 0, "there is nothing to wrap up");
        replays(&updates);
    }
}

#[tokio::test]
async fn tool_calls_are_counted_over_all_loops() {
    let ledger = Ledger::new(Budget {
        tool_calls: Some(5),
        ..Budget::default()
    });
    let tool = ScriptedTool::returning("look", "seen");
    for (round, ran) in [(0, 3), (1, 2)] {
        let provider = provider([calling(&["look"; 3]), done()]);
        let driver = driver(&provider, &[&tool]).ledger(ledger.clone());
        let mut run = begin(&driver, Configuration::default());
        let updates = all(&mut run).await;
        let endings = endings(&updates);
        let finished_calls = endings
            .iter()
            .filter(|(ending, _)| *ending == ToolEnding::Finished);
        assert_eq!(finished_calls.count(), ran, "round {round}");
        if round == 1 {
            let (ending, text) = &endings[2];
            assert_eq!(*ending, ToolEnding::Skipped);
            assert!(text.contains("limit"), "{text}");
            let limit = LimitKind::ToolCalls;
            assert_eq!(finished(&run).outcome, Outcome::LimitReached { limit });
        }
        replays(&updates);
    }
    assert_eq!((tool.started(), ledger.spent().tool_calls), (5, 5));
    assert_eq!(ledger.reserved(), Spending::default());
}

#[tokio::test]
async fn a_cost_is_shared_as_far_as_prices_are_known() {
    let price = phi_types::Price {
        input_usd: 1_000.0,
        output_usd: 0.0,
        cache_read_usd: 0.0,
        cache_write_usd: 0.0,
    };
    for price in [Some(price), None] {
        let (tool, looks) = looking();
        let provider = provider([looks(), looks(), looks(), done()]);
        let ledger = Ledger::new(Budget {
            cost_usd: Some(0.15),
            ..Budget::default()
        });
        let driver = driver(&provider, &[&tool]).ledger(ledger.clone());
        let mut start = start(&driver, "s", Configuration::default());
        let models = start.surface.models.iter().cloned();
        start.surface.models = models
            .map(|model| phi_types::Target { price, ..model })
            .collect();
        let mut run = driver.prompt(start, "Do it.").unwrap();
        all(&mut run).await;
        let limit = LimitKind::Cost;
        let reached = finished(&run).outcome == Outcome::LimitReached { limit };
        assert_eq!(reached, price.is_some());
        assert_eq!(provider.request_count() < 4, price.is_some());
        let spent = ledger.spent();
        assert!(spent.tokens > 0 && spent.cost_usd <= 0.15, "{spent:?}");
        assert_eq!(spent.cost_usd > 0.0, price.is_some());
    }
}

#[tokio::test]
async fn what_is_under_way_is_free_again_after_a_cancel_a_drop_and_a_failed_append() {
    for way in ["cancel", "drop", "append"] {
        let (tool, looks) = looking();
        let provider = provider([looks(), Reply::text("I think").hanging_after(2)]);
        let ledger = tokens(1_000);
        let mut driver = driver(&provider, &[&tool]).ledger(ledger.clone());
        if way == "append" {
            let journal = MemoryJournal::failing_at(5);
            driver = driver.journal(Arc::new(journal));
        }
        let mut run = begin(&driver, Configuration::default());
        until_it_waits(&mut run);
        match way {
            "cancel" => {
                assert_ne!(ledger.reserved(), Spending::default());
                run.handle().cancel();
                all(&mut run).await;
            }
            "drop" => {
                assert_ne!(ledger.reserved(), Spending::default());
                drop(run);
            }
            _ => assert!(matches!(run.finished().outcome, Outcome::Failed { .. })),
        }
        assert_eq!(ledger.reserved(), Spending::default(), "{way}");
    }
}

#[tokio::test]
async fn tokens_that_nobody_reports_count_as_they_are_estimated() {
    let words = "word ".repeat(100);
    let provider = provider([Reply::text(words.as_str())]);
    let ledger = tokens(10_000);
    let driver = driver(&provider, &[]).ledger(ledger.clone());
    let mut run = begin(&driver, Configuration::default());
    let updates = all(&mut run).await;
    assert_eq!(finished(&run).usage, Usage::default());
    let spent = ledger.spent();
    assert!((125..200).contains(&spent.tokens), "{spent:?}");
    let log = events(&updates);
    assert_eq!(Spending::of_logs([log.as_slice()]), spent);
}

#[tokio::test]
async fn hooks_that_claim_nothing_are_not_asked_for_the_ledger() {
    struct Never;
    #[async_trait::async_trait]
    impl phi_loop::Hooks for Never {
        fn points(&self) -> Vec<Point> {
            Vec::new()
        }
        async fn before_model(
            &self,
            _context: &phi_loop::HookContext,
            _request: &Request,
        ) -> Result<phi_loop::ModelDecision, phi_loop::HookError> {
            panic!("it claims no point")
        }
    }
    let provider = provider([done()]);
    let driver = driver(&provider, &[])
        .hooks(Arc::new(Never))
        .ledger(tokens(1_000));
    let mut run = begin(&driver, Configuration::default());
    all(&mut run).await;
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

/// Lets others run before every increment.
struct Yields(Arc<ScriptedProvider>);

impl Provider for Yields {
    fn identity(&self) -> Identity<'_> {
        self.0.identity()
    }

    fn stream(&self, request: Request) -> BoxStream<'static, Result<Delta, ProviderError>> {
        let stream = self.0.stream(request).then(|delta| async {
            tokio::task::yield_now().await;
            delta
        });
        stream.boxed()
    }
}

/// Several loops at once on one ledger, polled in a seeded order.
async fn interleaved(seed: u64) -> u32 {
    let mut dice = Dice::new(seed);
    let budget = 60 + dice.roll(120);
    let ledger = tokens(budget);
    let mut runs: Vec<(Run, Vec<Update>)> = Vec::new();
    for name in ["a", "b", "c"] {
        let tool = ScriptedTool::returning("look", "seen");
        let replies = (0..4).map(|_| {
            // Never more than its reservation: what is estimated of the prompt, and no output.
            let reply = calling(&["look"]).with_usage(usage(dice.roll(20)));
            if dice.one_in(5) {
                reply.cut_after(1)
            } else {
                reply
            }
        });
        let scripted = provider(replies.chain([done()]));
        let driver = Driver::new(Arc::new(Yields(scripted)))
            .tools(vec![Arc::new(tool)])
            .ledger(ledger.clone());
        let run = driver.prompt(start(&driver, name, Configuration::default()), "Do it.");
        runs.push((run.unwrap(), Vec::new()));
    }
    let mut limited = 0;
    while !runs.is_empty() {
        let place = usize::try_from(dice.roll(runs.len() as u64)).unwrap();
        let (run, updates) = &mut runs[place];
        if dice.one_in(150) {
            run.handle().cancel();
        }
        match run.next().now_or_never() {
            Some(Some(update)) => updates.push(update),
            Some(None) => {
                limited += u32::from(limit_of(updates).is_some());
                replays(updates);
                runs.swap_remove(place);
            }
            // Timers of retries pass while nobody works.
            None => tokio::time::advance(std::time::Duration::from_millis(20)).await,
        }
        let (spent, reserved) = (ledger.spent().tokens, ledger.reserved().tokens);
        assert!(
            spent + reserved <= budget,
            "seed {seed}: {spent} and {reserved} of {budget}"
        );
    }
    assert_eq!(ledger.reserved(), Spending::default(), "seed {seed}");
    limited
}

#[tokio::test(start_paused = true)]
async fn loops_at_once_never_exceed_it_together_in_any_order() {
    let mut limited = 0;
    for seed in 0..200 {
        limited += interleaved(seed).await;
    }
    assert!(limited > 50, "{limited} loops met the limit");
}

#[tokio::test]
async fn a_log_tells_what_its_loop_has_spent() {
    let (tool, looks) = looking();
    let provider = provider([looks(), calling(&["look", "look"]), done()]);
    let ledger = tokens(10_000);
    let driver = driver(&provider, &[&tool]).ledger(ledger.clone());
    let mut run = begin(&driver, Configuration::default());
    let updates = all(&mut run).await;
    let log: Vec<Event> = events(&updates);
    assert_eq!(Spending::of_logs([log.as_slice()]), ledger.spent());
    assert_eq!(ledger.spent().tool_calls, 3);
}
