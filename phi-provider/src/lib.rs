//! Providers for phi: pure wires, and what carries them.

#[cfg(feature = "anthropic")]
mod anthropic;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod body;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod classify;
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod error_body;
#[cfg(feature = "transport")]
mod http_call;
#[cfg(feature = "transport")]
mod http_credential;
#[cfg(feature = "transport")]
mod http_keep_alive;
#[cfg(feature = "transport")]
mod http_provider;
#[cfg(feature = "transport")]
mod http_timeouts;
#[cfg(feature = "http")]
mod http_transport;
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
#[cfg(any(feature = "anthropic", feature = "openai-chat"))]
mod tool_ids;
#[cfg(feature = "transport")]
mod transport;
mod wire;

#[cfg(feature = "anthropic")]
pub use anthropic::{AnthropicMessages, CacheBreakpoints, UnsignedThinking};
#[cfg(feature = "transport")]
pub use http_credential::{Credential, CredentialError};
#[cfg(feature = "transport")]
pub use http_provider::HttpProvider;
#[cfg(feature = "transport")]
pub use http_timeouts::Timeouts;
#[cfg(feature = "http")]
pub use http_transport::{HttpOptions, HttpTransport, Proxies};
pub use limits::Limits;
pub use sse::{SseDecoder, SseEvent};
#[cfg(feature = "transport")]
pub use transport::{HttpResponse, SecretHeader, Transport, TransportError};
pub use wire::{AuthHeader, Decoder, Delivery, EncodeError, HttpRequest, ResponseHead, Wire};
