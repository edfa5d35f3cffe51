//! Futures in any order, and nothing where there is none.

use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// Futures that are polled when they are woken. An empty [`FuturesUnordered`] holds a queue already,
/// and most runs never need one.
pub(crate) struct LazyFutures<F>(Option<FuturesUnordered<F>>);

impl<F> Default for LazyFutures<F> {
    fn default() -> Self {
        Self(None)
    }
}

impl<F: Future> LazyFutures<F> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(FuturesUnordered::is_empty)
    }

    pub(crate) fn push(&mut self, future: F) {
        self.0.get_or_insert_default().push(future);
    }

    /// Returns what the next one came to that ends; `None` if there is none.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        match &mut self.0 {
            Some(futures) => futures.poll_next_unpin(cx),
            None => Poll::Ready(None),
        }
    }
}
