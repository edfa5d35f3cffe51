//! A transport that records exchanges, and one that replays them without a network.

mod difference;
mod tape;

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::stream;

use self::difference::{Likeness, difference, likeness};
use self::tape::{Answer, Blob, End, Exchange, Failure, Tape, read};
use crate::credential::SecretHeader;
use crate::mask::Mask;
use crate::transport::{HttpResponse, Transport, TransportError};
use crate::wire::{HttpRequest, ResponseHead};
use crate::wire_sink::{masked_head, masked_request};

/// The most bytes of one body that are recorded.
const BODY_BYTES_MAX: usize = 256 << 20;

/// Says what is wrong with a recording, or with what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CassetteError {
    /// The file cannot be read.
    #[error("cannot read the recording `{path}`: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong, with the line where that is known.
        reason: String,
    },
    /// The file cannot be written.
    #[error("cannot write the recording `{path}`: {reason}")]
    Unwritable {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// No exchange of the recording is the one that is asked for.
    #[error("exchange {number} of the recording is another request: {difference}; record it anew")]
    Mismatch {
        /// The exchange that is most like it, from 1.
        number: usize,
        /// The first difference.
        difference: String,
    },
    /// Every exchange of the recording was used.
    #[error("the recording has no exchange left for {method} {url}; record it anew")]
    Empty {
        /// The method.
        method: String,
        /// The address.
        url: String,
    },
    /// Some exchanges of the recording were not asked for.
    #[error("{count} exchanges of the recording were not asked for")]
    Unused {
        /// How many.
        count: usize,
    },
    /// A body is too long to be recorded.
    #[error("a body of more than {max} bytes is not recorded")]
    TooLong {
        /// The limit.
        max: usize,
    },
}

impl From<CassetteError> for TransportError {
    fn from(error: CassetteError) -> Self {
        Self::Recording(error)
    }
}

/// A transport that records what passes through it, or replays what was recorded.
///
/// The file holds a line of JSON for each exchange: the request, the head of the answer, and the
/// pieces of its body, byte for byte as they came. Headers that hold a credential are left out, and
/// where a service repeats a secret there are stars. It is replaced as a whole, so that it never is
/// cut, after each exchange; that writes to the disk in between.
///
/// A clone shares the recording.
///
/// ```
/// use std::sync::Arc;
/// use phi_provider::{Cassette, CassetteError, Transport};
///
/// fn transport(network: Arc<dyn Transport>, record: bool) -> Result<Cassette, CassetteError> {
///     let path = "tests/recordings/hello.jsonl";
///     match record {
///         true => Ok(Cassette::record(network, path)),
///         false => Cassette::replay(path),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Cassette {
    mode: Mode,
}

#[derive(Clone)]
enum Mode {
    Record {
        inner: Arc<dyn Transport>,
        tape: Arc<Mutex<Tape>>,
    },
    Replay {
        left: Arc<Mutex<Vec<Option<Exchange>>>>,
        matching: Matching,
    },
}

/// Which exchange answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Matching {
    Request,
    Order,
}

impl Cassette {
    /// Records into a file, which is written when the first exchange is over.
    #[must_use]
    pub fn record(inner: Arc<dyn Transport>, path: impl Into<PathBuf>) -> Self {
        let tape = Arc::new(Mutex::new(Tape::new(path.into())));
        Self {
            mode: Mode::Record { inner, tape },
        }
    }

    /// Replays a file. An exchange answers one request with the same method, address and body,
    /// whatever order they come in.
    ///
    /// # Errors
    /// [`CassetteError::Unreadable`] with the line that is wrong.
    pub fn replay(path: impl AsRef<Path>) -> Result<Self, CassetteError> {
        let exchanges = read(path.as_ref())?;
        Ok(Self {
            mode: Mode::Replay {
                left: Arc::new(Mutex::new(exchanges.into_iter().map(Some).collect())),
                matching: Matching::Request,
            },
        })
    }

