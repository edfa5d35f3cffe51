//! A store whose writers tell a hub what they committed.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use phi_types::{Event, EventKind, ForkedFrom, SessionId, SessionStarted};

use super::hub::{Hub, Topic};
use crate::blob::BlobId;
use crate::error::StoreError;
use crate::store::{Listed, SessionReader, SessionWriter, Store};
use crate::summary::{SessionFilter, SessionSummary};
use crate::verify::Verification;

/// How often other facts may come before one.
const FACT_TRIES: u32 = 1_000;

/// A store like the one inside, whose writers tell a hub what they committed.
///
/// Observers learn events as they were appended: what a [`crate::Redactor`] keeps out of the log is
/// not kept from them.
#[derive(Clone)]
pub struct PublishedStore {
    store: Arc<dyn Store>,
    hub: Hub,
}

impl std::fmt::Debug for PublishedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishedStore")
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

impl PublishedStore {
    /// Makes a store that writes to another one and tells a hub.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, hub: Hub) -> Self {
        Self { store, hub }
    }

    /// Returns the hub.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Wraps a writer that has just been opened and tells the events that opening it has appended.
    async fn publish(
        &self,
        writer: Arc<dyn SessionWriter>,
        appended: u64,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        let first = writer.position() - appended + 1;
        let topic = self.hub.open(writer.session(), first);
        let writer = PublishedWriter {
            writer,
            hub: self.hub.clone(),
            topic,
        };
        if appended > 0 {
            let mut appending = writer.appending();
            let mut reader = self.store.reader(writer.session(), first).await?;
            loop {
                let chunk = reader.events(16).await?;
                if chunk.is_empty() {
                    break;
                }
                let events = chunk.into_iter().map(|it| (it.position, it.event));
                appending.committed.extend(events);
            }
        }
        Ok(Arc::new(writer))
    }
}

#[async_trait]
impl Store for PublishedStore {
    async fn create(
        &self,
        session: &SessionId,
        started: SessionStarted,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        let writer = self.store.create(session, started, now).await?;
        let appended = writer.position();
        self.publish(writer, appended).await
    }

    async fn open(
        &self,
        session: &SessionId,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        let writer = self.store.open(session, now).await?;
        let appended = writer.recovered().len() as u64;
        self.publish(writer, appended).await
    }

    async fn reader(
        &self,
        session: &SessionId,
        from: u64,
    ) -> Result<Box<dyn SessionReader>, StoreError> {
        self.store.reader(session, from).await
    }

    async fn list(&self, filter: &SessionFilter) -> Result<Vec<Listed>, StoreError> {
        self.store.list(filter).await
    }

    async fn delete(&self, session: &SessionId) -> Result<(), StoreError> {
        self.store.delete(session).await
    }

    async fn fork(
        &self,
        parent: &SessionId,
        position: u64,
        fork: &SessionId,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        let writer = self.store.fork(parent, position, fork, now).await?;
        let appended = writer.position() - position;
        self.publish(writer, appended).await
    }

    async fn summary(&self, session: &SessionId) -> Result<SessionSummary, StoreError> {
        self.store.summary(session).await
    }

    async fn forked_from(&self, session: &SessionId) -> Result<Option<ForkedFrom>, StoreError> {
        self.store.forked_from(session).await
    }

    async fn import(&self, session: &SessionId, from: &dyn Store) -> Result<u64, StoreError> {
        self.store.import(session, from).await
    }

    async fn blob(&self, session: &SessionId, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.blob(session, id).await
    }

    async fn blobs(&self, session: &SessionId) -> Result<Vec<BlobId>, StoreError> {
        self.store.blobs(session).await
    }

    async fn verify(&self, session: &SessionId) -> Result<Verification, StoreError> {
        self.store.verify(session).await
    }
}

/// A writer that tells a hub what it committed.
#[derive(Debug)]
struct PublishedWriter {
    writer: Arc<dyn SessionWriter>,
    hub: Hub,
    topic: Arc<Topic>,
}

impl Drop for PublishedWriter {
    fn drop(&mut self) {
        self.hub.close(self.writer.session(), &self.topic);
    }
}

impl PublishedWriter {
    fn appending(&self) -> Appending<'_> {
        Hub::append_begins(&self.topic);
        Appending {
            writer: self,
            committed: Vec::new(),
        }
    }
}

/// An append that is under way; whatever becomes of it, its end is noted.
struct Appending<'a> {
    writer: &'a PublishedWriter,
    committed: Vec<(u64, Event)>,
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        let PublishedWriter { writer, hub, topic } = self.writer;
        hub.append_ends(writer.session(), topic, &self.committed);
    }
}

#[async_trait]
impl SessionWriter for PublishedWriter {
    fn session(&self) -> &SessionId {
        self.writer.session()
    }

    fn position(&self) -> u64 {
        self.writer.position()
    }

    fn session_seq(&self) -> u64 {
        self.writer.session_seq()
    }

    fn recovered(&self) -> &[Event] {
        self.writer.recovered()
    }

    async fn append_batch(&self, events: &[Event]) -> Result<u64, StoreError> {
        let mut appending = self.appending();
        let position = self.writer.append_batch(events).await?;
        let first = position - events.len() as u64 + 1;
        appending.committed = (first..).zip(events.iter().cloned()).collect();
        Ok(position)
    }

    async fn append_fact(&self, at: DateTime<Utc>, kind: EventKind) -> Result<Event, StoreError> {
        let mut appending = self.appending();
        let mut event = Event {
            session: self.writer.session().clone(),
            loop_id: None,
            seq: 0,
            at,
            kind,
        };
        // A batch says where it ended up; a fact that another one came before takes the next `seq`.
        let mut tries = 0;
        loop {
            event.seq = self.writer.session_seq() + 1;
            let appended = self.writer.append_batch(std::slice::from_ref(&event)).await;
            match appended {
                Ok(position) => {
                    appending.committed = vec![(position, event.clone())];
                    return Ok(event);
                }
                Err(StoreError::Sequence { .. }) if tries < FACT_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.writer.sync().await
    }
}
