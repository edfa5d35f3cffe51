//! The port of compaction: how a view is made smaller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use phi_types::{ProviderError, Target, Usage};

use crate::driver::books::estimated;
use crate::driver::ledger::Spending;
use crate::io::{Compact, Compacted};
use crate::machine::dearest;

mod drop_middle;
mod in_order;
mod middle;
mod summarise;
mod truncate;

pub use drop_middle::DropMiddle;
pub use in_order::InOrder;
pub use middle::{Keep, Scope};
pub use summarise::Summarise;
pub use truncate::TruncateResults;

/// Makes a view smaller.
///
/// What it returns changes the view and never the history, so every compaction can be inspected
/// later. The machine checks it: it lies inside the view, parts no call from its result, makes the
/// request smaller and leaves what fits the window; anything else counts as a failure. The
/// strategies here also keep the first task, the last ask and every pinned message word for word.
///
/// | strategy | does | may fail |
/// |---|---|---|
/// | [`TruncateResults`] | keeps head and tail of long tool results, the oldest first | where no result is long |
/// | [`Summarise`] | has a model sum up the middle | with the model |
/// | [`DropMiddle`] | leaves the middle out | where there is none |
/// | [`InOrder`] | one after the other until the budget is kept | where all do |
/// | [`Breaker`] | passes over a strategy that failed several times | while it rests |
///
/// **Cancel safety:** the future is dropped when the loop is cancelled or dropped.
#[async_trait]
pub trait Compactor: Send + Sync {
    /// Makes the view smaller; the usage is what the attempt took.
    ///
    /// # Errors
    /// [`CompactionFailed`]: after an overflow the loop fails with it, before one it goes on.
    async fn compact(&self, compact: &Compact) -> Result<(Compacted, Usage), CompactionFailed>;

    /// Returns the most that an attempt may spend: so much room is reserved in the ledger of the tree
    /// before it begins, and without that room it does not.
    ///
    /// Unless said otherwise, that is one request of the whole view to the first model, with all the
    /// output that it may write. A strategy that asks no model spends nothing.
    fn spends_at_most(&self, compact: &Compact) -> Spending {
        whole_view(compact)
    }
}

/// What a request of the whole view costs at most.
pub(crate) fn whole_view(compact: &Compact) -> Spending {
    let first = compact.surface.models.first();
    let output = compact.surface.options.output_tokens_max.unwrap_or(0);
    one_request(compact.tokens_of(&compact.view), output, first)
}

/// What one request costs at most.
fn one_request(prompt_tokens: u64, output_tokens: u64, target: Option<&Target>) -> Spending {
    let price = target.and_then(|target| target.price).map(dearest);
    Spending::of(&estimated(prompt_tokens, output_tokens), price.as_ref())
}

/// Says why a view could not be made smaller.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CompactionFailed {
    /// Everything that may be left out was left out already.
    #[error("nothing can be left out: what is kept word for word is all there is")]
    NothingToLeaveOut,
    /// What must be kept is too much by itself.
    #[error("about {tokens} tokens must be kept, and {most_tokens} fit")]
    CannotFit {
        /// Tokens of the smallest request.
        tokens: u64,
        /// Tokens that would fit.
        most_tokens: u64,
    },
    /// The model that sums up failed, or said nothing of use.
    #[error("the summary failed, {}", .0.error)]
    Model(Box<SummaryFailed>),
    /// The strategy failed several times and rests.
    #[error("the strategy rests: it failed {failures} times in a row")]
    Resting {
        /// How often.
        failures: u32,
    },
    /// A strategy of another kind failed.
    #[error("{reason}")]
    Other {
        /// Why.
        reason: String,
    },
}

/// Says how a model failed to sum up.
#[derive(Debug, Clone, PartialEq)]
pub struct SummaryFailed {
    /// How.
    pub error: ProviderError,
    /// What the attempt took.
    pub usage: Usage,
}

impl CompactionFailed {
    /// Returns what the attempt took.
    #[must_use]
    pub fn usage(&self) -> Usage {
        match self {
            Self::Model(failed) => failed.usage,
            Self::NothingToLeaveOut
            | Self::CannotFit { .. }
            | Self::Resting { .. }
            | Self::Other { .. } => Usage::default(),
        }
    }
}

#[async_trait]
impl Compactor for Arc<dyn Compactor> {
    async fn compact(&self, compact: &Compact) -> Result<(Compacted, Usage), CompactionFailed> {
        (**self).compact(compact).await
    }

    fn spends_at_most(&self, compact: &Compact) -> Spending {
        (**self).spends_at_most(compact)
    }
}

/// Passes over a strategy that failed several times in a row, and tries it again after a while.
#[derive(Debug)]
pub struct Breaker<C> {
    inner: C,
    failures_max: u32,
    /// Failures in a row; beyond the limit, the calls that were passed over count too.
    failures: AtomicU32,
}

/// How many calls a strategy rests that failed too often.
const REST_CALLS: u32 = 8;

impl<C> Breaker<C> {
    /// Wraps a strategy, which rests for eight calls after so many failures in a row.
    #[must_use]
    pub fn new(inner: C, failures_max: u32) -> Self {
        Self {
            inner,
            failures_max: failures_max.max(1),
            failures: AtomicU32::new(0),
        }
    }

    fn rests(&self) -> bool {
        let failures = self.failures.load(Ordering::Relaxed);
        let rested = failures.saturating_sub(self.failures_max);
        failures >= self.failures_max && rested < REST_CALLS
    }
}

#[async_trait]
impl<C: Compactor> Compactor for Breaker<C> {
    async fn compact(&self, compact: &Compact) -> Result<(Compacted, Usage), CompactionFailed> {
        let failures = self.failures.load(Ordering::Relaxed);
        if self.rests() {
            self.failures.fetch_add(1, Ordering::Relaxed);
            let failures = self.failures_max;
            return Err(CompactionFailed::Resting { failures });
        }
        let done = self.inner.compact(compact).await;
        let failures = match &done {
            Ok(_) => 0,
            // One try after the rest: it rests again if that fails.
            Err(_) => failures.saturating_add(1).min(self.failures_max),
        };
        self.failures.store(failures, Ordering::Relaxed);
        done
    }

    fn spends_at_most(&self, compact: &Compact) -> Spending {
        match self.rests() {
            true => Spending::default(),
            false => self.inner.spends_at_most(compact),
        }
    }
}
