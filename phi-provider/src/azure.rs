//! Azure OpenAI: where its models are, and which header takes its key.

#[cfg(feature = "openai-chat")]
use crate::openai_chat::{self, OpenAiChat};
#[cfg(feature = "openai-responses")]
use crate::openai_responses::{self, OpenAiResponses};
use crate::percent::percent_encoded;

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
    /// The address as it is, with this query.
    Gateway(String),
}

/// The newest version of the classic interface that is no preview.
const CLASSIC_VERSION: &str = "2024-10-21";

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

    /// Makes a resource of an address as it stands in the portal or in a gateway: that of the
    /// resource, of `/openai/v1`, of a classic deployment with its `api-version`, or of a path of a
    /// gateway's own, which is asked as it is.
    #[must_use]
    pub fn at(address: &str) -> Self {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let path = path.trim_end_matches('/');
        let version = query
            .split('&')
            .find_map(|field| field.strip_prefix("api-version="));
        if let Some((resource, deployment)) = path.split_once("/openai/deployments/") {
            let api = Api::Classic {
                deployment: deployment.split('/').next().unwrap_or_default().to_owned(),
                version: version.unwrap_or(CLASSIC_VERSION).to_owned(),
            };
            let resource = resource.to_owned();
            return Self { resource, api };
        }
        let has_path = path
            .split_once("://")
            .is_some_and(|(_, rest)| rest.contains('/'));
        if has_path && !path.ends_with("/openai") && !path.ends_with("/openai/v1") {
            let api = Api::Gateway(query.to_owned());
            let resource = path.to_owned();
            return Self { resource, api };
        }
        let azure = Self::new(path);
        match version {
            Some(version) => azure.with_api_version(version),
            None => azure,
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
            Api::Gateway(_) => Api::Gateway(format!("api-version={}", version.into())),
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
        OpenAiChat::new(&self.chat_base())
            .with_provider(Self::PROVIDER)
            .with_quirks(openai_chat::Quirks {
                key_place: openai_chat::KeyPlace::ApiKey,
                ..openai_chat::Quirks::default()
            })
    }

    #[cfg(feature = "openai-chat")]
    fn chat_base(&self) -> String {
        match &self.api {
            Api::V1(version) => self.v1(version.as_deref()),
            Api::Gateway(query) => with_query(&self.resource, query),
            Api::Classic {
                deployment,
                version,
            } => format!(
                "{}/openai/deployments/{}?api-version={}",
                self.resource,
                percent_encoded(deployment),
                percent_encoded(version)
            ),
        }
    }

    /// Makes the wire of Responses.
    #[cfg(feature = "openai-responses")]
    #[must_use]
    pub fn responses(&self) -> OpenAiResponses {
        OpenAiResponses::new(&self.responses_base())
            .with_provider(Self::PROVIDER)
            .with_quirks(openai_responses::Quirks {
                key_place: openai_responses::KeyPlace::ApiKey,
                ..openai_responses::Quirks::default()
            })
    }

    #[cfg(feature = "openai-responses")]
    fn responses_base(&self) -> String {
        match &self.api {
            Api::V1(version) => self.v1(version.as_deref()),
            Api::Gateway(query) => with_query(&self.resource, query),
            Api::Classic { version, .. } => {
                format!(
                    "{}/openai?api-version={}",
                    self.resource,
                    percent_encoded(version)
                )
            }
        }
    }

    fn v1(&self, version: Option<&str>) -> String {
        let base = format!("{}/openai/v1", self.resource);
        match version {
            Some(version) => format!("{base}?api-version={}", percent_encoded(version)),
            None => base,
        }
    }
}

fn with_query(address: &str, query: &str) -> String {
    match query {
        "" => address.to_owned(),
        query => format!("{address}?{query}"),
    }
}

#[cfg(all(test, feature = "openai-chat", feature = "openai-responses"))]
mod tests {
    use super::Azure;

    #[test]
    fn an_address_is_that_of_a_resource_a_deployment_or_a_gateway() {
        for (address, chat, responses) in [
            (
                "https://a.openai.azure.com",
                "https://a.openai.azure.com/openai/v1",
                "https://a.openai.azure.com/openai/v1",
            ),
            (
                "https://a.openai.azure.com/openai/v1/?api-version=preview",
                "https://a.openai.azure.com/openai/v1?api-version=preview",
                "https://a.openai.azure.com/openai/v1?api-version=preview",
            ),
            (
                "https://a.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-06-01",
                "https://a.openai.azure.com/openai/deployments/gpt?api-version=2024-06-01",
                "https://a.openai.azure.com/openai?api-version=2024-06-01",
            ),
            (
                "http://localhost:8080/team/v1?x=y",
                "http://localhost:8080/team/v1?x=y",
                "http://localhost:8080/team/v1?x=y",
            ),
            (
                "http://localhost:8080",
                "http://localhost:8080/openai/v1",
                "http://localhost:8080/openai/v1",
            ),
        ] {
            let azure = Azure::at(address);
            assert_eq!(azure.chat_base(), chat, "{address}");
            assert_eq!(azure.responses_base(), responses, "{address}");
        }
    }
}
