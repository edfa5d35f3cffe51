//! When a conversation that nobody goes on with gives way to a new session.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use phi_types::SessionId;

use crate::error::StoreError;
use crate::store::Store;
use crate::summary::{SessionFilter, SessionSummary, Status};

/// A policy of the caller: a session that had no event for so long gives way to a new one.
///
/// phi never begins a session on its own: the caller asks [`Inactivity::current`] and names the new
/// session where there is none that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inactivity {
    /// For how long a session may be without an event.
    pub max: Duration,
}

impl Inactivity {
    /// Says whether a session gives way to a new one: its newest event is longer ago than the policy
    /// allows. One with a loop that has not ended never does, because that loop runs or waits for its
    /// resume.
    #[must_use]
    pub fn is_due(&self, summary: &SessionSummary, now: DateTime<Utc>) -> bool {
        let max = TimeDelta::from_std(self.max).unwrap_or(TimeDelta::MAX);
        let idle = summary.updated_at.map(|at| now.signed_duration_since(at));
        summary.status != Status::Running && idle.is_some_and(|idle| idle > max)
    }

    /// Finds the session that goes on: of those that the filter accepts, that did not end on purpose
    /// and that do not give way, the one with the newest event. `None`: begin a new one.
    ///
    /// Sessions that cannot be read are passed over.
    ///
    /// # Errors
    /// Those of [`Store::list`].
    pub async fn current(
        &self,
        store: &dyn Store,
        filter: &SessionFilter,
        now: DateTime<Utc>,
    ) -> Result<Option<SessionId>, StoreError> {
        let listed = store.list(filter).await?;
        let summaries = listed.into_iter().filter_map(|it| it.summary.ok());
        let goes_on = summaries.filter(|it| it.ended_at.is_none() && !self.is_due(it, now));
        Ok(goes_on.max_by_key(|it| it.updated_at).map(|it| it.id))
    }
}
