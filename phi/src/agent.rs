//! What an agent is: everything that its sessions have at hand.

use std::sync::Arc;

use phi_loop::{Driver, Hooks};
use phi_session::Store;
use phi_types::{Configuration, Options, Price, Provider, SessionId, Surface, Target, Tool};

use crate::error::SessionError;
use crate::open::Session;

/// Everything that sessions have at hand: models, tools, policy, and where their logs are kept.
///
/// A clone shares everything. Changing an agent changes no session that was opened before.
#[derive(Clone)]
pub struct Agent {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) configuration: Configuration,
    pub(crate) store: Option<Arc<dyn Store>>,
    providers: Vec<Arc<dyn Provider>>,
    models: Vec<Target>,
    system: Arc<str>,
    options: Arc<Options>,
    tools: Vec<Arc<dyn Tool>>,
    pub(crate) hooks: Arc<dyn Hooks>,
}

impl Agent {
    /// Makes an agent with one model and nothing else.
    #[must_use]
    pub fn new(provider: Arc<dyn Provider>, model: impl Into<Arc<str>>) -> Self {
        Self {
            name: None,
            configuration: Configuration::default(),
            store: None,
            models: vec![Target::new(provider.identity(), model)],
            providers: vec![provider],
            system: Arc::from(""),
            options: Arc::default(),
            tools: Vec::new(),
            hooks: Arc::new(()),
        }
    }

    /// Names the agent, for the logs of its sessions.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Replaces the system prompt.
    #[must_use]
    pub fn system(mut self, system: impl Into<Arc<str>>) -> Self {
        self.system = system.into();
        self
    }

    /// Adds a model that is tried when those before it fail.
    ///
    /// Two providers of one protocol and service name are one: the first of them is used.
    #[must_use]
    pub fn fallback(mut self, provider: Arc<dyn Provider>, model: impl Into<Arc<str>>) -> Self {
        self.models.push(Target::new(provider.identity(), model));
        self.providers.push(provider);
        self
    }

    /// Says what the model that was added last costs, so that a cost limit counts it.
    #[must_use]
    pub fn price(mut self, price: Price) -> Self {
        if let Some(model) = self.models.last_mut() {
            model.price = Some(price);
        }
        self
    }

    /// Says how many tokens the model that was added last reads and writes at most, so that an
    /// answer without room is known as an overflow.
    #[must_use]
    pub fn window(mut self, tokens: u64) -> Self {
        if let Some(model) = self.models.last_mut() {
            model.window_tokens = Some(tokens);
        }
        self
    }

    /// Replaces how the models shall answer.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = Arc::new(options);
        self
    }

    /// Replaces the tools. The model sees them in this order.
    #[must_use]
    pub fn tools(mut self, tools: Vec<Arc<dyn Tool>>) -> Self {
        self.tools = tools;
        self
    }

    /// Adds a tool.
    #[must_use]
    pub fn tool(mut self, tool: impl Tool + 'static) -> Self {
        self.tools.push(Arc::new(tool));
        self
    }

    /// Replaces the hooks.
    #[must_use]
    pub fn hooks(mut self, hooks: impl Hooks + 'static) -> Self {
        self.hooks = Arc::new(hooks);
        self
    }

    /// Replaces the policy that its loops run under: limits, retry, how tools run.
    #[must_use]
    pub fn configuration(mut self, configuration: Configuration) -> Self {
        self.configuration = configuration;
        self
    }

    /// Keeps the logs of its sessions in a store. Without one, sessions end with their values.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Opens a session: one that the store has goes on, else a new one begins.
    ///
    /// The session's lock is held until the value is dropped.
    ///
    /// **Cancel safety:** a dropped call may have created the session, which then is empty.
    ///
    /// # Errors
    /// [`SessionError::Store`] where the session cannot be opened, read or created.
    pub async fn session(&self, id: SessionId) -> Result<Session, SessionError> {
        Session::open(self, id).await
    }

    /// Returns what its loops show a model besides the conversation.
    pub(crate) fn surface(&self) -> Surface {
        Surface {
            system: Arc::clone(&self.system),
            tools: self.tools.iter().map(|tool| tool.spec().clone()).collect(),
            models: self.models.iter().cloned().collect(),
            options: Arc::clone(&self.options),
        }
    }

    pub(crate) fn driver(&self) -> Driver {
        Driver::with_providers(self.providers.clone())
            .tools(self.tools.clone())
            .hooks(Arc::clone(&self.hooks))
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("name", &self.name)
            .field("models", &self.models)
            .field("tools", &self.tools)
            .finish_non_exhaustive()
    }
}
