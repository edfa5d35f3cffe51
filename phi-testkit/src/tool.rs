//! Tools that do as a test tells them, and count.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use phi_types::{
    EffectClass, EffectId, ProgressSink, RawJson, Tool, ToolContext, ToolKind, ToolProgress,
    ToolResult, ToolSpec,
};

use crate::gate::Gate;
use crate::watch::Watch;

/// A tool that does as a test tells it, and counts. A clone is the same tool.
#[derive(Clone)]
pub struct ScriptedTool {
    spec: Arc<ToolSpec>,
    act: Arc<dyn Fn(RawJson, ToolContext) -> BoxFuture<'static, ToolResult> + Send + Sync>,
    counts: Arc<Watch<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    calls: Vec<(EffectId, RawJson)>,
    running: usize,
    running_max: usize,
    returned: usize,
    dropped: usize,
}

impl ScriptedTool {
    /// Makes a tool of an async function. It takes any object and is pure unless told otherwise.
    pub fn new<F>(
        name: &str,
        act: impl Fn(RawJson, ToolContext) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ToolResult> + Send + 'static,
    {
        let input_schema = RawJson::parse("{\"type\":\"object\"}");
        let spec = ToolSpec {
            name: Arc::from(name),
            description: Arc::from("A tool of a test."),
            input_schema: input_schema.unwrap_or_else(|_| RawJson::empty_object()),
            kind: ToolKind::Other,
            effect_class: EffectClass::Pure,
        };
        Self {
            spec: Arc::new(spec),
            act: Arc::new(move |arguments, context| act(arguments, context).boxed()),
            counts: Arc::default(),
        }
    }

    /// Makes a tool that returns a text at once.
    #[must_use]
    pub fn returning(name: &str, text: &str) -> Self {
        Self::fixed(name, ToolResult::text(text))
    }

    /// Makes a tool that fails at once, which is a result that the model reads.
    #[must_use]
    pub fn failing(name: &str, text: &str) -> Self {
        Self::fixed(name, ToolResult::error(text))
    }

    /// Makes a tool that never returns.
    #[must_use]
    pub fn hanging(name: &str) -> Self {
        Self::new(name, |_, _| std::future::pending())
    }

    /// Makes a tool that returns a text when the gate is open.
    #[must_use]
    pub fn gated(name: &str, gate: &Gate, text: &str) -> Self {
        let (gate, text) = (gate.clone(), text.to_owned());
        Self::new(name, move |_, _| {
            let (passed, text) = (gate.passed(), text.clone());
            async move {
                passed.await;
                ToolResult::text(text)
            }
        })
    }

    /// Makes a tool that panics when it runs.
    #[must_use]
    pub fn panicking(name: &str, message: &'static str) -> Self {
        #[expect(clippy::panic, reason = "the panic is what the test asked for")]
        Self::new(
            name,
            move |_, _| async move { std::panic::panic_any(message) },
        )
    }

    /// Sets what running the tool a second time means.
    #[must_use]
    pub fn with_effect_class(mut self, effect_class: EffectClass) -> Self {
        Arc::make_mut(&mut self.spec).effect_class = effect_class;
        self
    }

    /// Sets the schema of the arguments, which only the model and the loop read.
    #[must_use]
    pub fn with_schema(mut self, input_schema: RawJson) -> Self {
        Arc::make_mut(&mut self.spec).input_schema = input_schema;
        self
    }

    /// Returns the calls that started: the effect and the arguments, in the order of their starts.
    #[must_use]
    pub fn calls(&self) -> Vec<(EffectId, RawJson)> {
        self.counts.read(|counts| counts.calls.clone())
    }

    /// Returns how many calls started.
    #[must_use]
    pub fn started(&self) -> usize {
        self.counts.read(|counts| counts.calls.len())
    }

    /// Returns how many calls returned a result.
    #[must_use]
    pub fn returned(&self) -> usize {
        self.counts.read(|counts| counts.returned)
    }

    /// Returns how many calls were dropped before they returned: cancelled, timed out or panicked.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.counts.read(|counts| counts.dropped)
    }

    /// Returns how many calls ran at once at most.
    #[must_use]
    pub fn running_max(&self) -> usize {
        self.counts.read(|counts| counts.running_max)
    }

    /// Waits until so many calls have started.
    ///
    /// **Cancel safety:** dropping the future changes nothing.
    pub fn until_started(&self, calls: usize) -> impl Future<Output = ()> + Send + use<> {
        self.counts.until(move |counts| counts.calls.len() >= calls)
    }

    /// Waits until so many calls were dropped before they returned.
    ///
    /// **Cancel safety:** dropping the future changes nothing.
    pub fn until_dropped(&self, calls: usize) -> impl Future<Output = ()> + Send + use<> {
        self.counts.until(move |counts| counts.dropped >= calls)
    }

    fn fixed(name: &str, result: ToolResult) -> Self {
        Self::new(name, move |_, _| std::future::ready(result.clone()))
    }
}

#[async_trait]
impl Tool for ScriptedTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, arguments: RawJson, context: ToolContext) -> ToolResult {
        let effect = context.effect.clone();
        self.counts.update(|counts| {
            counts.calls.push((effect, arguments.clone()));
            counts.running += 1;
            counts.running_max = counts.running_max.max(counts.running);
        });
        let mut running = Running {
            counts: &self.counts,
            returned: false,
        };
        let result = (self.act)(arguments, context).await;
        running.returned = true;
        result
    }
}

impl std::fmt::Debug for ScriptedTool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedTool")
            .field("name", &self.spec.name)
            .finish_non_exhaustive()
    }
}

struct Running<'a> {
    counts: &'a Watch<Counts>,
    returned: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.counts.update(|counts| {
            counts.running -= 1;
            if self.returned {
                counts.returned += 1;
            } else {
                counts.dropped += 1;
            }
        });
    }
}

/// A sink that keeps every progress report of a test. A clone is the same sink.
#[derive(Debug, Clone, Default)]
pub struct ProgressLog(Arc<Watch<Vec<(EffectId, ToolProgress)>>>);

impl ProgressLog {
    /// Returns the reports in the order of their arrival.
    #[must_use]
    pub fn reports(&self) -> Vec<(EffectId, ToolProgress)> {
        self.0.read(Clone::clone)
    }
}

impl ProgressSink for ProgressLog {
    fn report(&self, effect: &EffectId, progress: ToolProgress) {
        self.0
            .update(|reports| reports.push((effect.clone(), progress)));
    }
}
