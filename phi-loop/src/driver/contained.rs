//! The work of others, dropped without harm: a panic of its clean-up stays in it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Holds a future or a stream of others. What it says when it panics while it is dropped is lost:
/// whatever it did was given up, and there is nobody to tell.
pub(crate) struct Contained<W>(Option<W>);

impl<W> Contained<W> {
    pub(crate) fn new(work: W) -> Self {
        Self(Some(work))
    }

    /// Returns the work, which is there until the drop.
    pub(crate) fn as_mut(&mut self) -> Option<&mut W> {
        self.0.as_mut()
    }
}

impl<W> Drop for Contained<W> {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            drop(catch_unwind(AssertUnwindSafe(|| drop(work))));
        }
    }
}

impl<W: Future + Unpin> Future for Contained<W> {
    type Output = W::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.as_mut().get_mut().as_mut() {
            Some(work) => Pin::new(work).poll(cx),
            None => Poll::Pending,
        }
    }
}
