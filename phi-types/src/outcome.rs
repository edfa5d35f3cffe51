//! How a loop ended.

use serde::{Deserialize, Serialize};

use crate::error::{JournalError, ProviderError};

/// How a loop ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Outcome {
    /// The model gave its answer; or the loop was there to change the context, and has.
    Completed {},
    /// A hook refused the input.
    Rejected {
        /// Why.
        reason: String,
    },
    /// Somebody cancelled it.
    Cancelled {},
    /// It cannot go on.
    Failed {
        /// Why.
        error: LoopError,
    },
    /// A limit was reached.
    LimitReached {
        /// Which.
        limit: LimitKind,
    },
    /// It was stopped before its end, or the process ended and nobody resumed it.
    Aborted {
        /// Why.
        reason: String,
    },
}

/// Why a loop cannot go on.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LoopError {
    /// The model could not be called, by any target and attempt.
    #[error("the model call failed, {error}")]
    Provider {
        /// The last failure.
        error: ProviderError,
    },
    /// The model stopped for a reason that is no answer.
    #[error("the model stopped without an answer: {reason}")]
    Stopped {
        /// The provider's own word.
        reason: String,
    },
    /// The journal did not take an event.
    #[error("the journal failed, {error}")]
    Journal {
        /// Why.
        error: JournalError,
    },
    /// A hook that decides failed; such a hook fails closed.
    #[error("a hook failed: {reason}")]
    Hook {
        /// Why.
        reason: String,
    },
    /// The view does not fit the window and could not be made smaller.
    #[error("the conversation does not fit the model's window: {reason}")]
    Overflow {
        /// Why it could not be made smaller.
        reason: String,
    },
}

/// A limit of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// [`crate::Limits::turns`].
    Turns,
    /// [`crate::Limits::tokens`].
    Tokens,
    /// [`crate::Limits::cost_usd`].
    Cost,
    /// [`crate::Limits::wall_time_ms`].
    WallTime,
    /// [`crate::Limits::tool_calls`].
    ToolCalls,
    /// [`crate::Limits::identical_calls`].
    IdenticalCalls,
    /// The output limit of one model call cut the answer off.
    OutputTokens,
    /// The model's window was full before the answer was complete.
    ContextWindow,
    /// Sub-agents that a tree of agents may spawn.
    Agents,
    /// Sub-agents that a tree of agents may run at once.
    AgentsAtOnce,
    /// How deep sub-agents may spawn sub-agents.
    Depth,
}

impl LimitKind {
    /// Names the limit for a person.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Turns => "turns",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
            Self::WallTime => "wall time",
            Self::ToolCalls => "tool calls",
            Self::IdenticalCalls => "identical calls in a row",
            Self::OutputTokens => "output tokens of one answer",
            Self::ContextWindow => "context window",
            Self::Agents => "sub-agents",
            Self::AgentsAtOnce => "sub-agents at once",
            Self::Depth => "depth of sub-agents",
        }
    }
}
