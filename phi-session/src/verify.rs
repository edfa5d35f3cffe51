//! The integrity check: everything of a session is read, and what is wrong is reported.

use phi_types::{ForkedFrom, SessionId};

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
    Ok(found)
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
