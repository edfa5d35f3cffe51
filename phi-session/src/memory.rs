//! The store in memory, for tests and for sessions that nobody wants to keep.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use phi_types::{Event, EventKind, ForkedFrom, SessionId, SessionStarted};

use crate::blob::BlobId;
use crate::chain::{Chain, Encoded, LineRules};
use crate::error::{BadLine, StoreError};
use crate::fork::{ForkReader, fork_point};
use crate::import::Import;
use crate::store::{Listed, SessionReader, SessionWriter, Store, StoredEvent, StoredLine};
use crate::summary::{SessionFilter, SessionSummary};
use crate::summary_fold::SummaryFold;
use crate::verify::{Verification, verify};

/// The store in memory. Clones are the same store; it holds the same lines as a store on files.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    logs: Arc<Mutex<BTreeMap<SessionId, Arc<Log>>>>,
    rules: Arc<LineRules>,
}

/// The lines of one session. Every change is one step, so that no panic leaves half of one.
#[derive(Debug)]
struct Log(Mutex<Lines>);

#[derive(Debug)]
struct Lines {
    chain: Chain,
    /// What the first line follows.
    start: Chain,
    origin: Option<ForkedFrom>,
    rules: Arc<LineRules>,
    lines: Vec<Arc<str>>,
    blobs: HashMap<BlobId, Vec<u8>>,
    summary: SummaryFold,
    locked: bool,
}

impl Log {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn new(start: Chain, origin: Option<ForkedFrom>, rules: &Arc<LineRules>) -> Self {
        Self {
            chain: start.clone(),
            start,
            origin,
            rules: Arc::clone(rules),
            lines: Vec::new(),
            blobs: HashMap::new(),
            summary: SummaryFold::default(),
            locked: true,
        }
    }

    fn append(&mut self, events: &[Event]) -> Result<u64, StoreError> {
        let mut encoded = Encoded::default();
        self.chain.encode(events, &self.rules, &mut encoded)?;
        self.take(&encoded, events);
        Ok(self.chain.position())
    }

