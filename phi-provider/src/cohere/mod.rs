//! The wire of Cohere Chat, version 2.

mod decode;
mod encode;
mod event;
mod messages;
mod parts;

use std::time::SystemTime;

use phi_types::{Identity, Request};

use self::decode::ChatReader;
use self::messages::CohereWriter;
use crate::body::BodyDecoder;
use crate::credential::{CredentialError, KeyHeader, Secret, SecretHeader};
use crate::limits::Limits;
use crate::structured::OutputToolDecoder;
use crate::view_writer::ViewCache;
use crate::wire::{Decoder, Delivery, EncodeError, Encoded, HttpRequest, ResponseHead, Wire};

/// The codec of Cohere Chat, version 2: `POST /v2/chat`.
///
/// A tool plan is thinking that goes back as a plan. Citations stand in the facts of the text that
/// they are about, as `{"citations": [...]}`; they do not go back, for each repeats its source. The
/// counts of usage are those of the model, `usage.tokens`, not those of the bill.
///
/// The protocol cannot force one tool: for [`phi_types::ToolChoice::Tool`] the request offers that
/// tool alone and forces a call. A form of the answer beside tools is a tool too. `Options::extra` joins the body last, as in `{"documents": […]}`.
#[derive(Debug, Clone)]
pub struct CohereChat {
    provider: String,
    base_url: String,
    delivery: Delivery,
    limits: Limits,
    schemas: ToolSchemas,
    views: ViewCache<CohereWriter>,
}

/// Whether calls follow the schemas of their tools.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ToolSchemas {
    /// As far as the model keeps to them.
    #[default]
    Hinted,
    /// Always, `strict_tools`. The service then wants a required parameter in every schema.
    Forced,
}

impl Default for CohereChat {
    fn default() -> Self {
        Self {
            provider: "cohere".to_owned(),
            base_url: "https://api.cohere.com".to_owned(),
            delivery: Delivery::default(),
            limits: Limits::default(),
            schemas: ToolSchemas::default(),
            views: ViewCache::default(),
        }
    }
}

impl CohereChat {
    /// The name of the protocol.
    pub const PROTOCOL: &'static str = "cohere-v2";

    /// Makes the wire of Cohere's own service, streamed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the service, for the origin of messages. Default: `cohere`.
    #[must_use]
    pub fn with_provider(self, provider: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            ..self
        }
    }

    /// Sets the address of the service without `/v2`. Default: `https://api.cohere.com`.
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

    /// Says whether calls must follow the schemas of their tools. Default: they are hints.
    #[must_use]
    pub fn with_tool_schemas(self, schemas: ToolSchemas) -> Self {
        Self { schemas, ..self }
    }

    fn url(&self) -> String {
        let base = self.base_url.trim_end_matches('/');
        let base = base.strip_suffix("/v2").unwrap_or(base);
        format!("{base}/v2/chat")
    }
}

impl Wire for CohereChat {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: Self::PROTOCOL,
            provider: &self.provider,
        }
    }

    fn encode(&self, request: &Request) -> Result<Encoded, EncodeError> {
        let (body, losses) = encode::body(self, request)?;
        let accept = match self.delivery {
            Delivery::Streamed => "text/event-stream",
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
        let reader = ChatReader::new(self.limits.body_bytes_max);
        let decoder = BodyDecoder::new(head, self.limits, reader);
        Box::new(OutputToolDecoder::new(Box::new(decoder)))
    }

    fn authorize(
        &self,
        _request: &HttpRequest,
        secret: &Secret,
        _at: SystemTime,
    ) -> Result<Vec<SecretHeader>, CredentialError> {
        Ok(vec![secret.header(Self::PROTOCOL, KeyHeader::Bearer)?])
    }
}
