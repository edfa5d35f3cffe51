//! One call of a provider over HTTP, from the request to the last delta.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use phi_types::{Delta, ProviderError, ProviderErrorKind, Request};
use tokio::time::{Instant, Sleep};

use crate::credential::SecretHeader;
use crate::http_credential::scrub;
use crate::http_keep_alive::KeepAlive;
use crate::http_provider::Shared;
use crate::transport::{HttpResponse, TransportError};
use crate::wire::{Decoder, ResponseHead};

/// The stream of one call. Dropping it closes the exchange.
pub(crate) struct Call {
    shared: Arc<Shared>,
    host: String,
    /// What no message may show.
    secrets: Vec<SecretHeader>,
    phase: Phase,
    /// What was decoded and not handed out yet: what one piece of the body says.
    deltas: VecDeque<Delta>,
    decoded: Vec<Delta>,
    /// Comes after the deltas, and nothing comes after it.
    error: Option<ProviderError>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Pieces of the body that were read since the task last yielded.
    pieces: u32,
}

/// How many pieces without a delta are read before other tasks get their turn: keep-alives that
/// always arrive at once must not keep the timer from its turn either.
const PIECES_MAX: u32 = 64;

/// How long is waited for the end of the body after the service said that nothing more comes: a
/// connection whose body was read to its end serves the next call.
const LAST_WAIT: Duration = Duration::from_millis(50);

enum Phase {
    Ready(Box<Request>),
    Sending {
        response: BoxFuture<'static, Result<HttpResponse, TransportError>>,
        until: Instant,
    },
    Reading(Box<Reading>),
    Over,
}

/// The body of an answer while it is read.
struct Reading {
    body: BoxStream<'static, Result<Bytes, TransportError>>,
    decoder: Box<dyn Decoder>,
    status: u16,
    /// Says that the body may be compressed, until its first bytes tell.
    is_gzip: Option<GzipMark>,
    keep_alive: KeepAlive,
    left: u64,
    content_at: Instant,
    progress_at: Instant,
    /// When the outcome is known: the end of the wait for the rest.
    settled_at: Option<Instant>,
}

/// The answer claims to be compressed with gzip.
struct GzipMark;

/// The first bytes of everything that gzip writes.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

impl Call {
    pub(crate) fn new(shared: Arc<Shared>, request: Request) -> Self {
        Self {
            shared,
            host: String::new(),
            secrets: Vec::new(),
            phase: Phase::Ready(Box::new(request)),
            deltas: VecDeque::new(),
            decoded: Vec::new(),
            error: None,
            timer: None,
            pieces: 0,
        }
    }

    /// Encodes the request and starts to send it.
    fn start(&mut self, request: &Request) -> Result<Phase, ProviderError> {
        if tokio::runtime::Handle::try_current().is_err() {
            let message = "there is no tokio runtime: call the provider inside of one";
            return Err(ProviderError::new(
                ProviderErrorKind::InvalidRequest,
                message,
            ));
        }
        let shared = Arc::clone(&self.shared);
        let request = shared.wire.encode(request)?.request;
        self.host = host_of(&request.url).to_owned();
        let until = Instant::now() + shared.timeouts.first_byte;
        let secrets = shared.secrets(&request)?;
        self.secrets.clone_from(&secrets);
        let transport = Arc::clone(&shared.transport);
        let response = Box::pin(async move { transport.send(request, secrets).await });
        Ok(Phase::Sending { response, until })
    }

    /// Takes the head of the answer.
    fn take_head(&self, response: HttpResponse) -> Result<Phase, ProviderError> {
        let HttpResponse { mut head, body } = response;
        if head.header("date").is_none() {
            // The decoder reads points in time relative to this header.
            let now = httpdate::fmt_http_date(SystemTime::now());
            head.headers.push(("date".to_owned(), now));
        }
        if (300..400).contains(&head.status) {
            return Err(self.redirected(&head));
        }
        let now = Instant::now();
        Ok(Phase::Reading(Box::new(Reading {
            body,
            decoder: self.shared.wire.decoder(&head),
            status: head.status,
            is_gzip: self.check_encoding(&head)?,
            keep_alive: KeepAlive::default(),
            left: self.shared.body_bytes_max,
            content_at: now,
            progress_at: now,
            settled_at: (!head.is_success()).then(|| now + self.shared.timeouts.settle),
        })))
    }

