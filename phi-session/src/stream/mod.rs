//! The stream of what happens: subscriptions, sinks, and the hub between them and the writers.

mod hub;
mod published;
mod queue;
mod sink;
mod subscription;

use std::ops::RangeInclusive;
use std::sync::Arc;

use phi_types::{Event, Live};

pub use hub::Hub;
pub use published::PublishedStore;
pub use sink::{
    ChannelSink, EventSink, FanOut, FanOutLoss, JsonlSink, SinkError, channel, from_fn,
};
pub use subscription::Subscription;

/// One thing that an observer of a session learns. All observers learn the same in the same order.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// A fact, which the log holds.
    Event {
        /// Its place in the log.
        position: u64,
        /// The fact.
        event: Arc<Event>,
    },
    /// A live increment, which nothing is ever rebuilt from. For an observer that is slow, several of
    /// one text are one, with the index of the last.
    Live(Live),
    /// The observer was too slow for what came here.
    Gap(Gap),
}

/// What an observer did not learn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gap {
    /// The positions of events that are in the log and were not told.
    pub positions: Option<RangeInclusive<u64>>,
    /// How many live increments were dropped.
    pub increments: u64,
}