    fn take(&mut self, encoded: &Encoded, events: &[Event]) {
        for blob in &encoded.blobs {
            let json = || blob.json.clone();
            self.blobs.entry(blob.id).or_insert_with(json);
        }
        let text = String::from_utf8_lossy(&encoded.lines);
        self.lines.extend(text.lines().map(Arc::from));
        events.iter().for_each(|event| self.summary.follow(event));
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

impl MemoryStore {
    /// Chooses how long a string is, as JSON and in bytes, to be kept beside the lines.
    #[must_use]
    pub fn with_blob_bytes_min(mut self, min: usize) -> Self {
        let blob_bytes_min = min;
        let redactor = Arc::clone(&self.rules.redactor);
        self.rules = Arc::new(LineRules {
            blob_bytes_min,
            redactor,
        });
        self
    }

    /// Chooses what keeps secrets out; [`crate::Redactor::new`] unless said otherwise.
    #[must_use]
    pub fn with_redactor(mut self, redactor: crate::Redactor) -> Self {
        let blob_bytes_min = self.rules.blob_bytes_min;
        let redactor = Arc::new(redactor);
        self.rules = Arc::new(LineRules {
            blob_bytes_min,
            redactor,
        });
        self
    }

    /// Puts a session into the store that it does not have yet.
    fn insert(&self, session: &SessionId, lines: Lines) -> Result<Arc<Log>, StoreError> {
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
        if let Some(origin) = &lines.origin
            && !logs.contains_key(&origin.session)
        {
            let session = origin.session.clone();
            return Err(StoreError::Unknown { session });
        }
        let log = Arc::new(Log(Mutex::new(lines)));
        logs.insert(session.clone(), Arc::clone(&log));
        Ok(log)
    }
}

fn writer(session: &SessionId, log: Arc<Log>) -> Arc<dyn SessionWriter> {
    let session = session.clone();
    Arc::new(MemoryWriter { session, log })
}

#[async_trait]
impl Store for MemoryStore {
    async fn create(
        &self,
        session: &SessionId,
        started: SessionStarted,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn SessionWriter>, StoreError> {
        let mut lines = Lines::new(Chain::new(session.clone(), 0), None, &self.rules);
        lines.append_fact(now, EventKind::SessionStarted(started))?;
        Ok(writer(session, self.insert(session, lines)?))
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
        Ok(writer(session, log))
    }

    async fn reader(
        &self,
        session: &SessionId,
        from: u64,
    ) -> Result<Box<dyn SessionReader>, StoreError> {
        let log = self.log(session)?;
        let (chain, origin) = {
            let lines = log.lines();
            (lines.start.clone(), lines.origin.clone())
        };
        let own = Box::new(MemoryReader {
            log,
            first: chain.position(),
            chain,
            from,
        });
        match origin {
            None => Ok(own),
            Some(origin) => ForkReader::open(self, session, origin, from, own).await,
        }
    }

    async fn list(&self, filter: &SessionFilter) -> Result<Vec<Listed>, StoreError> {
        let mut listed = Vec::new();
        for (session, log) in self.logs().iter() {
            if listed.len() >= filter.max.unwrap_or(usize::MAX) {
                break;
            }
            if filter.after.as_ref().is_some_and(|after| session <= after) {
                continue;
            }
            let summary = log.lines().summary.summary(session.clone());
            if filter.accepts(&summary) {
                listed.push(Listed {
                    session: session.clone(),
                    summary: Ok(summary),
                });
            }
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
        let is_fork = |log: &Arc<Log>| {
            let lines = log.lines();
            lines
                .origin
                .as_ref()
                .is_some_and(|it| it.session == *session)
        };
        let forks = logs.iter().filter(|(_, log)| is_fork(log));
        let forks: Vec<SessionId> = forks.map(|(fork, _)| fork.clone()).collect();
        if !forks.is_empty() {
            let session = session.clone();
            return Err(StoreError::HasForks { session, forks });
        }
        logs.remove(session);
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
        let origin = point.origin;
        let chain = Chain::after(fork.clone(), position, origin.checksum, point.session_seq);
        let mut lines = Lines::new(chain, Some(origin.clone()), &self.rules);
        lines.summary = self.shared(&origin).await?;
        lines.append(std::slice::from_ref(&point.started))?;
        Ok(writer(fork, self.insert(fork, lines)?))
    }

    async fn summary(&self, session: &SessionId) -> Result<SessionSummary, StoreError> {
        let log = self.log(session)?;
        let summary = log.lines().summary.summary(session.clone());
        Ok(summary)
    }

    async fn forked_from(&self, session: &SessionId) -> Result<Option<ForkedFrom>, StoreError> {
        Ok(self.log(session)?.lines().origin.clone())
    }

    async fn import(&self, session: &SessionId, from: &dyn Store) -> Result<u64, StoreError> {
        let mut copy = Import::begin(session, from, self).await?;
        let mut lines = Lines::new(copy.chain.clone(), copy.origin.clone(), &self.rules);
        if let Some(origin) = &copy.origin {
            lines.summary = self.shared(origin).await?;
        }
        loop {
            let (encoded, events) = copy.next().await?;
            if events.is_empty() {
                break;
            }
            lines.take(&encoded, &events);
        }
        (lines.chain, lines.locked) = (copy.chain.clone(), false);
        self.insert(session, lines)?;
        Ok(copy.chain.position())
    }

    async fn blob(&self, session: &SessionId, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.log(session)?.lines().blobs.get(id).cloned())
    }

    async fn blobs(&self, session: &SessionId) -> Result<Vec<BlobId>, StoreError> {
        let log = self.log(session)?;
        let mut ids: Vec<BlobId> = log.lines().blobs.keys().copied().collect();
        ids.sort_unstable();
        Ok(ids)
    }

    async fn verify(&self, session: &SessionId) -> Result<Verification, StoreError> {
        verify(self, session).await
    }
}

impl MemoryStore {
    /// Folds what a fork shares with its parent.
    async fn shared(&self, origin: &ForkedFrom) -> Result<SummaryFold, StoreError> {
        let mut fold = SummaryFold::default();
        let mut reader = self.reader(&origin.session, 1).await?;
        let count = usize::try_from(origin.position).unwrap_or(usize::MAX);
        for stored in reader.events(count).await? {
            fold.follow(&stored.event);
        }
        Ok(fold)
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
    /// The position before the first line.
    first: u64,
    from: u64,
}

impl MemoryReader {
    fn chunk<T>(
        &mut self,
        max: usize,
        take: impl Fn(&mut Chain, &str, &HashMap<BlobId, Vec<u8>>) -> Result<T, BadLine>,
    ) -> Result<Vec<T>, StoreError> {
        let mut taken = Vec::new();
        while taken.len() < max.max(1) {
            let at = self.chain.position() - self.first;
            let log = self.log.lines();
            let line = log.lines.get(usize::try_from(at).unwrap_or(usize::MAX));
            let Some(line) = line else {
                break;
            };
            let passed = if self.chain.position() + 1 < self.from {
                self.chain.skip(line.as_bytes())
            } else {
                take(&mut self.chain, line, &log.blobs).map(|item| taken.push(item))
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
        self.chunk(max, |chain, line, blobs| {
            let event = chain.read(line.as_bytes(), blobs)?;
            Ok(StoredEvent {
                position: chain.position(),
                checksum: chain.checksum(),
                event,
            })
        })
    }

    async fn lines(&mut self, max: usize) -> Result<Vec<StoredLine>, StoreError> {
        self.chunk(max, |chain, line, blobs| {
            chain.read(line.as_bytes(), blobs)?;
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
