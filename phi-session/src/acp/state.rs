//! What a loop has come to, as far as session updates depend on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use phi_types::{
    AssistantMessage, AssistantPart, LoopId, ModelStarted, Price, SurfaceChanged, Target, ToolCall,
    ToolKind, ToolSpec, Usage,
};
use serde_json::Value;

/// What a loop has come to.
#[derive(Debug, Clone)]
pub(super) struct State {
    // Wide: each update reads what it needs of a loop, and no two of these facts belong together.
    pub(super) tools: Arc<[ToolSpec]>,
    pub(super) models: Arc<[Target]>,
    /// The model that is called: its place in the list.
    pub(super) target: u32,
    /// The `seq` of the model call that is under way or was answered.
    pub(super) model: u64,
    pub(super) shown: Shown,
    /// The calls of the answer that were told.
    pub(super) told: BTreeSet<u32>,
    /// The calls that run, by the `seq` of their start.
    pub(super) running: BTreeMap<u64, Running>,
    /// The calls that started before their message was there.
    pub(super) early: Vec<Arc<ToolCall>>,
    /// The `seq` of the compaction that is under way.
    pub(super) compaction: Option<u64>,
    /// What the newest answer took.
    pub(super) usage: Usage,
}

/// A call that runs.
#[derive(Debug, Clone)]
pub(super) struct Running {
    /// What it is called towards a client.
    pub(super) id: String,
    /// The call as it runs.
    pub(super) call: Arc<ToolCall>,
}

/// How many bytes of the answer were told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown {
    pub(super) text: usize,
    pub(super) thinking: usize,
}

/// What a session has cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    usd: f64,
    has_unknown: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            tools: Arc::from([]),
            models: Arc::from([]),
            target: 0,
            model: 0,
            shown: Shown::default(),
            told: BTreeSet::new(),
            running: BTreeMap::new(),
            early: Vec::new(),
            compaction: None,
            usage: Usage::default(),
        }
    }
}

impl State {
    pub(super) fn surface(&mut self, changed: &SurfaceChanged) -> Option<Value> {
        if let Some(tools) = &changed.tools {
            self.tools = Arc::clone(tools);
        }
        if let Some(models) = &changed.models {
            self.models = Arc::clone(models);
        }
        None
    }

    pub(super) fn call_model(&mut self, seq: u64, started: &ModelStarted) -> Option<Value> {
        self.target = started.target;
        self.begin(seq);
        None
    }

    /// Forgets the model call before.
    fn begin(&mut self, seq: u64) {
        self.model = seq;
        self.shown = Shown::default();
        self.told.clear();
        self.early.clear();
    }

    /// Counts what is shown of a model call; `None` for one that is over.
    pub(super) fn show(&mut self, seq: u64) -> Option<&mut Shown> {
        if seq > self.model {
            self.begin(seq);
        }
        (seq == self.model).then_some(&mut self.shown)
    }

    /// Says what of an answer was not shown as it came.
    pub(super) fn missing(&self, message: &AssistantMessage) -> Missing {
        let mut whole = Shown::default();
        for part in &message.parts {
            match part {
                AssistantPart::Text(part) => whole.text += part.text.len(),
                AssistantPart::Thinking(part) => whole.thinking += part.text.len(),
                AssistantPart::ToolCall(_) | AssistantPart::Opaque(_) => {}
            }
        }
        Missing {
            text: whole.text != self.shown.text,
            thinking: whole.thinking != self.shown.thinking,
        }
    }

    /// Says whether a call of an answer started before the answer was there, and so was told.
    pub(super) fn was_early(&mut self, call: &ToolCall) -> bool {
        let is_same = |it: &Arc<ToolCall>| it.name == call.name && it.arguments == call.arguments;
        let place = self.early.iter().position(is_same);
        place.map(|place| self.early.remove(place)).is_some()
    }

    pub(super) fn call_id(&self, loop_id: &LoopId, index: u32) -> String {
        format!("{loop_id}/{}/{index}", self.model)
    }

    pub(super) fn kind(&self, tool: &str) -> ToolKind {
        let spec = self.tools.iter().find(|spec| *spec.name == *tool);
        spec.map_or(ToolKind::Other, |spec| spec.kind)
    }

    pub(super) fn target(&self, target: u32) -> Option<&Target> {
        self.models.get(usize::try_from(target).ok()?)
    }

    pub(super) fn price(&self, target: u32) -> Option<Price> {
        self.target(target)?.price
    }
}

/// What of an answer was not shown as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Missing {
    pub(super) text: bool,
    pub(super) thinking: bool,
}

impl Spent {
    pub(super) fn add(&mut self, price: Option<Price>, usage: &Usage) {
        match price {
            Some(price) => self.usd += price.cost_usd(usage),
            None => self.has_unknown |= usage.total_tokens() > 0,
        }
    }

    /// Returns the cost, where every price is known.
    pub(super) fn known(&self) -> Option<f64> {
        (!self.has_unknown).then_some(self.usd)
    }
}
