//! What the next call of a loop may take from a budget that it shares.

use phi_types::{LimitKind, ModelPatch, Price, Sent, Usage};

use super::Machine;
use crate::io::Compact;
use crate::state::Phase;

/// What a model call takes, by estimate: its prompt, and all the output that it may write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimate {
    pub(crate) usage: Usage,
    /// The dearest rates at which the prompt may be billed.
    pub(crate) price: Option<Price>,
    /// Whether the loop only wraps up.
    pub(crate) is_grace: bool,
}

impl Machine {
    /// Says which limits of its tree the loop was warned of.
    pub(crate) fn is_warned_of(&self, limit: LimitKind) -> bool {
        self.state.counts.shared.warned.contains(&limit)
    }

    /// Returns what a compaction would work on that began now.
    pub(crate) fn next_compaction(&self) -> Compact {
        self.compact(0)
    }

    /// Estimates the model call that comes next, changed by this patch.
    pub(crate) fn estimate(&self, patch: &ModelPatch) -> Option<Estimate> {
        let Phase::Calling(calling) = &self.state.phase else {
            return None;
        };
        let transcript = &self.state.transcript;
        let next = transcript.next_request(self.state.target_of(calling.attempts), patch);
        let prompt = transcript.calibration().tokens(next.estimated_tokens());
        let usage = Usage {
            input_tokens: Some(prompt),
            output_tokens: next.surface().options.output_tokens_max,
            ..Usage::default()
        };
        let price = Sent::target(&next).and_then(|target| target.price);
        Some(Estimate {
            usage,
            price: price.map(dearest),
            is_grace: self.state.counts.grace.is_some(),
        })
    }
}

/// The dearest rates at which a prompt may be billed.
pub(crate) fn dearest(price: Price) -> Price {
    Price {
        input_usd: price.input_usd.max(price.cache_write_usd),
        ..price
    }
}
