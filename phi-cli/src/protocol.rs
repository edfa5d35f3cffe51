//! The protocols by name: which wire speaks each, and where its key and its service are.

use std::sync::Arc;

use phi::provider::openai_chat::{Dialect, Dialects};
use phi::provider::{
    AnthropicMessages, Azure, BedrockConverse, CohereChat, Credential, Gemini, OllamaChat,
    OpenAiChat, OpenAiResponses, Secret, Vertex, Wire,
};

use crate::failure::Failure;
use crate::model::{host, text_variable};

/// A protocol, or a service that needs an address of its own form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    AnthropicMessages,
    OpenAiChat,
    OpenAiResponses,
    Gemini,
    BedrockConverse,
    OllamaChat,
    CohereV2,
    AzureChat,
    AzureResponses,
    Vertex,
}

impl Protocol {
    const ALL: [Self; 10] = [
        Self::AnthropicMessages,
        Self::OpenAiChat,
        Self::OpenAiResponses,
        Self::Gemini,
        Self::BedrockConverse,
        Self::OllamaChat,
        Self::CohereV2,
        Self::AzureChat,
        Self::AzureResponses,
        Self::Vertex,
    ];

    /// Finds a protocol by its name.
    pub(crate) fn named(name: &str) -> Result<Self, Failure> {
        let found = Self::ALL.into_iter().find(|it| it.name() == name);
        found.ok_or_else(|| {
            let known = Self::known();
            Failure::refused(format!(
                "protocol `{name}` is not known: use one of {known}"
            ))
        })
    }

    /// Returns the names of all, with commas between them.
    pub(crate) fn known() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    fn name(self) -> &'static str {
        match self {
            Self::AnthropicMessages => "anthropic-messages",
            Self::OpenAiChat => "openai-chat",
            Self::OpenAiResponses => "openai-responses",
            Self::Gemini => "gemini",
            Self::BedrockConverse => "bedrock-converse",
            Self::OllamaChat => "ollama-chat",
            Self::CohereV2 => "cohere-v2",
            Self::AzureChat => "azure-chat",
            Self::AzureResponses => "azure-responses",
            Self::Vertex => "vertex",
        }
    }

    /// Returns the variables that may hold the key of the service at an address, the one that is
    /// looked at first first.
    pub(crate) fn key_variables(self, address: Option<&str>) -> Vec<String> {
        let of_service = match self {
            Self::OpenAiChat => address.and_then(dialect).and_then(|it| it.key_variable),
            _ => None,
        };
        match of_service {
            Some(variable) => vec![variable],
            None => self
                .usual_variables()
                .iter()
                .map(|it| (*it).to_owned())
                .collect(),
        }
    }

    fn usual_variables(self) -> &'static [&'static str] {
        match self {
            Self::AnthropicMessages => &["ANTHROPIC_API_KEY"],
            Self::OpenAiChat | Self::OpenAiResponses => &["OPENAI_API_KEY"],
            Self::Gemini => &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
            Self::BedrockConverse => &["AWS_BEARER_TOKEN_BEDROCK"],
            Self::OllamaChat => &["OLLAMA_API_KEY"],
            Self::CohereV2 => &["COHERE_API_KEY", "CO_API_KEY"],
            Self::AzureChat | Self::AzureResponses => &["AZURE_OPENAI_API_KEY"],
            Self::Vertex => &["GOOGLE_OAUTH_ACCESS_TOKEN", "VERTEX_API_KEY"],
        }
    }

    /// Makes of a key what the service takes: Vertex AI takes access tokens in a project.
    pub(crate) fn credential(self, key: Credential, variable: &str) -> Credential {
        match key {
            Credential::Fixed(Secret::Key(key))
                if self == Self::Vertex && variable != "VERTEX_API_KEY" =>
            {
                Credential::Fixed(Secret::Token(key))
            }
            key => key,
        }
    }

    /// Says whether keys of AWS may sign the requests.
    pub(crate) fn signs_requests(self) -> bool {
        self == Self::BedrockConverse
    }

    /// Says whether a service of this protocol is asked without a key unless there is one.
    pub(crate) fn needs_no_key(self) -> bool {
        self == Self::OllamaChat
    }

    /// Returns the variable that may hold the address of the service.
    pub(crate) fn base_url_variable(self) -> Option<&'static str> {
        match self {
            Self::OpenAiChat | Self::OpenAiResponses => Some("OPENAI_BASE_URL"),
            Self::AzureChat | Self::AzureResponses => Some("AZURE_OPENAI_BASE_URL"),
            Self::OllamaChat => Some("OLLAMA_HOST"),
            Self::AnthropicMessages
            | Self::Gemini
            | Self::BedrockConverse
            | Self::CohereV2
            | Self::Vertex => None,
        }
    }

    /// Makes an address of what the variable holds: Ollama is used to a host alone, with the port
    /// that its server has by custom.
    pub(crate) fn address(self, value: String) -> String {
        if self != Self::OllamaChat || value.contains("://") {
            return value;
        }
        let host = value.trim_end_matches('/');
        // What a server listens on is no place to ask.
        let host = match host.split_once(':') {
            Some(("0.0.0.0" | "", port)) => format!("127.0.0.1:{port}"),
            None if host == "0.0.0.0" => "127.0.0.1:11434".to_owned(),
            Some(_) => host.to_owned(),
            None => format!("{host}:11434"),
        };
        format!("http://{host}")
    }

    /// Returns the codec that reads answers, for which the address does not matter.
    pub(crate) fn reader(self) -> Arc<dyn Wire> {
        match self {
            Self::AnthropicMessages => Arc::new(AnthropicMessages::new()),
            Self::OpenAiChat => Arc::new(OpenAiChat::new("https://api.openai.com/v1")),
            Self::OpenAiResponses => Arc::new(OpenAiResponses::new("https://api.openai.com/v1")),
            Self::Gemini => Arc::new(Gemini::new()),
            Self::BedrockConverse => Arc::new(BedrockConverse::new("us-east-1")),
            Self::OllamaChat => Arc::new(OllamaChat::new("http://localhost:11434")),
            Self::CohereV2 => Arc::new(CohereChat::new()),
            Self::AzureChat => Arc::new(Azure::new("https://azure.example.com").chat()),
            Self::AzureResponses => Arc::new(Azure::new("https://azure.example.com").responses()),
            Self::Vertex => Arc::new(Vertex::express().gemini()),
        }
    }

    /// Returns the codec for a model of a service: the one at the address, or the service itself.
    pub(crate) fn wire(self, address: Option<&str>, model: &str) -> Result<Arc<dyn Wire>, Failure> {
        let service = address.and_then(host);
        // A service behind an address of its own is another service, unless it is the one itself.
        let other = |own: &str| service.filter(|host| *host != own);
        Ok(match self {
            Self::AnthropicMessages => {
                let wire = given(
                    AnthropicMessages::new(),
                    address,
                    AnthropicMessages::with_base_url,
                );
                let provider = other("api.anthropic.com");
                Arc::new(given(wire, provider, AnthropicMessages::with_provider))
            }
            Self::OpenAiChat => {
                let address = address.unwrap_or("https://api.openai.com/v1");
                match (dialect(address), service) {
                    (Some(known), _) => Arc::new(OpenAiChat::dialect(&Dialect {
                        base_url: address.to_owned(),
                        ..known
                    })),
                    (None, service) => {
                        Arc::new(OpenAiChat::compatible(address, service.unwrap_or_default()))
                    }
                }
            }
            Self::OpenAiResponses => match (address, other("api.openai.com")) {
                (Some(url), Some(service)) => Arc::new(OpenAiResponses::compatible(url, service)),
                (Some(url), None) => Arc::new(OpenAiResponses::new(url)),
                (None, _) => self.reader(),
            },
            Self::Gemini => Arc::new(given(Gemini::new(), address, Gemini::with_base_url)),
            Self::BedrockConverse => {
                let region = match text_variable("AWS_REGION")? {
                    Some(region) => Some(region),
                    None => text_variable("AWS_DEFAULT_REGION")?,
                };
                let region = region.unwrap_or_else(|| "us-east-1".to_owned());
                let wire = BedrockConverse::new(region);
                Arc::new(given(wire, address, BedrockConverse::with_base_url))
            }
            Self::OllamaChat => {
                Arc::new(OllamaChat::new(address.unwrap_or("http://localhost:11434")))
            }
            Self::CohereV2 => {
                Arc::new(given(CohereChat::new(), address, CohereChat::with_base_url))
            }
            Self::AzureChat => Arc::new(Azure::at(self.needed(address)?).chat()),
            Self::AzureResponses => Arc::new(Azure::at(self.needed(address)?).responses()),
            Self::Vertex => {
                let vertex = given(vertex()?, address, Vertex::with_base_url);
                if model.starts_with("claude") {
                    Arc::new(vertex.claude())
                } else {
                    Arc::new(vertex.gemini())
                }
            }
        })
    }

    fn needed(self, address: Option<&str>) -> Result<&str, Failure> {
        address.ok_or_else(|| {
            let name = self.name();
            Failure::refused(format!(
                "{name} has no address of its own: add --base-url with that of your resource, as \
                 https://NAME.openai.azure.com/openai/v1, or set AZURE_OPENAI_BASE_URL"
            ))
        })
    }
}

