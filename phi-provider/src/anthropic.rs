//! The wire of the Anthropic Messages protocol.

mod block;
mod decode;
mod encode;
mod event;
mod form;
mod messages;
mod options;

use std::time::SystemTime;

use phi_types::{Identity, Request};

use self::decode::MessagesDecoder;
pub use self::form::AnswerForm;
use self::messages::BlockWriter;
use crate::body::BodyDecoder;
use crate::credential::{CredentialError, KeyHeader, Secret, SecretHeader};
use crate::limits::Limits;
use crate::structured::OutputToolDecoder;
use crate::view_writer::ViewCache;
use crate::wire::{Decoder, Delivery, EncodeError, Encoded, HttpRequest, ResponseHead, Wire};

/// The name of the protocol.
const PROTOCOL: &str = "anthropic-messages";

/// The kind of the opaque part that keeps the container of code execution. It is no block: a
/// request names the container beside its messages.
const CONTAINER: &str = "container";

/// The wire of the Anthropic Messages protocol, for Anthropic and for services that speak it.
///
/// `Options::extra` joins the body last: its fields replace those that the wire writes, except
/// that `tools` are appended, so that the provider's own tools stand beside those of the request.
#[derive(Debug, Clone)]
pub struct AnthropicMessages {
    // Wide: what a service of the protocol may want otherwise, one field for each.
    provider: String,
    endpoint: Endpoint,
    delivery: Delivery,
    betas: Vec<String>,
    cache: CacheBreakpoints,
    form: AnswerForm,
    unsigned_thinking: UnsignedThinking,
    output_tokens_default: u64,
    limits: Limits,
    views: ViewCache<BlockWriter>,
}

/// Where and in which form the service is asked.
#[derive(Debug, Clone)]
enum Endpoint {
    /// At `/v1/messages` behind this address.
    Messages(String),
    /// By raw prediction of Vertex AI, whose address names the model.
    #[cfg(feature = "vertex")]
    RawPrediction(crate::gemini::address::Address),
}

impl Endpoint {
    /// Returns the version of the protocol, where the body states it and names no model.
    fn version_in_body(&self) -> Option<&'static str> {
        match self {
            Self::Messages(_) => None,
            #[cfg(feature = "vertex")]
            Self::RawPrediction(_) => Some("vertex-2023-10-16"),
        }
    }
}

/// Whether and how long the provider shall cache the beginning of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheBreakpoints {
    /// No breakpoint is set.
    Off,
    /// After tools, system prompt and the last two user messages, for five minutes.
    #[default]
    FiveMinutes,
    /// At the same places, for an hour.
    OneHour,
}

/// What becomes of thinking that has no signature of the model that is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnsignedThinking {
    /// It is left out: the provider would refuse it.
    #[default]
    Drop,
    /// It is sent as text.
    Text,
    /// Thinking of the same model is sent as thinking with an empty signature, which some
    /// compatible services want; any other is left out.
    Keep,
}

impl Default for AnthropicMessages {
    fn default() -> Self {
        Self {
            provider: "anthropic".to_owned(),
            endpoint: Endpoint::Messages("https://api.anthropic.com".to_owned()),
            delivery: Delivery::default(),
            betas: Vec::new(),
            cache: CacheBreakpoints::default(),
            form: AnswerForm::default(),
            unsigned_thinking: UnsignedThinking::default(),
            output_tokens_default: 8_192,
            limits: Limits::default(),
            views: ViewCache::default(),
        }
    }
}

