//! Copying a session from one store to another.

use std::collections::HashSet;

use phi_types::{Event, ForkedFrom, SessionId};

use crate::blob::{self, Blob, BlobId};
use crate::chain::{Chain, Encoded, content_of};
use crate::error::{BadLine, StoreError};
use crate::fork::fork_point;
use crate::store::{SessionReader, Store};

/// How many lines are copied at once.
const CHUNK: usize = 256;

/// A session on its way from one store into another.
pub(crate) struct Import<'a> {
    session: &'a SessionId,
    from: &'a dyn Store,
    reader: Box<dyn SessionReader>,
    /// Where the copy stands.
    pub(crate) chain: Chain,
    /// Where the session was forked from.
    pub(crate) origin: Option<ForkedFrom>,
    copied: HashSet<BlobId>,
    /// Whether a line was copied.
    has_any: bool,
}

impl<'a> Import<'a> {
    /// Begins a copy into a store, which has the parent of a fork already.
    pub(crate) async fn begin(
        session: &'a SessionId,
        from: &'a dyn Store,
        into: &dyn Store,
    ) -> Result<Self, StoreError> {
        let origin = from.forked_from(session).await?;
        let chain = match &origin {
            None => Chain::new(session.clone(), 0),
            Some(ForkedFrom {
                session: parent,
                position,
                checksum,
            }) => {
                let (parent, position) = (parent.clone(), *position);
                let there = fork_point(
                    into,
                    &parent,
                    position,
                    session,
                    chrono::DateTime::UNIX_EPOCH,
                );
                let there = there.await?;
                if there.origin.checksum != *checksum {
                    let session = session.clone();
                    return Err(StoreError::OtherParent {
                        session,
                        parent,
                        position,
                    });
                }
                Chain::after(session.clone(), position, *checksum, there.session_seq)
            }
        };
        let reader = from.reader(session, chain.position() + 1).await?;
        Ok(Self {
            session,
            from,
            reader,
            chain,
            origin,
            copied: HashSet::new(),
            has_any: false,
        })
    }

    /// Copies the next lines and the blobs that they name; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<(Encoded, Vec<Event>), StoreError> {
        let (mut encoded, mut events) = (Encoded::default(), Vec::new());
        for line in self.reader.lines(CHUNK).await? {
            let (line, place) = (line.text.as_bytes(), line.position);
            let corrupt = |reason| StoreError::Corrupt {
                session: self.session.clone(),
                position: place,
                place: "the session that is copied".to_owned(),
                reason,
            };
            for id in blob::names(content_of(line)).map_err(corrupt)? {
                if self.copied.insert(id) {
                    let json = self.from.blob(self.session, &id).await?;
                    let json = json.ok_or_else(|| corrupt(BadLine::MissingBlob { id }))?;
                    encoded.blobs.push(Blob { id, json });
                }
            }
            let event = self.chain.adopt(line, &mut encoded.lines);
            events.push(event.map_err(corrupt)?);
        }
        if events.is_empty() && !self.has_any {
            let session = self.session.clone();
            return Err(StoreError::Empty { session });
        }
        self.has_any = true;
        Ok((encoded, events))
    }
}
