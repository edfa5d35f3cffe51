//! One call of a provider over HTTP, from the request to the last delta.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use phi_types::{Delta, ProviderError, ProviderErrorKind, Request};
use secrecy::SecretString;
use tokio::time::{Instant, Sleep};

use crate::credential::{CredentialError, Secret};
use crate::http_credential::Credential;
use crate::http_keep_alive::KeepAlive;
use crate::http_provider::Shared;
use crate::http_reading::{GZIP_MAGIC, GzipMark, Reading, Wait};
use crate::http_refresh::{Refreshing, Ticket};
use crate::http_scrub::{host_of, scrub, without_secrets};
use crate::transport::{HttpResponse, TransportError};
use crate::wire::{HttpRequest, ResponseHead};

/// The stream of one call. Dropping it closes the exchange.
pub(crate) struct Call {
    shared: Arc<Shared>,
    host: String,
    /// What no message may show.
    secrets: Vec<SecretString>,
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
    Asking(Box<Asking>),
    Sending(Box<Sending>),
    Reading(Box<Reading>),
    Over,
}

/// A request that waits for its secret.
struct Asking {
    request: HttpRequest,
    ticket: BoxFuture<'static, Result<Ticket, CredentialError>>,
    until: Instant,
    /// The answer that refused the secret before.
    refused: Option<Refused>,
}

struct Refused {
    reading: Box<Reading>,
    ticket: Ticket,
}

/// A request whose answer did not begin.
struct Sending {
    response: BoxFuture<'static, Result<HttpResponse, TransportError>>,
    until: Instant,
    /// What is sent once more if the secret is refused.
    again: Option<Again>,
}

