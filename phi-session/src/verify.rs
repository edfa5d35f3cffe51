//! The integrity check: everything of a session is read, and what is wrong is reported.

use std::collections::BTreeSet;

use phi_types::{ForkedFrom, SessionId};

use crate::blob::{self, BlobId};
use crate::chain::content_of;
use crate::error::StoreError;
use crate::recorder::SessionRecorder;
use crate::store::Store;

/// How many events are read at once.
const CHUNK: usize = 1024;

/// What an integrity check found.
#[derive(Debug)]
pub struct Verification {
    /// The session.
    pub session: SessionId,
    /// Where it was forked from; what it shares was checked too.
    pub forked_from: Option<ForkedFrom>,
    /// How many events are right, from the first one on.
    pub events: u64,
    /// The checksum of the last right line, which stands for all before it.
    pub checksum: u32,
    /// How many loops they tell of.
    pub loops: u64,
    /// How many bytes after them are a write that was cut off and never acknowledged. They are moved
    /// aside when the session is next opened for writing.
    pub torn_bytes: u64,
    /// The long strings beside the log that no line of it names: the rest of writes that failed. They
    /// do no harm, and go when the session is deleted. They are told where nothing is wrong.
    pub unnamed_blobs: Vec<BlobId>,
    /// The first thing that is wrong; nothing after it was checked.
    pub fault: Option<StoreError>,
}

impl Verification {
    /// Says whether everything that was acknowledged is there and right.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.fault.is_none()
    }
}

/// Checks every line, every blob and whether the events are a sequence that phi writes, by reading
/// the session through any store.
///
/// # Errors
/// [`StoreError::Unknown`], [`StoreError::Empty`] and what kept the store from looking. What is wrong
/// with the log is no error but in the report.
pub async fn verify(store: &dyn Store, session: &SessionId) -> Result<Verification, StoreError> {
    let mut recorder = SessionRecorder::new(session.clone());
    let mut found = Verification {
        session: session.clone(),
        forked_from: None,
        events: 0,
        checksum: 0,
        loops: 0,
        torn_bytes: 0,
        unnamed_blobs: Vec::new(),
        fault: None,
    };
    let reader = match store.forked_from(session).await {
        Ok(forked_from) => {
            found.forked_from = forked_from;
            store.reader(session, 1).await
        }
        Err(error) => Err(error),
    };
    let mut reader = match reader {
        Ok(reader) => reader,
        // A parent that is gone is damage; the session itself is asked for by a wrong name.
        Err(fault) if is_damage(&fault) && !is_about(&fault, session) => {
            found.fault = Some(fault);
            return Ok(found);
        }
        Err(error) => return Err(error),
    };
    'read: loop {
        let chunk = match reader.events(CHUNK).await {
            Ok(chunk) if chunk.is_empty() => break,
            Ok(chunk) => chunk,
            Err(fault) if is_damage(&fault) => {
                found.fault = Some(fault);
                break;
            }
            Err(error) => return Err(error),
        };
        for stored in chunk {
            if let Err(source) = recorder.record(&stored.event) {
                found.fault = Some(StoreError::Illegal {
                    session: session.clone(),
                    position: stored.position,
                    source,
                });
                break 'read;
            }
            (found.events, found.checksum) = (stored.position, stored.checksum);
        }
    }
    found.loops = recorder.session().loops.len() as u64;
    found.torn_bytes = reader.tail_bytes();
    if found.is_sound() {
        found.unnamed_blobs = unnamed_blobs(store, &found).await?;
    }
    Ok(found)
}

/// Finds the blobs of a sound session that none of its own lines names.
async fn unnamed_blobs(store: &dyn Store, sound: &Verification) -> Result<Vec<BlobId>, StoreError> {
    let mut unnamed: BTreeSet<BlobId> = store.blobs(&sound.session).await?.into_iter().collect();
    let shared = sound.forked_from.as_ref();
    let first = shared.map_or(1, |origin| origin.position + 1);
    let mut reader = store.reader(&sound.session, first).await?;
    while !unnamed.is_empty() {
        let lines = reader.lines(CHUNK).await?;
        if lines.is_empty() {
            break;
        }
        for line in lines {
            let named = blob::names(content_of(line.text.as_bytes())).unwrap_or_default();
            for id in named {
                unnamed.remove(&id);
            }
        }
    }
    Ok(unnamed.into_iter().collect())
}

/// Says whether an error tells of the log and not of the way to it.
fn is_damage(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Corrupt { .. }
            | StoreError::Missing { .. }
            | StoreError::OtherParent { .. }
            | StoreError::OtherSession { .. }
            | StoreError::WrongKind { .. }
            | StoreError::Unknown { .. }
            | StoreError::Empty { .. }
    )
}

/// Says whether a session of this name is not there at all.
fn is_about(error: &StoreError, asked: &SessionId) -> bool {
    match error {
        StoreError::Unknown { session } | StoreError::Empty { session } => session == asked,
        _ => false,
    }
}
