//! Both wires on recorded traffic: the laws that every recorded turn keeps.
//!
//! `cases` reads the recordings, `laws` holds what must be true of every turn, `pairs` compares the
//! requests, and the files of a protocol say how its recordings are read and which differences are
//! accepted, and why.
#![cfg(any(
    feature = "anthropic",
    feature = "bedrock",
    feature = "cohere",
    feature = "gemini",
    feature = "ollama",
    feature = "openai-chat",
    feature = "openai-responses"
))]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail where the tests do"
)]
#![expect(clippy::print_stdout, reason = "the tests say how much they compared")]

#[cfg(feature = "anthropic")]
mod anthropic;
#[cfg(feature = "anthropic")]
mod anthropic_requests;
#[cfg(feature = "bedrock")]
mod bedrock;
mod cases;
#[cfg(feature = "cohere")]
mod cohere;
mod exceptions;
mod fields;
#[cfg(feature = "bedrock")]
#[path = "../frames/mod.rs"]
mod frames;
#[cfg(feature = "gemini")]
mod gemini;
#[cfg(feature = "gemini")]
mod gemini_requests;
mod laws;
#[cfg(feature = "ollama")]
mod ollama;
#[cfg(feature = "openai-chat")]
mod openai_chat;
#[cfg(feature = "openai-chat")]
mod openai_chat_dialects;
#[cfg(feature = "openai-responses")]
mod openai_responses;
#[cfg(feature = "openai-responses")]
mod openai_responses_requests;
mod pairs;
