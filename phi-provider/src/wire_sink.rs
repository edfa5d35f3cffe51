//! A transport that shows the raw bytes of every exchange, to find out what a service really says.

use std::fmt;
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::BoxStream;

use crate::credential::SecretHeader;
use crate::mask::{Mask, is_private};
use crate::transport::{HttpResponse, Transport, TransportError};
use crate::wire::{HttpRequest, ResponseHead};

/// Something of an exchange. It holds no credential: headers that do are left out, and where the
/// service repeats a secret there are stars.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireEvent {
    /// A request is about to be sent.
    Request(HttpRequest),
    /// The head of the answer.
    Head(ResponseHead),
    /// Bytes of the body as they came.
    Bytes(Vec<u8>),
    /// The exchange is over: the body ended, or what broke it.
    Ended(Option<TransportError>),
}

type Sink = dyn Fn(u64, &WireEvent) + Send + Sync;

/// A transport that shows what passes through it. A clone shares the count of exchanges.
///
/// ```
/// use std::sync::Arc;
/// use phi_provider::{Transport, WireEvent, WireSink};
///
/// fn shown(transport: Arc<dyn Transport>) -> WireSink {
///     WireSink::new(transport, |exchange, event| {
///         if let WireEvent::Bytes(bytes) = event {
///             eprintln!("{exchange}: {} bytes", bytes.len());
///         }
///     })
/// }
/// ```
#[derive(Clone)]
pub struct WireSink {
    inner: Arc<dyn Transport>,
    sink: Arc<Sink>,
    exchanges: Arc<AtomicU64>,
}

impl WireSink {
    /// Hands every event to a function, with the number of its exchange from 0. The function is
    /// called in between, so it should be quick.
    #[must_use]
    pub fn new(
        inner: Arc<dyn Transport>,
        sink: impl Fn(u64, &WireEvent) + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            sink: Arc::new(sink),
            exchanges: Arc::default(),
        }
    }

    /// Writes every event as text, bodies as they are. A writer that fails once gets nothing more.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use phi_provider::{Transport, WireSink};
    ///
    /// fn logged(transport: Arc<dyn Transport>) -> std::io::Result<WireSink> {
    ///     Ok(WireSink::to_writer(transport, std::fs::File::create("wire.log")?))
    /// }
    /// ```
    #[must_use]
    pub fn to_writer(inner: Arc<dyn Transport>, writer: impl Write + Send + 'static) -> Self {
        let writer = Mutex::new(Some(writer));
        Self::new(inner, move |exchange, event| {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            let failed = match &mut *writer {
                Some(writer) => write(writer, exchange, event).is_err(),
                None => false,
            };
            if failed {
                *writer = None;
            }
        })
    }
}

fn write(out: &mut impl Write, exchange: u64, event: &WireEvent) -> std::io::Result<()> {
    match event {
        WireEvent::Request(request) => {
            writeln!(out, "#{exchange} > {} {}", request.method, request.url)?;
            for (name, value) in &request.headers {
                writeln!(out, "#{exchange} > {name}: {value}")?;
            }
            for chunk in &request.body {
                out.write_all(chunk)?;
            }
            writeln!(out)?;
        }
        WireEvent::Head(head) => {
            writeln!(out, "#{exchange} < {}", head.status)?;
            for (name, value) in &head.headers {
                writeln!(out, "#{exchange} < {name}: {value}")?;
            }
        }
        WireEvent::Bytes(bytes) => out.write_all(bytes)?,
        WireEvent::Ended(None) => writeln!(out, "\n#{exchange} end")?,
        WireEvent::Ended(Some(error)) => writeln!(out, "\n#{exchange} {error}")?,
    }
    out.flush()
}

impl fmt::Debug for WireSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireSink").finish_non_exhaustive()
    }
}

#[async_trait]
impl Transport for WireSink {
    async fn send(
        &self,
        request: HttpRequest,
        secrets: Vec<SecretHeader>,
    ) -> Result<HttpResponse, TransportError> {
        let mask = Mask::new(&secrets);
        let exchange = self.exchanges.fetch_add(1, Ordering::Relaxed);
        (self.sink)(
            exchange,
            &WireEvent::Request(masked_request(&request, &mask)),
        );
        let sent = self.inner.send(request, secrets).await;
        let HttpResponse { head, body } = match sent {
            Ok(response) => response,
            Err(error) => {
                (self.sink)(exchange, &WireEvent::Ended(Some(error.clone())));
                return Err(error);
            }
        };
        (self.sink)(exchange, &WireEvent::Head(masked_head(&head, &mask)));
        let body = Box::pin(Watched {
            body,
            sink: Arc::clone(&self.sink),
            exchange,
            mask,
            is_over: false,
        });
        Ok(HttpResponse { head, body })
    }
}

/// Returns a request without what is secret.
pub(crate) fn masked_request(request: &HttpRequest, mask: &Mask) -> HttpRequest {
    let headers = request.headers.iter().filter(|(name, _)| !is_private(name));
    let mut body = request.body_bytes();
    mask.mask(&mut body);
    HttpRequest {
        method: request.method,
        url: mask.text(&request.url),
        headers: headers
            .map(|(name, value)| (*name, mask.text(value)))
            .collect(),
        body: vec![Bytes::from(body)],
    }
}

/// Returns a head without what is secret.
pub(crate) fn masked_head(head: &ResponseHead, mask: &Mask) -> ResponseHead {
    let headers = head.headers.iter().filter(|(name, _)| !is_private(name));
    ResponseHead {
        status: head.status,
        headers: headers
            .map(|(name, value)| (name.clone(), mask.text(value)))
            .collect(),
    }
}

struct Watched {
    body: BoxStream<'static, Result<Bytes, TransportError>>,
    sink: Arc<Sink>,
    exchange: u64,
    mask: Mask,
    is_over: bool,
}

impl Watched {
    fn show(&self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            (self.sink)(self.exchange, &WireEvent::Bytes(bytes));
        }
    }

    fn end(&mut self, error: Option<TransportError>) {
        if !std::mem::replace(&mut self.is_over, true) {
            let rest = self.mask.end();
            self.show(rest);
            (self.sink)(self.exchange, &WireEvent::Ended(error));
        }
    }
}

impl Stream for Watched {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let polled = this.body.as_mut().poll_next(context);
        match &polled {
            Poll::Ready(Some(Ok(bytes))) => {
                let shown = this.mask.push(bytes);
                this.show(shown);
            }
            Poll::Ready(Some(Err(error))) => this.end(Some(error.clone())),
            Poll::Ready(None) => this.end(None),
            Poll::Pending => {}
        }
        polled
    }
}

impl Drop for Watched {
    /// A body that is left is over too.
    fn drop(&mut self) {
        self.end(None);
    }
}