    /// Replays the exchanges in the order of the recording and in no other.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        if let Mode::Replay { matching, .. } = &mut self.mode {
            *matching = Matching::Order;
        }
        self
    }

    /// Says whether everything was written, or whether everything was replayed.
    ///
    /// # Errors
    /// [`CassetteError::Unwritable`] and [`CassetteError::TooLong`] where something was not
    /// recorded, [`CassetteError::Unused`] where exchanges are left.
    pub fn finished(&self) -> Result<(), CassetteError> {
        match &self.mode {
            Mode::Record { tape, .. } => lock(tape).outcome(),
            Mode::Replay { left, .. } => match lock(left).iter().flatten().count() {
                0 => Ok(()),
                count => Err(CassetteError::Unused { count }),
            },
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Cassette {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match &self.mode {
            Mode::Record { .. } => "record",
            Mode::Replay { .. } => "replay",
        };
        f.debug_tuple("Cassette").field(&mode).finish()
    }
}

#[async_trait]
impl Transport for Cassette {
    async fn send(
        &self,
        request: HttpRequest,
        secrets: Vec<SecretHeader>,
    ) -> Result<HttpResponse, TransportError> {
        let mask = Mask::new(&secrets);
        let asked = masked_request(&request, &mask);
        match &self.mode {
            Mode::Record { inner, tape } => {
                let slot = {
                    let mut tape = lock(tape);
                    tape.outcome()?;
                    tape.slot()
                };
                let sent = inner.send(request, secrets).await;
                let place = Place {
                    tape: Arc::clone(tape),
                    slot,
                };
                record(sent, asked, place, mask)
            }
            Mode::Replay { left, matching } => {
                let exchange = take(&mut lock(left), &asked, *matching)?;
                replayed(exchange)
            }
        }
    }
}

/// Takes the answer of an exchange onto a tape while it is read.
fn record(
    sent: Result<HttpResponse, TransportError>,
    asked: HttpRequest,
    place: Place,
    mask: Mask,
) -> Result<HttpResponse, TransportError> {
    let HttpResponse { head, body } = match sent {
        Ok(response) => response,
        Err(error) => {
            if let Some(failure) = Failure::of(&error) {
                let answer = Answer::Failed(failure);
                place.store(Exchange::of(&asked, answer));
            }
            return Err(error);
        }
    };
    let recording = Recording {
        body,
        place,
        asked,
        head: masked_head(&head, &mask),
        mask,
        pieces: Some(Vec::new()),
        length: 0,
    };
    Ok(HttpResponse {
        head,
        body: Box::pin(recording),
    })
}

/// Where an exchange stands on a tape.
struct Place {
    tape: Arc<Mutex<Tape>>,
    slot: usize,
}

impl Place {
    fn store(&self, exchange: Exchange) {
        lock(&self.tape).store(self.slot, exchange);
    }
}

struct Recording {
    body: BoxStream<'static, Result<Bytes, TransportError>>,
    place: Place,
    asked: HttpRequest,
    head: ResponseHead,
    mask: Mask,
    /// What came so far, until it is stored.
    pieces: Option<Vec<Bytes>>,
    length: usize,
}

impl Recording {
    fn take(&mut self, bytes: &Bytes) {
        self.length = self.length.saturating_add(bytes.len());
        if self.length > BODY_BYTES_MAX {
            self.pieces = None;
            let max = BODY_BYTES_MAX;
            lock(&self.place.tape).fail(CassetteError::TooLong { max });
        }
        if let Some(pieces) = &mut self.pieces {
            pieces.push(bytes.clone());
        }
    }

    fn end(&mut self, end: End) {
        let Some(pieces) = self.pieces.take() else {
            return;
        };
        // A secret may lie across pieces, and stars have its length.
        let mut whole = pieces.concat();
        self.mask.mask(&mut whole);
        let mut rest = whole.as_slice();
        let mut chunks = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            let (chunk, after) = rest.split_at(piece.len().min(rest.len()));
            chunks.push(Blob(chunk.to_vec()));
            rest = after;
        }
        let answer = Answer::Response {
            status: self.head.status,
            headers: self.head.headers.clone(),
            chunks,
            end,
        };
        self.place.store(Exchange::of(&self.asked, answer));
    }
}

impl Stream for Recording {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let polled = this.body.as_mut().poll_next(context);
        match &polled {
            Poll::Ready(Some(Ok(bytes))) => this.take(bytes),
            Poll::Ready(Some(Err(TransportError::Broken { reason, .. }))) => {
                this.end(End::Broken(reason.clone()));
            }
            Poll::Ready(Some(Err(error))) => this.end(End::Broken(error.to_string())),
            Poll::Ready(None) => this.end(End::Closed),
            Poll::Pending => {}
        }
        polled
    }
}

impl Drop for Recording {
    /// What was read of a body that is left is kept.
    fn drop(&mut self) {
        self.end(End::Left);
    }
}

/// Takes the exchange that answers a request.
fn take(
    left: &mut [Option<Exchange>],
    asked: &HttpRequest,
    matching: Matching,
) -> Result<Exchange, CassetteError> {
    let mut open = left
        .iter()
        .enumerate()
        .filter_map(|(at, it)| Some((at, it.as_ref()?)));
    let best = match matching {
        Matching::Order => open.next().map(|(at, it)| (at, likeness(it, asked))),
        // Of equal ones the first counts.
        Matching::Request => open
            .map(|(at, it)| (at, likeness(it, asked)))
            .rev()
            .max_by_key(|(_, likeness)| *likeness),
    };
    let Some((at, likeness)) = best else {
        return Err(CassetteError::Empty {
            method: asked.method.to_owned(),
            url: asked.url.clone(),
        });
    };
    let slot = left.get_mut(at);
    match (likeness, slot) {
        (Likeness::Same, Some(slot)) if slot.is_some() => {
            let taken = slot.take();
            taken.ok_or(CassetteError::Unused { count: 0 })
        }
        (_, slot) => Err(CassetteError::Mismatch {
            number: at + 1,
            difference: slot
                .and_then(|it| it.as_ref())
                .map(|it| difference(it, asked))
                .unwrap_or_default(),
        }),
    }
}

fn replayed(exchange: Exchange) -> Result<HttpResponse, TransportError> {
    let host = exchange.host();
    match exchange.answer {
        Answer::Failed(failure) => Err(failure.error()),
        Answer::Response {
            status,
            headers,
            chunks,
            end,
        } => {
            let chunks = chunks.into_iter().map(|it| Ok(Bytes::from(it.0)));
            let broken = match end {
                End::Closed | End::Left => None,
                End::Broken(reason) => Some(Err(TransportError::Broken { host, reason })),
            };
            Ok(HttpResponse {
                head: ResponseHead { status, headers },
                body: Box::pin(stream::iter(chunks.chain(broken))),
            })
        }
    }
}
