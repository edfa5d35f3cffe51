//! The port through which a loop writes ahead.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::JournalError;
use crate::event::Event;

/// Where a loop writes its events before it acts on them.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends one batch, whole or not at all. When it returns, the batch survives a crash of the
    /// process.
    ///
    /// **Cancel safety:** a dropped append may have written the batch or a part of it. The driver
    /// drops one only with the whole run, and nothing of the batch was acted on then.
    ///
    /// # Errors
    /// [`JournalError`]: nothing of the batch may be relied on, and the loop ends.
    async fn append(&self, events: &[Event]) -> Result<(), JournalError>;
}

/// The journal that keeps nothing.
#[async_trait]
impl Journal for () {
    async fn append(&self, _events: &[Event]) -> Result<(), JournalError> {
        Ok(())
    }
}

#[async_trait]
impl<J: Journal + ?Sized> Journal for Arc<J> {
    async fn append(&self, events: &[Event]) -> Result<(), JournalError> {
        (**self).append(events).await
    }
}
