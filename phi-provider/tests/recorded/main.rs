//! Both wires on recorded traffic: the laws that every recorded turn keeps.
//!
//! `cases` reads the recordings, `laws` holds what must be true of every turn, and one file for
//! each protocol says how its recordings are read and which differences are accepted, and why.

#[cfg(feature = "anthropic")]
mod anthropic;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod cases;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod exceptions;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod fields;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod laws;
#[cfg(feature = "openai-chat")]
mod openai_chat;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod pairs;
