//! Ways to read a whole session back.

use phi_types::{Event, SessionId};

use crate::error::StoreError;
use crate::recorder::SessionRecorder;
use crate::store::{SessionReader, Store, StoredEvent};

/// How many events are read at once.
const CHUNK: usize = 1024;

/// Reads all events of a session, for a replay.
///
/// # Errors
/// Those of [`Store::reader`] and [`SessionReader::events`].
pub async fn read_events(store: &dyn Store, session: &SessionId) -> Result<Vec<Event>, StoreError> {
    let mut reader = store.reader(session, 1).await?;
    let mut events = Vec::new();
    loop {
        let chunk = reader.events(CHUNK).await?;
        if chunk.is_empty() {
            return Ok(events);
        }
        events.extend(chunk.into_iter().map(|stored| stored.event));
    }
}

/// Reads a session into a recorder, which can go on with new events.
///
/// # Errors
/// Those of [`Store::reader`] and [`SessionReader::events`], and [`StoreError::Illegal`].
pub async fn load(store: &dyn Store, session: &SessionId) -> Result<SessionRecorder, StoreError> {
    let mut reader = store.reader(session, 1).await?;
    let mut recorder = SessionRecorder::new(session.clone());
    follow(reader.as_mut(), &mut recorder).await?;
    Ok(recorder)
}

/// Folds what a reader has left into a recorder that may hold what was before.
pub(crate) async fn follow(
    reader: &mut dyn SessionReader,
    recorder: &mut SessionRecorder,
) -> Result<(), StoreError> {
    loop {
        let chunk = reader.events(CHUNK).await?;
        if chunk.is_empty() {
            return Ok(());
        }
        for StoredEvent {
            position, event, ..
        } in &chunk
        {
            let recorded = recorder.record(event);
            recorded.map_err(|source| StoreError::Illegal {
                session: event.session.clone(),
                position: *position,
                source,
            })?;
        }
    }
}
