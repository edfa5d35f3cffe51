//! Reading a session from the database, also while another process writes it.

use async_trait::async_trait;
use phi_types::SessionId;

use super::beside::Blobs;
use super::database::{Database, Row, check_position};
use crate::chain::Chain;
use crate::error::{BadLine, StoreError};
use crate::store::{SessionReader, StoredEvent, StoredLine};

/// How many lines are read at once: with the longest ones they still fit into memory.
const LINES_AT_ONCE: usize = 64;

/// A place in the lines of a session.
#[derive(Debug)]
pub(super) struct SqliteReader {
    database: Database,
    key: i64,
    chain: Chain,
    /// The position after which events are returned.
    after: u64,
}

impl SqliteReader {
    pub(super) fn open(
        database: Database,
        session: &SessionId,
        row: &Row,
        from: u64,
    ) -> Result<Self, StoreError> {
        let before = row.origin.as_ref().map_or(0, |origin| origin.position);
        // A position that is still to come is waited for at the end.
        let after = from.saturating_sub(1).max(before);
        let newest = database.newest(row.key)?.max(before);
        let chain = database.chain_after(session, row, after.min(newest))?;
        Ok(Self {
            database,
            key: row.key,
            chain,
            after,
        })
    }

    fn chunk<T>(
        &mut self,
        max: usize,
        take: impl Fn(&mut Chain, &str, &Blobs<'_>) -> Result<T, BadLine>,
    ) -> Result<Vec<T>, StoreError> {
        while self.chain.position() < self.after {
            let line = self
                .database
                .lines(self.key, self.chain.position() + 1, 1)?;
            let Some((position, line)) = line.into_iter().next() else {
                return Ok(Vec::new());
            };
            check_position(&self.chain, position)?;
            let skipped = self.chain.skip(line.as_bytes());
            skipped.map_err(|reason| self.database.corrupt(&self.chain, reason))?;
        }
        let mut taken = Vec::new();
        while taken.len() < max.max(1) {
            let count = LINES_AT_ONCE.min(max.max(1) - taken.len());
            let lines = self
                .database
                .lines(self.key, self.chain.position() + 1, count)?;
            if lines.is_empty() {
                break;
            }
            for (position, line) in lines {
                let step = check_position(&self.chain, position).and_then(|()| {
                    let blobs = Blobs(&self.database, self.key);
                    let item = take(&mut self.chain, &line, &blobs);
                    item.map_err(|reason| self.database.corrupt(&self.chain, reason))
                });
                match step {
                    Ok(item) => taken.push(item),
                    // The reader stays where it is: the next call meets the same error.
                    Err(_) if !taken.is_empty() => return Ok(taken),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(taken)
    }
}

#[async_trait]
impl SessionReader for SqliteReader {
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
