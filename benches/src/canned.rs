//! A provider that hands out deltas which were built before the clock started.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use futures_core::stream::BoxStream;
use futures_util::stream;
use phi_types::{Delta, Identity, Provider, ProviderError, Request};

/// A provider that answers each request with the next reply and reads nothing of it.
#[derive(Debug)]
pub struct CannedProvider {
    replies: Mutex<VecDeque<Vec<Delta>>>,
}

impl CannedProvider {
    /// Makes a provider of the deltas of each reply; past the last one, replies are empty.
    #[must_use]
    pub fn new(replies: Vec<Vec<Delta>>) -> Self {
        Self {
            replies: Mutex::new(replies.into()),
        }
    }
}

impl Provider for CannedProvider {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: "canned",
            provider: "canned",
        }
    }

    fn stream(&self, _request: Request) -> BoxStream<'static, Result<Delta, ProviderError>> {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        let deltas = replies.pop_front().unwrap_or_default();
        Box::pin(stream::iter(deltas.into_iter().map(Ok)))
    }
}