    fn redirected(&self, head: &ResponseHead) -> ProviderError {
        let to = without_secrets(head.header("location").unwrap_or("nowhere"));
        let (host, status) = (&self.host, head.status);
        let message = format!(
            "{host} redirects to {to}, and redirects are not followed: set the base URL to where \
             the service is"
        );
        ProviderError::new(ProviderErrorKind::InvalidRequest, message).with_status(status)
    }

    /// Refuses what cannot be read. Some gateways call a plain body gzip: its first bytes tell.
    fn check_encoding(&self, head: &ResponseHead) -> Result<Option<GzipMark>, ProviderError> {
        let encoding = head.header("content-encoding").unwrap_or_default();
        match encoding.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(GzipMark)),
            _ => Err(self.compressed(encoding, head.status)),
        }
    }

    fn compressed(&self, encoding: &str, status: u16) -> ProviderError {
        let host = &self.host;
        let message = format!(
            "{host} compressed the answer with {encoding:?} although it was asked not to: turn \
             compression off in the service or in the proxy before it"
        );
        ProviderError::new(ProviderErrorKind::Protocol, message).with_status(status)
    }

    /// Reads the next piece of the body, or ends the call.
    fn poll_body(&mut self, context: &mut Context<'_>, mut reading: Box<Reading>) -> Poll<()> {
        let piece = if self.pieces < PIECES_MAX {
            reading.body.as_mut().poll_next(context)
        } else {
            context.waker().wake_by_ref();
            Poll::Pending
        };
        let Poll::Ready(piece) = piece else {
            self.pieces = 0;
            let (until, wait) = reading.deadline(&self.shared);
            if self.poll_timer(context, until).is_pending() {
                self.phase = Phase::Reading(reading);
                return Poll::Pending;
            }
            let silence = self.silence(wait);
            self.end(&mut reading, Some(silence));
            return Poll::Ready(());
        };
        self.pieces += 1;
        match piece {
            Some(Ok(bytes)) => match self.take_bytes(&mut reading, &bytes) {
                Ok(()) => self.phase = Phase::Reading(reading),
                Err(error) => self.error = Some(error),
            },
            Some(Err(error)) => self.end(&mut reading, Some(error.into())),
            None => self.end(&mut reading, None),
        }
        Poll::Ready(())
    }

    fn take_bytes(&mut self, reading: &mut Reading, bytes: &Bytes) -> Result<(), ProviderError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        reading.left = match reading.left.checked_sub(length) {
            Some(left) => left,
            None => return Err(self.too_long(reading.status)),
        };
        if reading.is_gzip.take().is_some() && GZIP_MAGIC.iter().zip(bytes).all(|(a, b)| a == b) {
            return Err(self.compressed("gzip", reading.status));
        }
        let decoded = reading.decoder.push(bytes, &mut self.decoded);
        reading.note(bytes, &self.decoded, self.shared.timeouts.settle);
        if reading.decoder.is_over() {
            let end = Instant::now() + LAST_WAIT;
            reading.settled_at = Some(reading.settled_at.map_or(end, |at| at.min(end)));
        }
        self.deltas.extend(self.decoded.drain(..));
        decoded
    }

    /// Ends the call: by the end of the body, or by what kept the rest of it away. The decoder
    /// knows whether the answer is whole all the same.
    fn end(&mut self, reading: &mut Reading, cause: Option<ProviderError>) {
        let ended = reading.decoder.end(&mut self.decoded);
        self.deltas.extend(self.decoded.drain(..));
        self.error = match (ended, cause) {
            (Ok(()), _) => None,
            (Err(error), Some(cause)) if error.kind == ProviderErrorKind::Incomplete => {
                Some(incomplete(error, cause))
            }
            (Err(error), _) => Some(error),
        };
    }

    /// Silence is a timeout; a connection that broke in the middle left an incomplete answer.
    fn poll_timer(&mut self, context: &mut Context<'_>, until: Instant) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(context)
    }

    fn too_long(&self, status: u16) -> ProviderError {
        let (host, max) = (&self.host, self.shared.body_bytes_max);
        let message = format!(
            "the answer of {host} is longer than {max} bytes: raise the limit to accept it"
        );
        ProviderError::new(ProviderErrorKind::Protocol, message).with_status(status)
    }

    fn silence(&self, wait: Wait) -> ProviderError {
        let (host, timeouts) = (&self.host, &self.shared.timeouts);
        let message = match wait {
            Wait::FirstByte => {
                let after = timeouts.first_byte;
                format!("{host} did not answer within {after:?}: send the request again")
            }
            Wait::Idle | Wait::Settle => {
                let after = timeouts.idle;
                format!(
                    "{host} sent nothing but keep-alives for {after:?}: send the request again or \
                     raise the idle timeout"
                )
            }
            Wait::Progress => {
                let after = timeouts.progress;
                format!(
                    "{host} sent nothing of the answer for {after:?}: send the request again or \
                     raise the progress timeout"
                )
            }
        };
        ProviderError::new(ProviderErrorKind::Timeout, message)
    }
}

