//! Sinks: what takes every update as it comes.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use phi_types::SessionId;
use serde_json::json;

use super::Update;

/// Takes every update of every session, in the order in which they happen.
///
/// It is called by whoever made the update, so it must not block: what is slow takes a
/// [`super::Subscription`] instead.
pub trait EventSink: Send + Sync {
    /// Takes one update.
    ///
    /// # Errors
    /// [`SinkError`] where it was lost.
    fn take(&self, session: &SessionId, update: &Update) -> Result<(), SinkError>;
}

impl<S: EventSink + ?Sized> EventSink for Arc<S> {
    fn take(&self, session: &SessionId, update: &Update) -> Result<(), SinkError> {
        self.as_ref().take(session, update)
    }
}

/// Says why a sink lost an update.
#[derive(Debug, thiserror::Error)]
#[error("take an update: {reason}")]
pub struct SinkError {
    /// Why.
    pub reason: String,
}

/// Makes a sink of a function that loses nothing.
pub fn from_fn<F: Fn(&SessionId, &Update) + Send + Sync>(function: F) -> impl EventSink {
    struct Function<F>(F);
    impl<F: Fn(&SessionId, &Update) + Send + Sync> EventSink for Function<F> {
        fn take(&self, session: &SessionId, update: &Update) -> Result<(), SinkError> {
            (self.0)(session, update);
            Ok(())
        }
    }
    Function(function)
}

/// Makes a sink for another thread, and the end at which that thread takes what comes.
///
/// At most `capacity` updates wait; what comes while the channel is full, or once nobody receives any
/// more, is lost and counted. What comes through has the order in which it happened.
#[must_use]
pub fn channel(capacity: usize) -> (ChannelSink, Receiver<(SessionId, Update)>) {
    let (sender, receiver) = sync_channel(capacity);
    (ChannelSink(sender), receiver)
}

/// Hands every update to another thread: see [`channel`].
#[derive(Debug, Clone)]
pub struct ChannelSink(SyncSender<(SessionId, Update)>);

impl EventSink for ChannelSink {
    fn take(&self, session: &SessionId, update: &Update) -> Result<(), SinkError> {
        let sent = self.0.try_send((session.clone(), update.clone()));
        sent.map_err(|error| SinkError {
            reason: match error {
                TrySendError::Full(_) => "the channel is full",
                TrySendError::Disconnected(_) => "nobody receives any more",
            }
            .to_owned(),
        })
    }
}

/// Writes every update as a line of JSON: an event as it stands in a log, a live increment as
/// `{"live":{…}}`.
#[derive(Debug)]
pub struct JsonlSink<W>(Mutex<W>);

impl<W: Write + Send> JsonlSink<W> {
    /// Writes to a writer.
    pub fn new(writer: W) -> Self {
        Self(Mutex::new(writer))
    }

    /// Returns the writer.
    pub fn into_inner(self) -> W {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write + Send> EventSink for JsonlSink<W> {
    fn take(&self, _session: &SessionId, update: &Update) -> Result<(), SinkError> {
        let line = match update {
            Update::Event { event, .. } => serde_json::to_string(event.as_ref()),
            Update::Live(live) => serde_json::to_string(&json!({ "live": live })),
            Update::Gap(gap) => {
                let positions = gap.positions.as_ref();
                let positions = positions.map(|it| [*it.start(), *it.end()]);
                let gap = json!({ "positions": positions, "increments": gap.increments });
                serde_json::to_string(&json!({ "gap": gap }))
            }
        };
        let fault = |reason: String| SinkError { reason };
        let line = line.map_err(|error| fault(error.to_string()))? + "\n";
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = writer.write_all(line.as_bytes());
        written.map_err(|error| fault(error.to_string()))
    }
}

/// Hands every update to several sinks. One that fails or panics takes nothing from the others, and
/// what it lost is counted.
#[derive(Default)]
pub struct FanOut {
    sinks: Vec<(Arc<dyn EventSink>, AtomicU64)>,
}

impl std::fmt::Debug for FanOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FanOut")
            .field("lost", &self.lost())
            .finish()
    }
}

/// How many updates each sink lost, in the order in which they were added.
pub type FanOutLoss = Vec<u64>;

impl FanOut {
    /// Makes a fan-out without sinks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sink.
    #[must_use]
    pub fn with(mut self, sink: impl EventSink + 'static) -> Self {
        self.sinks.push((Arc::new(sink), AtomicU64::new(0)));
        self
    }

    /// Returns how many updates each sink lost.
    #[must_use]
    pub fn lost(&self) -> FanOutLoss {
        let lost = self.sinks.iter().map(|(_, lost)| lost);
        lost.map(|lost| lost.load(Ordering::Relaxed)).collect()
    }
}

impl EventSink for FanOut {
    fn take(&self, session: &SessionId, update: &Update) -> Result<(), SinkError> {
        let mut failed = None;
        for (sink, lost) in &self.sinks {
            let taken = catch_unwind(AssertUnwindSafe(|| sink.take(session, update)));
            let taken = taken.unwrap_or_else(|_| {
                Err(SinkError {
                    reason: "the sink panicked".to_owned(),
                })
            });
            if let Err(error) = taken {
                lost.fetch_add(1, Ordering::Relaxed);
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }
}
