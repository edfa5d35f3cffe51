//! What an evaluation came to: every branch, and the choice.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_loop::Finished;
use phi_types::{BranchScore, BranchSelected, Event, EventKind, SessionId, Usage};

use crate::strategy::StrategyError;

/// What an evaluation came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    pub(crate) session: SessionId,
    pub(crate) strategy: String,
    pub(crate) branches: Vec<Finished>,
    pub(crate) winner: Result<Option<usize>, ChoiceError>,
    pub(crate) scores: Vec<BranchScore>,
    /// What the choice took.
    pub(crate) choice_usage: Option<Usage>,
}

/// Says why no branch was chosen although one completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// The strategy chose a candidate that does not exist.
    #[error(
        "the strategy {strategy} chose candidate {choice}, but there are {candidates}: choose below that number"
    )]
    OutOfRange {
        /// The strategy.
        strategy: String,
        /// What it chose, from 0.
        choice: usize,
        /// How many candidates there were.
        candidates: usize,
    },
    /// The strategy could not choose.
    #[error("the strategy {strategy} could not choose, {error}")]
    Failed {
        /// The strategy.
        strategy: String,
        /// Why.
        #[source]
        error: StrategyError,
    },
    /// The strategy panicked.
    #[error("the strategy {strategy} panicked: {reason}")]
    Panicked {
        /// The strategy.
        strategy: String,
        /// What it said.
        reason: String,
    },
}

impl Evaluated {
    /// Returns every branch in the order of the evaluation, the winner included.
    ///
    /// A branch that was cancelled because the choice stood already is here as cancelled, with what
    /// it did until then; one that had not started did nothing. One that could not start is rejected.
    #[must_use]
    pub fn branches(&self) -> &[Finished] {
        &self.branches
    }

    /// Returns the branch that was chosen; `None` if none completed.
    ///
    /// # Errors
    /// [`ChoiceError`] if branches completed and the strategy did not choose one of them.
    pub fn winner(&self) -> Result<Option<&Finished>, ChoiceError> {
        let place = self.place()?;
        Ok(place.and_then(|at| self.branches.get(at)))
    }

    /// Returns the place of the chosen branch in [`Evaluated::branches`].
    ///
    /// # Errors
    /// Those of [`Evaluated::winner`].
    pub fn place(&self) -> Result<Option<usize>, ChoiceError> {
        self.winner.clone()
    }

    /// Returns how the strategy rated the branches that completed, as far as it did.
    #[must_use]
    pub fn scores(&self) -> &[BranchScore] {
        &self.scores
    }

    /// Returns the tokens that the choice took; `None` is not reported.
    #[must_use]
    pub fn choice_usage(&self) -> Option<Usage> {
        self.choice_usage
    }

    /// Returns the tokens of all branches, without those of the choice.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for branch in &self.branches {
            usage.add(&branch.usage);
        }
        usage
    }

    /// Returns the cost of all branches in US dollars, as far as prices are known.
    #[must_use]
    pub fn cost_usd(&self) -> f64 {
        self.branches.iter().map(|branch| branch.cost_usd).sum()
    }

    /// Makes the event that states the choice, for the log of the session. `seq` is its number in
    /// the session's own stream. A choice that failed has no winner.
    #[must_use]
    pub fn event(&self, seq: u64, at: DateTime<Utc>) -> Event {
        let loops = self.branches.iter().map(|it| it.loop_id.clone()).collect();
        let winner = self.winner().ok().flatten();
        let selected = BranchSelected {
            loops,
            winner: winner.map(|it| it.loop_id.clone()),
            strategy: self.strategy.clone(),
            scores: self.scores.clone(),
            usage: self.choice_usage,
        };
        Event {
            session: self.session.clone(),
            loop_id: None,
            seq,
            at,
            kind: EventKind::BranchSelected(Arc::new(selected)),
        }
    }
}
