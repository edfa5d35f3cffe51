//! Which limit a loop has reached, or is near.

use phi_types::{LimitKind, Limits};

use crate::state::{Repeated, State};

impl State {
    /// Returns the limit that forbids another turn.
    pub(crate) fn limit_reached(&self) -> Option<LimitKind> {
        if self.counts.stuck {
            return Some(LimitKind::IdenticalCalls);
        }
        if self.counts.shared.reached.is_some() {
            return self.counts.shared.reached;
        }
        self.shares()
            .find(|(_, used, limit)| used >= limit)
            .map(|(kind, ..)| kind)
    }

    /// Returns a limit of which four fifths are used and of which nobody was warned.
    pub(crate) fn limit_near(&self) -> Option<LimitKind> {
        let mut near = self
            .shares()
            .filter(|(_, used, limit)| used * 5.0 >= limit * 4.0);
        near.find(|(kind, ..)| !self.counts.warned.contains(kind))
            .map(|(kind, ..)| kind)
    }

    /// Says whether no further tool call may start.
    pub(crate) fn tool_calls_used_up(&self) -> bool {
        if self.counts.shared.reached.is_some() {
            return true;
        }
        self.configuration
            .limits
            .tool_calls
            .is_some_and(|limit| self.counts.tool_calls >= limit)
    }

    /// Returns the cycle that the newest answer closed, once that is too often.
    pub(crate) fn repeated_too_often(&self) -> Option<&Repeated> {
        let limit = self.configuration.limits.identical_calls?;
        let repeated = self.counts.repeats.newest()?;
        (!self.counts.stuck && repeated.times > limit).then_some(repeated)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn shares(&self) -> impl Iterator<Item = (LimitKind, f64, f64)> {
        let Limits {
            turns,
            tokens,
            cost_usd,
            tool_calls,
            ..
        } = self.configuration.limits;
        let used_tokens = self.transcript.usage().total_tokens();
        [
            turns.map(|limit| {
                (
                    LimitKind::Turns,
                    f64::from(self.counts.turns),
                    f64::from(limit),
                )
            }),
            tokens.map(|limit| (LimitKind::Tokens, used_tokens as f64, limit as f64)),
            cost_usd.map(|limit| (LimitKind::Cost, self.counts.cost_usd, limit)),
            tool_calls.map(|limit| {
                (
                    LimitKind::ToolCalls,
                    f64::from(self.counts.tool_calls),
                    f64::from(limit),
                )
            }),
        ]
        .into_iter()
        .flatten()
    }
}
