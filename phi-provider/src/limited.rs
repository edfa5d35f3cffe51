//! A provider that is not asked too much at once.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use phi_types::{Delta, Identity, Provider, ProviderError, ProviderErrorKind, Request};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How much a provider is asked at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowance {
    /// The most streams at once.
    pub streams_max: usize,
    /// The most requests within any stretch of time of a length.
    pub requests_max: Option<(usize, Duration)>,
    /// The most calls that wait for their turn; one more fails at once. Default: 1,024.
    pub waiting_max: usize,
}

impl Allowance {
    /// Allows so many streams at once.
    #[must_use]
    pub fn streams(streams_max: usize) -> Self {
        Self {
            streams_max,
            requests_max: None,
            waiting_max: 1_024,
        }
    }

    /// Allows so many requests within any stretch of time of this length.
    #[must_use]
    pub fn with_requests(self, requests_max: usize, within: Duration) -> Self {
        Self {
            requests_max: Some((requests_max, within)),
            ..self
        }
    }

    /// Lets so many calls wait.
    #[must_use]
    pub fn with_waiting_max(self, waiting_max: usize) -> Self {
        Self {
            waiting_max,
            ..self
        }
    }
}

/// A provider that is not asked too much at once. Clones share the allowance.
///
/// A call waits for its turn when its stream is first polled, in the order in which calls came. It
/// holds its place until its stream ends or is dropped. Where requests are counted by time it needs
/// a tokio runtime with time.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use phi_provider::{Allowance, Limited};
/// use phi_testkit::{Reply, ScriptedProvider};
///
/// let provider = Arc::new(ScriptedProvider::new([Reply::text("Hello")]));
/// let allowance = Allowance::streams(4).with_requests(60, Duration::from_secs(60));
/// let provider = Limited::new(provider, allowance);
/// ```
#[derive(Clone)]
pub struct Limited {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Arc<dyn Provider>,
    streams: Arc<Semaphore>,
    pace: Option<Pace>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// When the last requests began.
struct Pace {
    requests_max: usize,
    within: Duration,
    /// Whoever holds it is the next.
    begun: Mutex<VecDeque<Instant>>,
}

impl Limited {
    /// Limits a provider. A limit of zero counts as one.
    #[must_use]
    pub fn new(inner: Arc<dyn Provider>, allowance: Allowance) -> Self {
        let streams_max = allowance.streams_max.clamp(1, Semaphore::MAX_PERMITS);
        let pace = allowance.requests_max.map(|(requests_max, within)| Pace {
            requests_max: requests_max.max(1),
            within,
            begun: Mutex::default(),
        });
        Self {
            shared: Arc::new(Shared {
                inner,
                streams: Arc::new(Semaphore::new(streams_max)),
                pace,
                waiting: AtomicUsize::new(0),
                waiting_max: allowance.waiting_max,
            }),
        }
    }
}

impl fmt::Debug for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Limited").field(&self.identity()).finish()
    }
}

impl Provider for Limited {
    fn identity(&self) -> Identity<'_> {
        self.shared.inner.identity()
    }

    fn stream(&self, request: Request) -> BoxStream<'static, Result<Delta, ProviderError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(LimitedStream {
            state: State::Waiting {
                turn: Box::pin(Arc::clone(&shared).turn()),
                request: Box::new(request),
                shared,
            },
        })
    }
}

/// A call that waits, counted.
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    fn place(self: &Arc<Self>) -> Result<Place, ProviderError> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let place = Place(Arc::clone(self));
        if before < self.waiting_max {
            return Ok(place);
        }
        let message = format!(
            "{before} calls wait for their turn already, which is the limit set here: send the \
             request later or raise the limit"
        );
        Err(ProviderError::new(ProviderErrorKind::RateLimited, message))
    }

    /// Waits for the turn of a call. Dropping the future gives the turn to the next.
    async fn turn(self: Arc<Self>) -> Result<OwnedSemaphorePermit, ProviderError> {
        let mut place = None;
        let streams = Arc::clone(&self.streams);
        // A free one means that nobody waits.
        let permit = match Arc::clone(&streams).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                place = Some(self.place()?);
                let acquired = streams.acquire_owned().await;
                acquired.map_err(|_| closed())?
            }
        };
        let Some(pace) = &self.pace else {
            return Ok(permit);
        };
        if tokio::runtime::Handle::try_current().is_err() {
            let message = "there is no tokio runtime: call the provider inside of one";
            let kind = ProviderErrorKind::InvalidRequest;
            return Err(ProviderError::new(kind, message));
        }
        let mut begun = match pace.begun.try_lock() {
            Ok(begun) => begun,
            Err(_) => {
                if place.is_none() {
                    place = Some(self.place()?);
                }
                pace.begun.lock().await
            }
        };
        if let Some(wait) = pace.wait(&begun) {
            if place.is_none() {
                place = Some(self.place()?);
            }
            tokio::time::sleep_until(wait).await;
        }
        if begun.len() >= pace.requests_max {
            begun.pop_front();
        }
        begun.push_back(Instant::now());
        drop(place);
        Ok(permit)
    }
}

impl Pace {
    /// Returns until when the next request waits.
    fn wait(&self, begun: &VecDeque<Instant>) -> Option<Instant> {
        let oldest = begun.front().filter(|_| begun.len() >= self.requests_max)?;
        let next = *oldest + self.within;
        (next > Instant::now()).then_some(next)
    }
}

/// The places are never taken away.
fn closed() -> ProviderError {
    ProviderError::new(ProviderErrorKind::Cancelled, "the limit was closed")
}

struct LimitedStream {
    state: State,
}

enum State {
    Waiting {
        turn: BoxFuture<'static, Result<OwnedSemaphorePermit, ProviderError>>,
        request: Box<Request>,
        shared: Arc<Shared>,
    },
    Running {
        stream: BoxStream<'static, Result<Delta, ProviderError>>,
        _permit: OwnedSemaphorePermit,
    },
    Over,
}

impl Stream for LimitedStream {
    type Item = Result<Delta, ProviderError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Waiting {
                    turn,
                    request,
                    shared,
                } => match ready!(turn.as_mut().poll(context)) {
                    Ok(permit) => {
                        let stream = shared.inner.stream((**request).clone());
                        this.state = State::Running {
                            stream,
                            _permit: permit,
                        };
                    }
                    Err(error) => {
                        this.state = State::Over;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                State::Running { stream, .. } => {
                    let item = ready!(stream.as_mut().poll_next(context));
                    if !matches!(item, Some(Ok(_))) {
                        this.state = State::Over;
                    }
                    return Poll::Ready(item);
                }
                State::Over => return Poll::Ready(None),
            }
        }
    }
}
