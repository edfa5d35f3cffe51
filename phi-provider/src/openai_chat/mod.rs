//! The wire of OpenAI Chat Completions, which many services speak.

mod answer;
mod calls;
mod chunk;
mod decode;
mod details;
mod dialect;
mod encode;
mod facts;
mod finish;
mod messages;
mod options;
mod quirks;
mod reasoning;
mod scan;
mod think_tags;
mod usage;

use std::sync::Arc;
use std::time::SystemTime;

use phi_types::{Entry, Identity, Request};

use crate::body::BodyDecoder;
use crate::credential::{CredentialError, KeyHeader, Secret, SecretHeader};
use crate::limits::Limits;
use crate::structured::OutputToolDecoder;
use crate::view_writer::ViewCache;
use crate::wire::{Decoder, Delivery, EncodeError, Encoded, HttpRequest, ResponseHead, Wire};
use decode::ChatReader;
pub use dialect::{Dialect, DialectError, Dialects, ModelQuirks};
use messages::ChatWriter;
pub use quirks::{
    AfterResults, CallIds, ClientHeaders, EmptyContent, ForcedTools, ImageInput, KeyPlace,
    OptionField, OutputForm, OutputLimit, Prefill, PromptCache, Quirks, ReasoningFormat,
    ReasoningOff, ReasoningReplay, ReasoningSwitch, ResultNames, Sampling, StreamUsage,
    StrictTools, SystemRole, ThinkTags, ToolImages, ToolsForHistory,
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
    models: Arc<[ModelQuirks]>,
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
            models: Arc::default(),
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

    /// Makes the wire of a service that a dialect describes.
    #[must_use]
    pub fn dialect(dialect: &Dialect) -> Self {
        Self::new(&dialect.base_url)
            .with_provider(&*dialect.name)
            .with_quirks(dialect.quirks)
            .with_model_quirks(dialect.models.iter().cloned())
    }

    /// Says what the service accepts.
    #[must_use]
    pub fn with_quirks(self, quirks: Quirks) -> Self {
        Self { quirks, ..self }
    }

    /// Says what the service accepts for some models, where the first rule that fits counts. What
    /// `think_tags` and `key_place` say counts for all models, and stands in [`Self::with_quirks`].
    #[must_use]
    pub fn with_model_quirks(self, models: impl IntoIterator<Item = ModelQuirks>) -> Self {
        Self {
            models: models.into_iter().collect(),
            ..self
        }
    }

    /// Says whether a form of the answer may come as the call of a tool.
    fn has_output_tool(&self) -> bool {
        let of_models = self.models.iter().map(|rule| rule.quirks);
        of_models.chain([self.quirks]).any(|quirks| {
            matches!(
                quirks.output_form,
                OutputForm::Tool | OutputForm::JsonSchemaWithoutTools
            )
        })
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
        let quirks = dialect::quirks_of(self.quirks, &self.models, &request.model);
        let body = encode::body(self, request, quirks)?;
        let accept = match self.delivery {
            Delivery::Streamed => "text/event-stream",
            Delivery::Whole => "application/json",
        };
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("accept", accept.to_owned()),
        ];
        if quirks.client_headers == ClientHeaders::Copilot {
            headers.extend(copilot_headers(request, body.has_images));
        }
        Ok(Encoded {
            request: HttpRequest {
                method: "POST",
                url: self.url.clone(),
                headers,
                body: body.chunks,
            },
            losses: body.losses,
        })
    }

    fn decoder(&self, head: &ResponseHead) -> Box<dyn Decoder> {
        let reader = ChatReader::new(self.quirks.think_tags);
        let decoder = BodyDecoder::new(head, self.limits, reader);
        if self.has_output_tool() {
            return Box::new(OutputToolDecoder::new(Box::new(decoder)));
        }
        Box::new(decoder)
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

/// Returns what GitHub Copilot wants to know of a request: which program asks and why. Requests
/// that follow a tool are not counted as those of a user.
fn copilot_headers(
    request: &Request,
    has_images: bool,
) -> impl Iterator<Item = (&'static str, String)> {
    let initiator = match request.view.last() {
        Some(Entry::User(_)) => "user",
        _ => "agent",
    };
    let headers = [
        ("copilot-integration-id", "vscode-chat"),
        ("editor-version", concat!("phi/", env!("CARGO_PKG_VERSION"))),
        ("openai-intent", "conversation-edits"),
        ("x-initiator", initiator),
    ];
    let vision = has_images.then_some(("copilot-vision-request", "true"));
    let headers = headers.into_iter().chain(vision);
    headers.map(|(name, value)| (name, value.to_owned()))
}
