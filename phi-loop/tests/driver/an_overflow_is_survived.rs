//! A driver with a compactor goes on after an overflow, and compacts before one where it is told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use phi_loop::{
    Compact, Compacted, CompactionDecision, CompactionFailed, Compactor, Driver, DropMiddle,
    HookContext, HookError, Hooks, Scope, Update, replay,
};
use phi_testkit::{Reply, ScriptedProvider, ScriptedTool};
use phi_types::{
    CompactAt, CompactionEnded, Configuration, Event, EventKind, Limits, LoopError, Outcome, Point,
    ProviderError, ProviderErrorKind, Transcript, Usage,
};

use crate::facts::{all, calling, done, driver, events, finished, run};
use crate::support::kind_of;

fn overflow() -> Reply {
    let error = ProviderError::new(ProviderErrorKind::ContextOverflow, "too long");
    Reply::new().failing_after(0, error)
}

/// Replies one after the other, whatever the view is.
fn replying(replies: impl IntoIterator<Item = Reply>) -> Arc<ScriptedProvider> {
    let replies: Mutex<VecDeque<Reply>> = Mutex::new(replies.into_iter().collect());
    let next = move |_, _: &_| replies.lock().unwrap().pop_front();
    Arc::new(ScriptedProvider::from_fn(next))
}

/// Two turns with a call, then an overflow, then the answer.
fn script() -> (Arc<ScriptedProvider>, ScriptedTool) {
    let provider = replying([calling(&["look"]), calling(&["look"]), overflow(), done()]);
    (
        provider,
        ScriptedTool::returning("look", &"much to see ".repeat(50)),
    )
}

async fn run_of(
    driver: &Driver,
    configuration: Configuration,
) -> (Vec<Event>, Outcome, Vec<Update>) {
    let mut run = run(driver, configuration);
    let updates = all(&mut run).await;
    let events = events(&updates);
    let replayed = replay(&Transcript::new(), &events);
    assert!(replayed.is_ok(), "{replayed:?}");
    (events, finished(&run).outcome, updates)
}

fn ended(events: &[Event]) -> Vec<CompactionEnded> {
    let ended = events.iter().filter_map(|event| match &event.kind {
        EventKind::CompactionEnded(ended) => Some((**ended).clone()),
        _ => None,
    });
    ended.collect()
}

#[tokio::test]
async fn the_request_after_a_compaction_is_what_was_reported() {
    let (provider, tool) = script();
    let driver = driver(&provider, &[&tool]).compactor(Arc::new(DropMiddle::default()));
    let (events, outcome, _) = run_of(&driver, Configuration::default()).await;
    assert_eq!(outcome, Outcome::Completed {});
    let ended = ended(&events);
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].error, None);
    let requests = provider.requests();
    assert_eq!(requests[3].view.len() as u64, ended[0].entries);
    assert!(requests[3].view.estimated_tokens() < requests[2].view.estimated_tokens());
}

#[tokio::test]
async fn without_a_compactor_or_with_one_that_panics_the_loop_fails_typed() {
    struct Panics;
    #[async_trait]
    impl Compactor for Panics {
        async fn compact(&self, _: &Compact) -> Result<(Compacted, Usage), CompactionFailed> {
            panic!("boom")
        }
    }
    let (provider, tool) = script();
    let none = driver(&provider, &[&tool]);
    let (_, outcome, _) = run_of(&none, Configuration::default()).await;
    assert!(matches!(
        outcome,
        Outcome::Failed {
            error: LoopError::Provider { .. }
        }
    ));
    let (provider, tool) = script();
    let panics = driver(&provider, &[&tool]).compactor(Arc::new(Panics));
    let (_, outcome, _) = run_of(&panics, Configuration::default()).await;
    let reason = "the compactor panicked: boom".to_owned();
    let error = LoopError::Overflow { reason };
    assert_eq!(outcome, Outcome::Failed { error });
}

/// Many turns with a call whose result is long.
fn long(turns: usize) -> (Arc<ScriptedProvider>, ScriptedTool) {
    let replies = (0..turns).map(|_| calling(&["look"])).chain([done()]);
    (
        replying(replies),
        ScriptedTool::returning("look", &"much to see ".repeat(50)),
    )
}

