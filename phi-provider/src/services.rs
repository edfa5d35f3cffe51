//! The services that this crate speaks to, as providers of a registry.

use std::sync::Arc;

use crate::http_credential::{Credential, Environment};
use crate::http_provider::HttpProvider;
use crate::registry::Registry;
use crate::transport::Transport;
use crate::wire::Wire;

/// What the providers of services share.
#[derive(Clone)]
pub struct Services {
    transport: Arc<dyn Transport>,
    environment: Environment,
}

impl Services {
    /// Takes keys from an environment, by the variables that are custom. A key is read when its
    /// service is first asked.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>, environment: Environment) -> Self {
        Self {
            transport,
            environment,
        }
    }
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

impl Registry {
    /// Adds the services whose protocols are built in:
    ///
    /// | name | protocol | key |
    /// |---|---|---|
    /// | `anthropic` | Anthropic Messages | `ANTHROPIC_API_KEY` |
    /// | `bedrock` | Converse of AWS Bedrock, in `AWS_REGION` or us-east-1 | see [`Environment::aws`] |
    /// | `cohere` | Cohere Chat | `COHERE_API_KEY` |
    /// | `google` | Gemini | `GEMINI_API_KEY` |
    /// | `ollama` | Ollama, at `OLLAMA_HOST` or on this machine | none |
    /// | `openai-responses` | OpenAI Responses | `OPENAI_API_KEY` |
    /// | `openai`, `mistral` and every other [dialect](crate::openai_chat::Dialects) | OpenAI Chat Completions | that of the dialect |
    ///
    /// The providers refuse what the models of the registry cannot do.
    ///
    /// ```
    /// # #[cfg(all(feature = "http", feature = "anthropic"))] {
    /// use std::sync::Arc;
    /// use phi_provider::models::Models;
    /// use phi_provider::registry::{Registry, Services};
    /// use phi_provider::{Environment, HttpOptions, HttpTransport};
    ///
    /// let transport = Arc::new(HttpTransport::new(HttpOptions::default())?);
    /// let services = Services::new(transport, Environment::process());
    /// let registry = Registry::new(Models::builtin()).with_services(&services);
    /// let resolved = registry.resolve("anthropic:claude-sonnet-4-5")?;
    /// assert_eq!(resolved.target.window_tokens, Some(200_000));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_services(self, services: &Services) -> Self {
        let mut registry = self;
        for (name, wire, credential) in services.all() {
            registry = registry.with_service(services, name, wire, credential);
        }
        registry
    }

    /// Adds a service with a wire and a credential of one's own.
    #[must_use]
    pub fn with_service(
        self,
        services: &Services,
        name: impl Into<String>,
        wire: Arc<dyn Wire>,
        credential: Credential,
    ) -> Self {
        let transport = Arc::clone(&services.transport);
        let provider = HttpProvider::new(wire, transport, credential);
        let provider = provider.with_models(Arc::clone(self.models()));
        self.with_provider(name, Arc::new(provider))
    }
}

type Service = (String, Arc<dyn Wire>, Credential);

impl Services {
    #[cfg_attr(
        not(feature = "wires"),
        expect(unused_mut, reason = "without a wire there is nothing to add")
    )]
    fn all(&self) -> Vec<Service> {
        let mut all: Vec<Service> = Vec::new();
        #[cfg(feature = "wires")]
        let mut add = |name: &str, wire: Arc<dyn Wire>, credential| {
            all.push((name.to_owned(), wire, credential));
        };
        #[cfg(feature = "anthropic")]
        add(
            "anthropic",
            Arc::new(crate::AnthropicMessages::new()),
            self.environment.key("ANTHROPIC_API_KEY"),
        );
        #[cfg(feature = "bedrock")]
        add(
            "bedrock",
            Arc::new(crate::BedrockConverse::new(self.region())),
            self.environment.aws(),
        );
        #[cfg(feature = "cohere")]
        add(
            "cohere",
            Arc::new(crate::CohereChat::new()),
            self.environment.key("COHERE_API_KEY"),
        );
        #[cfg(feature = "gemini")]
        add(
            "google",
            Arc::new(crate::gemini::Gemini::new()),
            self.environment.key("GEMINI_API_KEY"),
        );
        #[cfg(feature = "ollama")]
        add(
            "ollama",
            Arc::new(crate::OllamaChat::new(self.ollama())),
            Credential::Anonymous,
        );
        #[cfg(feature = "openai-responses")]
        add(
            "openai-responses",
            Arc::new(crate::openai_responses::OpenAiResponses::new(
                "https://api.openai.com/v1",
            )),
            self.environment.key("OPENAI_API_KEY"),
        );
        #[cfg(feature = "openai-chat")]
        for dialect in crate::openai_chat::Dialects::builtin().iter() {
            let wire = crate::openai_chat::OpenAiChat::dialect(dialect);
            let credential = match &dialect.key_variable {
                Some(variable) => self.environment.key(variable),
                None => Credential::Anonymous,
            };
            add(&dialect.name, Arc::new(wire), credential);
        }
        all
    }

    #[cfg(feature = "bedrock")]
    fn region(&self) -> String {
        let names = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let region = names.iter().find_map(|name| self.environment.value(name));
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        region.trim().to_owned()
    }

    /// Ollama: `OLLAMA_HOST` is an address, or a host with its port.
    #[cfg(feature = "ollama")]
    fn ollama(&self) -> String {
        match self.environment.value("OLLAMA_HOST") {
            Some(host) if host.contains("://") => host.trim().to_owned(),
            Some(host) => format!("http://{}", host.trim()),
            None => "http://localhost:11434".to_owned(),
        }
    }
}