/// Finds what is known of the service at an address.
fn dialect(address: &str) -> Option<Dialect> {
    let wanted = host(address)?;
    let known = Dialects::builtin();
    let mut all = known.iter();
    let found = all.find(|it| host(&it.base_url).is_some_and(|it| it.eq_ignore_ascii_case(wanted)));
    // A server on this machine may be any of those that usually are there.
    found.filter(|it| it.key_variable.is_some()).cloned()
}

/// Says where Vertex AI is asked: in a project, or in express mode, where the key names it.
fn vertex() -> Result<Vertex, Failure> {
    let location = text_variable("GOOGLE_CLOUD_LOCATION")?;
    Ok(match text_variable("GOOGLE_CLOUD_PROJECT")? {
        Some(project) => Vertex::new(project, location.unwrap_or_else(|| "global".to_owned())),
        None => Vertex::express(),
    })
}

/// Sets what is given and leaves the rest.
fn given<W>(wire: W, value: Option<&str>, set: impl FnOnce(W, String) -> W) -> W {
    match value {
        Some(value) => set(wire, value.to_owned()),
        None => wire,
    }
}

#[cfg(test)]
mod tests {
    use super::Protocol;

    #[test]
    fn ollama_may_be_named_by_its_host_alone() {
        for (value, address) in [
            ("127.0.0.1:9", "http://127.0.0.1:9"),
            ("box", "http://box:11434"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            ("0.0.0.0:8", "http://127.0.0.1:8"),
            (":8", "http://127.0.0.1:8"),
            ("https://box/", "https://box/"),
        ] {
            assert_eq!(Protocol::OllamaChat.address(value.to_owned()), address);
        }
        let other = "127.0.0.1:9".to_owned();
        assert_eq!(Protocol::OpenAiChat.address(other.clone()), other);
    }
}
