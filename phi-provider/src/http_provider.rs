//! A provider made of a wire and a transport.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use futures_core::stream::BoxStream;
use phi_types::{Delta, Identity, Provider, ProviderError, Request};
use secrecy::SecretString;

use crate::credential::{CredentialError, Secret, SecretHeader};
use crate::http_call::Call;
use crate::http_credential::Credential;
use crate::http_losses::{LossDecision, LossPolicy, refused};
use crate::http_timeouts::Timeouts;
#[cfg(feature = "models")]
use crate::models::Models;
use crate::translate::Loss;
use crate::transport::Transport;
use crate::wire::{HttpRequest, Wire};

/// The most bytes of one answer unless told otherwise.
const BODY_BYTES_MAX: u64 = 1 << 30;

/// A provider over HTTP: it encodes a request, sends it, and hands out what the answer says as it
/// arrives. A clone shares everything.
///
/// It sends each request once: retry and fallback belong to the loop. Only where a service refuses
/// a secret and its source gives another one is a request sent once more, with that. Errors name the host and
/// never hold the credential, also where the service repeats it. An answer that breaks off before
/// its finish is [`phi_types::ProviderErrorKind::Incomplete`], one that goes silent is
/// [`phi_types::ProviderErrorKind::Timeout`]; after its finish it is complete whatever happens.
///
/// Its streams need a tokio runtime with time.
///
/// ```
/// # #[cfg(all(feature = "http", feature = "openai-chat"))] {
/// use std::sync::Arc;
/// use phi_provider::{Credential, HttpOptions, HttpProvider, HttpTransport, openai_chat::OpenAiChat};
/// use phi_types::Provider;
///
/// let key = Credential::required(Some("sk-example"), "OPENAI_API_KEY")?;
/// let wire = Arc::new(OpenAiChat::new("https://api.openai.com/v1"));
/// let transport = Arc::new(HttpTransport::new(HttpOptions::default())?);
/// let provider = HttpProvider::new(wire, transport, key).with_header("x-team", "docs");
/// assert_eq!(provider.identity().protocol, "openai-chat");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct HttpProvider {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) wire: Arc<dyn Wire>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) credential: Credential,
    headers: Vec<SecretHeader>,
    pub(crate) timeouts: Timeouts,
    pub(crate) body_bytes_max: u64,
    losses: Option<Arc<LossPolicy>>,
    #[cfg(feature = "models")]
    models: Option<Arc<Models>>,
}

impl HttpProvider {
    /// Makes a provider.
    #[must_use]
    pub fn new(wire: Arc<dyn Wire>, transport: Arc<dyn Transport>, credential: Credential) -> Self {
        Self {
            shared: Arc::new(Shared {
                wire,
                transport,
                credential,
                headers: Vec::new(),
                timeouts: Timeouts::default(),
                body_bytes_max: BODY_BYTES_MAX,
                losses: None,
                #[cfg(feature = "models")]
                models: None,
            }),
        }
    }

    /// Adds a header to every request; it replaces one of the same name, that of the credential
    /// included. Its value counts as secret.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<SecretString>) -> Self {
        self.shared_mut().headers.push(SecretHeader {
            name: name.to_ascii_lowercase().into(),
            value: value.into(),
        });
        self
    }

    /// Sets how long it waits for what.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.shared_mut().timeouts = timeouts;
        self
    }

    /// Sets the most bytes of one answer, keep-alives included. Default: 1 GiB. The decoder caps
    /// what is held in memory by itself.
    #[must_use]
    pub fn with_body_bytes_max(mut self, body_bytes_max: u64) -> Self {
        self.shared_mut().body_bytes_max = body_bytes_max;
        self
    }

    /// Lets a policy see what the translation of every request lost, before anything is sent. The
    /// default sends.
    ///
    /// ```
    /// # #[cfg(feature = "http")] {
    /// use phi_provider::translate::{Loss, LossKind};
    /// use phi_provider::{HttpProvider, LossDecision};
    ///
    /// fn careful(provider: HttpProvider) -> HttpProvider {
    ///     provider.with_losses(|losses| {
    ///         let blind = |loss: &Loss| loss.kind == LossKind::ImageReplaced;
    ///         match losses.iter().any(blind) {
    ///             true => LossDecision::Refuse,
    ///             false => LossDecision::Send,
    ///         }
    ///     })
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn with_losses(
        mut self,
        policy: impl Fn(&[Loss]) -> LossDecision + Send + Sync + 'static,
    ) -> Self {
        self.shared_mut().losses = Some(Arc::new(policy));
        self
    }

    /// Refuses requests that ask a model for what it cannot do, before anything is sent: see
    /// [`Models::check`].
    #[cfg(feature = "models")]
    #[must_use]
    pub fn with_models(mut self, models: Arc<Models>) -> Self {
        self.shared_mut().models = Some(models);
        self
    }

    fn shared_mut(&mut self) -> &mut Shared {
        Arc::make_mut(&mut self.shared)
    }
}

impl Shared {
    /// Writes a request, unless somebody objects to it.
    pub(crate) fn encode(&self, request: &Request) -> Result<HttpRequest, ProviderError> {
        #[cfg(feature = "models")]
        if let Some(models) = &self.models {
            models.check(request, self.wire.identity().provider)?;
        }
        let encoded = self.wire.encode(request)?;
        if let Some(policy) = &self.losses
            && policy(&encoded.losses) == LossDecision::Refuse
        {
            return Err(refused(&encoded.losses));
        }
        Ok(encoded.request)
    }

    /// Returns the headers that no message may show.
    pub(crate) fn secret_headers(
        &self,
        request: &HttpRequest,
        secret: Option<&Secret>,
    ) -> Result<Vec<SecretHeader>, CredentialError> {
        let mut headers = match secret {
            Some(secret) => self.wire.authorize(request, secret, SystemTime::now())?,
            None => Vec::new(),
        };
        headers.extend(self.headers.iter().cloned());
        Ok(headers)
    }
}

impl Provider for HttpProvider {
    fn identity(&self) -> Identity<'_> {
        self.shared.wire.identity()
    }

    fn stream(&self, request: Request) -> BoxStream<'static, Result<Delta, ProviderError>> {
        Box::pin(Call::new(Arc::clone(&self.shared), request))
    }
}

impl fmt::Debug for HttpProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpProvider")
            .field(&self.identity())
            .finish()
    }
}
