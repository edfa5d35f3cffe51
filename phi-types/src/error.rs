//! Errors that a caller can act on, as facts that a log can hold.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Says how one attempt to call a model failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{kind}: {message}")]
pub struct ProviderError {
    /// What the caller can do about it.
    pub kind: ProviderErrorKind,
    /// What went wrong and where, for a person. It holds no credential.
    pub message: String,
    /// The HTTP status, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long the provider asked to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ProviderError {
    /// Makes an error of a kind and a message.
    #[must_use]
    pub fn new(kind: ProviderErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            status: None,
            retry_after_ms: None,
        }
    }

    /// Adds the HTTP status.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }

    /// Adds how long the provider asked to wait.
    #[must_use]
    pub fn with_retry_after(self, wait: Duration) -> Self {
        let retry_after_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        Self {
            retry_after_ms,
            ..self
        }
    }

    /// Says whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }
}

/// What the caller can do about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderErrorKind {
    /// Too many requests or tokens: wait as told, then send again.
    RateLimited,
    /// The service has no capacity now: wait, then send again or fall back.
    Overloaded,
    /// The service failed: send again.
    Server,
    /// The connection failed: send again.
    Network,
    /// Nothing came for too long: send again.
    Timeout,
    /// The stream ended before its finish reason: send again.
    Incomplete,
    /// The credential is missing, wrong or not allowed.
    Auth,
    /// The account has no money or no quota left.
    Billing,
    /// The request is wrong.
    InvalidRequest,
    /// The prompt does not fit the model's window: compact, then send again.
    ContextOverflow,
    /// A filter refused the prompt.
    ContentFilter,
    /// The call was cancelled.
    Cancelled,
    /// The service said something that its protocol does not allow.
    Protocol,
}

impl ProviderErrorKind {
    /// Says whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::RateLimited
            | Self::Overloaded
            | Self::Server
            | Self::Network
            | Self::Timeout
            | Self::Incomplete => true,
            Self::Auth
            | Self::Billing
            | Self::InvalidRequest
            | Self::ContextOverflow
            | Self::ContentFilter
            | Self::Cancelled
            | Self::Protocol => false,
        }
    }

    /// Returns the name that logs and the command line use, as `rate_limited`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Server => "server",
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::Incomplete => "incomplete",
            Self::Auth => "auth",
            Self::Billing => "billing",
            Self::InvalidRequest => "invalid_request",
            Self::ContextOverflow => "context_overflow",
            Self::ContentFilter => "content_filter",
            Self::Cancelled => "cancelled",
            Self::Protocol => "protocol",
        }
    }
}

impl std::fmt::Display for ProviderErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Says that a journal did not take a batch: nothing of it may be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct JournalError {
    /// What went wrong and what would help.
    pub message: String,
}

impl JournalError {
    /// Makes an error from anything that says what went wrong.
    #[must_use]
    pub fn new(message: impl std::fmt::Display) -> Self {
        Self {
            message: message.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_kind_is_the_same_in_json_and_in_text() {
        use ProviderErrorKind as K;
        for kind in [
            K::RateLimited,
            K::Overloaded,
            K::InvalidRequest,
            K::ContextOverflow,
        ] {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
    }
}
