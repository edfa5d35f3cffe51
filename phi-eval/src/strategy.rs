//! The port of judges: which branch wins.

use async_trait::async_trait;
use phi_loop::Finished;
use phi_types::Usage;

/// A branch that may be chosen: it completed.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The place of the branch among the branches of the evaluation, from 0.
    pub branch: usize,
    /// What it came to.
    pub finished: &'a Finished,
}

/// Chooses among the branches that completed.
///
/// What did not complete is never a candidate. A choice is the place of the winner in the list of
/// candidates; one that lies outside of it is refused as [`crate::ChoiceError::OutOfRange`]. A
/// strategy that panics chooses nothing.
#[async_trait]
pub trait EvaluationStrategy: Send + Sync {
    /// Names the strategy in the log. The same for the life of the value.
    fn name(&self) -> &str;

    /// Says whether the choice stands already, though branches still run: they are cancelled then.
    /// It is asked each time a branch completes; the candidates stand in the order of their ends.
    /// The default waits for all.
    fn choose_early(&self, candidates: &[Candidate<'_>]) -> Option<usize> {
        let _unread = candidates;
        None
    }

    /// Chooses when all branches have ended. There is at least one candidate; they stand in the
    /// order of their ends.
    ///
    /// **Cancel safety:** the future is dropped when the evaluation is.
    ///
    /// # Errors
    /// [`StrategyError`] if it cannot choose; the branches come back all the same.
    async fn choose(&self, candidates: &[Candidate<'_>]) -> Result<usize, StrategyError>;

    /// Chooses like [`EvaluationStrategy::choose`], and says how it rated the candidates; this is what
    /// an evaluation asks. The default chooses and rates nothing.
    ///
    /// **Cancel safety:** the future is dropped when the evaluation is.
    ///
    /// # Errors
    /// Those of [`EvaluationStrategy::choose`].
    async fn rate(&self, candidates: &[Candidate<'_>]) -> Result<Rating, StrategyError> {
        let choice = self.choose(candidates).await?;
        Ok(Rating {
            choice,
            scores: Vec::new(),
            usage: None,
        })
    }
}

/// A choice and the reasons for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rating {
    /// The place of the winner in the list of candidates.
    pub choice: usize,
    /// The score of each candidate in the order of the list, higher is better; empty where the
    /// strategy rates nothing.
    pub scores: Vec<f64>,
    /// Tokens that the choice took; `None` is not reported.
    pub usage: Option<Usage>,
}

/// Says why a strategy cannot choose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StrategyError(pub String);

/// Takes the branch that completes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct First;

#[async_trait]
impl EvaluationStrategy for First {
    fn name(&self) -> &'static str {
        "first"
    }

    fn choose_early(&self, candidates: &[Candidate<'_>]) -> Option<usize> {
        (!candidates.is_empty()).then_some(0)
    }

    async fn choose(&self, _candidates: &[Candidate<'_>]) -> Result<usize, StrategyError> {
        Ok(0)
    }
}
