//! Limits that a loop shares with others, and what it is told of them.

use chrono::{DateTime, Utc};
use phi_types::{EventKind, LimitKind, LimitReached, LimitScope, LimitWarning};

use super::Machine;
use crate::io::Rejected;
use crate::state::{Phase, State};

impl Machine {
    /// A warning is written once; what repeats it says nothing new.
    pub(super) fn on_limit_near(
        &mut self,
        now: DateTime<Utc>,
        limit: LimitKind,
    ) -> Result<(), Rejected> {
        if matches!(self.state.phase, Phase::New) {
            return Err(self.not_now("has not begun"));
        }
        if !self.state.counts.shared.warned.contains(&limit) {
            let scope = LimitScope::Tree;
            let warning = LimitWarning { limit, scope };
            self.emit(now, EventKind::LimitWarning(warning));
        }
        Ok(())
    }
}

impl State {
    /// Says that a limit which the loop shares forbids a call.
    pub(crate) fn reached(limit: LimitKind, index: Option<u32>) -> EventKind {
        EventKind::LimitReached(LimitReached { limit, index })
    }
}
