//! The facts of Cohere Chat, version 2, one test for each.
#![cfg(feature = "cohere")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "helpers of tests fail where the tests do"
)]

mod decoding;
mod encoding;
#[path = "../ollama/support.rs"]
mod support;

use phi_provider::CohereChat;

/// The wire of the tests.
fn wire() -> CohereChat {
    CohereChat::new()
}
