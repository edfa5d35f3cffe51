//! A journal in memory, which can be told to fail.

use std::sync::Arc;

use async_trait::async_trait;
use phi_types::{Event, Journal, JournalError};

use crate::watch::Watch;

/// A journal that keeps what it is given. A clone is the same journal.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal(Arc<Watch<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    batches: Vec<Vec<Event>>,
    appends: usize,
    fails_at: Option<usize>,
}

impl MemoryJournal {
    /// Makes an empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a journal whose n-th append, counted from 1, fails and keeps nothing.
    #[must_use]
    pub fn failing_at(append: usize) -> Self {
        let journal = Self::new();
        journal.0.update(|kept| kept.fails_at = Some(append));
        journal
    }

    /// Returns all events in the order of their arrival.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.0.read(|kept| kept.batches.concat())
    }

    /// Returns the batches as they were appended.
    #[must_use]
    pub fn batches(&self) -> Vec<Vec<Event>> {
        self.0.read(|kept| kept.batches.clone())
    }

    /// Returns how often it was appended to, failed appends included.
    #[must_use]
    pub fn appends(&self) -> usize {
        self.0.read(|kept| kept.appends)
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn append(&self, events: &[Event]) -> Result<(), JournalError> {
        self.0.update(|kept| {
            kept.appends += 1;
            if kept.fails_at == Some(kept.appends) {
                let appends = kept.appends;
                let message = format!("append {appends} fails as the test told it to");
                return Err(JournalError::new(message));
            }
            kept.batches.push(events.to_vec());
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::block_on;
    use phi_types::{EventKind, RawJson, SessionId};

    use super::*;

    fn event(seq: u64) -> Event {
        Event {
            session: SessionId::new("s").unwrap(),
            loop_id: None,
            seq,
            at: crate::ManualClock::default().now(),
            kind: EventKind::Unknown(RawJson::empty_object()),
        }
    }

    #[test]
    fn the_append_that_fails_keeps_nothing_and_the_next_one_is_kept() {
        let journal = MemoryJournal::failing_at(2);
        block_on(async {
            journal.append(&[event(1), event(2)]).await.unwrap();
            journal.append(&[event(3)]).await.unwrap_err();
            journal.append(&[event(4)]).await.unwrap();
        });
        assert_eq!(
            journal.batches(),
            [vec![event(1), event(2)], vec![event(4)]]
        );
        assert_eq!(journal.events(), [event(1), event(2), event(4)]);
        assert_eq!(journal.appends(), 3);
    }
}
