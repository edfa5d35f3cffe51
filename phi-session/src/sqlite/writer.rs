//! Appending to a session in the database.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use phi_types::{Event, EventKind, SessionId};

use super::SqliteStore;
use super::database::Database;
use crate::chain::{Chain, Encoded, LineRules};
use crate::error::StoreError;
use crate::lock::Lock;
use crate::store::SessionWriter;
use crate::sync::{OpenCalls, SyncPolicy};

/// A session that is open for writing.
#[derive(Debug)]
pub(super) struct SqliteWriter {
    session: SessionId,
    state: Mutex<State>,
    _lock: Lock,
}

/// What changes with every append.
#[derive(Debug)]
pub(super) struct State {
    database: Database,
    key: i64,
    chain: Chain,
    calls: OpenCalls,
    sync: SyncPolicy,
    rules: Arc<LineRules>,
    encoded: Encoded,
    /// What failed first; nothing is written after it.
    failed: Option<String>,
}

impl State {
    pub(super) fn new(database: Database, key: i64, chain: Chain, store: &SqliteStore) -> Self {
        Self {
            database,
            key,
            chain,
            calls: OpenCalls::default(),
            sync: store.sync,
            rules: Arc::clone(&store.rules),
            encoded: Encoded::default(),
            failed: None,
        }
    }

    /// Goes on with calls that are open.
    pub(super) fn with_calls(mut self, calls: OpenCalls) -> Self {
        self.calls = calls;
        self
    }

    fn append(&mut self, events: &[Event]) -> Result<u64, StoreError> {
        self.check_usable()?;
        if events.is_empty() {
            return Ok(self.chain.position());
        }
        self.encoded.lines.clear();
        self.encoded.blobs.clear();
        let first = self.chain.position() + 1;
        self.chain.encode(events, &self.rules, &mut self.encoded)?;
        let is_durable = self.calls.is_sync_due(events, self.sync);
        let (key, encoded, session) = (self.key, &self.encoded, self.chain.session());
        let written = self
            .database
            .write(is_durable, |database| match database.find(session)? {
                Some(row) if row.key == key => database.insert_lines(key, first, encoded),
                Some(_) | None => Err(StoreError::Vanished {
                    session: session.clone(),
                    path: database.path().to_owned(),
                }),
            });
        written.map_err(|error| self.fail(error))?;
        Ok(self.chain.position())
    }

    fn append_fact(&mut self, at: DateTime<Utc>, kind: EventKind) -> Result<Event, StoreError> {
        let event = Event {
            session: self.chain.session().clone(),
            loop_id: None,
            seq: self.chain.session_seq() + 1,
            at,
            kind,
        };
        self.append(std::slice::from_ref(&event))?;
        Ok(event)
    }

    /// Forces what was written to the disk: a durable change carries those before it along.
    fn sync(&mut self) -> Result<(), StoreError> {
        self.check_usable()?;
        let key = self.key;
        let synced = self.database.write(true, |database| database.touch(key));
        synced.map_err(|error| self.fail(error))
    }

    fn check_usable(&mut self) -> Result<(), StoreError> {
        let session = self.chain.session();
        if let Some(reason) = &self.failed {
            let (session, reason) = (session.clone(), reason.clone());
            return Err(StoreError::Poisoned { session, reason });
        }
        if self.database.is_there() {
            return Ok(());
        }
        let (session, path) = (session.clone(), self.database.path().to_owned());
        Err(self.fail(StoreError::Vanished { session, path }))
    }

    fn fail(&mut self, error: StoreError) -> StoreError {
        self.failed.get_or_insert_with(|| error.to_string());
        error
    }
}

impl SqliteWriter {
    pub(super) fn new(session: SessionId, state: State, lock: Lock) -> Self {
        Self {
            session,
            state: Mutex::new(state),
            _lock: lock,
        }
    }

    /// A panic in the middle of an append leaves a state that nobody knows.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state
                .failed
                .get_or_insert_with(|| "an append panicked".to_owned());
            state
        })
    }
}

#[async_trait]
impl SessionWriter for SqliteWriter {
    fn session(&self) -> &SessionId {
        &self.session
    }

    fn position(&self) -> u64 {
        self.state().chain.position()
    }

    fn session_seq(&self) -> u64 {
        self.state().chain.session_seq()
    }

    fn recovered(&self) -> &[Event] {
        &[]
    }

    async fn append_batch(&self, events: &[Event]) -> Result<u64, StoreError> {
        self.state().append(events)
    }

    async fn append_fact(&self, at: DateTime<Utc>, kind: EventKind) -> Result<Event, StoreError> {
        self.state().append_fact(at, kind)
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.state().sync()
    }
}
