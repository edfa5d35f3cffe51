//! What an agent is: everything that its sessions have at hand.

use std::sync::Arc;

use phi_loop::{Budget, Compactor, Driver, Hooks, Ledger};
use phi_session::Store;
use phi_types::{
    Configuration, Options, Price, Provider, SessionId, Surface, Target, TokenCounter, Tool,
};

use crate::approver::Approver;
use crate::error::SessionError;
use crate::open::Session;
use crate::sub_agent::SubAgent;

/// Everything that sessions have at hand: models, tools, policy, and where their logs are kept.
///
/// A clone shares everything. Changing an agent changes no session that was opened before.
#[derive(Clone)]
pub struct Agent {
    // Wide: everything that sessions have at hand, each for itself.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) configuration: Configuration,
    pub(crate) inherited: Inherited,
    providers: Vec<Arc<dyn Provider>>,
    models: Vec<Target>,
    system: Arc<str>,
    options: Arc<Options>,
    tools: Vec<Arc<dyn Tool>>,
    sub_agents: Vec<SubAgent>,
    compaction: Compaction,
}

/// What a sub-agent has of its parent.
#[derive(Clone)]
pub(crate) struct Inherited {
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) ledger: Option<Ledger>,
    pub(crate) approver: Option<Arc<dyn Approver>>,
}

/// How the views of an agent's loops are made smaller, and how their tokens are counted.
#[derive(Clone, Default)]
struct Compaction {
    compactor: Option<Arc<dyn Compactor>>,
    counter: Option<Arc<dyn TokenCounter>>,
}

impl Agent {
    /// Makes an agent with one model and nothing else.
    #[must_use]
    pub fn new(provider: Arc<dyn Provider>, model: impl Into<Arc<str>>) -> Self {
        Self {
            name: None,
            configuration: Configuration::default(),
            inherited: Inherited {
                store: None,
                hooks: Arc::new(()),
                ledger: None,
                approver: None,
            },
            models: vec![Target::new(provider.identity(), model)],
            providers: vec![provider],
            system: Arc::from(""),
            options: Arc::default(),
            tools: Vec::new(),
            sub_agents: Vec::new(),
            compaction: Compaction::default(),
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

    /// Adds an agent that this one may call as a tool. The model sees it after the tools.
    #[must_use]
    pub fn sub_agent(mut self, sub_agent: SubAgent) -> Self {
        self.sub_agents.push(sub_agent);
        self
    }

    /// Replaces the hooks. Sub-agents have them too.
    #[must_use]
    pub fn hooks(mut self, hooks: impl Hooks + 'static) -> Self {
        self.inherited.hooks = Arc::new(hooks);
        self
    }

    /// Keeps the agent and its sub-agents, in all their sessions, inside one budget. Without a ledger
    /// each session has one of its own, with [`phi_loop::Budget::default`] for its sub-agents.
    #[must_use]
    pub fn ledger(mut self, ledger: Ledger) -> Self {
        self.inherited.ledger = Some(ledger);
        self
    }

    /// Sets who answers when a hook has a sub-agent ask whether a call may run. Without one, such a
    /// call is denied. The agent's own questions come out of its [`crate::Run`].
    #[must_use]
    pub fn approver(mut self, approver: Arc<dyn Approver>) -> Self {
        self.inherited.approver = Some(approver);
        self
    }

    /// Replaces how views are made smaller: after an overflow, before one with
    /// [`Configuration::compact_at`], and where [`Session::prompt_compacted`] asks for it.
    #[must_use]
    pub fn compactor(mut self, compactor: impl Compactor + 'static) -> Self {
        self.compaction.compactor = Some(Arc::new(compactor));
        self
    }

    /// Replaces the estimate of tokens by an exact counter where views are made smaller.
    #[must_use]
    pub fn counter(mut self, counter: impl TokenCounter + 'static) -> Self {
        self.compaction.counter = Some(Arc::new(counter));
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
        self.inherited.store = Some(store);
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
            // The driver knows them best, sub-agents included, and puts them in.
            tools: Arc::from([]),
            models: self.models.iter().cloned().collect(),
            options: Arc::clone(&self.options),
        }
    }

    pub(crate) fn driver(&self) -> Driver {
        let mut tools = self.tools.clone();
        let own = || (!self.sub_agents.is_empty()).then(|| Ledger::new(Budget::default()));
        let ledger = self.inherited.ledger.clone().or_else(own);
        if let Some(ledger) = &ledger {
            let below = self.sub_agents.iter();
            tools.extend(below.map(|it| it.below(&self.inherited, ledger)));
        }
        let mut driver = Driver::with_providers(self.providers.clone())
            .tools(tools)
            .hooks(Arc::clone(&self.inherited.hooks));
        if let Some(ledger) = ledger {
            driver = driver.ledger(ledger);
        }
        let Compaction { compactor, counter } = &self.compaction;
        if let Some(compactor) = compactor {
            driver = driver.compactor(Arc::clone(compactor));
        }
        if let Some(counter) = counter {
            driver = driver.counter(Arc::clone(counter));
        }
        driver
    }

    /// Says whether a price of its models is known.
    pub(crate) fn has_price(&self) -> bool {
        self.models.iter().any(|model| model.price.is_some())
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
