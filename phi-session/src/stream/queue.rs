//! What waits for one observer, in bounded memory.

use std::collections::VecDeque;
use std::task::Waker;

use phi_types::{Delta, Increment, Live};

use super::Update;
use crate::length::json_length;

/// The most bytes that wait, about; one update that is larger waits alone.
const BYTES_MAX: usize = 1 << 20;

/// What waits for one observer.
#[derive(Debug)]
pub(super) struct Queue {
    /// With their weights.
    items: VecDeque<(Update, usize)>,
    capacity: usize,
    /// The sum of the weights.
    bytes: usize,
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
            bytes: 0,
            lost: 0,
            skipped: false,
            closed: false,
            waker: None,
        }
    }

    /// Adds an update of a [`weight`]; returns whom to wake.
    pub(super) fn push(&mut self, update: &Update, weight: usize) -> Option<Waker> {
        if !self.merge(update) {
            if !self.has_room(weight) {
                self.drop_increments();
            }
            if !self.has_room(weight) {
                self.items.clear();
                self.bytes = 0;
                self.skipped = true;
            }
            self.bytes += weight;
            self.items.push_back((update.clone(), weight));
        }
        self.waker.take()
    }

    fn has_room(&self, weight: usize) -> bool {
        self.items.len() < self.capacity && self.bytes.saturating_add(weight) <= BYTES_MAX
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
        let Some((update, weight)) = self.items.pop_front() else {
            return if self.closed {
                Next::Closed
            } else {
                Next::Empty
            };
        };
        self.bytes = self.bytes.saturating_sub(weight);
        Next::Update(update)
    }

    /// Asks to be woken when something comes.
    pub(super) fn wake(&mut self, waker: &Waker) {
        self.waker = Some(waker.clone());
    }

    /// Joins an increment of a text to the one before it, which nobody has taken yet.
    fn merge(&mut self, update: &Update) -> bool {
        let (Some((Update::Live(last), weight)), Update::Live(next)) =
            (self.items.back_mut(), update)
        else {
            return false;
        };
        let more = next.increment.clone();
        if last.effect != next.effect || !join(&mut last.increment, more) {
            return false;
        }
        last.index = next.index;
        let added = text_of(next).map_or(0, str::len);
        *weight += added;
        self.bytes += added;
        if self.bytes > BYTES_MAX {
            self.drop_increments();
        }
        true
    }

    fn drop_increments(&mut self) {
        let before = self.items.len();
        self.items
            .retain(|(item, _)| !matches!(item, Update::Live(_)));
        self.lost += (before - self.items.len()) as u64;
        self.bytes = self.items.iter().map(|(_, weight)| weight).sum();
    }
}

/// Returns about how many bytes an update takes while it waits.
pub(super) fn weight(update: &Update) -> usize {
    let told = match update {
        Update::Event { event, .. } => json_length(&event.kind),
        Update::Live(live) => match text_of(live) {
            Some(text) => text.len(),
            None => json_length(&live.increment),
        },
        Update::Gap(_) => 0,
    };
    told + size_of::<Update>()
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
