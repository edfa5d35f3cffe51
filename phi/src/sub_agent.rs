//! An agent as a tool: a session of its own for each call, inside the limits of its parent.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use phi_loop::{Hooks, Ledger, Place};
use phi_types::{
    EffectClass, EffectId, InvalidArguments, RawJson, SessionId, SpawnedBy, Tool, ToolContext,
    ToolKind, ToolResult, ToolSpec, digest_of,
};

use crate::agent::{Agent, Inherited};
use crate::spawned::{self, Call, Link, Task};

/// An agent that another one may call as a tool, with the task as the one argument.
///
/// Each call is a loop in a session of its own, in the store of the parent. The log of the session
/// names the call that spawned it, and the end of the call names the session. What the sub-agent spends
/// counts for the loop that called it.
///
/// | what | whose |
/// |---|---|
/// | model, system prompt, tools, configuration with its limits | its own |
/// | store, ledger, approver | the parent's, in place of its own |
/// | hooks | the parent's first, then its own; the context names its session |
/// | cancellation | the parent's: its loop ends as cancelled before the parent's run does |
///
/// The parent's `ToolPolicy` limits how long a call may take: ten minutes unless said otherwise. A
/// sub-agent that may not start, fails, reaches a limit or is refused gives a failed result that says
/// so. A resume of the parent finds the session again and goes on with it.
#[derive(Debug, Clone)]
pub struct SubAgent {
    spec: ToolSpec,
    agent: Agent,
}

impl SubAgent {
    /// Makes a tool of an agent. The description tells the model what to call it for.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, description: impl Into<Arc<str>>, agent: Agent) -> Self {
        let schema = r#"{"type":"object","properties":{"task":{"type":"string","description":"What to do, with everything that must be known: nothing of this conversation is shown."}},"required":["task"],"additionalProperties":false}"#;
        let spec = ToolSpec {
            name: name.into(),
            description: description.into(),
            input_schema: RawJson::parse(schema).expect("the schema above is JSON"),
            kind: ToolKind::Other,
            effect_class: EffectClass::Idempotent,
        };
        Self { spec, agent }
    }

    /// Puts the agent below its parent.
    pub(crate) fn below(&self, parent: &Inherited, ledger: &Ledger) -> Arc<dyn Tool> {
        let mut agent = self.agent.clone();
        let own = std::mem::replace(&mut agent.inherited, parent.clone());
        let hooks: Vec<Arc<dyn Hooks>> = vec![Arc::clone(&parent.hooks), own.hooks];
        agent.inherited.hooks = Arc::new(hooks);
        if agent.name.is_none() {
            agent.name = Some(Arc::clone(&self.spec.name));
        }
        Arc::new(Below {
            spec: self.spec.clone(),
            agent,
            ledger: ledger.clone(),
        })
    }
}

/// A sub-agent of a certain parent.
struct Below {
    spec: ToolSpec,
    agent: Agent,
    ledger: Ledger,
}

#[async_trait]
impl Tool for Below {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn validate(&self, arguments: &RawJson) -> Result<(), InvalidArguments> {
        read(arguments).map(drop).map_err(InvalidArguments)
    }

    async fn call(&self, arguments: RawJson, context: ToolContext) -> ToolResult {
        let task = match read(&arguments) {
            Ok(task) => task,
            Err(invalid) => return ToolResult::error(invalid),
        };
        let place: Place = match self.ledger.spawn() {
            Ok(place) => place,
            Err(limit) => {
                return ToolResult::error(format!(
                    "The sub-agent was not started: the limit is reached, {}. Do the task without \
                     it.",
                    limit.as_str()
                ));
            }
        };
        let session = match child_id(&context.session, &context.effect) {
            Ok(session) => session,
            Err(invalid) => return ToolResult::error(invalid),
        };
        let mut agent = self.agent.clone();
        agent.inherited.ledger = Some(place.ledger().clone());
        let spawned_by = SpawnedBy {
            session: context.session.clone(),
            effect: context.effect.clone(),
        };
        let link = Arc::new(Link::new(context));
        let task = Task {
            agent,
            session,
            spawned_by,
            text: task,
        };
        let work = spawned::run(task, Arc::clone(&link));
        let work = async move {
            let result = work.await;
            drop(place);
            result
        };
        Call::new(Box::pin(work), link).await
    }
}

fn read(arguments: &RawJson) -> Result<String, String> {
    let wrong = |what: &str| format!("give the task as a text, {{\"task\":\"…\"}}: {what}");
    let given: BTreeMap<String, RawJson> = arguments
        .read()
        .map_err(|error| wrong(&error.to_string()))?;
    if let Some(other) = given.keys().find(|key| *key != "task") {
        return Err(wrong(&format!("there is no argument {other:?}")));
    }
    let task = given.get("task").ok_or_else(|| wrong("it is missing"))?;
    let task: String = task.read().map_err(|error| wrong(&error.to_string()))?;
    if task.trim().is_empty() {
        return Err(wrong("it is empty"));
    }
    Ok(task)
}

/// Names the session of a call: the same name whenever the call runs again.
fn child_id(parent: &SessionId, effect: &EffectId) -> Result<SessionId, String> {
    let hash = digest_of(0, &(parent, effect));
    let parent: String = parent.as_str().chars().take(90).collect();
    let id = format!("{parent}_{}_{hash:016x}", effect.seq);
    SessionId::new(&id).map_err(|invalid| format!("The sub-agent has no name: {invalid}."))
}