impl AnthropicMessages {
    /// Makes the wire for Anthropic's own service, streamed, with cache breakpoints.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the service, which becomes part of the origin of messages. Default: `anthropic`.
    #[must_use]
    pub fn with_provider(self, provider: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            ..self
        }
    }

    /// Sets the address of the service without `/v1`. Default: `https://api.anthropic.com`.
    #[must_use]
    pub fn with_base_url(self, base_url: impl Into<String>) -> Self {
        Self {
            endpoint: Endpoint::Messages(base_url.into()),
            ..self
        }
    }

    /// Sets whether answers are streamed. Default: streamed.
    #[must_use]
    pub fn with_delivery(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }

    /// Adds a name to the header `anthropic-beta`.
    #[must_use]
    pub fn with_beta(mut self, beta: impl Into<String>) -> Self {
        self.betas.push(beta.into());
        self
    }

    /// Sets the cache breakpoints. Default: five minutes.
    #[must_use]
    pub fn with_cache(self, cache: CacheBreakpoints) -> Self {
        Self { cache, ..self }
    }

    /// Sets how an answer is asked for that shall have a form. Default: as the model takes it.
    #[must_use]
    pub fn with_answer_form(self, form: AnswerForm) -> Self {
        Self { form, ..self }
    }

    /// Sets what becomes of unsigned and foreign thinking. Default: it is dropped.
    #[must_use]
    pub fn with_unsigned_thinking(self, unsigned_thinking: UnsignedThinking) -> Self {
        Self {
            unsigned_thinking,
            ..self
        }
    }

    /// Sets the output limit of requests that state none, because the protocol needs one.
    /// Default: 8,192 tokens, and the thinking budget on top of it.
    #[must_use]
    pub fn with_output_tokens_default(self, output_tokens_default: u64) -> Self {
        Self {
            output_tokens_default,
            ..self
        }
    }

    /// Sets how much of a response is held in memory at most.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Asks Claude at Vertex AI.
    #[cfg(feature = "vertex")]
    pub(crate) fn at_vertex(address: crate::gemini::address::Address) -> Self {
        Self {
            provider: "vertex".to_owned(),
            endpoint: Endpoint::RawPrediction(address),
            ..Self::default()
        }
    }

    #[cfg_attr(
        not(feature = "vertex"),
        expect(unused_variables, reason = "one endpoint alone names the model")
    )]
    fn url(&self, model: &str) -> String {
        match &self.endpoint {
            Endpoint::Messages(base_url) => {
                let base = base_url.trim_end_matches('/');
                let base = base.strip_suffix("/v1").unwrap_or(base);
                format!("{base}/v1/messages")
            }
            #[cfg(feature = "vertex")]
            Endpoint::RawPrediction(address) => match self.delivery {
                Delivery::Streamed => address.of(model, "streamRawPredict"),
                Delivery::Whole => address.of(model, "rawPredict"),
            },
        }
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let accept = match self.delivery {
            Delivery::Streamed => "text/event-stream",
            Delivery::Whole => "application/json",
        };
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("accept", accept.to_owned()),
        ];
        if self.endpoint.version_in_body().is_none() {
            headers.push(("anthropic-version", "2023-06-01".to_owned()));
        }
        if !self.betas.is_empty() {
            headers.push(("anthropic-beta", self.betas.join(",")));
        }
        headers
    }
}

impl Wire for AnthropicMessages {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: PROTOCOL,
            provider: &self.provider,
        }
    }

    fn encode(&self, request: &Request) -> Result<Encoded, EncodeError> {
        let (body, losses) = self.body(request)?;
        let request = HttpRequest {
            method: "POST",
            url: self.url(&request.model),
            headers: self.headers(),
            body,
        };
        Ok(Encoded { request, losses })
    }

    fn decoder(&self, head: &ResponseHead) -> Box<dyn Decoder> {
        let protocol = MessagesDecoder::new(self.limits.body_bytes_max);
        let decoder = BodyDecoder::new(head, self.limits, protocol);
        Box::new(OutputToolDecoder::new(Box::new(decoder)))
    }

    fn authorize(
        &self,
        _request: &HttpRequest,
        secret: &Secret,
        _at: SystemTime,
    ) -> Result<Vec<SecretHeader>, CredentialError> {
        let name = match &self.endpoint {
            Endpoint::Messages(_) => "x-api-key",
            #[cfg(feature = "vertex")]
            Endpoint::RawPrediction(_) => "x-goog-api-key",
        };
        let header = secret.header(PROTOCOL, KeyHeader::Named(name))?;
        Ok(vec![header])
    }
}
