//! The store on files: one folder for each session, lines of JSON in segments.

mod lines;
mod lock;
mod open;
mod reader;
mod segment;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use phi_types::{SessionId, SessionStarted};

use crate::error::StoreError;
use crate::read::load_from;
use crate::store::{Listed, SessionReader, SessionWriter, Store};
use crate::summary::SessionFilter;
use reader::JsonlReader;

pub use segment::LOG_FORMAT;

/// When a log is forced to the disk. Whatever the policy, what was acknowledged survives the end of
/// the process, also by `kill -9`; the policies differ in what a loss of power may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SyncPolicy {
    /// Before a tool call starts that must not run twice, and after its result. The only policy
    /// under which such a call is never repeated after a loss of power.
    #[default]
    Effect,
    /// When a turn, a loop or the session ends.
    Turn,
    /// When the caller asks for it, and at no other time: not even a new file is.
    Never,
}

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

#[derive(Debug, Clone, Copy)]
struct Settings {
    sync: SyncPolicy,
    segment_bytes_max: u64,
}

impl Settings {
    /// Says whether new, moved and full files are forced to the disk.
    fn syncs_files(self) -> bool {
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

    /// Returns the folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn folder(&self, session: &SessionId) -> PathBuf {
        self.root.join(session.as_str())
    }

    async fn summarise(&self, session: &SessionId) -> Listed {
        let summary = match JsonlReader::open(self.folder(session), session, 1) {
            Ok(mut reader) => load_from(&mut reader, session).await,
            Err(error) => Err(error),
        };
        let summary = summary.map(|recorder| recorder.session().summary());
        Listed {
            session: session.clone(),
            summary,
        }
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
        segment::make_folder(&self.root)?;
        let folder = self.folder(session);
        Ok(Arc::new(open::create(
            &folder,
            session,
            started,
            now,
            self.settings,
        )?))
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
            self.settings,
        )?))
    }

    async fn reader(
        &self,
        session: &SessionId,
        from: u64,
    ) -> Result<Box<dyn SessionReader>, StoreError> {
        Ok(Box::new(JsonlReader::open(
            self.folder(session),
            session,
            from,
        )?))
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
            let entry = self.summarise(&session).await;
            match &entry.summary {
                Ok(summary) if !filter.accepts(summary) => {}
                // It was deleted meanwhile, or its creation has just begun.
                Err(StoreError::Unknown { .. }) => {}
                Ok(_) | Err(_) => listed.push(entry),
            }
        }
        Ok(listed)
    }

    async fn delete(&self, session: &SessionId) -> Result<(), StoreError> {
        open::delete(&self.folder(session), session)
    }
}
