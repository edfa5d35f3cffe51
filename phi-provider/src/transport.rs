//! The port that carries one HTTP request out and a stream of bytes back.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use phi_types::{ProviderError, ProviderErrorKind};

use crate::cassette::CassetteError;
use crate::credential::SecretHeader;
use crate::wire::{HttpRequest, ResponseHead};

/// Sends one HTTP request and hands the body of the answer out as it arrives.
///
/// A transport follows no redirect, sends nothing a second time, and neither logs nor shows what a
/// [`SecretHeader`] holds. Timeouts after the connection stands, and caps on the body, belong to
/// [`crate::HttpProvider`].
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends a request and waits for the head of its answer. Of two headers with one name the
    /// secret one counts, and of two secret ones the last.
    ///
    /// **Cancel safety:** dropping the future, or the body later, closes the exchange.
    ///
    /// # Errors
    /// [`TransportError`] says whether the request cannot be sent or the connection failed. A status
    /// that is no success is an answer and no error.
    async fn send(
        &self,
        request: HttpRequest,
        secrets: Vec<SecretHeader>,
    ) -> Result<HttpResponse, TransportError>;
}

/// The head of an answer, and its body as it arrives.
pub struct HttpResponse {
    /// Status and headers.
    pub head: ResponseHead,
    /// The body. It ends after its last byte, or with one error.
    pub body: BoxStream<'static, Result<Bytes, TransportError>>,
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse")
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

/// Says why a request got no answer, or not a whole one. It names the host and no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The address is not one that a request can be sent to.
    #[error("the address of the service cannot be used: {reason}")]
    Address {
        /// What is wrong and what would be right, without the address: it may hold a credential.
        reason: String,
    },
    /// A header cannot be sent.
    #[error(
        "the header `{name}` cannot be sent: its name or its value holds characters that HTTP does \
         not allow, such as a line end"
    )]
    Header {
        /// The name of the header.
        name: String,
    },
    /// The transport itself could not be made.
    #[error("the HTTP client cannot be made: {reason}")]
    Client {
        /// What went wrong.
        reason: String,
    },
    /// There is no connection.
    #[error("cannot connect to {host}: {reason}; check the base URL and the network")]
    Connect {
        /// The host with its port.
        host: String,
        /// What went wrong.
        reason: String,
    },
    /// There was no connection in time.
    #[error("no connection to {host} within {after:?}; check the base URL and the network")]
    ConnectTimeout {
        /// The host with its port.
        host: String,
        /// How long it was waited.
        after: Duration,
    },
    /// A recording has no answer, or cannot be written.
    #[error(transparent)]
    Recording(CassetteError),
    /// The connection broke.
    #[error("the connection to {host} broke: {reason}; send the request again")]
    Broken {
        /// The host with its port.
        host: String,
        /// What went wrong.
        reason: String,
    },
}

impl TransportError {
    /// Says what the caller of a provider can do about it.
    #[must_use]
    pub fn kind(&self) -> ProviderErrorKind {
        match self {
            Self::Address { .. }
            | Self::Header { .. }
            | Self::Client { .. }
            | Self::Recording(_) => ProviderErrorKind::InvalidRequest,
            Self::Connect { .. } | Self::Broken { .. } => ProviderErrorKind::Network,
            Self::ConnectTimeout { .. } => ProviderErrorKind::Timeout,
        }
    }
}

impl From<TransportError> for ProviderError {
    fn from(error: TransportError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}
