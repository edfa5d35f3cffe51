//! A session that is open for writing, with its record and what an application does around a task.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use phi_types::{EventKind, Extension, RawJson, SessionEnded, SessionId, SessionStarted};

use crate::error::StoreError;
use crate::read::follow;
use crate::record::{LoopRecord, Session};
use crate::recorder::SessionRecorder;
use crate::store::{SessionReader, SessionWriter, Store};
use crate::summary::SessionSummary;

/// Who defines the facts of this crate.
const NAMESPACE: &str = "phi-session";
/// The fact that [`TaskHooks::after_task`] has taken note of the end before it.
const AFTER_TASK: &str = "after_task";

/// What an application does around a task, which is the life of one session.
#[async_trait]
pub trait TaskHooks: Send + Sync {
    /// Decides whether a session may begin, before anything of it is written.
    ///
    /// A session that exists is not asked about again.
    ///
    /// # Errors
    /// [`Refusal`]: the session does not begin, and nothing of it is left.
    async fn before_task(
        &self,
        _session: &SessionId,
        _started: &SessionStarted,
    ) -> Result<(), Refusal> {
        Ok(())
    }

    /// Takes note of a session after its end was written: once for each end, and again only where the
    /// process ended before the log could say that it had.
    async fn after_task(&self, _session: &Session) {}
}

/// Nothing is done.
#[async_trait]
impl TaskHooks for () {}

/// Says why a session may not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Says why a session was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The hook refused it; nothing was written.
    #[error("begin session `{session}`: it was refused: {refusal}")]
    Refused {
        /// The session.
        session: SessionId,
        /// Why.
        refusal: Refusal,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The sessions of a store as tasks: a hook may refuse one before it begins, and takes note of its
/// end.
#[derive(Clone)]
pub struct Tasks {
    store: Arc<dyn Store>,
    hooks: Arc<dyn TaskHooks>,
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tasks").finish_non_exhaustive()
    }
}

impl Tasks {
    /// Makes the tasks of a store; `Arc::new(())` are hooks that do nothing.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, hooks: Arc<dyn TaskHooks>) -> Self {
        Self { store, hooks }
    }

    /// Opens a session, and begins it where there is none and the hook allows it.
    ///
    /// Where an end was written and its hook was cut off, the hook takes note of it now.
    ///
    /// **Cancel safety:** a dropped call may have begun the session.
    ///
    /// # Errors
    /// [`TaskError::Refused`], or what the store met.
    pub async fn open(
        &self,
        session: &SessionId,
        started: SessionStarted,
        now: DateTime<Utc>,
    ) -> Result<RecordedSession, TaskError> {
        let writer = match self.store.open(session, now).await {
            Err(error) if error.is_absent() => {
                let asked = self.hooks.before_task(session, &started).await;
                asked.map_err(|refusal| TaskError::Refused {
                    session: session.clone(),
                    refusal,
                })?;
                self.store.create(session, started, now).await?
            }
            opened => opened?,
        };
        let mut opened = RecordedSession {
            reader: self.store.reader(session, 1).await?,
            recorder: SessionRecorder::new(session.clone()),
            checkpoint: writer.position(),
            tasks: self.clone(),
            writer,
        };
        let record = opened.session().await?;
        if record.ended_at.is_some() && record.after_task_at.is_none() {
            opened.note_end(now).await?;
        }
        Ok(opened)
    }
}

/// A session that is open for writing, with its record.
///
/// Loops write to [`RecordedSession::journal`]. The record is a fold of what the log holds, and is
/// brought up to date when it is asked for.
pub struct RecordedSession {
    tasks: Tasks,
    writer: Arc<dyn SessionWriter>,
    reader: Box<dyn SessionReader>,
    recorder: SessionRecorder,
    /// The position up to which the newest checkpoint goes.
    checkpoint: u64,
}

impl std::fmt::Debug for RecordedSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordedSession")
            .field("writer", &self.writer)
            .field("checkpoint", &self.checkpoint)
            .finish_non_exhaustive()
    }
}

impl RecordedSession {
    /// Returns what loops write to.
    #[must_use]
    pub fn journal(&self) -> Arc<dyn SessionWriter> {
        Arc::clone(&self.writer)
    }

    /// Brings the record up to date and returns it.
    ///
    /// **Cancel safety:** a dropped call loses nothing; the next one goes on.
    ///
    /// # Errors
    /// Those of [`SessionReader::events`], and [`StoreError::Illegal`].
    pub async fn session(&mut self) -> Result<&Session, StoreError> {
        follow(self.reader.as_mut(), &mut self.recorder).await?;
        Ok(self.recorder.session())
    }

    /// Brings the record up to date and returns the loops that have ended since it was last asked:
    /// each loop once, as long as the value lives.
    ///
    /// **Cancel safety:** as [`RecordedSession::session`].
    ///
    /// # Errors
    /// Those of [`RecordedSession::session`].
    pub async fn drain(&mut self) -> Result<Vec<LoopRecord>, StoreError> {
        self.session().await?;
        Ok(self.recorder.drain())
    }

    /// Makes everything so far survive a loss of power, and keeps beside the log what
    /// [`Store::summary`] returns. The log is not changed and the session goes on.
    ///
    /// **Cancel safety:** a dropped call may have done either.
    ///
    /// # Errors
    /// Those of [`SessionWriter::sync`] and [`Store::summary`].
    pub async fn checkpoint(&mut self) -> Result<SessionSummary, StoreError> {
        let position = self.writer.position();
        self.writer.sync().await?;
        let summary = self.tasks.store.summary(self.writer.session()).await?;
        self.checkpoint = position;
        Ok(summary)
    }

    /// Returns how many events were appended since the newest checkpoint, so that the caller can make
    /// one every so often.
    #[must_use]
    pub fn events_since_checkpoint(&self) -> u64 {
        self.writer.position().saturating_sub(self.checkpoint)
    }

    /// Ends the session on purpose and has the hook take note of it; returns the whole record.
    ///
    /// It may be opened again later, and ended again.
    ///
    /// **Cancel safety:** a dropped call is like a crash: the next opener goes on where it was.
    ///
    /// # Errors
    /// Those of [`SessionWriter::append_fact`] and [`RecordedSession::session`].
    pub async fn end(mut self, now: DateTime<Utc>) -> Result<Session, StoreError> {
        let ended = EventKind::SessionEnded(SessionEnded {});
        self.writer.append_fact(now, ended).await?;
        self.checkpoint().await?;
        self.note_end(now).await?;
        Ok(self.recorder.into_session())
    }

    /// Runs the hook and writes that it has run.
    async fn note_end(&mut self, now: DateTime<Utc>) -> Result<(), StoreError> {
        follow(self.reader.as_mut(), &mut self.recorder).await?;
        self.tasks.hooks.after_task(self.recorder.session()).await;
        self.writer.append_fact(now, after_task()).await?;
        self.writer.sync().await?;
        self.session().await.map(drop)
    }
}

fn after_task() -> EventKind {
    EventKind::Extension(Extension {
        namespace: NAMESPACE.to_owned(),
        name: AFTER_TASK.to_owned(),
        data: RawJson::empty_object(),
    })
}

/// Says whether a fact is that the hook has taken note of the end before it.
pub(crate) fn is_after_task(fact: &Extension) -> bool {
    fact.namespace == NAMESPACE && fact.name == AFTER_TASK
}
