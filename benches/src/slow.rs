//! A provider that thinks for a while before each reply.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use futures_util::stream;
use phi_types::{Delta, Identity, Provider, ProviderError, Request};

use crate::replies;

/// A provider that asks for the no-op tool in each turn but the last, and waits before each reply.
///
/// It makes a reply when it is due, so that thousands of them hold no memory before.
#[derive(Debug)]
pub struct SlowProvider {
    wait: Duration,
    turns: u32,
    turn: AtomicU32,
}

impl SlowProvider {
    /// Makes a provider of so many replies; past the last one, replies end the loop too.
    #[must_use]
    pub fn new(turns: u32, wait: Duration) -> Self {
        Self {
            wait,
            turns,
            turn: AtomicU32::new(0),
        }
    }

    fn reply(turn: u32, turns: u32) -> Vec<Delta> {
        if turn + 1 < turns {
            replies::calls(turn, 1)
        } else {
            replies::text(1)
        }
    }
}

impl Provider for SlowProvider {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: "slow",
            provider: "slow",
        }
    }

    fn stream(&self, _request: Request) -> BoxStream<'static, Result<Delta, ProviderError>> {
        let (turn, turns) = (self.turn.fetch_add(1, Ordering::Relaxed), self.turns);
        let wait = tokio::time::sleep(self.wait);
        let replies = stream::once(wait)
            .flat_map(move |()| stream::iter(Self::reply(turn, turns).into_iter().map(Ok)));
        Box::pin(replies)
    }
}
