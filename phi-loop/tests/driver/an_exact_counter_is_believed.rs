//! With an exact counter, what a compaction keeps and reports is what the request contains.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use phi_loop::{
    Compact, CompactionDecision, Compactor, Driver, DropMiddle, HookContext, HookError, Hooks,
    InOrder, Keep, Machine, Scope, TruncateResults, replay,
};
use phi_testkit::{Reply, ScriptedCall, ScriptedProvider, ScriptedTool};
use phi_types::{
    CompactAt, CompactionEnded, Configuration, Event, EventKind, Outcome, Point, Request, Surface,
    TokenCounter, Transcript,
};
use proptest::prelude::*;

use crate::facts::{all, done, driver, events, finished, run};

/// Counts every letter, so that it differs from the estimate.
#[derive(Default)]
struct Letters {
    texts: AtomicUsize,
}

impl TokenCounter for Letters {
    fn text(&self, text: &str) -> u64 {
        self.texts.fetch_add(1, Ordering::Relaxed);
        text.chars().count() as u64
    }
}

fn tokens_of(request: &Request) -> u64 {
    let surface = Surface {
        system: Arc::clone(&request.system),
        tools: Arc::clone(&request.tools),
        options: Arc::clone(&request.options),
        ..Surface::default()
    };
    let entries = request.view.newest_first();
    let view: u64 = entries.map(|it| Letters::default().entry(it)).sum();
    Letters::default().surface(&surface) + view
}

/// A loop of many turns whose calls return much.
fn long(turns: usize) -> (Arc<ScriptedProvider>, ScriptedTool) {
    let count = AtomicUsize::new(0);
    let reply = move |_, _: &_| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        let call = ScriptedCall::new("look", format!("{{\"n\":{n}}}"));
        Some(if n < turns {
            Reply::new().with_call(call)
        } else {
            done()
        })
    };
    (
        Arc::new(ScriptedProvider::from_fn(reply)),
        ScriptedTool::returning("look", &"much to see ".repeat(50)),
    )
}

fn at(tokens: u64) -> Configuration {
    Configuration {
        compact_at: Some(CompactAt::Tokens(tokens)),
        ..Configuration::default()
    }
}

async fn events_of(driver: &Driver, configuration: Configuration) -> Vec<Event> {
    let mut run = run(driver, configuration);
    let events = events(&all(&mut run).await);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
    let replayed = replay(&Transcript::new(), &events);
    assert!(replayed.is_ok(), "{replayed:?}");
    for length in 1..events.len() {
        let restored = Machine::restore(&Transcript::new(), &events[..length]);
        assert!(restored.is_ok(), "{restored:?}");
    }
    events
}

fn ended(events: &[Event]) -> Vec<CompactionEnded> {
    let ended = events.iter().filter_map(|event| match &event.kind {
        EventKind::CompactionEnded(ended) => Some((**ended).clone()),
        _ => None,
    });
    ended.collect()
}

