//! Leaving the middle of a view out.

use async_trait::async_trait;
use phi_types::Usage;

use super::middle::NOTE;
use super::{CompactionFailed, Compactor, Scope};
use crate::driver::ledger::Spending;
use crate::io::{Compact, Compacted};

/// Leaves the middle out and says so in a line.
#[derive(Debug, Clone, Default)]
pub struct DropMiddle {
    scope: Scope,
}

impl DropMiddle {
    /// Makes the strategy.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self { scope }
    }
}

#[async_trait]
impl Compactor for DropMiddle {
    async fn compact(&self, compact: &Compact) -> Result<(Compacted, Usage), CompactionFailed> {
        let entries = compact.view.entries();
        let note = super::summarise::message_tokens(compact, NOTE);
        let middle = self.scope.middle(compact, &entries, note)?;
        let block = middle.replaced_by(NOTE.to_owned());
        Ok((block.into(), Usage::default()))
    }

    fn spends_at_most(&self, _: &Compact) -> Spending {
        Spending::default()
    }
}
