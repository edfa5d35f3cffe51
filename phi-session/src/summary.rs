//! What a list of sessions shows, and how it is narrowed down.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{Outcome, SessionId, SpawnedBy, Usage};
use serde::{Deserialize, Serialize};

/// Where a session or a loop stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// No loop has begun.
    Open,
    /// A loop has begun and not ended; its process may have.
    Running,
    /// The model gave its answer.
    Completed,
    /// A hook refused the input.
    Rejected,
    /// Somebody cancelled it.
    Cancelled,
    /// It could not go on.
    Failed,
    /// A limit was reached.
    LimitReached,
    /// It was stopped before its end, or its process ended and nobody resumed it.
    Aborted,
}

impl Status {
    /// Returns the status that an outcome leads to.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Completed {} => Self::Completed,
            Outcome::Rejected { .. } => Self::Rejected,
            Outcome::Cancelled {} => Self::Cancelled,
            Outcome::Failed { .. } => Self::Failed,
            Outcome::LimitReached { .. } => Self::LimitReached,
            Outcome::Aborted { .. } => Self::Aborted,
        }
    }

    /// Names the status for a person.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::LimitReached => "limit reached",
            Self::Aborted => "aborted",
        }
    }
}

/// What a list of sessions shows of one; as JSON it is a line of `phi sessions list --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionSummary {
    // Wide: a line of a list, and no two of its facts belong closer together.
    /// The session.
    pub id: SessionId,
    /// The time of its first event.
    pub created_at: Option<DateTime<Utc>>,
    /// The time of its newest event.
    pub updated_at: Option<DateTime<Utc>>,
    /// How many loops it has.
    pub loops: u64,
    /// How many turns its loops have.
    pub turns: u64,
    /// Where it stands.
    pub status: Status,
    /// The tokens of all its loops.
    pub usage: Usage,
    /// The agent that it belongs to; not part of the JSON.
    #[serde(skip)]
    pub agent: Option<Arc<str>>,
    /// The call that spawned it, where it is a sub-agent's; not part of the JSON.
    #[serde(skip)]
    pub spawned_by: Option<SpawnedBy>,
    /// When it ended on purpose; not part of the JSON.
    #[serde(skip)]
    pub ended_at: Option<DateTime<Utc>>,
}

/// Which sessions a list holds; the default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Only sessions of this agent.
    pub agent: Option<Arc<str>>,
    /// Only sessions that calls of this session have spawned.
    pub spawned_by: Option<SessionId>,
    /// Only sessions with this status.
    pub status: Option<Status>,
    /// Only sessions whose newest event is at this time or later.
    pub updated_since: Option<DateTime<Utc>>,
    /// Only sessions whose newest event is before this time.
    pub updated_before: Option<DateTime<Utc>>,
    /// Only sessions whose id comes after this one: the last id of the page before.
    pub after: Option<SessionId>,
    /// At most this many sessions; `None` is no limit.
    pub max: Option<usize>,
}

impl SessionFilter {
    /// Says whether a session belongs into the list, pages aside.
    #[must_use]
    pub fn accepts(&self, summary: &SessionSummary) -> bool {
        self.agent
            .as_ref()
            .is_none_or(|agent| summary.agent.as_ref() == Some(agent))
            && self.spawned_by.as_ref().is_none_or(|parent| {
                let spawned = summary.spawned_by.as_ref();
                spawned.is_some_and(|spawned| spawned.session == *parent)
            })
            && self.status.is_none_or(|status| summary.status == status)
            && self
                .updated_since
                .is_none_or(|since| summary.updated_at >= Some(since))
            && self
                .updated_before
                .is_none_or(|end| summary.updated_at.is_some_and(|at| at < end))
    }
}