struct Again {
    request: HttpRequest,
    ticket: Ticket,
    source: Arc<Refreshing>,
}

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
        let request = shared.encode(request)?;
        self.host = host_of(&request.url).to_owned();
        match &shared.credential {
            Credential::Anonymous => self.send(request, None, None),
            Credential::Fixed(secret) => self.send(request, Some(secret), None),
            Credential::Source(source) => Ok(Phase::Asking(Box::new(Asking {
                request,
                ticket: Box::pin(Arc::clone(&source.0).ticket()),
                until: Instant::now() + shared.timeouts.first_byte,
                refused: None,
            }))),
        }
    }

    /// Starts to send a request with a secret.
    fn send(
        &mut self,
        request: HttpRequest,
        secret: Option<&Secret>,
        again: Option<Again>,
    ) -> Result<Phase, ProviderError> {
        let headers = self.shared.secret_headers(&request, secret)?;
        let values = headers.iter().map(|header| &header.value);
        let held = secret.into_iter().flat_map(Secret::values);
        self.secrets.extend(values.chain(held).cloned());
        let transport = Arc::clone(&self.shared.transport);
        Ok(Phase::Sending(Box::new(Sending {
            response: Box::pin(async move { transport.send(request, headers).await }),
            until: Instant::now() + self.shared.timeouts.first_byte,
            again,
        })))
    }

    /// Waits for a secret, and sends the request with it. A secret that was refused is not sent
    /// again: then the answer that refused it counts.
    fn poll_secret(&mut self, context: &mut Context<'_>, mut asking: Box<Asking>) -> Poll<()> {
        let ticket = match asking.ticket.as_mut().poll(context) {
            Poll::Ready(Ok(ticket)) => ticket,
            Poll::Ready(Err(error)) => {
                self.error = Some(self.no_secret(error, asking.refused.as_ref()));
                return Poll::Ready(());
            }
            Poll::Pending if self.poll_timer(context, asking.until).is_ready() => {
                let after = self.shared.timeouts.first_byte;
                let message = format!("the source of the credential gave none within {after:?}");
                self.error = Some(ProviderError::new(ProviderErrorKind::Timeout, message));
                return Poll::Ready(());
            }
            Poll::Pending => {
                self.phase = Phase::Asking(asking);
                return Poll::Pending;
            }
        };
        let Asking {
            request, refused, ..
        } = *asking;
        let phase = match refused {
            Some(mut refused) if refused.ticket.secret().is_same(ticket.secret()) => {
                refused.reading.settle(self.shared.timeouts.settle);
                Ok(Phase::Reading(refused.reading))
            }
            Some(_) => self.send(request, Some(ticket.secret()), None),
            None => {
                let again = self.again(&request, &ticket);
                self.send(request, Some(ticket.secret()), again)
            }
        };
        self.enter(phase);
        Poll::Ready(())
    }

    fn again(&self, request: &HttpRequest, ticket: &Ticket) -> Option<Again> {
        let Credential::Source(source) = &self.shared.credential else {
            return None;
        };
        Some(Again {
            request: request.clone(),
            ticket: ticket.clone(),
            source: Arc::clone(&source.0),
        })
    }

    fn no_secret(&self, error: CredentialError, refused: Option<&Refused>) -> ProviderError {
        let mut error = ProviderError::from(error);
        if let Some(refused) = refused {
            let (host, status, why) = (&self.host, refused.reading.status, error.message);
            error.message = format!(
                "{host} refused the credential with status {status}, and there is no other one: \
                 {why}"
            );
            error.status = Some(status);
        }
        error
    }

    fn enter(&mut self, phase: Result<Phase, ProviderError>) {
        match phase {
            Ok(phase) => self.phase = phase,
            Err(error) => self.error = Some(error),
        }
    }

    /// Waits for the head of the answer.
    fn poll_head(&mut self, context: &mut Context<'_>, mut sending: Box<Sending>) -> Poll<()> {
        match sending.response.as_mut().poll(context) {
            Poll::Ready(Ok(response)) => {
                let phase = self.take_head(response, sending.again);
                self.enter(phase);
            }
            Poll::Ready(Err(error)) => self.error = Some(error.into()),
            Poll::Pending if self.poll_timer(context, sending.until).is_ready() => {
                self.error = Some(self.silence(Wait::FirstByte));
            }
            Poll::Pending => {
                self.phase = Phase::Sending(sending);
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Takes the head of the answer.
    fn take_head(
        &self,
        response: HttpResponse,
        again: Option<Again>,
    ) -> Result<Phase, ProviderError> {
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
        let reading = Box::new(Reading {
            body,
            decoder: self.shared.wire.decoder(&head),
            status: head.status,
            is_gzip: self.check_encoding(&head)?,
            keep_alive: KeepAlive::default(),
            left: self.shared.body_bytes_max,
            content_at: now,
            progress_at: now,
            settled_at: (!head.is_success()).then(|| now + self.shared.timeouts.settle),
        });
        match again {
            Some(again) if is_refused(&head, again.ticket.secret()) => {
                let ticket = again.ticket.clone();
                Ok(Phase::Asking(Box::new(Asking {
                    request: again.request,
                    ticket: Box::pin(again.source.replace(again.ticket)),
                    until: now + self.shared.timeouts.first_byte,
                    refused: Some(Refused { reading, ticket }),
                })))
            }
            _ => Ok(Phase::Reading(reading)),
        }
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
            let (until, wait) = reading.deadline(&self.shared.timeouts);
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
                error.message = scrub(&error.message, call.secrets.iter());
                return Poll::Ready(Some(Err(error)));
            }
            match std::mem::replace(&mut call.phase, Phase::Over) {
                Phase::Ready(request) => {
                    let phase = call.start(&request);
                    call.enter(phase);
                }
                Phase::Asking(asking) => ready!(call.poll_secret(context, asking)),
                Phase::Sending(sending) => ready!(call.poll_head(context, sending)),
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

/// Says whether a service did not take a secret of which there may be a newer one.
fn is_refused(head: &ResponseHead, secret: &Secret) -> bool {
    match (head.status, secret) {
        (401, _) => true,
        (403, Secret::Aws(_)) => {
            // AWS: `x-amzn-errortype` names the exception, perhaps with an address behind it.
            let kind = head.header("x-amzn-errortype");
            kind.is_none_or(|kind| {
                let kinds = ["ExpiredToken", "UnrecognizedClient", "InvalidClientTokenId"];
                kinds.iter().any(|it| kind.starts_with(it))
            })
        }
        _ => false,
    }
}
