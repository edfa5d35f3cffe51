//! The store on files: one folder for each session, lines of JSON in segments.

mod blobs;
mod cache;
#[cfg(test)]
mod fault_tests;
mod import;
mod lines;
mod open;
mod reader;
mod segment;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use phi_types::{ForkedFrom, SessionId, SessionStarted};

use crate::blob::BlobId;
use crate::chain::LineRules;
use crate::disk;
use crate::error::StoreError;
use crate::files::{io_error, make_lasting_folder};
use crate::fork::{ForkReader, fork_point};
use crate::lock::take_family_lock;
use crate::redact::Redactor;
use crate::store::{Listed, SessionReader, SessionWriter, Store};
use crate::summary::{SessionFilter, SessionSummary};
use crate::sync::SyncPolicy;
use crate::verify::{Verification, verify};
use blobs::Blobs;
use open::Begin;
use reader::JsonlReader;

pub use segment::LOG_FORMAT;

/// How large a segment grows before the next one begins, unless said otherwise.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// The store on files.
///
/// `docs/log-format.md` describes the files. Folders are made with mode 0700, files with 0600.
#[derive(Debug, Clone)]
pub struct JsonlStore {
    root: PathBuf,
    settings: Settings,
}

#[derive(Debug, Clone)]
struct Settings {
    sync: SyncPolicy,
    segment_bytes_max: u64,
    rules: LineRules,
}

impl Settings {
    /// Says whether new, moved and full files are forced to the disk.
    fn syncs_files(&self) -> bool {
        self.sync != SyncPolicy::Never
    }
}

impl JsonlStore {
    /// Makes a store in a folder, which is created when the first session is.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let settings = Settings {
            sync: SyncPolicy::default(),
            segment_bytes_max: SEGMENT_BYTES_MAX,
            rules: LineRules::default(),
        };
        Self {
            root: root.into(),
            settings,
        }
    }

    /// Chooses when logs are forced to the disk.
    #[must_use]
    pub fn with_sync(mut self, sync: SyncPolicy) -> Self {
        self.settings.sync = sync;
        self
    }

    /// Chooses how large a segment grows before the next one begins, in bytes.
    #[must_use]
    pub fn with_segment_bytes_max(mut self, max: u64) -> Self {
        self.settings.segment_bytes_max = max;
        self
    }

    /// Chooses how long a string is, as JSON and in bytes, to be kept beside the log.
    #[must_use]
    pub fn with_blob_bytes_min(mut self, min: usize) -> Self {
        self.settings.rules.blob_bytes_min = min;
        self
    }

    /// Chooses what keeps secrets out of logs; [`Redactor::new`] unless said otherwise.
    #[must_use]
    pub fn with_redactor(mut self, redactor: Redactor) -> Self {
        self.settings.rules.redactor = Arc::new(redactor);
        self
    }

    /// Returns the folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn folder(&self, session: &SessionId) -> PathBuf {
        self.root.join(session.as_str())
    }

    /// Keeps others from forking and deleting sessions while it is held.
    fn family_lock(&self) -> Result<std::fs::File, StoreError> {
        make_lasting_folder(&self.root)?;
        // No session has a name with a dot.
        take_family_lock(&self.root.join("forks.lock"))
    }

    /// Lists the sessions that read their past from one.
    fn forks_of(&self, parent: &SessionId) -> Result<Vec<SessionId>, StoreError> {
        let mut forks = Vec::new();
        for session in segment::sessions(&self.root)? {
            if session == *parent {
                continue;
            }
            match open::forked_from(&self.folder(&session), &session) {
                Ok(Some(origin)) if origin.session == *parent => forks.push(session),
                Ok(_) | Err(StoreError::Missing { .. }) => {}
                Err(error) if error.is_absent() => {}
                // It may be a fork, and its past must not go.
                Err(error) => return Err(error),
            }
        }
        Ok(forks)
    }
}

