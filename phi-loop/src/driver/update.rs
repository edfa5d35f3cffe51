//! What a run hands out, and what of it waits to be taken.

use std::collections::VecDeque;
use std::vec;

use phi_types::{Event, Live, Point};

/// What a run hands out. Events are committed: they were appended to the journal before.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// A committed event.
    Event(Event),
    /// A live increment, as it came.
    Live(Live),
    /// An observer failed; the loop goes on.
    HookFailed(HookFailed),
}

/// Says how an observer failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookFailed {
    /// The point.
    pub point: Point,
    /// What went wrong.
    pub reason: String,
}

/// Updates that wait to be taken, in their order.
///
/// The events of a step stay in the list in which the machine has made them, for moving each to a
/// queue of its own would cost as much as making it.
#[derive(Default)]
pub(crate) struct Updates {
    waiting: VecDeque<Waiting>,
}

enum Waiting {
    /// At least one.
    Events(vec::IntoIter<Event>),
    Live(Live),
    HookFailed(HookFailed),
}

impl Updates {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn events(&mut self, events: Vec<Event>) {
        if !events.is_empty() {
            self.push(Waiting::Events(events.into_iter()));
        }
    }

    pub(crate) fn live(&mut self, live: Live) {
        self.push(Waiting::Live(live));
    }

    pub(crate) fn hook_failed(&mut self, failed: HookFailed) {
        self.push(Waiting::HookFailed(failed));
    }

    fn push(&mut self, waiting: Waiting) {
        if self.waiting.is_empty() {
            // The events of one step are all that waits, as a rule.
            self.waiting.reserve_exact(1);
        }
        self.waiting.push_back(waiting);
    }

    pub(crate) fn take(&mut self) -> Option<Update> {
        if let Some(Waiting::Events(events)) = self.waiting.front_mut()
            && events.len() > 1
        {
            return events.next().map(Update::Event);
        }
        // With the last event of a step goes the list that held them.
        match self.waiting.pop_front()? {
            Waiting::Events(mut events) => events.next().map(Update::Event),
            Waiting::Live(live) => Some(Update::Live(live)),
            Waiting::HookFailed(failed) => Some(Update::HookFailed(failed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use phi_types::{EventKind, SessionEnded, SessionId};

    use super::*;

    fn event(seq: u64) -> Event {
        Event {
            session: SessionId::new("s1").unwrap(),
            loop_id: None,
            seq,
            at: DateTime::UNIX_EPOCH,
            kind: EventKind::SessionEnded(SessionEnded {}),
        }
    }

    fn failed() -> HookFailed {
        let (point, reason) = (Point::AfterTurn, "it broke".to_owned());
        HookFailed { point, reason }
    }

    #[test]
    fn updates_are_taken_in_the_order_in_which_they_came() {
        let mut updates = Updates::default();
        updates.events(vec![event(1), event(2)]);
        updates.hook_failed(failed());
        updates.events(vec![event(3)]);
        let taken: Vec<Update> = std::iter::from_fn(|| updates.take()).collect();
        let expected = [
            Update::Event(event(1)),
            Update::Event(event(2)),
            Update::HookFailed(failed()),
            Update::Event(event(3)),
        ];
        assert_eq!(taken, expected);
    }

    #[test]
    fn nothing_waits_once_the_last_update_is_taken() {
        let mut updates = Updates::default();
        updates.events(Vec::new());
        assert!(updates.is_empty(), "a step without events leaves none");
        updates.events(vec![event(1)]);
        assert!(!updates.is_empty());
        assert!(updates.take().is_some());
        assert!(updates.is_empty());
        assert_eq!(updates.take(), None);
    }
}
