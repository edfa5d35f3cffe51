//! A run is pull-based, loses nothing when `next` is dropped, and stops everything when it is dropped.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use async_trait::async_trait;
use futures_util::{FutureExt, Stream, StreamExt, stream::BoxStream};
use phi_loop::{Driver, Rejected, Start, Update};
use phi_testkit::{Gate, MemoryJournal, Reply, ScriptedProvider, ScriptedTool};
use phi_types::{
    Configuration, Delta, Event, Identity, Increment, Journal, JournalError, Limits, Outcome,
    Provider, ProviderError, Request, ToolResult,
};

use crate::facts::{all, calling, done, driver, finished, plain, provider, run, until_it_waits};
use crate::support::session;

async fn others_move() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_moves_unpulled() {
    let provider = provider([calling(&["look"]), done()]);
    let tool = ScriptedTool::returning("look", "seen");
    let mut run = plain(&driver(&provider, &[&tool]));
    others_move().await;
    assert_eq!(provider.request_count(), 0);
    let mut moved = Vec::new();
    while run.next().await.is_some() {
        let before = (provider.request_count(), tool.started(), tool.returned());
        others_move().await;
        let after = (provider.request_count(), tool.started(), tool.returned());
        assert_eq!(before, after);
        moved.push(after);
    }
    assert_eq!(moved.last(), Some(&(2, 1, 1)));
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

#[tokio::test]
async fn a_delta_arrives_while_the_next_one_is_still_to_come() {
    let gate = Gate::new();
    let reply = Reply::text("one two three four").gated_after(2, &gate);
    let mut run = plain(&driver(&provider([reply]), &[]));
    let shown = until_it_waits(&mut run);
    let Some(Update::Live(live)) = shown.last() else {
        panic!("{shown:?}")
    };
    assert!(matches!(&live.increment, Increment::Delta(Delta::Text(_))));
    assert_eq!(live.index, 1);
    assert!(!gate.is_open());
    assert_eq!(run.next().now_or_never(), None);
    gate.open();
    all(&mut run).await;
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

/// Makes every second poll of the inner stream wait, and counts the drops.
struct Stuttering(ScriptedProvider, Arc<AtomicUsize>);

struct Stutter<S> {
    inner: S,
    wait: bool,
    drops: Arc<AtomicUsize>,
}

impl<S: Stream + Unpin> Stream for Stutter<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.wait = !self.wait;
        if self.wait {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.inner.poll_next_unpin(cx)
    }
}

impl<S> Drop for Stutter<S> {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

impl Provider for Stuttering {
    fn identity(&self) -> Identity<'_> {
        self.0.identity()
    }

    fn stream(&self, request: Request) -> BoxStream<'static, Result<Delta, ProviderError>> {
        Box::pin(Stutter {
            inner: self.0.stream(request),
            wait: false,
            drops: Arc::clone(&self.1),
        })
    }
}

#[derive(Clone)]
struct SlowJournal(MemoryJournal);

#[async_trait]
impl Journal for SlowJournal {
    async fn append(&self, events: &[Event]) -> Result<(), JournalError> {
        tokio::task::yield_now().await;
        let written = self.0.append(events).await;
        tokio::task::yield_now().await;
        written
    }
}

fn slow(drops: &Arc<AtomicUsize>, replies: Vec<Reply>, tool: &ScriptedTool) -> Driver {
    let provider = Stuttering(ScriptedProvider::new(replies), Arc::clone(drops));
    Driver::new(Arc::new(provider))
        .tools(vec![Arc::new(tool.clone())])
        .journal(Arc::new(SlowJournal(MemoryJournal::new())))
        .starting_at(crate::support::at(0))
}

fn start(driver: &Driver) -> Start {
    Start::new(session(), Configuration::default(), driver.surface("", "m"))
}

