//! Providers for phi: pure wires, and what carries them.
//!
//! A [`Wire`] is a codec for one protocol: it encodes a request, and its [`Decoder`] makes deltas of
//! the bytes that come back, streamed or whole, answer or error. It opens no connection, reads no
//! clock and holds no credential. What it sends is what [`translate()`] makes of the conversation for
//! whoever reads it, with a report of what was lost.
//!
//! With no feature the crate is the ports and the pure machinery. Each protocol is a feature that
//! adds its wire: `anthropic`, `bedrock`, `cohere`, `gemini`, `ollama`, `openai-chat`,
//! `openai-responses` and `vertex`. `transport` adds the provider over HTTP for a transport of your
//! own, `http` a transport on reqwest, `models` what is known of models and a registry of providers,
//! `tiktoken` an exact counter of tokens, `structured-output` the reader of answers in a form, `credential-command` secrets that a program
//! prints, and `contract` what every wire must keep.
//!
//! ```
//! # #[cfg(feature = "anthropic")] {
//! use phi_provider::{AnthropicMessages, ResponseHead, Wire};
//! use phi_types::Delta;
//!
//! let body = concat!(
//!     r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
//!     "\n\n",
//!     r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
//!     "\n\n",
//! );
//! let mut decoder = AnthropicMessages::new().decoder(&ResponseHead::new(200));
//! let mut deltas = Vec::new();
//! decoder.push(body.as_bytes(), &mut deltas)?;
//! decoder.end(&mut deltas)?;
//! assert_eq!(deltas[0], Delta::text(0, "Hi"));
//! # }
//! # Ok::<(), phi_types::ProviderError>(())
//! ```

#![cfg_attr(
    not(all(
        feature = "anthropic",
        feature = "bedrock",
        feature = "cohere",
        feature = "gemini",
        feature = "ollama",
        feature = "openai-chat",
        feature = "openai-responses"
    )),
    expect(dead_code, reason = "some wires use only a part of what all share")
)]

#[cfg(feature = "anthropic")]
mod anthropic;
#[cfg(feature = "bedrock")]
mod aws_event_stream;
#[cfg(any(feature = "openai-chat", feature = "openai-responses"))]
mod azure;
#[cfg(feature = "bedrock")]
mod bedrock;
#[cfg(feature = "wires")]
mod body;
#[cfg(feature = "transport")]
mod cassette;
#[cfg(feature = "wires")]
mod classify;
#[cfg(any(feature = "anthropic", feature = "bedrock"))]
mod claude;
#[cfg(feature = "cohere")]
mod cohere;
#[cfg(feature = "contract")]
pub mod contract;
mod credential;
#[cfg(feature = "wires")]
mod error_body;
#[cfg(any(feature = "cohere", feature = "ollama", feature = "openai-chat"))]
mod function_tool;
#[cfg(feature = "gemini")]
pub mod gemini;
#[cfg(feature = "transport")]
mod http_call;
#[cfg(feature = "credential-command")]
mod http_command;
#[cfg(feature = "transport")]
mod http_credential;
#[cfg(feature = "transport")]
mod http_keep_alive;
#[cfg(feature = "transport")]
mod http_losses;
#[cfg(feature = "transport")]
mod http_provider;
#[cfg(feature = "transport")]
mod http_reading;
#[cfg(feature = "transport")]
mod http_refresh;
#[cfg(feature = "transport")]
mod http_scrub;
#[cfg(feature = "transport")]
mod http_timeouts;
#[cfg(feature = "http")]
mod http_transport;
#[cfg(feature = "gemini")]
mod json_items;
#[cfg(any(
    feature = "bedrock",
    feature = "cohere",
    feature = "gemini",
    feature = "ollama",
    feature = "openai-chat",
    feature = "openai-responses"
))]
mod lenient;
#[cfg(feature = "transport")]
mod limited;
mod limits;
#[cfg(feature = "transport")]
mod mask;
#[cfg(feature = "models")]
pub mod models;
#[cfg(feature = "wires")]
mod object;
#[cfg(feature = "ollama")]
mod ollama;
#[cfg(feature = "openai-chat")]
pub mod openai_chat;
#[cfg(feature = "openai-responses")]
pub mod openai_responses;
#[cfg(any(
    feature = "bedrock",
    feature = "gemini",
    feature = "openai-chat",
    feature = "openai-responses",
    feature = "transport"
))]
mod percent;
#[cfg(feature = "models")]
pub mod registry;
#[cfg(feature = "wires")]
mod request_body;
#[cfg(feature = "wires")]
mod retry_after;
#[cfg(feature = "wires")]
mod rope;
#[cfg(all(feature = "models", feature = "transport"))]
mod services;
mod sse;
pub mod structured;
mod surrogates;
#[cfg(feature = "tiktoken")]
mod tiktoken;
mod tool_ids;
pub mod translate;
#[cfg(feature = "transport")]
mod transport;
#[cfg(feature = "vertex")]
pub mod vertex;
#[cfg(feature = "wires")]
mod view_writer;
mod wire;
#[cfg(feature = "transport")]
mod wire_sink;

#[cfg(feature = "anthropic")]
pub use anthropic::{AnswerForm, AnthropicMessages, CacheBreakpoints, UnsignedThinking};
#[cfg(any(feature = "openai-chat", feature = "openai-responses"))]
pub use azure::Azure;
#[cfg(feature = "bedrock")]
pub use bedrock::{BedrockConverse, CachePoints, ModelFamily, StructuredOutput};
#[cfg(feature = "transport")]
pub use cassette::{Cassette, CassetteError};
#[cfg(feature = "wires")]
pub use classify::{classify, classify_reported};
#[cfg(feature = "cohere")]
pub use cohere::{CohereChat, ToolSchemas};
pub use credential::{AwsKeys, CredentialError, Secret, SecretHeader};
#[cfg(feature = "gemini")]
pub use gemini::Gemini;
#[cfg(feature = "credential-command")]
pub use http_command::SecretCommand;
#[cfg(feature = "transport")]
pub use http_credential::{Credential, CredentialSource, Environment, IssuedSecret, SharedSource};
#[cfg(feature = "transport")]
pub use http_losses::LossDecision;
#[cfg(feature = "transport")]
pub use http_provider::HttpProvider;
#[cfg(feature = "transport")]
pub use http_timeouts::Timeouts;
#[cfg(feature = "http")]
pub use http_transport::{HttpOptions, HttpTransport, Proxies};
#[cfg(feature = "transport")]
pub use limited::{Allowance, Limited};
pub use limits::Limits;
#[cfg(feature = "ollama")]
pub use ollama::OllamaChat;
#[cfg(feature = "openai-chat")]
pub use openai_chat::OpenAiChat;
#[cfg(feature = "openai-responses")]
pub use openai_responses::OpenAiResponses;
pub use sse::{SseDecoder, StreamEvent};
#[cfg(feature = "tiktoken")]
pub use tiktoken::TiktokenCounter;
pub use translate::translate;
#[cfg(feature = "transport")]
pub use transport::{HttpResponse, Transport, TransportError};
#[cfg(feature = "vertex")]
pub use vertex::Vertex;
pub use wire::{Decoder, Delivery, EncodeError, Encoded, HttpRequest, ResponseHead, Wire};
#[cfg(feature = "transport")]
pub use wire_sink::{WireEvent, WireSink};
