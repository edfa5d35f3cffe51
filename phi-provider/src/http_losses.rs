//! Whether a request is sent although its translation lost something.

use phi_types::{ProviderError, ProviderErrorKind};

use crate::translate::Loss;

/// How many losses an error names.
const NAMED_MAX: usize = 5;

/// Whether a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossDecision {
    /// It is sent.
    Send,
    /// It is not sent: the call fails with what would be lost.
    Refuse,
}

/// Decides about the losses of a request, of which there may be none.
pub(crate) type LossPolicy = dyn Fn(&[Loss]) -> LossDecision + Send + Sync;

/// Names the losses for which a request was not sent.
pub(crate) fn refused(losses: &[Loss]) -> ProviderError {
    let named = losses.iter().take(NAMED_MAX).map(ToString::to_string);
    let mut named = named.collect::<Vec<_>>().join("; ");
    let more = losses.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        named.push_str(&format!("; and {more} more"));
    }
    let message = format!(
        "the model would not see the conversation as it was, and the policy for losses does not \
         allow that: {named}"
    );
    ProviderError::new(ProviderErrorKind::InvalidRequest, message)
}
