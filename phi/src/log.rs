//! Where the events of a session go, and where its open loop is read back from.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use phi_session::{SessionWriter, Store, StoreError, read_events};
use phi_types::{Event, Journal, JournalError, LoopId, SessionId};

/// Where the events of a session go.
#[derive(Clone)]
pub(crate) enum Log {
    /// A store. The writer holds the session's lock.
    Stored(Arc<dyn Store>, Arc<dyn SessionWriter>),
    /// Nowhere: only the newest loop is kept, for the case that its run is dropped.
    Ephemeral(Arc<NewestLoop>),
}

impl Log {
    pub(crate) fn journal(&self) -> Arc<dyn Journal> {
        match self {
            Self::Stored(_, writer) => Arc::new(Arc::clone(writer)),
            Self::Ephemeral(newest) => Arc::new(Arc::clone(newest)),
        }
    }

    /// Reads the events of one loop.
    pub(crate) async fn read(
        &self,
        session: &SessionId,
        loop_id: &LoopId,
    ) -> Result<Vec<Event>, StoreError> {
        let mut events = match self {
            Self::Stored(store, _) => read_events(store.as_ref(), session).await?,
            Self::Ephemeral(newest) => newest.events().clone(),
        };
        events.retain(|event| event.loop_id.as_ref() == Some(loop_id));
        Ok(events)
    }

    /// Appends events of a loop that no run writes.
    pub(crate) async fn append(&self, events: &[Event]) -> Result<(), StoreError> {
        match self {
            Self::Stored(_, writer) => writer.append_batch(events).await.map(drop),
            Self::Ephemeral(newest) => {
                newest.push(events);
                Ok(())
            }
        }
    }

    /// Forgets a loop that has ended.
    pub(crate) fn ended(&self) {
        if let Self::Ephemeral(newest) = self {
            newest.events().clear();
        }
    }
}

/// The events of the newest loop.
#[derive(Debug, Default)]
pub(crate) struct NewestLoop(Mutex<Vec<Event>>);

impl NewestLoop {
    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, events: &[Event]) {
        self.events().extend_from_slice(events);
    }
}

#[async_trait]
impl Journal for NewestLoop {
    async fn append(&self, events: &[Event]) -> Result<(), JournalError> {
        self.push(events);
        Ok(())
    }
}
