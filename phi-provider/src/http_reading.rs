//! The body of an answer while it is read, and how long its next piece may take.

use std::time::Duration;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use phi_types::Delta;
use tokio::time::Instant;

use crate::http_keep_alive::KeepAlive;
use crate::http_timeouts::Timeouts;
use crate::transport::TransportError;
use crate::wire::Decoder;

/// The body of an answer while it is read.
pub(crate) struct Reading {
    pub(crate) body: BoxStream<'static, Result<Bytes, TransportError>>,
    pub(crate) decoder: Box<dyn Decoder>,
    pub(crate) status: u16,
    /// Says that the body may be compressed, until its first bytes tell.
    pub(crate) is_gzip: Option<GzipMark>,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) left: u64,
    pub(crate) content_at: Instant,
    pub(crate) progress_at: Instant,
    /// When the outcome is known: the end of the wait for the rest.
    pub(crate) settled_at: Option<Instant>,
}

/// The answer claims to be compressed with gzip.
pub(crate) struct GzipMark;

/// The first bytes of everything that gzip writes.
pub(crate) const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// What was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    FirstByte,
    Idle,
    Progress,
    Settle,
}

impl Reading {
    /// Gives the rest of an answer whose outcome is known its time.
    pub(crate) fn settle(&mut self, settle: Duration) {
        self.settled_at = Some(Instant::now() + settle);
    }

    /// Notes what a piece of the body brought.
    pub(crate) fn note(&mut self, bytes: &[u8], decoded: &[Delta], settle: Duration) {
        if decoded.is_empty() {
            if self.keep_alive.has_content(bytes) {
                self.content_at = Instant::now();
            }
            return;
        }
        self.keep_alive.skip(bytes);
        self.content_at = Instant::now();
        self.progress_at = self.content_at;
        let is_finish = |delta: &Delta| matches!(delta, Delta::Finish(_));
        if self.settled_at.is_none() && decoded.iter().any(is_finish) {
            self.settled_at = Some(self.content_at + settle);
        }
    }

    /// Returns when the wait for the next piece is over, and what it was for.
    pub(crate) fn deadline(&self, timeouts: &Timeouts) -> (Instant, Wait) {
        if let Some(settled_at) = self.settled_at {
            return (settled_at, Wait::Settle);
        }
        let idle = self.content_at + timeouts.idle;
        let progress = self.progress_at + timeouts.progress;
        if idle <= progress {
            (idle, Wait::Idle)
        } else {
            (progress, Wait::Progress)
        }
    }
}
