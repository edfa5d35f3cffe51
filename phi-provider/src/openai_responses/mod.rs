//! The wire of OpenAI Responses, which several services speak.

mod decode;
mod encode;
mod event;
mod facts;
mod finish;
mod input;
mod item;
mod items;
mod options;
mod quirks;
mod usage;

use std::time::SystemTime;

use phi_types::{Identity, Request};

use crate::body::BodyDecoder;
use crate::credential::{CredentialError, KeyHeader, Secret, SecretHeader};
use crate::limits::Limits;
use crate::structured::OutputToolDecoder;
use crate::view_writer::ViewCache;
use crate::wire::{Decoder, Delivery, EncodeError, Encoded, HttpRequest, ResponseHead, Wire};
use decode::ResponsesReader;
use input::InputWriter;
pub use quirks::{
    CacheKey, CallOrder, CallStatus, EncryptedReasoning, KeyPlace, OutputLimit, PlainReasoning,
    Quirks, Storage, StructuredOutput, Summaries, SystemPrompt, ToolImages,
};

/// The codec of OpenAI Responses.
///
/// One decoder reads streams and whole answers of OpenAI, Azure OpenAI and the services that follow
/// them. Where they accept different requests, [`Quirks`] say which.
///
/// Each request holds the whole conversation, and the service keeps nothing. Reasoning goes back
/// encrypted, as the item that it was, to the model that wrote it and nowhere else; the ids of items
/// go back only while all reasoning of their answer does. Reasoning that nothing follows is left
/// out, because the service refuses it. Items that only the service understands go back as they
/// came. A call of a custom tool has the one argument `input`, which is the text that the model
/// wrote.
///
/// `Options::extra` joins the body last: its fields replace those that the wire writes, except that
/// `tools` and `include` are appended, and that the fields of `reasoning` and `text` join theirs.
#[derive(Debug, Clone)]
pub struct OpenAiResponses {
    url: String,
    provider: String,
    delivery: Delivery,
    limits: Limits,
    quirks: Quirks,
    views: ViewCache<InputWriter>,
}

impl OpenAiResponses {
    /// The name of the protocol.
    pub const PROTOCOL: &'static str = "openai-responses";

    /// Makes the wire of OpenAI at a base address, as `https://api.openai.com/v1`.
    ///
    /// A query in the address stays: Azure may want `?api-version=…`.
    #[must_use]
    pub fn new(base_url: &str) -> Self {
        let (path, query) = match base_url.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (base_url, String::new()),
        };
        Self {
            url: format!("{}/responses{query}", path.trim_end_matches('/')),
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

    /// Sets whether the session names what its requests share in the cache.
    #[must_use]
    pub fn with_cache_key(self, cache_key: CacheKey) -> Self {
        let quirks = Quirks {
            cache_key,
            ..self.quirks
        };
        Self { quirks, ..self }
    }
}

impl Wire for OpenAiResponses {
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
        let decoder = Box::new(BodyDecoder::new(head, self.limits, ResponsesReader::new()));
        match self.quirks.structured_output {
            StructuredOutput::Native => decoder,
            StructuredOutput::ToolBesideTools => Box::new(OutputToolDecoder::new(decoder)),
        }
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
