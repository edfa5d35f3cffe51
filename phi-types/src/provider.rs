//! The port of models.

use std::fmt;

use futures_core::stream::BoxStream;

use crate::delta::Delta;
use crate::error::ProviderError;
use crate::request::Request;

/// A model, or a service with several models.
///
/// A stream yields deltas as they arrive and ends after [`Delta::Finish`] and the last usage report,
/// or with one error. A stream that ends without a finish counts as
/// [`crate::ProviderErrorKind::Incomplete`]. Nothing here sends a request again: retry and fallback
/// belong to the loop.
///
/// **Cancel safety:** dropping the stream cancels the call.
pub trait Provider: Send + Sync {
    /// Names the wire protocol and the service, for the origin of messages.
    fn identity(&self) -> Identity<'_>;

    /// Starts a call. Implementers clone what they need of themselves into the stream.
    fn stream(&self, request: Request) -> BoxStream<'static, Result<Delta, ProviderError>>;
}

/// Who a provider is: messages that it wrote name it as their origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The wire protocol, as `anthropic-messages`.
    pub protocol: &'a str,
    /// The service, as `anthropic`.
    pub provider: &'a str,
}

impl fmt::Debug for dyn Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Provider").field(&self.identity()).finish()
    }
}
