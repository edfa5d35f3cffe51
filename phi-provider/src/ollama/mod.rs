//! The wire of Ollama's own protocol, `/api/chat`.

mod decode;
mod encode;
mod line;
mod messages;

use std::time::SystemTime;

use phi_types::{Identity, Request};

use self::decode::LineReader;
use self::messages::OllamaWriter;
use crate::body::BodyDecoder;
use crate::credential::{CredentialError, KeyHeader, Secret, SecretHeader};
use crate::limits::Limits;
use crate::view_writer::ViewCache;
use crate::wire::{Decoder, Delivery, EncodeError, Encoded, HttpRequest, ResponseHead, Wire};

/// The codec of Ollama's own protocol: `POST /api/chat`, answered by JSON lines.
///
/// It says what Ollama's imitation of OpenAI cannot: the size of the window and whether to think.
/// **A conversation that does not fit the window is cut at its beginning without an error**, and
/// the window is small unless the server or [`OllamaChat::with_num_ctx`] says otherwise; so set it,
/// and keep conversations below it.
///
/// The protocol has no word for a forced tool. [`phi_types::ToolChoice::None`] leaves the tools
/// out. Images travel within the request, those of tool results in a user message after them.
/// `Options::extra` joins the body last; its `options` join those that the wire writes, as in
/// `{"keep_alive": "10m", "options": {"seed": 7}}`.
#[derive(Debug, Clone)]
pub struct OllamaChat {
    provider: String,
    base_url: String,
    delivery: Delivery,
    limits: Limits,
    num_ctx: Option<u64>,
    views: ViewCache<OllamaWriter>,
}

impl Default for OllamaChat {
    fn default() -> Self {
        Self::new("http://localhost:11434")
    }
}

impl OllamaChat {
    /// The name of the protocol.
    pub const PROTOCOL: &'static str = "ollama-chat";

    /// Makes the wire of a server at an address without a path, as `http://localhost:11434` or
    /// `https://ollama.com`.
    #[must_use]
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            provider: "ollama".to_owned(),
            base_url: base_url.into(),
            delivery: Delivery::default(),
            limits: Limits::default(),
            num_ctx: None,
            views: ViewCache::default(),
        }
    }

    /// Names the service, for the origin of messages. Default: `ollama`.
    #[must_use]
    pub fn with_provider(self, provider: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            ..self
        }
    }

    /// Sets the address of the server. Default: `http://localhost:11434`.
    #[must_use]
    pub fn with_base_url(self, base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            ..self
        }
    }

    /// Asks for a stream or for a whole answer. Default: streamed.
    #[must_use]
    pub fn with_delivery(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }

    /// Bounds what a response may hold.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Sets the window of the model in tokens, `options.num_ctx`. Another value than that of the
    /// request before makes the server load the model anew. Default: the server's.
    #[must_use]
    pub fn with_num_ctx(self, tokens: u64) -> Self {
        Self {
            num_ctx: Some(tokens),
            ..self
        }
    }

    fn url(&self) -> String {
        let base = self.base_url.trim_end_matches('/');
        let base = base.strip_suffix("/api").unwrap_or(base);
        format!("{base}/api/chat")
    }
}

impl Wire for OllamaChat {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: Self::PROTOCOL,
            provider: &self.provider,
        }
    }

    fn encode(&self, request: &Request) -> Result<Encoded, EncodeError> {
        let (body, losses) = encode::body(self, request)?;
        let accept = match self.delivery {
            Delivery::Streamed => "application/x-ndjson",
            Delivery::Whole => "application/json",
        };
        let request = HttpRequest {
            method: "POST",
            url: self.url(),
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("accept", accept.to_owned()),
            ],
            body,
        };
        Ok(Encoded { request, losses })
    }

    fn decoder(&self, head: &ResponseHead) -> Box<dyn Decoder> {
        Box::new(BodyDecoder::new(head, self.limits, LineReader::default()))
    }

    /// Ollama's cloud takes a key as a bearer; a server of one's own takes none.
    fn authorize(
        &self,
        _request: &HttpRequest,
        secret: &Secret,
        _at: SystemTime,
    ) -> Result<Vec<SecretHeader>, CredentialError> {
        Ok(vec![secret.header(Self::PROTOCOL, KeyHeader::Bearer)?])
    }
}