/// Holds each figure against the request that was sent next.
fn check_figures(events: &[Event], provider: &ScriptedProvider) -> usize {
    let (mut requests, mut figure, mut figures) = (provider.requests().into_iter(), None, 0);
    for event in events {
        match &event.kind {
            EventKind::CompactionEnded(ended) => figure = ended.counted.clone(),
            EventKind::ModelStarted(_) => {
                let request = requests.next().unwrap();
                if let Some(counted) = figure.take() {
                    assert_eq!(counted.after, tokens_of(&request));
                    figures += 1;
                }
            }
            _ => {}
        }
    }
    figures
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_figure_is_that_of_the_next_request(
        turns in 2_usize..24, threshold in 1_500_u64..12_000, strategy in 0..3,
    ) {
        let scope = Scope::new();
        let compactor: Arc<dyn Compactor> = match strategy {
            0 => Arc::new(DropMiddle::new(scope)),
            1 => Arc::new(DropMiddle::new(scope.keep(Keep::Tokens(threshold / 3)))),
            _ => Arc::new(InOrder::new(vec![
                Arc::new(TruncateResults::new(200)),
                Arc::new(DropMiddle::new(scope)),
            ])),
        };
        let (provider, tool) = long(turns);
        let driver = driver(&provider, &[&tool])
            .compactor(compactor)
            .counter(Arc::new(Letters::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let events = runtime.block_on(events_of(&driver, at(threshold)));
        check_figures(&events, &provider);
        for ended in ended(&events) {
            if let Some(counted) = &ended.counted {
                prop_assert_eq!(ended.tokens, Some(counted.after));
                prop_assert!(counted.after <= counted.before);
            }
        }
    }
}

#[tokio::test]
async fn compactions_follow_the_count_and_not_the_estimate() {
    let (provider, tool) = long(12);
    let driver = driver(&provider, &[&tool])
        .compactor(Arc::new(DropMiddle::default()))
        .counter(Arc::new(Letters::default()));
    let events = events_of(&driver, at(2_000)).await;
    assert!(check_figures(&events, &provider) > 1);
    let done = ended(&events);
    let shrunk = done.iter().filter(|ended| ended.block.is_some());
    let budgets: Vec<u64> = shrunk.filter_map(|ended| ended.tokens).collect();
    assert!(!budgets.is_empty());
    // Half of the threshold, by the counter; the newest turn alone may be more.
    assert!(budgets.iter().all(|tokens| *tokens <= 1_500), "{budgets:?}");
}

#[tokio::test]
async fn a_request_that_is_small_enough_when_counted_is_left_alone() {
    /// Everything is a token.
    struct Few;
    impl TokenCounter for Few {
        fn text(&self, _: &str) -> u64 {
            1
        }
    }
    let (provider, tool) = long(12);
    let driver = driver(&provider, &[&tool])
        .compactor(Arc::new(DropMiddle::default()))
        .counter(Arc::new(Few));
    let events = events_of(&driver, at(500)).await;
    let ended = ended(&events);
    assert!(
        ended
            .iter()
            .all(|it| it.block.is_none() && it.error.is_none())
    );
    assert_eq!(ended.len(), 1, "the estimate learns from the count");
    assert_eq!(provider.last_request().unwrap().view.len(), 25);
}

#[tokio::test]
async fn a_request_that_is_larger_than_estimated_is_compacted_in_time() {
    /// A letter is two tokens, eight times the estimate.
    struct Many;
    impl TokenCounter for Many {
        fn text(&self, text: &str) -> u64 {
            text.len() as u64 * 2
        }
    }
    let (provider, tool) = long(8);
    let plain = driver(&provider, &[&tool]).compactor(Arc::new(DropMiddle::default()));
    let uncounted = events_of(&plain, at(4_000)).await;
    assert_eq!(ended(&uncounted).len(), 0, "by the estimate all is well");
    let (provider, tool) = long(8);
    let counting = driver(&provider, &[&tool])
        .compactor(Arc::new(DropMiddle::default()))
        .counter(Arc::new(Many));
    let counted = events_of(&counting, at(4_000)).await;
    let first = ended(&counted)[0].counted.clone().unwrap();
    assert!(first.before > 4_000 && first.after < 4_000, "{first:?}");
}

#[tokio::test]
async fn an_entry_is_counted_once_for_all_compactions() {
    let letters = Arc::new(Letters::default());
    let (provider, tool) = long(40);
    let driver = driver(&provider, &[&tool])
        .compactor(Arc::new(DropMiddle::default()))
        .counter(Arc::clone(&letters) as Arc<dyn TokenCounter>);
    let events = events_of(&driver, at(2_000)).await;
    let compactions = ended(&events).len();
    assert!(compactions > 5, "{compactions}");
    // Two texts for each turn, and the surface, the note and what stands for the middle each time.
    let texts = letters.texts.load(Ordering::Relaxed);
    assert!(
        texts < 40 * 3 + compactions * 20,
        "{texts} for {compactions}"
    );
}

#[tokio::test]
async fn hooks_see_what_was_counted_and_a_counter_that_panics_breaks_no_run() {
    struct Sees(AtomicUsize);
    #[async_trait]
    impl Hooks for Sees {
        fn points(&self) -> Vec<Point> {
            vec![Point::BeforeCompaction]
        }

        async fn before_compaction(
            &self,
            _: &HookContext,
            compact: &Compact,
        ) -> Result<CompactionDecision, HookError> {
            let tokens = compact.tokens_of(&compact.view);
            self.0
                .store(usize::try_from(tokens).unwrap(), Ordering::Relaxed);
            Ok(CompactionDecision::Proceed)
        }
    }
    struct Panics;
    impl TokenCounter for Panics {
        fn text(&self, _: &str) -> u64 {
            panic!("boom")
        }
    }
    let hooks = Arc::new(Sees(AtomicUsize::new(0)));
    let compacting = || {
        let (provider, tool) = long(3);
        driver(&provider, &[&tool]).compactor(Arc::new(DropMiddle::default()))
    };
    let counting = compacting()
        .hooks(Arc::clone(&hooks) as Arc<dyn Hooks>)
        .counter(Arc::new(Letters::default()));
    let events = events_of(&counting, at(500)).await;
    let counted = ended(&events)
        .last()
        .and_then(|it| it.counted.clone())
        .unwrap();
    assert_eq!(hooks.0.load(Ordering::Relaxed) as u64, counted.before);

    for hooks in [hooks as Arc<dyn Hooks>, Arc::new(())] {
        let panics = compacting().hooks(hooks).counter(Arc::new(Panics));
        let events = events_of(&panics, at(500)).await;
        let failed = ended(&events);
        let says = |it: &CompactionEnded| it.error.clone().unwrap_or_default();
        assert!(failed.iter().all(|it| says(it).contains("panicked: boom")));
        assert!(!failed.is_empty());
    }
}

#[tokio::test]
async fn an_altered_count_is_noticed() {
    let (provider, tool) = long(6);
    let driver = driver(&provider, &[&tool])
        .compactor(Arc::new(DropMiddle::default()))
        .counter(Arc::new(Letters::default()));
    let events = events_of(&driver, at(2_000)).await;
    let counts = |event: &Event| matches!(&event.kind, EventKind::CompactionEnded(ended) if ended.counted.is_some());
    let place = events.iter().position(counts).unwrap();
    for change in 0..2 {
        let mut altered = events.clone();
        let EventKind::CompactionEnded(ended) = &mut altered[place].kind else {
            unreachable!()
        };
        let counted = Arc::make_mut(ended).counted.as_mut().unwrap();
        match change {
            0 => counted.before += 1,
            _ => counted.after -= 1,
        }
        assert!(replay(&Transcript::new(), &altered).is_err());
    }
}
