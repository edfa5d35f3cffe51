//! How long a provider over HTTP waits for what.

use std::time::Duration;

/// How long a provider over HTTP waits for what. None of them caps an answer that goes on.
///
/// How long a connection may take is an option of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the start of the request to the head of the answer. Default: 5 minutes, because some
    /// services read the whole prompt before they answer.
    pub first_byte: Duration,
    /// Between two pieces of an answer; keep-alive comments and empty lines are none. Default: 2
    /// minutes.
    pub idle: Duration,
    /// Between two increments of the message, whatever else comes, such as pings. Default: 10
    /// minutes, because some models think in silence.
    pub progress: Duration,
    /// For the rest of the answer once its outcome is known: the finish was seen, or the status
    /// says that it failed. Default: 5 seconds. When it is over the outcome counts as it is.
    pub settle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(300),
            idle: Duration::from_secs(120),
            progress: Duration::from_secs(600),
            settle: Duration::from_secs(5),
        }
    }
}

impl Timeouts {
    /// Sets the wait for the head of the answer.
    #[must_use]
    pub fn with_first_byte(self, first_byte: Duration) -> Self {
        Self { first_byte, ..self }
    }

    /// Sets the wait between two pieces of an answer.
    #[must_use]
    pub fn with_idle(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    /// Sets the wait between two increments of the message.
    #[must_use]
    pub fn with_progress(self, progress: Duration) -> Self {
        Self { progress, ..self }
    }

    /// Sets the wait for the rest once the outcome is known.
    #[must_use]
    pub fn with_settle(self, settle: Duration) -> Self {
        Self { settle, ..self }
    }
}
