//! The wire of OpenAI Chat Completions, which many services speak.

mod answer;
mod calls;
mod chunk;
mod decode;
mod details;
mod encode;
mod facts;
mod finish;
mod messages;
mod quirks;
mod reasoning;
mod scan;
mod think_tags;
mod usage;

use std::time::SystemTime;

use phi_types::{Identity, Request};

use crate::body::BodyDecoder;
use crate::credential::{CredentialError, KeyHeader, Secret, SecretHeader};
use crate::limits::Limits;
use crate::view_writer::ViewCache;
use crate::wire::{Decoder, Delivery, EncodeError, Encoded, HttpRequest, ResponseHead, Wire};
use decode::ChatReader;
use messages::ChatWriter;
pub use quirks::{
    CallIds, EmptyContent, KeyPlace, OutputLimit, Quirks, ReasoningReplay, StreamUsage, SystemRole,
    ThinkTags, ToolImages,
};

/// The codec of OpenAI Chat Completions.
///
/// One decoder reads streams and whole answers of OpenAI, Azure OpenAI and the services that follow
/// them. Where they accept different requests, [`Quirks`] say which.
///
/// Reasoning goes back to the service and model that wrote it and nowhere else. Images of tool
/// results follow them in a user message. Answers beside the first choice are not read.
#[derive(Debug, Clone)]
pub struct OpenAiChat {
    url: String,
    provider: String,
    delivery: Delivery,
    limits: Limits,
    quirks: Quirks,
    views: ViewCache<ChatWriter>,
}

impl OpenAiChat {
    /// The name of the protocol.
    pub const PROTOCOL: &'static str = "openai-chat";

    /// Makes the wire of OpenAI at a base address, as `https://api.openai.com/v1`.
    ///
    /// A query in the address stays: Azure wants `?api-version=…`.
    #[must_use]
    pub fn new(base_url: &str) -> Self {
        let (path, query) = match base_url.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (base_url, String::new()),
        };
        Self {
            url: format!("{}/chat/completions{query}", path.trim_end_matches('/')),
            provider: "openai".to_owned(),
            delivery: Delivery::default(),
            limits: Limits::default(),
            quirks: Quirks::default(),
            views: ViewCache::default(),
        }
    }

    /// Makes the wire of a service that follows OpenAI, with [`Quirks::compatible`].
    #[must_use]
    pub fn compatible(base_url: &str, provider: impl Into<String>) -> Self {
        Self::new(base_url)
            .with_provider(provider)
            .with_quirks(Quirks::compatible())
    }

    /// Names the service, for the origin of messages.
    #[must_use]
    pub fn with_provider(self, provider: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            ..self
        }
    }

    /// Asks for a stream or for a whole answer.
    #[must_use]
    pub fn with_delivery(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }

    /// Bounds what a response may hold.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Says what the service accepts.
    #[must_use]
    pub fn with_quirks(self, quirks: Quirks) -> Self {
        Self { quirks, ..self }
    }
}

impl Wire for OpenAiChat {
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
            url: self.url.clone(),
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("accept", accept.to_owned()),
            ],
            body,
        };
        Ok(Encoded { request, losses })
    }

    fn decoder(&self, head: &ResponseHead) -> Box<dyn Decoder> {
        let reader = ChatReader::new(self.quirks.think_tags);
        Box::new(BodyDecoder::new(head, self.limits, reader))
    }

    fn authorize(
        &self,
        _request: &HttpRequest,
        secret: &Secret,
        _at: SystemTime,
    ) -> Result<Vec<SecretHeader>, CredentialError> {
        let place = match self.quirks.key_place {
            KeyPlace::Bearer => KeyHeader::Bearer,
            KeyPlace::ApiKey => KeyHeader::Named("api-key"),
        };
        Ok(vec![secret.header(Self::PROTOCOL, place)?])
    }
}
