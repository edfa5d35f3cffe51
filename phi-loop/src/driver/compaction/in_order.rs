//! Several strategies, one after the other.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use phi_types::{History, Provider, PrunedResult, Usage};

use super::{Breaker, CompactionFailed, Compactor, DropMiddle, Scope, Summarise, TruncateResults};
use crate::driver::ledger::Spending;
use crate::io::{Compact, Compacted};

/// Tries strategies in order until the budget is kept; the smallest outcome counts. Shortened results
/// add up; of the blocks that stand for entries, one is taken. A strategy that fails is passed over.
#[derive(Clone)]
pub struct InOrder {
    strategies: Arc<[Arc<dyn Compactor>]>,
}

impl InOrder {
    /// Makes the strategy of several.
    #[must_use]
    pub fn new(strategies: Vec<Arc<dyn Compactor>>) -> Self {
        Self {
            strategies: strategies.into(),
        }
    }

    /// Makes the usual order: long results are cut, then a model sums up the middle, unless it failed
    /// three times in a row, then the middle is left out.
    #[must_use]
    pub fn usual(provider: Arc<dyn Provider>, model: &str, scope: Scope) -> Self {
        let summarise = Summarise::new(provider, model, scope.clone());
        Self::new(vec![
            Arc::new(TruncateResults::default()),
            Arc::new(Breaker::new(summarise, 3)),
            Arc::new(DropMiddle::new(scope)),
        ])
    }
}

#[async_trait]
impl Compactor for InOrder {
    async fn compact(&self, compact: &Compact) -> Result<(Compacted, Usage), CompactionFailed> {
        let (mut now, mut usage) = (compact.clone(), Usage::default());
        let mut failed = CompactionFailed::NothingToLeaveOut;
        let mut best: Option<(Compacted, History, u64)> = None;
        let mut pruned = Vec::new();
        for strategy in self.strategies.iter() {
            let done = match strategy.compact(&now).await {
                Ok((done, used)) => {
                    usage.add(&used);
                    done
                }
                Err(error) => {
                    usage.add(&error.usage());
                    failed = error;
                    continue;
                }
            };
            let Ok(view) = now.view.overlaid(&done.pruned, done.block.as_ref()) else {
                continue;
            };
            merge(&mut pruned, &done.pruned);
            let tokens = compact.counting.view(&view);
            if best.as_ref().is_none_or(|(_, _, best)| tokens < *best) {
                let compacted = Compacted {
                    pruned: pruned.clone(),
                    block: done.block.clone(),
                    counted: None,
                };
                best = Some((compacted, view.clone(), tokens));
            }
            if now.tokens_of(&view) <= compact.budget_tokens {
                break;
            }
            // A block moves what comes after it, so the next strategy starts without it.
            if done.block.is_none() {
                now.view = view;
            } else if let Ok(view) = now.view.overlaid(&done.pruned, None) {
                now.view = view;
            }
        }
        match best {
            Some((compacted, view, _)) if compact.fits(&view) => Ok((outside(compacted), usage)),
            Some((_, view, _)) => Err(CompactionFailed::CannotFit {
                tokens: compact.tokens_of(&view),
                most_tokens: compact.window_tokens.unwrap_or(compact.budget_tokens),
            }),
            None => Err(with_usage(failed, usage)),
        }
    }

    fn spends_at_most(&self, compact: &Compact) -> Spending {
        let mut most = Spending::default();
        for strategy in self.strategies.iter() {
            most.add(&strategy.spends_at_most(compact));
        }
        most
    }
}

/// A later cut of the same result counts.
fn merge(pruned: &mut Vec<PrunedResult>, later: &[PrunedResult]) {
    for new in later {
        pruned.retain(|old| (old.entry, old.index) != (new.entry, new.index));
        pruned.push(new.clone());
    }
}

/// What lies inside the block is gone with it.
fn outside(mut compacted: Compacted) -> Compacted {
    if let Some(block) = &compacted.block {
        let end = block.first.saturating_add(block.count);
        let is_inside = |result: &PrunedResult| (block.first..end).contains(&result.entry);
        compacted.pruned.retain(|result| !is_inside(result));
    }
    compacted
}

/// The failure that is reported carries what all attempts took.
fn with_usage(failed: CompactionFailed, sum: Usage) -> CompactionFailed {
    match failed {
        CompactionFailed::Model(mut failed) => {
            failed.usage = sum;
            CompactionFailed::Model(failed)
        }
        other @ (CompactionFailed::NothingToLeaveOut
        | CompactionFailed::CannotFit { .. }
        | CompactionFailed::Resting { .. }
        | CompactionFailed::Other { .. }) => other,
    }
}

impl fmt::Debug for InOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InOrder")
            .field("strategies", &self.strategies.len())
            .finish()
    }
}
