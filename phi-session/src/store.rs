//! The port of stores: where the logs of sessions are kept.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use phi_types::{Event, EventKind, ForkedFrom, Journal, JournalError, SessionId, SessionStarted};

use crate::blob::BlobId;
use crate::error::StoreError;
use crate::summary::{SessionFilter, SessionSummary};
use crate::verify::Verification;

/// Where the logs of sessions are kept: one log and at most one writer for each session.
///
/// The events of a session have positions from 1 without gaps. Each is one line of JSON that ends in
/// a checksum over the line before it, made by [`crate::Chain`]: the lines of a session are the same
/// in every store. `phi_session::contract::store` holds the rules as tests (feature `contract`).
///
/// The stores of this crate do their file work on the calling thread: an append is one small write;
/// a sync, an open after a crash and a list take as long as the disk does.
#[async_trait]
pub trait Store: Send + Sync {
    /// Creates a session with its first event, [`EventKind::SessionStarted`], and opens it.
    ///
    /// A crash in between leaves either the whole session or none that [`Store::open`] finds.
    ///
    /// # Errors
    /// [`StoreError::Exists`], [`StoreError::Locked`], or what the store met.
    async fn create(
        &self,
        session: &SessionId,
        started: SessionStarted,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError>;

    /// Opens a session for writing and puts a torn end right, which it reports as an event of the
    /// session with the time `now`: see [`SessionWriter::recovered`].
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or [`StoreError::Empty`] where there is nothing to open,
    /// [`StoreError::Locked`] while another writer lives, [`StoreError::Corrupt`] for a log that can
    /// only be read, or what the store met.
    async fn open(
        &self,
        session: &SessionId,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError>;

    /// Opens a session for reading from a position on; 0 and 1 both mean the first event.
    ///
    /// It needs no lock: a writer may go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], [`StoreError::Empty`], or what the store met.
    async fn reader(
        &self,
        session: &SessionId,
        from: u64,
    ) -> Result<Box<dyn SessionReader>, StoreError>;

    /// Lists sessions in the order of their ids. A session that cannot be read is listed with the
    /// reason, whatever the filter says.
    ///
    /// What a list shows is kept beside the log and only ever brought up to date, so that a list does
    /// not read logs that it has read before. It can be removed at any time.
    ///
    /// # Errors
    /// What the store met. A store that nobody has written to is empty.
    async fn list(&self, filter: &SessionFilter) -> Result<Vec<Listed>, StoreError>;

    /// Deletes a session with everything that is kept beside its log.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], [`StoreError::Locked`] while a writer lives,
    /// [`StoreError::HasForks`] while others read their past from it, or what the store met.
    async fn delete(&self, session: &SessionId) -> Result<(), StoreError>;

    /// Creates a session that shares the past of another one up to a position, and opens it.
    ///
    /// Nothing is copied: the fork's log begins with its [`EventKind::SessionStarted`] at the next
    /// position, and what is before is read from the parent, as events of the fork. The parent may
    /// be open meanwhile. What was under way at that position is settled by whoever resumes the fork.
    ///
    /// # Errors
    /// Those of [`Store::create`] for the fork and of [`Store::reader`] for the parent, and
    /// [`StoreError::NoSuchPosition`].
    async fn fork(
        &self,
        parent: &SessionId,
        position: u64,
        fork: &SessionId,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError>;

    /// Returns what a list shows of one session, without reading its log again: what is kept beside
    /// the log is brought up to date, and its place is checked against the chain of the log.
    ///
    /// # Errors
    /// Those of [`Store::reader`] and of [`SessionReader::events`].
    async fn summary(&self, session: &SessionId) -> Result<SessionSummary, StoreError>;

    /// Returns where a session was forked from.
    ///
    /// # Errors
    /// Those of [`Store::reader`].
    async fn forked_from(&self, session: &SessionId) -> Result<Option<ForkedFrom>, StoreError>;

    /// Copies a session from another store: the same events, and for logs of the newest format the
    /// same lines, byte for byte. The parent of a fork has to be there already. Returns its newest
    /// position.
    ///
    /// A crash in between leaves either the whole session or none that [`Store::open`] finds.
    ///
    /// # Errors
    /// Those of [`Store::create`] here and of [`Store::reader`] there, and
    /// [`StoreError::OtherParent`].
    async fn import(&self, session: &SessionId, from: &dyn Store) -> Result<u64, StoreError>;

    /// Returns a long string that is kept beside the log, as it stands in JSON; `None` where there is
    /// none of that name. Readers put them back into events on their own.
    ///
    /// # Errors
    /// What the store met.
    async fn blob(&self, session: &SessionId, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns the names of the long strings that are kept beside the log, in order.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], and what the store met.
    async fn blobs(&self, session: &SessionId) -> Result<Vec<BlobId>, StoreError>;

    /// Reads everything of a session and reports what is wrong; [`crate::verify`] does most of it.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], [`StoreError::Empty`] and what kept the store from looking. What is
    /// wrong with the log is no error but in the report.
    async fn verify(&self, session: &SessionId) -> Result<Verification, StoreError>;

    /// Opens a session for writing, and creates it where there is none.
    ///
    /// # Errors
    /// Those of [`Store::open`] and [`Store::create`].
    async fn open_or_create(
        &self,
        session: &SessionId,
        started: SessionStarted,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        match self.open(session, now).await {
            Err(error) if error.is_absent() => self.create(session, started, now).await,
            opened => opened,
        }
    }

    /// Says whether the store has a session that can be read or opened.
    ///
    /// # Errors
    /// What the store met.
    async fn exists(&self, session: &SessionId) -> Result<bool, StoreError> {
        match self.reader(session, 1).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A session that is open for writing. It holds the session's lock until it is dropped.
///
/// As a [`Journal`] it is what a loop writes to. Appends from several tasks are taken one after the
/// other; after a failed write or sync every further one fails with [`StoreError::Poisoned`].
#[async_trait]
pub trait SessionWriter: fmt::Debug + Send + Sync {
    /// Returns the session.
    fn session(&self) -> &SessionId;

    /// Returns the position of the newest event.
    fn position(&self) -> u64;

    /// Returns the newest `seq` of the events that belong to no loop.
    fn session_seq(&self) -> u64;

    /// Returns the events that report what opening put right; they are in the log already.
    fn recovered(&self) -> &[Event];

    /// Appends a batch, whole or not at all, and returns the position of its last event.
    ///
    /// When it returns, the batch survives a crash of the process; whether it survives a loss of
    /// power, the store's sync policy says. A crash in the middle may leave the first lines of the
    /// batch, never part of a line.
    ///
    /// **Cancel safety:** a dropped append may have written the batch.
    ///
    /// # Errors
    /// [`StoreError::OtherSession`], [`StoreError::Sequence`], [`StoreError::TooLarge`] and
    /// [`StoreError::Encode`] change nothing; after any other the writer takes no more.
    async fn append_batch(&self, events: &[Event]) -> Result<u64, StoreError>;

    /// Appends one fact that belongs to no loop under the next `seq` and returns its event.
    ///
    /// # Errors
    /// Those of [`SessionWriter::append_batch`].
    async fn append_fact(&self, at: DateTime<Utc>, kind: EventKind) -> Result<Event, StoreError>;

    /// Makes everything that was appended survive a loss of power.
    ///
    /// # Errors
    /// What the store met; the writer takes no more.
    async fn sync(&self) -> Result<(), StoreError>;
}

#[async_trait]
impl Journal for dyn SessionWriter {
    async fn append(&self, events: &[Event]) -> Result<(), JournalError> {
        self.append_batch(events)
            .await
            .map(drop)
            .map_err(JournalError::new)
    }
}

/// A place in the log of a session, from which events are read in order.
#[async_trait]
pub trait SessionReader: fmt::Debug + Send {
    /// Reads up to `max` events, at least one where there is one.
    ///
    /// None means the end for now: a later call returns what was appended since.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] and the like once every event before the bad place was returned, and
    /// again on each further call.
    async fn events(&mut self, max: usize) -> Result<Vec<StoredEvent>, StoreError>;

    /// Reads up to `max` lines as they are stored, checked like events. Long strings that are kept
    /// beside the log are not in them.
    ///
    /// # Errors
    /// Those of [`SessionReader::events`].
    async fn lines(&mut self, max: usize) -> Result<Vec<StoredLine>, StoreError>;

    /// Returns how many bytes follow the last whole line: a write that is under way or was torn. It
    /// is known once a read has come to the end.
    fn tail_bytes(&self) -> u64;
}

/// An event and its place in the log of its session.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// The place, from 1.
    pub position: u64,
    /// The checksum of its line.
    pub checksum: u32,
    /// The event.
    pub event: Event,
}

/// A line as it is stored, and its place in the log of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLine {
    /// The place, from 1.
    pub position: u64,
    /// The line without its line end.
    pub text: String,
}

/// One session in a list.
#[derive(Debug)]
pub struct Listed {
    /// The session.
    pub session: SessionId,
    /// What the list shows of it, or why it cannot be read.
    pub summary: Result<SessionSummary, StoreError>,
}
