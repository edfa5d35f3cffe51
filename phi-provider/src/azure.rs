//! Azure OpenAI: where its models are, and which header takes its key.

use std::fmt::Write;

#[cfg(feature = "openai-chat")]
use crate::openai_chat::{self, OpenAiChat};
#[cfg(feature = "openai-responses")]
use crate::openai_responses::{self, OpenAiResponses};

/// A resource of Azure OpenAI, which speaks the protocols of OpenAI at addresses of its own.
///
/// A key travels in the header `api-key`, an access token of Microsoft Entra as a bearer. The model
/// of a request is the name of its deployment.
///
/// ```
/// # #[cfg(feature = "openai-responses")] {
/// use phi_provider::{Azure, Wire};
///
/// let wire = Azure::new("https://acme.openai.azure.com").responses();
/// assert_eq!(wire.identity().provider, "azure");
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Azure {
    resource: String,
    api: Api,
}

/// Which of the two interfaces of a resource is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Api {
    /// `/openai/v1`, perhaps with a version.
    V1(Option<String>),
    /// `/openai/deployments/…`, with a version.
    Classic { deployment: String, version: String },
}

impl Azure {
    /// The name of the service in the origin of messages.
    pub const PROVIDER: &'static str = "azure";

    /// Makes a resource at its base address, as `https://acme.openai.azure.com`, with the interface
    /// `/openai/v1`. An address that ends in `/openai` or `/openai/v1` is the same one.
    #[must_use]
    pub fn new(resource: &str) -> Self {
        let resource = resource.trim_end_matches('/');
        let resource = resource.strip_suffix("/v1").unwrap_or(resource);
        let resource = resource.strip_suffix("/openai").unwrap_or(resource);
        Self {
            resource: resource.trim_end_matches('/').to_owned(),
            api: Api::V1(None),
        }
    }

    /// Asks the interface `/openai/v1` for a version, as `preview`: `api-version` in the address.
    #[must_use]
    pub fn with_api_version(self, version: impl Into<String>) -> Self {
        let api = match self.api {
            Api::V1(_) => Api::V1(Some(version.into())),
            Api::Classic { deployment, .. } => Api::Classic {
                deployment,
                version: version.into(),
            },
        };
        Self { api, ..self }
    }

    /// Asks the classic interface, whose address names the deployment and a version, as
    /// `2024-10-21`. Responses have one address for all deployments there, and the body names the
    /// deployment as the model.
    #[must_use]
    pub fn with_deployment(
        self,
        deployment: impl Into<String>,
        version: impl Into<String>,
    ) -> Self {
        let api = Api::Classic {
            deployment: deployment.into(),
            version: version.into(),
        };
        Self { api, ..self }
    }

    /// Makes the wire of Chat Completions.
    #[cfg(feature = "openai-chat")]
    #[must_use]
    pub fn chat(&self) -> OpenAiChat {
        let base = match &self.api {
            Api::V1(version) => self.v1(version.as_deref()),
            Api::Classic {
                deployment,
                version,
            } => format!(
                "{}/openai/deployments/{}?api-version={}",
                self.resource,
                encoded(deployment),
                encoded(version)
            ),
        };
        OpenAiChat::new(&base)
            .with_provider(Self::PROVIDER)
            .with_quirks(openai_chat::Quirks {
                key_place: openai_chat::KeyPlace::ApiKey,
                ..openai_chat::Quirks::default()
            })
    }

    /// Makes the wire of Responses.
    #[cfg(feature = "openai-responses")]
    #[must_use]
    pub fn responses(&self) -> OpenAiResponses {
        let base = match &self.api {
            Api::V1(version) => self.v1(version.as_deref()),
            Api::Classic { version, .. } => {
                format!("{}/openai?api-version={}", self.resource, encoded(version))
            }
        };
        OpenAiResponses::new(&base)
            .with_provider(Self::PROVIDER)
            .with_quirks(openai_responses::Quirks {
                key_place: openai_responses::KeyPlace::ApiKey,
                ..openai_responses::Quirks::default()
            })
    }

    fn v1(&self, version: Option<&str>) -> String {
        let base = format!("{}/openai/v1", self.resource);
        match version {
            Some(version) => format!("{base}?api-version={}", encoded(version)),
            None => base,
        }
    }
}

/// Writes a name as a piece of an address.
fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let written = write!(out, "%{byte:02X}");
            debug_assert!(written.is_ok(), "a string takes all that is written");
        }
    }
    out
}
