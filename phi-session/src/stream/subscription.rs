//! A subscription: one observer's view of a session.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use super::hub::lock;
use super::queue::{Next, Queue};
use super::{Gap, Update};
use crate::error::StoreError;
use crate::store::{SessionReader, StoredEvent};

/// How many events are read from a log at once.
const CHUNK: usize = 256;

/// One observer of a session. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    queue: Arc<Mutex<Queue>>,
    /// The position of the newest event that was told.
    cursor: u64,
    /// The log, from which events are read that the queue does not hold.
    reader: Option<Box<dyn SessionReader>>,
    /// Whether the log has to be read before the queue is looked at.
    behind: bool,
    read: VecDeque<StoredEvent>,
    /// Increments that were dropped, until it was told.
    lost: u64,
    /// What was taken from the queue and waits for events before it.
    held: Option<Update>,
}

impl Subscription {
    pub(super) fn new(
        queue: Arc<Mutex<Queue>>,
        cursor: u64,
        reader: Option<Box<dyn SessionReader>>,
    ) -> Self {
        Self {
            queue,
            cursor,
            behind: reader.is_some(),
            reader,
            read: VecDeque::new(),
            lost: 0,
            held: None,
        }
    }

    /// Returns the position of the newest event that was told: where a later subscription goes on.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Waits for the next update; `None` once the session is closed and everything was told.
    ///
    /// **Cancel safety:** a dropped call loses nothing.
    ///
    /// # Errors
    /// Those of [`SessionReader::events`], for a subscription that reads the log.
    pub async fn next(&mut self) -> Result<Option<Update>, StoreError> {
        loop {
            if let Some(stored) = self.read.pop_front() {
                if stored.position <= self.cursor {
                    continue;
                }
                self.cursor = stored.position;
                return Ok(Some(Update::Event {
                    position: stored.position,
                    event: Arc::new(stored.event),
                }));
            }
            if self.behind {
                self.read_on().await?;
                continue;
            }
            if self.lost > 0 {
                let increments = std::mem::take(&mut self.lost);
                return Ok(Some(Update::Gap(Gap {
                    positions: None,
                    increments,
                })));
            }
            let (update, was_held) = match self.held.take() {
                Some(update) => (update, true),
                None => match self.wait().await {
                    Next::Update(update) => (update, false),
                    Next::Lost(increments) => {
                        self.lost += increments;
                        self.behind = self.reader.is_some();
                        continue;
                    }
                    Next::Empty => continue,
                    Next::Closed => return Ok(None),
                },
            };
            if let Some(update) = self.in_order(update, was_held) {
                return Ok(Some(update));
            }
        }
    }

    /// Reads the next events of the log; at its end the queue goes on.
    async fn read_on(&mut self) -> Result<(), StoreError> {
        let Some(reader) = &mut self.reader else {
            self.behind = false;
            return Ok(());
        };
        let chunk = reader.events(CHUNK).await?;
        self.behind = !chunk.is_empty();
        self.read.extend(chunk);
        Ok(())
    }

    /// Returns an update whose turn it is; one that comes too early is held until the log was read.
    fn in_order(&mut self, update: Update, was_held: bool) -> Option<Update> {
        let Update::Event { position, .. } = &update else {
            return Some(update);
        };
        let (position, due) = (*position, self.cursor + 1);
        if position < due {
            return None;
        }
        if position == due {
            self.cursor = position;
            return Some(update);
        }
        self.held = Some(update);
        if self.reader.is_some() && !was_held {
            self.behind = true;
            return None;
        }
        self.cursor = position - 1;
        Some(Update::Gap(Gap {
            positions: Some(due..=position - 1),
            increments: 0,
        }))
    }

    async fn wait(&self) -> Next {
        poll_fn(|context| {
            let mut queue = lock(&self.queue);
            match queue.next() {
                Next::Empty => {
                    queue.wake(context.waker());
                    Poll::Pending
                }
                next => Poll::Ready(next),
            }
        })
        .await
    }
}