#[tokio::test(start_paused = true)]
async fn a_next_that_is_dropped_at_every_wait_loses_nothing() {
    let drops = Arc::default();
    let tool = ScriptedTool::new("look", |_, _| async {
        tokio::task::yield_now().await;
        ToolResult::text("seen")
    });
    let replies = vec![calling(&["look", "look"]).with_text("Looking."), done()];
    let driver = slow(&drops, replies, &tool);
    let mut whole = driver.prompt(start(&driver), "Do it.").unwrap();
    let expected = all(&mut whole).await;
    assert_eq!(finished(&whole).outcome, Outcome::Completed {});

    let replies = vec![calling(&["look", "look"]).with_text("Looking."), done()];
    let driver = slow(&drops, replies, &tool);
    let mut run = driver.prompt(start(&driver), "Do it.").unwrap();
    let (mut updates, mut waits) = (Vec::new(), 0);
    loop {
        match run.next().now_or_never() {
            Some(Some(update)) => updates.push(update),
            Some(None) => break,
            None => {
                waits += 1;
                assert!(waits < 10_000);
                tokio::task::yield_now().await;
            }
        }
    }
    assert!(waits > 5, "{waits}");
    assert_eq!(updates, expected);
    assert_eq!(run.finished(), whole.finished());
}

#[tokio::test]
async fn a_dropped_run_drops_the_stream_and_the_tools() {
    let drops = Arc::default();
    let tool = ScriptedTool::hanging("look");
    let driver = slow(&drops, vec![calling(&["look", "look"])], &tool);
    let mut run = driver.prompt(start(&driver), "Do it.").unwrap();
    while tool.started() < 2 {
        until_it_waits(&mut run);
        tokio::task::yield_now().await;
    }
    assert_eq!((tool.dropped(), drops.load(Ordering::Relaxed)), (0, 1));
    drop(run);
    assert_eq!(tool.dropped(), 2);

    let driver = slow(&drops, vec![Reply::text("one two").hanging_after(2)], &tool);
    let mut run = driver.prompt(start(&driver), "Do it.").unwrap();
    for _ in 0..20 {
        until_it_waits(&mut run);
        tokio::task::yield_now().await;
    }
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    assert!(matches!(run.finished().outcome, Outcome::Aborted { .. }));
    drop(run);
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_run_can_be_sent_to_another_task_and_finished_there() {
    fn is_send<T: Send + 'static>(it: T) -> T {
        it
    }
    let run = is_send(plain(&driver(&provider([done()]), &[])));
    let finished = tokio::spawn(run.finish()).await.unwrap();
    assert_eq!(finished.outcome, Outcome::Completed {});
}

/// Counts how often a task was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_handle_that_is_made_while_the_run_waits_is_heard() {
    let gate = Gate::new();
    let provider = provider([Reply::text("one two").gated_after(1, &gate), done()]);
    let mut run = plain(&driver(&provider, &[]));
    until_it_waits(&mut run);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    assert_eq!(Pin::new(&mut run).poll_next(&mut cx), Poll::Pending);
    let before = woken.0.load(Ordering::SeqCst);
    let handle = run.handle();
    assert!(woken.0.load(Ordering::SeqCst) > before, "it has to listen");
    assert_eq!(Pin::new(&mut run).poll_next(&mut cx), Poll::Pending);
    let before = woken.0.load(Ordering::SeqCst);
    let mut stop = Box::pin(handle.stop("enough"));
    assert_eq!(stop.as_mut().now_or_never(), None);
    assert!(
        woken.0.load(Ordering::SeqCst) > before,
        "there is a request"
    );
}

#[tokio::test]
async fn a_handle_that_is_made_after_the_end_returns_at_once() {
    let mut run = plain(&driver(&provider([done()]), &[]));
    all(&mut run).await;
    let answer = run.handle().stop("enough").await;
    assert_eq!(answer, Err(Rejected::Ended));
}

#[tokio::test]
async fn a_run_that_never_waits_lets_other_tasks_work() {
    let replies = (0..5_000).map(|_| calling(&["look"])).chain([done()]);
    let tool = ScriptedTool::returning("look", "seen");
    let driver = driver(&provider(replies), &[&tool]);
    let limits = Limits {
        turns: None,
        identical_calls: None,
        ..Limits::default()
    };
    let mut run = run(
        &driver,
        Configuration {
            limits,
            ..Configuration::default()
        },
    );
    let worked = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&worked);
    let other = tokio::spawn(async move {
        loop {
            counts.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    all(&mut run).await;
    other.abort();
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
    let worked = worked.load(Ordering::SeqCst);
    assert!(worked > 5, "the other task came {worked} times to its turn");
}
