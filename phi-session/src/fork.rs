//! Forks: sessions whose past is read from the session that they were forked from.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use phi_types::{Event, EventKind, FORMAT, ForkedFrom, SessionId, SessionStarted};

use crate::chain::split_line;
use crate::error::StoreError;
use crate::store::{SessionReader, Store, StoredEvent, StoredLine};

/// How many events are read at once.
const CHUNK: usize = 1024;

/// Where a fork begins.
pub(crate) struct ForkPoint {
    /// What it shares.
    pub(crate) origin: ForkedFrom,
    /// The newest `seq` of the session's own events up to there.
    pub(crate) session_seq: u64,
    /// The fork's first event of its own.
    pub(crate) started: Event,
}

/// Reads and checks what a fork shares with its parent.
pub(crate) async fn fork_point(
    store: &dyn Store,
    parent: &SessionId,
    position: u64,
    fork: &SessionId,
    now: DateTime<Utc>,
) -> Result<ForkPoint, StoreError> {
    let mut reader = store.reader(parent, 1).await?;
    let (mut newest, mut session_seq, mut agent, mut checksum) = (0, 0, None, None);
    while newest < position {
        let left = usize::try_from(position - newest).unwrap_or(usize::MAX);
        let chunk = reader.events(CHUNK.min(left)).await?;
        if chunk.is_empty() {
            break;
        }
        for stored in chunk {
            if stored.event.loop_id.is_none() {
                session_seq = stored.event.seq;
            }
            if let EventKind::SessionStarted(started) = stored.event.kind {
                agent = started.agent;
            }
            (newest, checksum) = (stored.position, Some(stored.checksum));
        }
    }
    let Some(checksum) = checksum.filter(|_| newest == position) else {
        let session = parent.clone();
        return Err(StoreError::NoSuchPosition {
            session,
            position,
            newest,
        });
    };
    let origin = ForkedFrom {
        session: parent.clone(),
        position,
        checksum,
    };
    let kind = EventKind::SessionStarted(SessionStarted {
        format: FORMAT,
        agent,
        spawned_by: None,
        forked_from: Some(origin.clone()),
    });
    let started = Event {
        session: fork.clone(),
        loop_id: None,
        seq: session_seq + 1,
        at: now,
        kind,
    };
    Ok(ForkPoint {
        origin,
        session_seq,
        started,
    })
}

/// Reads a fork: first what it shares with its parent, then what is its own.
///
/// The events of the shared part are given as events of the fork; its lines are those of the parent.
#[derive(Debug)]
pub(crate) struct ForkReader {
    session: SessionId,
    origin: ForkedFrom,
    /// The parent, and the position up to which it was read.
    parent: Option<(Box<dyn SessionReader>, u64)>,
    own: Box<dyn SessionReader>,
}

impl ForkReader {
    /// Reads `own` after the shared part, which is left out where `from` comes after it.
    pub(crate) async fn open(
        store: &dyn Store,
        session: &SessionId,
        origin: ForkedFrom,
        from: u64,
        own: Box<dyn SessionReader>,
    ) -> Result<Box<dyn SessionReader>, StoreError> {
        if from > origin.position {
            return Ok(own);
        }
        let from = from.max(1);
        let reader = store.reader(&origin.session, from).await?;
        Ok(Box::new(Self {
            session: session.clone(),
            origin,
            parent: Some((reader, from - 1)),
            own,
        }))
    }

    /// Goes on to what is the fork's own once all of the shared part was read.
    fn advance(&mut self, count: usize, newest: Option<u32>) -> Result<(), StoreError> {
        let Some((_, position)) = &mut self.parent else {
            return Ok(());
        };
        *position += count as u64;
        if count == 0 {
            let (expected, found) = (*position + 1, self.origin.position + 1);
            let session = self.origin.session.clone();
            return Err(StoreError::Missing {
                session,
                expected,
                found,
            });
        }
        if *position < self.origin.position {
            return Ok(());
        }
        if newest != Some(self.origin.checksum) {
            return Err(StoreError::OtherParent {
                session: self.session.clone(),
                parent: self.origin.session.clone(),
                position: self.origin.position,
            });
        }
        self.parent = None;
        Ok(())
    }
}

/// Returns how much of the shared part one read takes.
fn share(max: usize, origin: &ForkedFrom, position: u64) -> usize {
    let left = origin.position.saturating_sub(position);
    max.max(1).min(usize::try_from(left).unwrap_or(usize::MAX))
}

#[async_trait]
impl SessionReader for ForkReader {
    async fn events(&mut self, max: usize) -> Result<Vec<StoredEvent>, StoreError> {
        let Some((parent, position)) = &mut self.parent else {
            return self.own.events(max).await;
        };
        let mut chunk = parent.events(share(max, &self.origin, *position)).await?;
        self.advance(chunk.len(), chunk.last().map(|stored| stored.checksum))?;
        for stored in &mut chunk {
            stored.event.session.clone_from(&self.session);
        }
        Ok(chunk)
    }

    async fn lines(&mut self, max: usize) -> Result<Vec<StoredLine>, StoreError> {
        let Some((parent, position)) = &mut self.parent else {
            return self.own.lines(max).await;
        };
        let chunk = parent.lines(share(max, &self.origin, *position)).await?;
        let newest = chunk
            .last()
            .and_then(|line| split_line(line.text.as_bytes()));
        self.advance(chunk.len(), newest.map(|(_, checksum)| checksum))?;
        Ok(chunk)
    }

    fn tail_bytes(&self) -> u64 {
        self.own.tail_bytes()
    }
}