fn at(tokens: u64) -> Configuration {
    Configuration {
        compact_at: Some(CompactAt::Tokens(tokens)),
        limits: Limits {
            identical_calls: None,
            ..Limits::default()
        },
        ..Configuration::default()
    }
}

#[tokio::test]
async fn a_threshold_keeps_every_request_below_it() {
    let (provider, tool) = long(40);
    let driver = driver(&provider, &[&tool]).compactor(Arc::new(DropMiddle::default()));
    let (events, outcome, _) = run_of(&driver, at(2_000)).await;
    assert_eq!(outcome, Outcome::Completed {});
    let most = provider
        .requests()
        .iter()
        .map(|it| it.view.estimated_tokens())
        .max();
    assert!(most <= Some(2_000), "{most:?}");
    // Half of it goes each time, so it happens once in several turns.
    assert!(
        (2..12).contains(&ended(&events).len()),
        "{}",
        ended(&events).len()
    );
}

#[tokio::test]
async fn compactions_that_do_not_help_are_given_up_and_the_loop_goes_on() {
    let (provider, tool) = long(12);
    struct Never;
    #[async_trait]
    impl Compactor for Never {
        async fn compact(&self, _: &Compact) -> Result<(Compacted, Usage), CompactionFailed> {
            Err(CompactionFailed::NothingToLeaveOut)
        }
    }
    let driver = driver(&provider, &[&tool]).compactor(Arc::new(Never));
    let (events, outcome, _) = run_of(&driver, at(10)).await;
    assert_eq!(outcome, Outcome::Completed {});
    assert_eq!(ended(&events).len(), 3);
}

struct Policy(CompactionDecision, Mutex<Vec<String>>);

#[async_trait]
impl Hooks for Policy {
    fn points(&self) -> Vec<Point> {
        vec![Point::BeforeCompaction, Point::AfterCompaction]
    }

    async fn before_compaction(
        &self,
        _context: &HookContext,
        compact: &Compact,
    ) -> Result<CompactionDecision, HookError> {
        self.1
            .lock()
            .unwrap()
            .push(format!("before {}", compact.view.len()));
        Ok(self.0.clone())
    }

    async fn after_compaction(
        &self,
        _context: &HookContext,
        ended: &CompactionEnded,
    ) -> Result<(), HookError> {
        self.1
            .lock()
            .unwrap()
            .push(format!("after {}", ended.entries));
        Err(HookError("told".into()))
    }
}

#[tokio::test]
async fn hooks_decide_before_a_compaction_and_are_told_after_it() {
    let decided = async |decision: CompactionDecision| {
        let (provider, tool) = script();
        let hooks = Arc::new(Policy(decision, Mutex::default()));
        let driver = driver(&provider, &[&tool])
            .hooks(Arc::new(vec![Arc::clone(&hooks) as Arc<dyn Hooks>]))
            .compactor(Arc::new(DropMiddle::new(Scope::new())));
        let (events, outcome, updates) = run_of(&driver, Configuration::default()).await;
        let told = updates
            .iter()
            .filter(|it| matches!(it, Update::HookFailed(_)));
        assert_eq!(told.count(), 1);
        let seen = hooks.1.lock().unwrap().clone();
        let kinds: Vec<String> = events.iter().map(kind_of).collect();
        (seen, outcome, kinds)
    };
    let (seen, outcome, _) = decided(CompactionDecision::Proceed).await;
    assert_eq!(seen, ["before 5", "after 4"]);
    assert_eq!(outcome, Outcome::Completed {});
    let reason = "not now".to_owned();
    let skip = CompactionDecision::Skip {
        reason: reason.clone(),
    };
    let (seen, outcome, kinds) = decided(skip).await;
    assert_eq!(seen, ["before 5", "after 5"]);
    let error = LoopError::Overflow { reason };
    assert_eq!(outcome, Outcome::Failed { error });
    assert!(!kinds.contains(&"compaction_started".to_owned()));
}
