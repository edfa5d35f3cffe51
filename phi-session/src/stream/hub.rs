//! The hub: updates come in from writers and go out to everybody who watches, in one order.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use phi_types::{Event, Live, SessionId};

use super::queue::{Queue, weight};
use super::{EventSink, Subscription, Update};
use crate::error::StoreError;
use crate::store::Store;

/// How many updates wait for an observer, unless said otherwise.
const CAPACITY: usize = 1024;

/// Where the updates of sessions pass through. Clones are the same hub; nothing is global.
///
/// Events come from the writers of a [`super::PublishedStore`], once they are committed; live
/// increments from whoever pulls a run, by [`Hub::live`]. An observer never slows a writer down: what
/// waits for it is bounded.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    topics: Mutex<HashMap<SessionId, Arc<Topic>>>,
    sink: Option<Arc<dyn EventSink>>,
    lost: AtomicU64,
    capacity: usize,
}

/// One session.
#[derive(Debug, Default)]
pub(super) struct Topic(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The position after the newest event that was told.
    next: u64,
    /// Events that were committed before one with a smaller position was told.
    early: BTreeMap<u64, Arc<Event>>,
    appending: usize,
    writers: usize,
    queues: Vec<Weak<Mutex<Queue>>>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lost = self.lost();
        f.debug_struct("Hub")
            .field("lost", &lost)
            .finish_non_exhaustive()
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl Hub {
    /// Makes a hub.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a hub that keeps so many updates for an observer that is slow.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self::build(capacity, None)
    }

    /// Makes a hub that hands every update to a sink as well.
    #[must_use]
    pub fn with_sink(sink: impl EventSink + 'static) -> Self {
        Self::build(CAPACITY, Some(Arc::new(sink)))
    }

    fn build(capacity: usize, sink: Option<Arc<dyn EventSink>>) -> Self {
        Self {
            shared: Arc::new(Shared {
                topics: Mutex::default(),
                sink,
                lost: AtomicU64::new(0),
                capacity,
            }),
        }
    }

    /// Tells a live increment.
    pub fn live(&self, session: &SessionId, live: &Live) {
        let Some(topic) = self.topics().get(session).cloned() else {
            return self.to_sink(session, &Update::Live(live.clone()));
        };
        let state = topic.state();
        self.tell(session, state, &[Update::Live(live.clone())]);
    }

    /// Watches a session from now on: live increments, and events as they are committed.
    ///
    /// It ends when the last writer of the session is closed.
    #[must_use]
    pub fn subscribe(&self, session: &SessionId) -> Subscription {
        let (queue, next) = self.queue(session);
        Subscription::new(queue, next.saturating_sub(1), None)
    }

    /// Watches a session from a place in its log on: first the events after it, then what comes.
    /// Events that the observer was too slow for are read from the log.
    ///
    /// # Errors
    /// Those of [`Store::reader`].
    pub async fn subscribe_after(
        &self,
        store: &dyn Store,
        session: &SessionId,
        position: u64,
    ) -> Result<Subscription, StoreError> {
        // The queue comes first, so that nothing falls between the log and the queue.
        let (queue, _) = self.queue(session);
        let reader = store.reader(session, position.saturating_add(1)).await?;
        Ok(Subscription::new(queue, position, Some(reader)))
    }

    /// Returns how many updates the sink has lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Topic>>> {
        self.shared
            .topics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self, session: &SessionId) -> (Arc<Mutex<Queue>>, u64) {
        let mut topics = self.topics();
        // Sessions that nobody writes or watches take no memory.
        topics.retain(|_, topic| topic.state().is_used());
        let topic = Arc::clone(topics.entry(session.clone()).or_default());
        let mut state = topic.state();
        let queue = Arc::new(Mutex::new(Queue::new(self.shared.capacity)));
        state.queues.push(Arc::downgrade(&queue));
        (queue, state.next)
    }

    /// Notes that a writer was opened, with the first position that it will tell.
    pub(super) fn open(&self, session: &SessionId, first: u64) -> Arc<Topic> {
        let mut topics = self.topics();
        let topic = Arc::clone(topics.entry(session.clone()).or_default());
        let mut state = topic.state();
        state.writers += 1;
        state.next = first;
        state.early.clear();
        for queue in state.queues.iter().filter_map(Weak::upgrade) {
            lock(&queue).open();
        }
        drop(state);
        topic
    }

    /// Notes that a writer was closed.
    pub(super) fn close(&self, session: &SessionId, topic: &Topic) {
        let mut topics = self.topics();
        let mut state = topic.state();
        state.writers = state.writers.saturating_sub(1);
        if state.writers > 0 {
            return;
        }
        let queues = state.queues.iter().filter_map(Weak::upgrade);
        let wakers: Vec<Waker> = queues.filter_map(|queue| lock(&queue).close()).collect();
        // Sessions that nobody writes or watches take no memory.
        if !state.is_used() {
            topics.remove(session);
        }
        drop((state, topics));
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Notes that an append begins.
    pub(super) fn append_begins(topic: &Topic) {
        topic.state().appending += 1;
    }

    /// Tells what an append committed, once everything before it was told.
    pub(super) fn append_ends(
        &self,
        session: &SessionId,
        topic: &Topic,
        committed: &[(u64, Event)],
    ) {
        let mut state = topic.state();
        state.appending = state.appending.saturating_sub(1);
        for (position, event) in committed {
            state.early.insert(*position, Arc::new(event.clone()));
        }
        let mut updates = Vec::new();
        while let Some(first) = state.early.first_entry() {
            // An append that was given up may have committed what comes before: nobody will tell.
            let position = *first.key();
            if position > state.next && state.appending > 0 {
                break;
            }
            if let Some((position, event)) = state.early.pop_first() {
                updates.push(Update::Event { position, event });
            }
            state.next = position + 1;
        }
        self.tell(session, state, &updates);
    }

    /// Hands updates to everybody while the session is held, so that all see one order.
    fn tell(&self, session: &SessionId, mut state: MutexGuard<'_, State>, updates: &[Update]) {
        let mut wakers: Vec<Waker> = Vec::new();
        state.queues.retain(|queue| queue.strong_count() > 0);
        let queues: Vec<Arc<Mutex<Queue>>> =
            state.queues.iter().filter_map(Weak::upgrade).collect();
        if !queues.is_empty() {
            for update in updates {
                let weight = weight(update);
                let pushed = queues.iter().map(|queue| lock(queue).push(update, weight));
                wakers.extend(pushed.flatten());
            }
        }
        for update in updates {
            self.to_sink(session, update);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn to_sink(&self, session: &SessionId, update: &Update) {
        let Some(sink) = &self.shared.sink else {
            return;
        };
        let taken = catch_unwind(AssertUnwindSafe(|| sink.take(session, update)));
        if !matches!(taken, Ok(Ok(()))) {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Topic {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_used(&self) -> bool {
        self.writers > 0 || self.queues.iter().any(|queue| queue.strong_count() > 0)
    }
}

/// Every change of a queue is one step, so that no panic leaves half of one.
pub(super) fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
