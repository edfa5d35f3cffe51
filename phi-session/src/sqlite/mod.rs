//! The store in a database: the same lines as on files, as rows.

mod beside;
mod database;
mod failure;
#[cfg(test)]
mod fault_tests;
mod follow;
mod reader;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use phi_types::{Event, EventKind, ForkedFrom, SessionId, SessionStarted};

use crate::blob::BlobId;
use crate::chain::{Chain, Encoded, LineRules};
use crate::error::StoreError;
use crate::fork::{ForkReader, fork_point};
use crate::import::Import;
use crate::lock::Lock;
use crate::redact::Redactor;
use crate::store::{Listed, SessionReader, SessionWriter, Store};
use crate::summary::{SessionFilter, SessionSummary};
use crate::sync::SyncPolicy;
use crate::verify::{Verification, verify};
use database::{Database, Row};
use reader::SqliteReader;
use writer::{SqliteWriter, State};

/// The store in one SQLite database, in write-ahead mode.
///
/// Beside the database stands a folder of the same name with `.locks` after it: its files are the
/// locks of the sessions, which the operating system takes back when a process ends. Database and
/// locks are for their owner alone. The sync policies are those of [`crate::JsonlStore`].
#[derive(Debug, Clone)]
pub struct SqliteStore {
    path: PathBuf,
    sync: SyncPolicy,
    rules: Arc<LineRules>,
}

