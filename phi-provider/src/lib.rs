//! Providers for phi: pure wires, and what carries them.

#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod body;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod classify;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod error_body;
mod limits;
#[cfg(feature = "openai-chat")]
pub mod openai_chat;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod retry_after;
mod sse;
mod wire;

pub use limits::Limits;
pub use sse::{SseDecoder, SseEvent};
pub use wire::{AuthHeader, Decoder, Delivery, EncodeError, HttpRequest, ResponseHead, Wire};