#[async_trait]
impl Store for JsonlStore {
    async fn create(
        &self,
        session: &SessionId,
        started: SessionStarted,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        make_lasting_folder(&self.root)?;
        let begin = Begin::new(session, started, now);
        let created = open::create(&self.folder(session), begin, self.settings.clone());
        Ok(Arc::new(created?))
    }

    async fn open(
        &self,
        session: &SessionId,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        Ok(Arc::new(open::open(
            &self.folder(session),
            session,
            now,
            self.settings.clone(),
        )?))
    }

    async fn reader(
        &self,
        session: &SessionId,
        from: u64,
    ) -> Result<Box<dyn SessionReader>, StoreError> {
        let origin = open::forked_from(&self.folder(session), session)?;
        let first = origin.as_ref().map_or(1, |origin| origin.position + 1);
        let own = JsonlReader::open(self.folder(session), session, from.max(first))?;
        match origin {
            None => Ok(Box::new(own)),
            Some(origin) => ForkReader::open(self, session, origin, from, Box::new(own)).await,
        }
    }

    async fn list(&self, filter: &SessionFilter) -> Result<Vec<Listed>, StoreError> {
        let mut listed = Vec::new();
        for session in segment::sessions(&self.root)? {
            if listed.len() >= filter.max.unwrap_or(usize::MAX) {
                break;
            }
            if filter.after.as_ref().is_some_and(|after| session <= *after) {
                continue;
            }
            let summary = self.summary(&session).await;
            match &summary {
                Ok(summary) if !filter.accepts(summary) => {}
                // It was deleted meanwhile, or its creation has just begun.
                Err(StoreError::Unknown { session: unknown }) if *unknown == session => {}
                Ok(_) | Err(_) => listed.push(Listed { session, summary }),
            }
        }
        Ok(listed)
    }

    async fn delete(&self, session: &SessionId) -> Result<(), StoreError> {
        let folder = self.folder(session);
        if !crate::files::is_folder(&folder)? {
            let session = session.clone();
            return Err(StoreError::Unknown { session });
        }
        let _family = self.family_lock()?;
        let forks = self.forks_of(session)?;
        if !forks.is_empty() {
            let session = session.clone();
            return Err(StoreError::HasForks { session, forks });
        }
        open::delete(&folder, session)?;
        if self.settings.syncs_files() {
            disk::sync_folder(&self.root).map_err(io_error("sync", &self.root))?;
        }
        Ok(())
    }

    async fn fork(
        &self,
        parent: &SessionId,
        position: u64,
        fork: &SessionId,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        let point = fork_point(self, parent, position, fork, now).await?;
        let _family = self.family_lock()?;
        // It was there when its events were read; from here on nobody can delete it.
        open::forked_from(&self.folder(parent), parent)?;
        if self.settings.syncs_files() {
            open::force(&self.folder(parent), position)?;
        }
        let begin = Begin::fork(point);
        let created = open::create(&self.folder(fork), begin, self.settings.clone());
        Ok(Arc::new(created?))
    }

    async fn summary(&self, session: &SessionId) -> Result<SessionSummary, StoreError> {
        let origin = open::forked_from(&self.folder(session), session)?;
        cache::summary(self, session, origin).await
    }

    async fn forked_from(&self, session: &SessionId) -> Result<Option<ForkedFrom>, StoreError> {
        open::forked_from(&self.folder(session), session)
    }

    async fn import(&self, session: &SessionId, from: &dyn Store) -> Result<u64, StoreError> {
        import::import(self, session, from).await
    }

    async fn blob(&self, session: &SessionId, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        Blobs::new(&self.folder(session)).read(id)
    }

    async fn blobs(&self, session: &SessionId) -> Result<Vec<BlobId>, StoreError> {
        open::forked_from(&self.folder(session), session)?;
        Blobs::new(&self.folder(session)).list()
    }

    async fn verify(&self, session: &SessionId) -> Result<Verification, StoreError> {
        verify(self, session).await
    }
}
