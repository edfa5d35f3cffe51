//! The wire of the Converse protocol of AWS Bedrock.

mod address;
mod block;
mod decode;
mod encode;
mod event;
mod family;
mod messages;
mod sign;
mod thinking;

use std::time::SystemTime;

use phi_types::{Identity, Request};

use self::address::{host_of_region, model_path, region_of};
use self::decode::ConverseDecoder;
pub use self::family::ModelFamily;
use self::messages::BlockWriter;
use crate::body::BodyDecoder;
use crate::credential::{CredentialError, KeyHeader, Secret, SecretHeader};
use crate::limits::Limits;
use crate::structured::OutputToolDecoder;
use crate::view_writer::ViewCache;
use crate::wire::{Decoder, Delivery, EncodeError, Encoded, HttpRequest, ResponseHead, Wire};

/// The wire of `ConverseStream` and `Converse` of AWS Bedrock.
///
/// The models behind the protocol refuse each other's fields: [`ModelFamily`] says which get which.
/// Reasoning goes back to the model that signed it and nowhere else.
///
/// `Options::extra` joins the body last. Its fields replace those that the wire writes, but
/// `inferenceConfig`, `additionalModelRequestFields` and `toolConfig` are joined field by field and
/// `tools` are appended, so that tools of the service stand beside those of the request.
#[derive(Debug, Clone)]
pub struct BedrockConverse {
    region: String,
    provider: String,
    base_url: String,
    delivery: Delivery,
    cache: CachePoints,
    output: StructuredOutput,
    family: Option<ModelFamily>,
    limits: Limits,
    views: ViewCache<BlockWriter>,
}

/// Whether and how long the service shall cache the beginning of requests, for models that can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CachePoints {
    /// No `cachePoint` is set.
    Off,
    /// After tools, system prompt and the last two user messages, for five minutes.
    #[default]
    FiveMinutes,
    /// At the same places, for an hour where the model can.
    OneHour,
}

/// How an answer in the form of a schema is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StructuredOutput {
    /// By a tool that the model must call, which any model with tools understands.
    #[default]
    Tool,
    /// By the field `outputConfig`, which newer models understand.
    Native,
}

impl BedrockConverse {
    /// The name of the protocol.
    pub const PROTOCOL: &'static str = "bedrock-converse";

    /// Makes the wire for a region, as `us-east-1`: streamed, with cache points.
    #[must_use]
    pub fn new(region: impl Into<String>) -> Self {
        let region = region.into();
        Self {
            base_url: host_of_region(&region),
            region,
            provider: "bedrock".to_owned(),
            delivery: Delivery::default(),
            cache: CachePoints::default(),
            output: StructuredOutput::default(),
            family: None,
            limits: Limits::default(),
            views: ViewCache::default(),
        }
    }

    /// Names the service, which becomes part of the origin of messages. Default: `bedrock`.
    #[must_use]
    pub fn with_provider(self, provider: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            ..self
        }
    }

    /// Sets the address of the service, without a path or with the one that stands before `/model`.
    /// Default: `https://bedrock-runtime.{region}.amazonaws.com`.
    ///
    /// Where it is an address of AWS, requests are signed for the region that it names.
    #[must_use]
    pub fn with_base_url(self, base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            ..self
        }
    }

    /// Sets whether answers are streamed. Default: streamed.
    #[must_use]
    pub fn with_delivery(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }

    /// Sets the cache points. Default: five minutes, for the models that are known to cache.
    #[must_use]
    pub fn with_cache(self, cache: CachePoints) -> Self {
        Self { cache, ..self }
    }

    /// Sets how an answer in the form of a schema is asked for. Default: by a tool.
    #[must_use]
    pub fn with_structured_output(self, output: StructuredOutput) -> Self {
        Self { output, ..self }
    }

    /// Says which family every model is of, where its name does not tell: an application inference
    /// profile hides it. Default: [`ModelFamily::of`] its name.
    #[must_use]
    pub fn with_family(self, family: ModelFamily) -> Self {
        Self {
            family: Some(family),
            ..self
        }
    }

    /// Sets how much of a response is held in memory at most.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    fn family_of(&self, model: &str) -> ModelFamily {
        self.family.unwrap_or_else(|| ModelFamily::of(model))
    }
}

impl Wire for BedrockConverse {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: Self::PROTOCOL,
            provider: &self.provider,
        }
    }

    fn encode(&self, request: &Request) -> Result<Encoded, EncodeError> {
        let (operation, accept) = match self.delivery {
            Delivery::Streamed => ("converse-stream", "application/vnd.amazon.eventstream"),
            Delivery::Whole => ("converse", "application/json"),
        };
        let (body, losses) = encode::body(self, request)?;
        let base = self.base_url.trim_end_matches('/');
        let path = model_path(&request.model, operation);
        let request = HttpRequest {
            method: "POST",
            url: format!("{base}{path}"),
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("accept", accept.to_owned()),
            ],
            body,
        };
        Ok(Encoded { request, losses })
    }

    fn decoder(&self, head: &ResponseHead) -> Box<dyn Decoder> {
        let request_id = head.header("x-amzn-requestid").map(str::to_owned);
        let protocol = ConverseDecoder::new(request_id, self.limits.body_bytes_max);
        let body = BodyDecoder::new(head, self.limits, protocol);
        Box::new(OutputToolDecoder::new(Box::new(body)))
    }

    fn authorize(
        &self,
        request: &HttpRequest,
        secret: &Secret,
        at: SystemTime,
    ) -> Result<Vec<SecretHeader>, CredentialError> {
        match secret {
            Secret::Aws(keys) => {
                let scope = sign::Scope {
                    region: region_of(&request.url).unwrap_or(&self.region),
                    service: "bedrock",
                };
                sign::headers(request, keys, scope, at)
            }
            // The service's own keys travel as bearers too.
            Secret::Key(_) | Secret::Token(_) => {
                Ok(vec![secret.header(Self::PROTOCOL, KeyHeader::Bearer)?])
            }
        }
    }
}
