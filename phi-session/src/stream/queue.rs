//! What waits for one observer, in bounded memory.

use std::collections::VecDeque;
use std::task::Waker;

use phi_types::{Delta, Increment, Live};

use super::Update;

/// The most bytes of live text that wait.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// What waits for one observer.
#[derive(Debug)]
pub(super) struct Queue {
    items: VecDeque<Update>,
    capacity: usize,
    /// Bytes of text in the increments that wait.
    text_bytes: usize,
    /// Increments that were dropped since the last time somebody looked.
    lost: u64,
    /// Whether events were dropped; they are found in the log.
    skipped: bool,
    closed: bool,
    waker: Option<Waker>,
}

/// What is next for an observer.
#[derive(Debug)]
pub(super) enum Next {
    /// Something was dropped before everything that waits: so many increments, and maybe events.
    Lost(u64),
    Update(Update),
    /// Nothing waits.
    Empty,
    /// Nothing waits and nothing comes.
    Closed,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            items: VecDeque::new(),
            capacity: capacity.max(1),
            text_bytes: 0,
            lost: 0,
            skipped: false,
            closed: false,
            waker: None,
        }
    }

    /// Adds an update; returns whom to wake.
    pub(super) fn push(&mut self, update: &Update) -> Option<Waker> {
        if !self.merge(update) {
            if self.items.len() >= self.capacity || self.text_bytes > TEXT_BYTES_MAX {
                self.drop_increments();
            }
            if self.items.len() >= self.capacity {
                self.items.clear();
                self.skipped = true;
            }
            if let Update::Live(live) = update {
                self.text_bytes += text_of(live).map_or(0, str::len);
            }
            self.items.push_back(update.clone());
        }
        self.waker.take()
    }

    /// Ends the queue; returns whom to wake.
    pub(super) fn close(&mut self) -> Option<Waker> {
        self.closed = true;
        self.waker.take()
    }

    pub(super) fn open(&mut self) {
        self.closed = false;
    }

    /// Takes what is next.
    pub(super) fn next(&mut self) -> Next {
        if self.lost > 0 || self.skipped {
            self.skipped = false;
            return Next::Lost(std::mem::take(&mut self.lost));
        }
        let Some(update) = self.items.pop_front() else {
            return if self.closed {
                Next::Closed
            } else {
                Next::Empty
            };
        };
        if let Update::Live(live) = &update {
            let bytes = text_of(live).map_or(0, str::len);
            self.text_bytes = self.text_bytes.saturating_sub(bytes);
        }
        Next::Update(update)
    }

    /// Asks to be woken when something comes.
    pub(super) fn wake(&mut self, waker: &Waker) {
        self.waker = Some(waker.clone());
    }

    /// Joins an increment of a text to the one before it, which nobody has taken yet.
    fn merge(&mut self, update: &Update) -> bool {
        let (Some(Update::Live(last)), Update::Live(next)) = (self.items.back_mut(), update) else {
            return false;
        };
        let more = next.increment.clone();
        if last.effect != next.effect || !join(&mut last.increment, more) {
            return false;
        }
        last.index = next.index;
        self.text_bytes += text_of(next).map_or(0, str::len);
        if self.text_bytes > TEXT_BYTES_MAX {
            self.drop_increments();
        }
        true
    }

    fn drop_increments(&mut self) {
        let before = self.items.len();
        self.items.retain(|item| !matches!(item, Update::Live(_)));
        self.lost += (before - self.items.len()) as u64;
        self.text_bytes = 0;
    }
}

/// Adds the text of an increment to one of the same part; says whether it fits.
fn join(last: &mut Increment, next: Increment) -> bool {
    let (Increment::Delta(last), Increment::Delta(next)) = (last, next) else {
        return false;
    };
    let ((Delta::Text(last), Delta::Text(next))
    | (Delta::Thinking(last), Delta::Thinking(next))
    | (Delta::Arguments(last), Delta::Arguments(next))) = (last, next)
    else {
        return false;
    };
    let fits = last.part == next.part;
    if fits {
        last.text.push_str(&next.text);
    }
    fits
}

fn text_of(live: &Live) -> Option<&str> {
    match &live.increment {
        Increment::Delta(Delta::Text(it) | Delta::Thinking(it) | Delta::Arguments(it)) => {
            Some(&it.text)
        }
        Increment::Delta(_) | Increment::Progress(_) => None,
    }
}