impl SqliteStore {
    /// Makes a store in a file, which is created with the first session.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            sync: SyncPolicy::default(),
            rules: Arc::default(),
        }
    }

    /// Chooses when logs are forced to the disk.
    #[must_use]
    pub fn with_sync(mut self, sync: SyncPolicy) -> Self {
        self.sync = sync;
        self
    }

    /// Chooses how long a string is, as JSON and in bytes, to be kept beside the lines.
    #[must_use]
    pub fn with_blob_bytes_min(mut self, min: usize) -> Self {
        let redactor = Arc::clone(&self.rules.redactor);
        self.rules = Arc::new(LineRules {
            blob_bytes_min: min,
            redactor,
        });
        self
    }

    /// Chooses what keeps secrets out; [`Redactor::new`] unless said otherwise.
    #[must_use]
    pub fn with_redactor(mut self, redactor: Redactor) -> Self {
        let blob_bytes_min = self.rules.blob_bytes_min;
        self.rules = Arc::new(LineRules {
            blob_bytes_min,
            redactor: Arc::new(redactor),
        });
        self
    }

    /// Returns the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the database of a session that has to be there.
    fn database(&self, session: &SessionId) -> Result<(Database, Row), StoreError> {
        let unknown = || StoreError::Unknown {
            session: session.clone(),
        };
        let database = Database::open(&self.path)?.ok_or_else(unknown)?;
        let row = database.find(session)?.ok_or_else(unknown)?;
        if database.newest(row.key)? <= row.before() {
            let session = session.clone();
            return Err(StoreError::Empty { session });
        }
        Ok((database, row))
    }

    /// Returns what a list shows, from what was kept and the events since.
    fn summarise(
        &self,
        database: &Database,
        session: &SessionId,
    ) -> Result<SessionSummary, StoreError> {
        let row = database.find(session)?.ok_or_else(|| StoreError::Unknown {
            session: session.clone(),
        })?;
        let newest = database.newest(row.key)?;
        if newest <= row.before() {
            let session = session.clone();
            return Err(StoreError::Empty { session });
        }
        let kept = database.kept_summary(row.key)?;
        let (mut fold, from) = kept.unwrap_or_default();
        if from < newest {
            let position = database.fold(session, from, newest, &mut fold)?;
            database.keep_summary(row.key, &fold, position);
        }
        Ok(fold.summary(session.clone()))
    }

    fn lock(&self, session: &SessionId) -> Result<Lock, StoreError> {
        let mut folder = self.path.clone().into_os_string();
        folder.push(".locks");
        let folder = PathBuf::from(folder);
        crate::files::make_folder(&folder)?;
        Lock::take(&folder.join(session.as_str()), session)
    }

    /// Creates a session with its first event.
    fn begin(
        &self,
        chain: Chain,
        origin: Option<&ForkedFrom>,
        started: &Event,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        let session = started.session.clone();
        let mut database = Database::create(&self.path)?;
        let lock = self.lock(&session)?;
        let mut chain = chain;
        let mut encoded = Encoded::default();
        chain.encode(std::slice::from_ref(started), &self.rules, &mut encoded)?;
        let is_durable = self.sync != SyncPolicy::Never;
        let first = origin.map_or(1, |origin| origin.position + 1);
        let key = database.write(is_durable, |database| {
            // A session without a line was never quite created.
            if let Some(rest) = database.find(&session)?
                && database.newest(rest.key)? <= rest.before()
            {
                database.remove(rest.key)?;
            }
            let key = database.insert_session(&session, session.as_str(), origin)?;
            database.insert_lines(key, first, &encoded)?;
            Ok(key)
        })?;
        let state = State::new(database, key, chain, self);
        Ok(Arc::new(SqliteWriter::new(session, state, lock)))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create(
        &self,
        session: &SessionId,
        started: SessionStarted,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        let started = Event {
            session: session.clone(),
            loop_id: None,
            seq: 1,
            at: now,
            kind: EventKind::SessionStarted(started),
        };
        self.begin(Chain::new(session.clone(), 0), None, &started)
    }

    async fn open(
        &self,
        session: &SessionId,
        _now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        self.database(session)?;
        let lock = self.lock(session)?;
        // It may have been deleted, and made again, before the lock was taken.
        let (database, row) = self.database(session)?;
        let (chain, calls) = database.check(session, &row)?;
        let state = State::new(database, row.key, chain, self);
        let state = state.with_calls(calls);
        Ok(Arc::new(SqliteWriter::new(session.clone(), state, lock)))
    }

    async fn reader(
        &self,
        session: &SessionId,
        from: u64,
    ) -> Result<Box<dyn SessionReader>, StoreError> {
        let (database, row) = self.database(session)?;
        let own = SqliteReader::open(database, session, &row, from)?;
        match row.origin {
            None => Ok(Box::new(own)),
            Some(origin) => ForkReader::open(self, session, origin, from, Box::new(own)).await,
        }
    }

    async fn list(&self, filter: &SessionFilter) -> Result<Vec<Listed>, StoreError> {
        let Some(database) = Database::open(&self.path)? else {
            return Ok(Vec::new());
        };
        let mut listed = Vec::new();
        for session in database.sessions(filter.after.as_ref())? {
            if listed.len() >= filter.max.unwrap_or(usize::MAX) {
                break;
            }
            let summary = self.summarise(&database, &session);
            match &summary {
                Ok(summary) if !filter.accepts(summary) => {}
                Err(StoreError::Unknown { session: unknown }) if *unknown == session => {}
                Ok(_) | Err(_) => listed.push(Listed { session, summary }),
            }
        }
        Ok(listed)
    }

    async fn delete(&self, session: &SessionId) -> Result<(), StoreError> {
        let unknown = || StoreError::Unknown {
            session: session.clone(),
        };
        let mut database = Database::open(&self.path)?.ok_or_else(unknown)?;
        database.find(session)?.ok_or_else(unknown)?;
        let _lock = self.lock(session)?;
        // It may have been deleted before the lock was taken.
        let row = database.find(session)?.ok_or_else(unknown)?;
        database.write(self.sync != SyncPolicy::Never, |database| {
            database.delete_session(session, row.key)
        })
    }

    async fn fork(
        &self,
        parent: &SessionId,
        position: u64,
        fork: &SessionId,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        let point = fork_point(self, parent, position, fork, now).await?;
        let origin = point.origin;
        let chain = Chain::after(fork.clone(), position, origin.checksum, point.session_seq);
        self.begin(chain, Some(&origin), &point.started)
    }

    async fn summary(&self, session: &SessionId) -> Result<SessionSummary, StoreError> {
        let (database, _) = self.database(session)?;
        self.summarise(&database, session)
    }

    async fn forked_from(&self, session: &SessionId) -> Result<Option<ForkedFrom>, StoreError> {
        Ok(self.database(session)?.1.origin)
    }

    async fn import(&self, session: &SessionId, from: &dyn Store) -> Result<u64, StoreError> {
        let mut copy = Import::begin(session, from, self).await?;
        let mut database = Database::create(&self.path)?;
        let _lock = self.lock(session)?;
        // No session has a name with a dot: until it has its own name, nobody finds the copy.
        let draft = format!("{session}.import");
        let key = database.write(false, |database| {
            if database.find(session)?.is_some() {
                let session = session.clone();
                return Err(StoreError::Exists { session });
            }
            database.remove_draft(&draft)?;
            database.insert_session(session, &draft, copy.origin.as_ref())
        })?;
        loop {
            let first = copy.chain.position() + 1;
            let (encoded, events) = copy.next().await?;
            if events.is_empty() {
                break;
            }
            database.write(false, |database| {
                database.insert_lines(key, first, &encoded)
            })?;
        }
        database.write(true, |database| database.name(key, session))?;
        Ok(copy.chain.position())
    }

    async fn blob(&self, session: &SessionId, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        let (database, row) = self.database(session)?;
        database.blob(row.key, id)
    }

    async fn blobs(&self, session: &SessionId) -> Result<Vec<BlobId>, StoreError> {
        let (database, row) = self.database(session)?;
        database.blobs(row.key)
    }

    async fn verify(&self, session: &SessionId) -> Result<Verification, StoreError> {
        let mut found = verify(self, session).await?;
        if found.fault.is_none() {
            let (database, _) = self.database(session)?;
            found.fault = database.integrity().err();
        }
        Ok(found)
    }
}