/// What was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    FirstByte,
    Idle,
    Progress,
    Settle,
}

impl Reading {
    /// Notes what a piece of the body brought.
    fn note(&mut self, bytes: &[u8], decoded: &[Delta], settle: Duration) {
        if decoded.is_empty() {
            if self.keep_alive.has_content(bytes) {
                self.content_at = Instant::now();
            }
            return;
        }
        self.keep_alive.skip(bytes);
        self.content_at = Instant::now();
        self.progress_at = self.content_at;
        let is_finish = |delta: &Delta| matches!(delta, Delta::Finish(_));
        if self.settled_at.is_none() && decoded.iter().any(is_finish) {
            self.settled_at = Some(self.content_at + settle);
        }
    }

    /// Returns when the wait for the next piece is over, and what it was for.
    fn deadline(&self, shared: &Shared) -> (Instant, Wait) {
        if let Some(settled_at) = self.settled_at {
            return (settled_at, Wait::Settle);
        }
        let idle = self.content_at + shared.timeouts.idle;
        let progress = self.progress_at + shared.timeouts.progress;
        if idle <= progress {
            (idle, Wait::Idle)
        } else {
            (progress, Wait::Progress)
        }
    }
}

impl Stream for Call {
    type Item = Result<Delta, ProviderError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let call = self.get_mut();
        loop {
            if let Some(delta) = call.deltas.pop_front() {
                call.pieces = 0;
                return Poll::Ready(Some(Ok(delta)));
            }
            if let Some(mut error) = call.error.take() {
                call.phase = Phase::Over;
                error.message = scrub(&error.message, call.secrets.iter().map(|it| &it.value));
                return Poll::Ready(Some(Err(error)));
            }
            match std::mem::replace(&mut call.phase, Phase::Over) {
                Phase::Ready(request) => match call.start(&request) {
                    Ok(phase) => call.phase = phase,
                    Err(error) => call.error = Some(error),
                },
                Phase::Sending {
                    mut response,
                    until,
                } => match response.as_mut().poll(context) {
                    Poll::Ready(Ok(response)) => match call.take_head(response) {
                        Ok(phase) => call.phase = phase,
                        Err(error) => call.error = Some(error),
                    },
                    Poll::Ready(Err(error)) => call.error = Some(error.into()),
                    Poll::Pending if call.poll_timer(context, until).is_ready() => {
                        call.error = Some(call.silence(Wait::FirstByte));
                    }
                    Poll::Pending => {
                        call.phase = Phase::Sending { response, until };
                        return Poll::Pending;
                    }
                },
                Phase::Reading(reading) => ready!(call.poll_body(context, reading)),
                Phase::Over => return Poll::Ready(None),
            }
        }
    }
}

/// Silence is a timeout; a connection that broke in the middle left an incomplete answer.
fn incomplete(mut error: ProviderError, mut cause: ProviderError) -> ProviderError {
    if cause.kind == ProviderErrorKind::Network {
        error.message = format!("{} ({})", error.message, cause.message);
        return error;
    }
    cause.status = error.status;
    cause
}

/// Takes out of an address what may hold a credential: user, password, query and fragment.
fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let path = rest.split_once('/').map_or("", |(_, path)| path);
            format!("{scheme}://{}/{path}", host_of(url))
        }
        None => url.to_owned(),
    }
}

/// Returns host and port of an address, without the credential that it should not hold.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_all_that_is_named() {
        for (url, host) in [
            ("https://api.test/v1?key=secret", "api.test"),
            ("http://me:secret@[::1]:80?x", "[::1]:80"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        for (url, shown) in [
            (
                "https://me:secret@a.test/v1/x?key=secret#s",
                "https://a.test/v1/x",
            ),
            ("https://a.test?key=secret", "https://a.test/"),
            ("/v2?key=secret", "/v2"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
