//! The store in memory, for tests and for sessions that nobody wants to keep.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use phi_types::{Event, EventKind, SessionId, SessionStarted};

use crate::chain::Chain;
use crate::error::{BadLine, StoreError};
use crate::read::load_from;
use crate::store::{Listed, SessionReader, SessionWriter, Store, StoredEvent, StoredLine};
use crate::summary::SessionFilter;

/// The store in memory. Clones are the same store; it holds the same lines as a store on files.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    logs: Arc<Mutex<BTreeMap<SessionId, Arc<Log>>>>,
}

/// The lines of one session. Every change is one step, so that no panic leaves half of one.
#[derive(Debug)]
struct Log(Mutex<Lines>);

#[derive(Debug)]
struct Lines {
    chain: Chain,
    lines: Vec<Arc<str>>,
    locked: bool,
}

impl Log {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn append(&mut self, events: &[Event]) -> Result<u64, StoreError> {
        let mut buffer = Vec::new();
        self.chain.encode(events, &mut buffer)?;
        let text = String::from_utf8_lossy(&buffer);
        self.lines.extend(text.lines().map(Arc::from));
        Ok(self.chain.position())
    }

    fn append_fact(&mut self, at: DateTime<Utc>, kind: EventKind) -> Result<Event, StoreError> {
        let session = self.chain.session().clone();
        let seq = self.chain.session_seq() + 1;
        let event = Event {
            session,
            loop_id: None,
            seq,
            at,
            kind,
        };
        self.append(std::slice::from_ref(&event))?;
        Ok(event)
    }
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn logs(&self) -> MutexGuard<'_, BTreeMap<SessionId, Arc<Log>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, session: &SessionId) -> Result<Arc<Log>, StoreError> {
        let unknown = || StoreError::Unknown {
            session: session.clone(),
        };
        self.logs().get(session).cloned().ok_or_else(unknown)
    }
}

fn locked(session: &SessionId) -> StoreError {
    StoreError::Locked {
        session: session.clone(),
        owner: Some(std::process::id()),
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create(
        &self,
        session: &SessionId,
        started: SessionStarted,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        let mut logs = self.logs();
        if let Some(log) = logs.get(session) {
            let exists = StoreError::Exists {
                session: session.clone(),
            };
            return Err(if log.lines().locked {
                locked(session)
            } else {
                exists
            });
        }
        let chain = Chain::new(session.clone(), 0);
        let mut lines = Lines {
            chain,
            lines: Vec::new(),
            locked: true,
        };
        lines.append_fact(now, EventKind::SessionStarted(started))?;
        let log = Arc::new(Log(Mutex::new(lines)));
        logs.insert(session.clone(), Arc::clone(&log));
        Ok(Arc::new(MemoryWriter {
            session: session.clone(),
            log,
        }))
    }

    async fn open(
        &self,
        session: &SessionId,
        _now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        let log = self.log(session)?;
        if std::mem::replace(&mut log.lines().locked, true) {
            return Err(locked(session));
        }
        Ok(Arc::new(MemoryWriter {
            session: session.clone(),
            log,
        }))
    }

    async fn reader(
        &self,
        session: &SessionId,
        from: u64,
    ) -> Result<Box<dyn SessionReader>, StoreError> {
        let (log, chain) = (self.log(session)?, Chain::new(session.clone(), 0));
        Ok(Box::new(MemoryReader { log, chain, from }))
    }

    async fn list(&self, filter: &SessionFilter) -> Result<Vec<Listed>, StoreError> {
        let logs = self.logs().clone();
        let mut listed = Vec::new();
        for (session, log) in logs {
            if listed.len() >= filter.max.unwrap_or(usize::MAX) {
                break;
            }
            if filter.after.as_ref().is_some_and(|after| session <= *after) {
                continue;
            }
            let chain = Chain::new(session.clone(), 0);
            let mut reader = MemoryReader {
                log,
                chain,
                from: 1,
            };
            let recorder = load_from(&mut reader, &session).await;
            let summary = recorder.map(|recorder| recorder.session().summary());
            if summary
                .as_ref()
                .is_ok_and(|summary| !filter.accepts(summary))
            {
                continue;
            }
            listed.push(Listed { session, summary });
        }
        Ok(listed)
    }

    async fn delete(&self, session: &SessionId) -> Result<(), StoreError> {
        let mut logs = self.logs();
        let log = logs.get(session);
        let log = log.ok_or_else(|| StoreError::Unknown {
            session: session.clone(),
        })?;
        if log.lines().locked {
            return Err(locked(session));
        }
        logs.remove(session);
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryWriter {
    session: SessionId,
    log: Arc<Log>,
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        self.log.lines().locked = false;
    }
}

#[async_trait]
impl SessionWriter for MemoryWriter {
    fn session(&self) -> &SessionId {
        &self.session
    }

    fn position(&self) -> u64 {
        self.log.lines().chain.position()
    }

    fn session_seq(&self) -> u64 {
        self.log.lines().chain.session_seq()
    }

    fn recovered(&self) -> &[Event] {
        &[]
    }

    async fn append_batch(&self, events: &[Event]) -> Result<u64, StoreError> {
        self.log.lines().append(events)
    }

    async fn append_fact(&self, at: DateTime<Utc>, kind: EventKind) -> Result<Event, StoreError> {
        self.log.lines().append_fact(at, kind)
    }

    async fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryReader {
    log: Arc<Log>,
    chain: Chain,
    from: u64,
}

impl MemoryReader {
    fn chunk<T>(
        &mut self,
        max: usize,
        take: impl Fn(&mut Chain, &str) -> Result<T, BadLine>,
    ) -> Result<Vec<T>, StoreError> {
        let mut taken = Vec::new();
        while taken.len() < max.max(1) {
            let at = usize::try_from(self.chain.position()).unwrap_or(usize::MAX);
            let Some(line) = self.log.lines().lines.get(at).cloned() else {
                break;
            };
            let passed = if self.chain.position() + 1 < self.from {
                self.chain.skip(line.as_bytes())
            } else {
                take(&mut self.chain, &line).map(|item| taken.push(item))
            };
            passed.map_err(|reason| StoreError::Corrupt {
                session: self.chain.session().clone(),
                position: self.chain.position() + 1,
                place: "memory".to_owned(),
                reason,
            })?;
        }
        Ok(taken)
    }
}

#[async_trait]
impl SessionReader for MemoryReader {
    async fn events(&mut self, max: usize) -> Result<Vec<StoredEvent>, StoreError> {
        self.chunk(max, |chain, line| {
            let event = chain.read(line.as_bytes())?;
            Ok(StoredEvent {
                position: chain.position(),
                checksum: chain.checksum(),
                event,
            })
        })
    }

    async fn lines(&mut self, max: usize) -> Result<Vec<StoredLine>, StoreError> {
        self.chunk(max, |chain, line| {
            chain.read(line.as_bytes())?;
            Ok(StoredLine {
                position: chain.position(),
                text: line.to_owned(),
            })
        })
    }

    fn tail_bytes(&self) -> u64 {
        0
    }
}
