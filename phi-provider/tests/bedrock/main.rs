//! The Converse protocol of AWS Bedrock, fact by fact.
#![cfg(feature = "bedrock")]
#![expect(clippy::print_stdout, reason = "the tests say what they counted")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail where the tests do"
)]

mod decoding;
mod encoding;
#[path = "../frames/mod.rs"]
mod frames;
mod hostile;
#[cfg(feature = "http")]
mod over_http;
mod signing;
mod support;
