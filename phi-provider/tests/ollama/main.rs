//! The facts of Ollama's own protocol, one test for each.
//!
//! That a conversation beyond the window is cut without an error is a fact that no test can show:
//! nothing in the answer tells.
#![cfg(feature = "ollama")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail where the tests do"
)]

mod decoding;
mod encoding;
mod support;

use phi_provider::OllamaChat;

/// The wire of the tests.
fn wire() -> OllamaChat {
    OllamaChat::default()
}
