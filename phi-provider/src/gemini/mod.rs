//! The wire of Gemini's `generateContent`, as the Gemini API and Vertex AI speak it.

pub(crate) mod address;
mod chunk;
mod contents;
mod decode;
mod encode;
mod finish;
mod model;
mod partial_args;
mod parts;
mod usage;

use std::time::SystemTime;

use phi_types::{Identity, Request};

use self::address::Address;
use self::contents::ContentWriter;
use self::decode::Reader;
pub use self::model::Generation;
use crate::body::BodyDecoder;
use crate::credential::{CredentialError, KeyHeader, Secret, SecretHeader};
use crate::limits::Limits;
use crate::structured::OutputToolDecoder;
use crate::view_writer::ViewCache;
use crate::wire::{Decoder, Delivery, EncodeError, Encoded, HttpRequest, ResponseHead, Wire};

/// The codec of Gemini's `generateContent` and `streamGenerateContent`.
///
/// One decoder reads event streams, streams that come as a JSON array (without `alt=sse`), and whole
/// answers. The Interactions API is another protocol and not read here.
///
/// A `thoughtSignature` goes back on the part that it came on, to the model that wrote it. The
/// service's own id of a call goes back too; a call without one gets an id made of the id of the
/// response, which the service never sees. Parts of the service's own tools are opaque parts, and so
/// is what stands beside an answer: `citationMetadata`, `groundingMetadata`, `urlContextMetadata`.
///
/// `Options::extra` joins the body last: its fields replace those that the wire writes, except that
/// `tools` are appended, and that `generationConfig` and `toolConfig` are merged field by field.
/// An answer in a form is asked for by its schema, and by a function that must be called where a
/// model before Gemini 3 has other functions beside it.
///
/// With a `cachedContent` neither system prompt nor tools are written, because it holds them.
// Wide: what the service is, how it is asked, and what it accepts.
#[derive(Debug, Clone)]
pub struct Gemini {
    address: Address,
    provider: String,
    delivery: Delivery,
    limits: Limits,
    generation: Generation,
    schema_form: SchemaForm,
    thought_replay: ThoughtReplay,
    /// Whether functions and tools of the service stand side by side where a field allows it.
    mixes_tools: bool,
    views: ViewCache<ContentWriter>,
}

/// How the schemas of tools and answers are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SchemaForm {
    /// As JSON Schema: `parametersJsonSchema` and `responseJsonSchema`.
    #[default]
    JsonSchema,
    /// As the subset of OpenAPI 3.0 that the service took first: `parameters` and `responseSchema`.
    /// What the subset does not have is said in its words or left out.
    OpenApiSubset,
}

/// Which thoughts and signatures go back to the model that wrote them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ThoughtReplay {
    /// All of them. They are read as input again in every request.
    #[default]
    All,
    /// Those since the last message of the user, without which the service refuses the calls of the
    /// turn. The beginning of requests then changes with every message of the user, so that it is
    /// not found in a cache, and every request writes the whole conversation.
    CurrentTurn,
}

impl Default for Gemini {
    fn default() -> Self {
        Self {
            address: Address {
                base_url: "https://generativelanguage.googleapis.com".to_owned(),
                version: "v1beta".to_owned(),
                parent: String::new(),
                publisher: "",
            },
            provider: "google".to_owned(),
            delivery: Delivery::default(),
            limits: Limits::default(),
            generation: Generation::default(),
            schema_form: SchemaForm::default(),
            thought_replay: ThoughtReplay::default(),
            mixes_tools: true,
            views: ViewCache::default(),
        }
    }
}

impl Gemini {
    /// The name of the protocol.
    pub const PROTOCOL: &'static str = "gemini";

    /// Makes the wire of the Gemini API, streamed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the wire of Vertex AI.
    #[cfg(feature = "vertex")]
    pub(crate) fn at_vertex(address: Address) -> Self {
        Self {
            address,
            provider: "vertex".to_owned(),
            // The field that allows it is refused there.
            mixes_tools: false,
            ..Self::default()
        }
    }

    /// Names the service, which becomes part of the origin of messages. Default: `google`.
    #[must_use]
    pub fn with_provider(self, provider: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            ..self
        }
    }

    /// Sets the address of the service, with or without the version path. Default:
    /// `https://generativelanguage.googleapis.com`.
    #[must_use]
    pub fn with_base_url(mut self, base_url: impl Into<String>) -> Self {
        self.address.base_url = base_url.into();
        self
    }

    /// Sets the version path; empty for none. Default: `v1beta`.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.address.version = version.into();
        self
    }

    /// Sets whether answers are streamed. Default: streamed.
    #[must_use]
    pub fn with_delivery(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }

    /// Sets how much of a response is held in memory at most.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Sets the generation of the models that are asked. Default: the name of a model tells.
    #[must_use]
    pub fn with_generation(self, generation: Generation) -> Self {
        Self { generation, ..self }
    }

    /// Sets how schemas are written. Default: as JSON Schema.
    #[must_use]
    pub fn with_schema_form(self, schema_form: SchemaForm) -> Self {
        Self {
            schema_form,
            ..self
        }
    }

    /// Sets which thoughts and signatures go back. Default: all.
    #[must_use]
    pub fn with_thought_replay(self, thought_replay: ThoughtReplay) -> Self {
        Self {
            thought_replay,
            ..self
        }
    }
}

impl Wire for Gemini {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: Self::PROTOCOL,
            provider: &self.provider,
        }
    }

    fn encode(&self, request: &Request) -> Result<Encoded, EncodeError> {
        let (body, losses) = self.body(request)?;
        let (method, accept) = match self.delivery {
            Delivery::Streamed => ("streamGenerateContent?alt=sse", "text/event-stream"),
            Delivery::Whole => ("generateContent", "application/json"),
        };
        let request = HttpRequest {
            method: "POST",
            url: self.address.of(&request.model, method),
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("accept", accept.to_owned()),
            ],
            body,
        };
        Ok(Encoded { request, losses })
    }

    fn decoder(&self, head: &ResponseHead) -> Box<dyn Decoder> {
        let reader = Reader::new(self.limits.body_bytes_max);
        let decoder = BodyDecoder::new(head, self.limits, reader);
        Box::new(OutputToolDecoder::new(Box::new(decoder)))
    }

    fn authorize(
        &self,
        _request: &HttpRequest,
        secret: &Secret,
        _at: SystemTime,
    ) -> Result<Vec<SecretHeader>, CredentialError> {
        let header = secret.header(Self::PROTOCOL, KeyHeader::Named("x-goog-api-key"))?;
        Ok(vec![header])
    }
}
