//! Forks: sessions whose past is read from the session that they were forked from.

use std::collections::BTreeSet;

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

/// Reads a fork: first what it shares with its ancestors, from the oldest on, then what is its own.
///
/// The events of the shared part are given as events of the fork; its lines are those of whom they
/// are from.
#[derive(Debug)]
pub(crate) struct ForkReader {
    session: SessionId,
    /// What is left to read of ancestors, the next part last.
    shared: Vec<Part>,
    /// The position that was read last.
    position: u64,
    own: Box<dyn SessionReader>,
}

/// What a fork shares with one of its ancestors.
#[derive(Debug)]
struct Part {
    reader: Box<dyn SessionReader>,
    /// Who begins after its last event, and what it knows of that.
    fork: SessionId,
    origin: ForkedFrom,
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
        let from = from.max(1);
        if from > origin.position {
            return Ok(own);
        }
        let mut shared = Vec::new();
        let mut seen = BTreeSet::from([session.clone()]);
        let mut next = Some((session.clone(), origin));
        // Not one reader inside the other: there is no end to how many forks stand in a row.
        while let Some((fork, origin)) = next.filter(|(_, origin)| from <= origin.position) {
            let parent = origin.session.clone();
            let beyond = match store.forked_from(&parent).await {
                Ok(beyond) if seen.insert(parent.clone()) => beyond,
                Err(error) if !error.is_absent() => return Err(error),
                Ok(_) | Err(_) => return Err(other_parent(&fork, &origin)),
            };
            next = match beyond {
                // The fork begins in what its parent shares, and so shares that with the ancestor.
                Some(beyond) if origin.position <= beyond.position => {
                    let session = beyond.session;
                    Some((fork, ForkedFrom { session, ..origin }))
                }
                beyond => {
                    let first = beyond.as_ref().map_or(0, |beyond| beyond.position) + 1;
                    let reader = store.reader(&parent, from.max(first)).await?;
                    shared.push(Part {
                        reader,
                        fork,
                        origin,
                    });
                    beyond.map(|beyond| (parent, beyond))
                }
            };
        }
        Ok(Box::new(Self {
            session: session.clone(),
            shared,
            position: from - 1,
            own,
        }))
    }

    /// Goes on by what was read of the next part.
    fn advance(&mut self, count: usize, newest: Option<u32>) -> Result<(), StoreError> {
        let Some(Part { fork, origin, .. }) = self.shared.last() else {
            return Ok(());
        };
        self.position += count as u64;
        if count == 0 {
            return Err(StoreError::Missing {
                session: origin.session.clone(),
                expected: self.position + 1,
                found: origin.position + 1,
            });
        }
        if self.position < origin.position {
            return Ok(());
        }
        if newest != Some(origin.checksum) {
            return Err(other_parent(fork, origin));
        }
        self.shared.pop();
        Ok(())
    }
}

fn other_parent(fork: &SessionId, origin: &ForkedFrom) -> StoreError {
    StoreError::OtherParent {
        session: fork.clone(),
        parent: origin.session.clone(),
        position: origin.position,
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
        let Some(Part { reader, origin, .. }) = self.shared.last_mut() else {
            return self.own.events(max).await;
        };
        let mut chunk = reader.events(share(max, origin, self.position)).await?;
        self.advance(chunk.len(), chunk.last().map(|stored| stored.checksum))?;
        for stored in &mut chunk {
            stored.event.session.clone_from(&self.session);
        }
        Ok(chunk)
    }

    async fn lines(&mut self, max: usize) -> Result<Vec<StoredLine>, StoreError> {
        let Some(Part { reader, origin, .. }) = self.shared.last_mut() else {
            return self.own.lines(max).await;
        };
        let chunk = reader.lines(share(max, origin, self.position)).await?;
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
