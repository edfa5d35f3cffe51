//! Providers for phi: pure wires, and what carries them.

#[cfg(feature = "anthropic")]
mod anthropic;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod body;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod classify;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod error_body;
mod limits;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod object;
#[cfg(feature = "openai-chat")]
pub mod openai_chat;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod retry_after;
mod sse;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod surrogates;
#[cfg(feature = "anthropic")]
mod tool_ids;
mod wire;

#[cfg(feature = "anthropic")]
pub use anthropic::{AnthropicMessages, CacheBreakpoints, UnsignedThinking};
pub use limits::Limits;
pub use sse::{SseDecoder, SseEvent};
pub use wire::{AuthHeader, Decoder, Delivery, EncodeError, HttpRequest, ResponseHead, Wire};
