//! What the table of hooks says of gates that cannot take back and of observers that change nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use phi_loop::{
    Compact, CompactionDecision, DropMiddle, HookContext, HookError, HookFailed, Hooks,
    ModelDecision, ToolDecision, ToolUpdate, Update,
};
use phi_testkit::{Gate, MemoryJournal, Reply, ScriptedProvider, ScriptedTool};
use phi_types::{
    AssistantMessage, CompactAt, CompactionEnded, Configuration, Event, EventKind, Limits,
    LoopEnded, ModelFailed, Outcome, Point, ProviderError, ProviderErrorKind, Request, ToolCall,
    ToolContext, ToolEnded, ToolEnding, ToolProgress, ToolResult, TurnEnded,
};

use crate::facts::{
    all, calling, done, driver, ended, endings, events, finished, plain, provider, run,
    until_it_waits,
};
use crate::support::kind_of;

const OBSERVED: [Point; 7] = [
    Point::AfterModel,
    Point::AfterTool,
    Point::AfterToolUpdate,
    Point::AfterCompaction,
    Point::OnError,
    Point::AfterTurn,
    Point::AfterLoop,
];

type Seen = Arc<Mutex<Vec<(&'static str, Point, Vec<Event>)>>>;

/// Notes what it is told of and what is in the journal by then.
struct Observer {
    name: &'static str,
    journal: MemoryJournal,
    seen: Seen,
    fails: bool,
}

impl Observer {
    fn told(&self, point: Point) -> Result<(), HookError> {
        let seen = (self.name, point, self.journal.events());
        self.seen.lock().unwrap().push(seen);
        if self.fails {
            return Err(HookError("broken".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl Hooks for Observer {
    fn points(&self) -> Vec<Point> {
        OBSERVED.to_vec()
    }

    async fn after_model(&self, _: &HookContext, _: &AssistantMessage) -> Result<(), HookError> {
        self.told(Point::AfterModel)
    }

    async fn after_tool(&self, _: &HookContext, _: &ToolEnded) -> Result<(), HookError> {
        self.told(Point::AfterTool)
    }

    async fn after_tool_update(&self, _: &HookContext, _: &ToolUpdate) -> Result<(), HookError> {
        self.told(Point::AfterToolUpdate)
    }

    async fn after_compaction(
        &self,
        _: &HookContext,
        _: &CompactionEnded,
    ) -> Result<(), HookError> {
        self.told(Point::AfterCompaction)
    }

    async fn on_error(&self, _: &HookContext, _: &ModelFailed) -> Result<(), HookError> {
        self.told(Point::OnError)
    }

    async fn after_turn(&self, _: &HookContext, _: &TurnEnded) -> Result<(), HookError> {
        self.told(Point::AfterTurn)
    }

    async fn after_loop(&self, _: &HookContext, _: &LoopEnded) -> Result<(), HookError> {
        self.told(Point::AfterLoop)
    }
}

/// Replies one after the other, whatever a compaction leaves of the view.
fn in_turn(replies: impl IntoIterator<Item = Reply>) -> Arc<ScriptedProvider> {
    let replies: Vec<Reply> = replies.into_iter().collect();
    let next = AtomicUsize::new(0);
    Arc::new(ScriptedProvider::from_fn(move |_, _| {
        replies.get(next.fetch_add(1, Ordering::Relaxed)).cloned()
    }))
}

/// A run that comes to every point: a failed attempt, progress, results, a compaction.
async fn observed(observers: &[(&'static str, bool)]) -> (Vec<Update>, Seen) {
    let overloaded = ProviderError::new(ProviderErrorKind::Overloaded, "no capacity");
    let failed = calling(&["look"]).failing_after(0, overloaded);
    let replies = (0..11).map(|_| calling(&["look"]));
    let provider = in_turn([failed].into_iter().chain(replies).chain([done()]));
    let tool = ScriptedTool::new("look", |_, context: ToolContext| async move {
        let text = "half".to_owned();
        context.progress(ToolProgress { text });
        // The report is taken while the tool still runs.
        tokio::time::sleep(Duration::from_millis(1)).await;
        ToolResult::text("much to see ".repeat(50))
    });
    let (journal, seen) = (MemoryJournal::new(), Seen::default());
    let hooks = observers.iter().map(|(name, fails)| {
        let observer = Observer {
            name,
            journal: journal.clone(),
            seen: Arc::clone(&seen),
            fails: *fails,
        };
        Arc::new(observer) as Arc<dyn Hooks>
    });
    let driver = driver(&provider, &[&tool])
        .hooks(Arc::new(hooks.collect::<Vec<_>>()))
        .journal(Arc::new(journal.clone()))
        .compactor(Arc::new(DropMiddle::default()));
    let mut run = run(&driver, small());
    let updates = all(&mut run).await;
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
    (updates, seen)
}

fn small() -> Configuration {
    Configuration {
        compact_at: Some(CompactAt::Tokens(900)),
        limits: Limits {
            identical_calls: None,
            ..Limits::default()
        },
        ..Configuration::default()
    }
}

fn is_told(point: Point, kind: &EventKind) -> bool {
    match point {
        Point::AfterModel => match kind {
            EventKind::Message(added) => {
                matches!(added.message, phi_types::Message::Assistant(_))
            }
            _ => false,
        },
        Point::AfterTool => matches!(kind, EventKind::ToolEnded(_)),
        Point::AfterCompaction => matches!(kind, EventKind::CompactionEnded(_)),
        Point::OnError => matches!(kind, EventKind::ModelFailed(_)),
        Point::AfterTurn => matches!(kind, EventKind::TurnEnded(_)),
        Point::AfterLoop => matches!(kind, EventKind::LoopEnded(_)),
        _ => true,
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_sees_what_is_written_already() {
    let (_, seen) = observed(&[("a", false)]).await;
    let seen = seen.lock().unwrap();
    for point in OBSERVED {
        let told: Vec<_> = seen.iter().filter(|it| it.1 == point).collect();
        assert!(!told.is_empty(), "{point:?} was not reached");
        if point == Point::AfterToolUpdate {
            continue;
        }
        for (n, (.., written)) in told.iter().enumerate() {
            let known = written.iter().filter(|it| is_told(point, &it.kind));
            assert!(known.count() > n, "{point:?}, for the {n}th time");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_observer_of_a_point_is_told_in_order() {
    let (_, seen) = observed(&[("a", false), ("b", true), ("c", false)]).await;
    let seen = seen.lock().unwrap();
    for point in OBSERVED {
        let told: Vec<&str> = seen
            .iter()
            .filter(|it| it.1 == point)
            .map(|it| it.0)
            .collect();
        let rounds = told.len() / 3;
        assert!(rounds > 0, "{point:?} was not reached");
        assert_eq!(told, ["a", "b", "c"].repeat(rounds), "{point:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn observers_of_failures_compactions_and_ends_change_nothing() {
    let kinds =
        |updates: &[Update]| -> Vec<String> { events(updates).iter().map(kind_of).collect() };
    let (without, _) = observed(&[]).await;
    let (with, seen) = observed(&[("a", true)]).await;
    assert_eq!(kinds(&with), kinds(&without));
    let failed = |point: Point| {
        let failed = with.iter().filter(|it| match it {
            Update::HookFailed(HookFailed { point: at, reason }) => {
                *at == point && reason == "broken"
            }
            _ => false,
        });
        failed.count()
    };
    for point in OBSERVED {
        let told = seen
            .lock()
            .unwrap()
            .iter()
            .filter(|it| it.1 == point)
            .count();
        assert!(told > 0, "{point:?} was not reached");
        assert_eq!(failed(point), told, "{point:?}: each failure is reported");
    }
}

/// A gate that answers in turn: the first question with the first answer, and so on.
struct Gatekeeper<D> {
    point: Point,
    answers: Vec<D>,
    asked: AtomicUsize,
}

impl<D: Clone> Gatekeeper<D> {
    fn new(point: Point, answers: Vec<D>) -> Arc<Self> {
        let asked = AtomicUsize::new(0);
        Arc::new(Self {
            point,
            answers,
            asked,
        })
    }

    fn answer(&self) -> D {
        let n = self.asked.fetch_add(1, Ordering::Relaxed);
        self.answers[n.min(self.answers.len() - 1)].clone()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Hooks for Gatekeeper<ModelDecision> {
    fn points(&self) -> Vec<Point> {
        vec![self.point]
    }

    async fn before_model(&self, _: &HookContext, _: &Request) -> Result<ModelDecision, HookError> {
        Ok(self.answer())
    }
}

#[async_trait]
impl Hooks for Gatekeeper<ToolDecision> {
    fn points(&self) -> Vec<Point> {
        vec![self.point]
    }

    async fn before_tool(&self, _: &HookContext, _: &ToolCall) -> Result<ToolDecision, HookError> {
        Ok(self.answer())
    }
}

#[async_trait]
impl Hooks for Gatekeeper<CompactionDecision> {
    fn points(&self) -> Vec<Point> {
        vec![self.point]
    }

    async fn before_compaction(
        &self,
        _: &HookContext,
        _: &Compact,
    ) -> Result<CompactionDecision, HookError> {
        Ok(self.answer())
    }
}

#[tokio::test]
async fn a_refusal_after_a_turn_leaves_that_turn_as_it_was() {
    let provider = provider([calling(&["look"]), done()]);
    let tool = ScriptedTool::returning("look", "seen");
    let reason = "enough".to_owned();
    let reject = ModelDecision::Reject {
        reason: reason.clone(),
    };
    let hooks = Gatekeeper::new(Point::BeforeModel, vec![ModelDecision::Proceed, reject]);
    let mut run = plain(&driver(&provider, &[&tool]).hooks(hooks));
    let updates = all(&mut run).await;
    let finished = finished(&run);
    assert_eq!(finished.outcome, Outcome::Rejected { reason });
    assert_eq!(
        endings(&updates),
        [(ToolEnding::Finished, "seen".to_owned())]
    );
    assert_eq!(
        finished.transcript.view().len(),
        3,
        "prompt, answer, result"
    );
    assert_eq!(provider.request_count(), 1);
}

#[tokio::test]
async fn a_denial_leaves_a_call_that_runs_alone() {
    let gate = Gate::new();
    let tool = ScriptedTool::gated("look", &gate, "seen");
    let provider = provider([calling(&["look", "look"]), done()]);
    let reason = "one is enough".to_owned();
    let deny = ToolDecision::Deny {
        reason: reason.clone(),
    };
    let hooks = Gatekeeper::new(Point::BeforeTool, vec![ToolDecision::Allow, deny]);
    let mut run = plain(&driver(&provider, &[&tool]).hooks(hooks));
    let mut updates = until_it_waits(&mut run);
    assert_eq!((tool.started(), tool.dropped()), (1, 0));
    assert_eq!(ended(&updates).len(), 1, "the denied call has its result");
    gate.open();
    updates.extend(all(&mut run).await);
    let expected = [
        (ToolEnding::Finished, "seen".to_owned()),
        (ToolEnding::Denied, reason),
    ];
    assert_eq!(endings(&updates), expected);
}

fn skip() -> CompactionDecision {
    CompactionDecision::Skip {
        reason: "not now".to_owned(),
    }
}

async fn compacted(hooks: Arc<dyn Hooks>) -> (Vec<CompactionEnded>, Arc<ScriptedProvider>) {
    let replies = (0..16).map(|_| calling(&["look"]));
    let provider = in_turn(replies.chain([done()]));
    let tool = ScriptedTool::returning("look", &"much to see ".repeat(50));
    let driver = driver(&provider, &[&tool])
        .hooks(hooks)
        .compactor(Arc::new(DropMiddle::default()));
    let mut run = run(&driver, small());
    let events = events(&all(&mut run).await);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
    let ended = events.into_iter().filter_map(|it| match it.kind {
        EventKind::CompactionEnded(ended) => Some((*ended).clone()),
        _ => None,
    });
    (ended.collect(), provider)
}

#[tokio::test]
async fn the_first_hook_that_leaves_a_compaction_out_wins() {
    let first = Gatekeeper::new(Point::BeforeCompaction, vec![CompactionDecision::Proceed]);
    let second = Gatekeeper::new(Point::BeforeCompaction, vec![skip()]);
    let third = Gatekeeper::new(Point::BeforeCompaction, vec![CompactionDecision::Proceed]);
    let all: Vec<Arc<dyn Hooks>> = vec![first.clone(), second.clone(), third.clone()];
    let (ended, _) = compacted(Arc::new(all)).await;
    assert!(!ended.is_empty());
    assert!(
        ended
            .iter()
            .all(|it| it.error.as_deref() == Some("not now"))
    );
    assert_eq!(first.asked(), second.asked());
    assert_eq!(third.asked(), 0, "nobody is asked after it");
}

#[tokio::test]
async fn a_hook_that_forbids_a_second_compaction_keeps_the_first() {
    let answers = vec![CompactionDecision::Proceed, skip()];
    let hooks = Gatekeeper::new(Point::BeforeCompaction, answers);
    let (ended, provider) = compacted(hooks).await;
    assert!(ended[0].block.is_some());
    assert!(ended[1..].iter().all(|it| it.block.is_none()) && ended.len() > 1);
    // What the first one left out is not there again: prompt, answers and results would be more.
    let requests = provider.requests();
    let whole = 2 * requests.len() - 1;
    assert!(requests.last().unwrap().view.len() < whole);
}
