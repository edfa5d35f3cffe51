//! What is said of a model that goes round in circles.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The model goes round in circles: the same calls, and the same results wherever they are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopStuck {
    /// The tool of the newest call.
    pub tool: Arc<str>,
    /// How often in a row the cycle was seen.
    pub times: u32,
    /// After how many turns, or calls of one answer, it begins anew: 1 for one call, or one turn's
    /// calls, over and over.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub period: u32,
}

fn one() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_one(number: &u32) -> bool {
    *number == 1
}
