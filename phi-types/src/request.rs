//! What a model is asked: the surface that a loop shows it, the view, and the options.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use crate::facts::SurfaceChanged;
use crate::history::{Entry, History};
use crate::id::SessionId;
use crate::json::RawJson;
use crate::message::{Origin, UserMessage};
use crate::provider::Identity;
use crate::tool::ToolSpec;
use crate::usage::Price;

/// One request to a model. A clone shares everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The session, for caches and logs of the provider; never a credential.
    pub session: SessionId,
    /// The model's name as the provider knows it.
    pub model: Arc<str>,
    /// The system prompt; empty for none.
    pub system: Arc<str>,
    /// The tools that the model may call, in a stable order.
    pub tools: Arc<[ToolSpec]>,
    /// The conversation.
    pub view: History,
    /// Everything else.
    pub options: Arc<Options>,
}

/// How a model shall answer. `None` leaves the choice to the provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// The most output tokens, reasoning included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens_max: Option<u64>,
    /// The sampling temperature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The nucleus sampling mass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Texts that end the output.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop_sequences: Vec<String>,
    /// Whether and which tools are called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// Whether the model may ask for several calls in one turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    /// How much the model reasons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking>,
    /// The form that the answer must have; the text of the answer then is JSON. `None` asks for no
    /// form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputSchema>,
    /// Fields of the provider's own, as an object that is merged into the body last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<RawJson>,
}

/// Whether and which tools a model calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// No tool.
    None,
    /// At least one tool.
    Required,
    /// This tool.
    Tool(String),
}

/// The form that an answer must have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputSchema {
    /// What the form is called: letters, digits, `_` and `-`, at most 64 of them.
    pub name: String,
    /// The JSON Schema of the answer, an object.
    pub schema: RawJson,
}

/// How much a model reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thinking {
    /// Not at all.
    Off,
    /// As much as it finds right.
    Adaptive,
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// At most this many tokens.
    BudgetTokens(u64),
}

/// A model at a provider, in the order in which a loop tries them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The wire protocol, as `anthropic-messages`: see [`crate::Identity`].
    pub protocol: Arc<str>,
    /// The service, as `anthropic`.
    pub provider: Arc<str>,
    /// The model's name as the provider knows it.
    pub model: Arc<str>,
    /// What it costs; without it, a cost limit cannot count this model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// The context window in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_tokens: Option<u64>,
}

impl Target {
    /// Makes a target without price and window.
    #[must_use]
    pub fn new(identity: Identity<'_>, model: impl Into<Arc<str>>) -> Self {
        Self {
            protocol: Arc::from(identity.protocol),
            provider: Arc::from(identity.provider),
            model: model.into(),
            price: None,
            window_tokens: None,
        }
    }

    /// Returns the origin of messages that this target writes.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin {
            protocol: Arc::clone(&self.protocol),
            provider: Arc::clone(&self.provider),
            model: Arc::clone(&self.model),
            response_id: None,
            response_model: None,
        }
    }
}

/// What a loop shows a model besides the conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Surface {
    /// The system prompt; empty for none.
    pub system: Arc<str>,
    /// The tools, in a stable order.
    pub tools: Arc<[ToolSpec]>,
    /// The models: the first one, then those to fall back to.
    pub models: Arc<[Target]>,
    /// The options.
    pub options: Arc<Options>,
}

impl Surface {
    /// Takes a change over.
    pub fn change(&mut self, changed: &SurfaceChanged) {
        if let Some(system) = &changed.system {
            self.system = Arc::clone(system);
        }
        if let Some(tools) = &changed.tools {
            self.tools = Arc::clone(tools);
        }
        if let Some(models) = &changed.models {
            self.models = Arc::clone(models);
        }
        if let Some(options) = &changed.options {
            self.options = Arc::clone(options);
        }
    }

    /// States what must change to get from this surface to another; `None` if nothing does.
    #[must_use]
    pub fn difference(&self, new: &Self) -> Option<SurfaceChanged> {
        let changed = SurfaceChanged {
            system: (self.system != new.system).then(|| Arc::clone(&new.system)),
            tools: (self.tools != new.tools).then(|| Arc::clone(&new.tools)),
            models: (self.models != new.models).then(|| Arc::clone(&new.models)),
            options: (self.options != new.options).then(|| Arc::clone(&new.options)),
        };
        (changed != SurfaceChanged::default()).then_some(changed)
    }
}

impl Default for Surface {
    fn default() -> Self {
        // Every loop begins with one, and most keep its options.
        static EMPTY: LazyLock<Surface> = LazyLock::new(|| Surface {
            system: Arc::from(""),
            tools: Arc::from([]),
            models: Arc::from([]),
            options: Arc::default(),
        });
        EMPTY.clone()
    }
}

/// What a hook changes in one model call, recorded in its announcement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelPatch {
    /// Another system prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<Arc<str>>,
    /// The names of the tools that stay; the order is the surface's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Arc<str>>>,
    /// Other options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Arc<Options>>,
    /// Messages that follow the view in this call alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Arc<UserMessage>>,
}

impl ModelPatch {
    /// Changes a request as the patch says.
    pub fn apply(&self, request: &mut Request) {
        if let Some(system) = &self.system {
            request.system = Arc::clone(system);
        }
        if let Some(tools) = self.tools_of(&request.tools) {
            request.tools = tools;
        }
        if let Some(options) = &self.options {
            request.options = Arc::clone(options);
        }
        self.extend(&mut request.view);
    }

    /// Changes a surface and a view in the same way.
    pub(crate) fn change(&self, surface: &mut Surface, view: &mut History) {
        surface.change(&SurfaceChanged {
            system: self.system.clone(),
            tools: self.tools_of(&surface.tools),
            models: None,
            options: self.options.clone(),
        });
        self.extend(view);
    }

    fn tools_of(&self, tools: &[ToolSpec]) -> Option<Arc<[ToolSpec]>> {
        let names = self.tools.as_ref()?;
        let stay = tools.iter().filter(|spec| names.contains(&spec.name));
        Some(stay.cloned().collect())
    }

    fn extend(&self, view: &mut History) {
        for message in &self.messages {
            view.push(Entry::User(Arc::clone(message)));
        }
    }

    /// Adds a later patch: it replaces what it states, messages add up, and a tool stays only where
    /// both let it.
    pub fn merge(&mut self, later: Self) {
        self.system = later.system.or_else(|| self.system.take());
        self.tools = match (self.tools.take(), later.tools) {
            (Some(mut mine), Some(theirs)) => {
                mine.retain(|name| theirs.contains(name));
                Some(mine)
            }
            (mine, theirs) => mine.or(theirs),
        };
        self.options = later.options.or_else(|| self.options.take());
        self.messages.extend(later.messages);
    }

    /// Says whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.system.is_none()
            && self.tools.is_none()
            && self.options.is_none()
            && self.messages.is_empty()
    }
}
