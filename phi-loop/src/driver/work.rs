//! The futures of a run: one tool call, one decision, one observation, each with its panics caught.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use phi_types::{
    AssistantMessage, CompactionEnded, CountedTokens, EventKind, History, Increment, Live,
    LoopEnded, Message, ModelFailed, Point, SessionId, TokenCounter, Tool, ToolContext, ToolEnded,
    ToolEnding, ToolResult, TurnEnded, Usage,
};

use crate::counting::Counting;
use crate::decision::{Subject, Verdict};
use crate::driver::compaction::{CompactionFailed, Compactor};
use crate::driver::contained::Contained;
use crate::driver::counter::counted;
use crate::driver::hooks::{
    CompactionDecision, EndDecision, GateDecision, HookContext, HookError, Hooks, InputDecision,
    ModelDecision, ToolDecision, ToolUpdate, UpdateDecision,
};
use crate::driver::in_flight::News;
use crate::driver::progress::Progress;
use crate::driver::update::HookFailed;
use crate::io::{Compact, Compacted, Input, RunTool, ToolReport};

/// Runs one call: arguments that the tool refuses end as invalid, a panic ends as failed.
pub(crate) async fn run_tool(
    tool: Arc<dyn Tool>,
    session: SessionId,
    run: RunTool,
    progress: Arc<Progress>,
) -> ToolReport {
    let RunTool { id, arguments, .. } = run;
    let work = async move {
        if let Err(invalid) = tool.validate(&arguments) {
            let result = Arc::new(ToolResult::error(invalid.to_string()));
            return ToolReport {
                ending: ToolEnding::Invalid,
                result,
                child: None,
            };
        }
        let context = ToolContext::new(session, id, progress);
        ToolReport::returned(tool.call(arguments, context).await)
    };
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| {
            let text = format!("The tool panicked: {}.", panic_text(panic.as_ref()));
            ToolReport::returned(ToolResult::error(text))
        })
}

/// Asks the hooks; whatever goes wrong is a refusal.
pub(crate) async fn decide(
    hooks: Arc<dyn Hooks>,
    context: HookContext,
    subject: impl Future<Output = Subject>,
    timeout: Duration,
) -> Verdict {
    let asked = async {
        Ok(match &subject.await {
            Subject::Input(input) => match hooks.filter_input(&context, input).await? {
                InputDecision::Pass => Verdict::Proceed,
                InputDecision::Warn { warning } => Verdict::Warn { warning },
                InputDecision::Reject { reason } => Verdict::Deny { reason },
            },
            Subject::Loop(view) => gate(hooks.before_loop(&context, view).await?),
            Subject::Turn(turn) => gate(hooks.before_turn(&context, turn).await?),
            Subject::Model(request) => match hooks.before_model(&context, request).await? {
                ModelDecision::Proceed => Verdict::Proceed,
                ModelDecision::Patch(patch) => Verdict::Patch(patch),
                ModelDecision::Reject { reason } => Verdict::Deny { reason },
            },
            Subject::Compaction(compact) => {
                match hooks.before_compaction(&context, compact).await? {
                    CompactionDecision::Proceed => Verdict::Proceed,
                    CompactionDecision::Skip { reason } => Verdict::Deny { reason },
                }
            }
            Subject::Tool(call) => match hooks.before_tool(&context, call).await? {
                ToolDecision::Allow => Verdict::Proceed,
                ToolDecision::Rewrite(arguments) => Verdict::Rewrite(arguments),
                ToolDecision::Ask {
                    question,
                    arguments,
                } => Verdict::Ask {
                    question,
                    arguments,
                },
                ToolDecision::Deny { reason } => Verdict::Deny { reason },
            },
            Subject::End(view) => match hooks.before_end(&context, view).await? {
                EndDecision::End => Verdict::Proceed,
                EndDecision::Continue(messages) => Verdict::Continue(messages),
            },
        })
    };
    guarded(asked, timeout)
        .await
        .unwrap_or_else(|HookError(reason)| Verdict::Fail { reason })
}

fn gate(decision: GateDecision) -> Verdict {
    match decision {
        GateDecision::Proceed => Verdict::Proceed,
        GateDecision::Reject { reason } => Verdict::Deny { reason },
    }
}

/// Asks the hooks how progress is shown; whatever goes wrong hides it.
pub(crate) async fn decide_update(
    hooks: Arc<dyn Hooks>,
    context: HookContext,
    update: ToolUpdate,
    timeout: Duration,
) -> News {
    let decided = guarded(hooks.before_tool_update(&context, &update), timeout).await;
    let ToolUpdate { effect, progress } = update;
    let shown = match decided {
        Ok(UpdateDecision::Show) => progress,
        Ok(UpdateDecision::Replace(replacement)) => replacement,
        Ok(UpdateDecision::Hide) => return News::Hidden,
        Err(HookError(reason)) => {
            let point = Point::BeforeToolUpdate;
            return News::HookFailed(HookFailed { point, reason });
        }
    };
    News::Input(Input::ToolProgress(effect, shown))
}

/// Makes the view smaller, unless an exact count finds it small enough; whatever goes wrong is a
/// failure that says so.
pub(crate) async fn compact(
    compactor: Arc<dyn Compactor>,
    compact: Compact,
    counter: Option<Arc<dyn TokenCounter>>,
) -> Input {
    let id = compact.id.clone();
    let work = async {
        let compact = counted(compact, counter).await;
        let before = exact(&compact, &compact.view);
        if let (Some(before), Some(threshold)) = (before, compact.threshold_tokens)
            && before <= threshold
        {
            let counted = Some(CountedTokens {
                before,
                after: before,
            });
            let compacted = Compacted {
                counted,
                ..Compacted::default()
            };
            return Ok((compacted, Usage::default()));
        }
        let (mut compacted, usage) = compactor.compact(&compact).await?;
        let (pruned, block) = (&compacted.pruned, compacted.block.as_ref());
        // A place that the view does not have is found by the machine.
        compacted.counted = before.and_then(|before| {
            let view = compact.view.overlaid(pruned, block).ok()?;
            let after = exact(&compact, &view)?;
            Some(CountedTokens { before, after })
        });
        Ok((compacted, usage))
    };
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok((compacted, usage))) => Input::Compacted(id, compacted, usage),
        Ok(Err(failed)) => {
            let failed: CompactionFailed = failed;
            let usage = failed.usage();
            Input::CompactionFailed(id, failed.to_string(), usage)
        }
        Err(panic) => {
            let reason = format!("the compactor panicked: {}", panic_text(panic.as_ref()));
            Input::CompactionFailed(id, reason, Usage::default())
        }
    }
}

fn exact(compact: &Compact, view: &History) -> Option<u64> {
    matches!(compact.counting, Counting::Exact(_)).then(|| compact.tokens_of(view))
}

/// What an observer is told.
#[derive(Debug, Clone)]
pub(crate) enum Observation {
    Model(Arc<AssistantMessage>),
    Tool(ToolEnded),
    Compaction(Arc<CompactionEnded>),
    Error(Arc<ModelFailed>),
    Turn(TurnEnded),
    Loop(Arc<LoopEnded>),
    Update(ToolUpdate),
}

impl Observation {
    /// Makes the observation of an event, where the hooks claim its point.
    pub(crate) fn of(kind: &EventKind, points: &[Point]) -> Option<Self> {
        match kind {
            EventKind::Message(added) if points.contains(&Point::AfterModel) => {
                match &added.message {
                    Message::Assistant(message) => Some(Self::Model(Arc::clone(message))),
                    Message::User(_) | Message::Extension(_) => None,
                }
            }
            EventKind::ToolEnded(ended) if points.contains(&Point::AfterTool) => {
                Some(Self::Tool(ended.clone()))
            }
            EventKind::CompactionEnded(ended) if points.contains(&Point::AfterCompaction) => {
                Some(Self::Compaction(Arc::clone(ended)))
            }
            EventKind::ModelFailed(failed) if points.contains(&Point::OnError) => {
                Some(Self::Error(Arc::clone(failed)))
            }
            EventKind::TurnEnded(ended) if points.contains(&Point::AfterTurn) => {
                Some(Self::Turn(ended.clone()))
            }
            EventKind::LoopEnded(ended) if points.contains(&Point::AfterLoop) => {
                Some(Self::Loop(Arc::clone(ended)))
            }
            _ => None,
        }
    }

    /// Makes the observation of progress that was shown.
    pub(crate) fn of_live(live: &Live) -> Option<Self> {
        match &live.increment {
            Increment::Progress(progress) => Some(Self::Update(ToolUpdate {
                effect: live.effect.clone(),
                progress: progress.clone(),
            })),
            Increment::Delta(_) => None,
        }
    }

    pub(crate) fn point(&self) -> Point {
        match self {
            Self::Model(_) => Point::AfterModel,
            Self::Tool(_) => Point::AfterTool,
            Self::Compaction(_) => Point::AfterCompaction,
            Self::Error(_) => Point::OnError,
            Self::Turn(_) => Point::AfterTurn,
            Self::Loop(_) => Point::AfterLoop,
            Self::Update(_) => Point::AfterToolUpdate,
        }
    }
}

/// Tells the observers; what goes wrong comes back as the text to report.
pub(crate) async fn observe(
    hooks: Arc<dyn Hooks>,
    context: HookContext,
    observation: Observation,
    timeout: Duration,
) -> Option<(Point, String)> {
    let point = observation.point();
    let told = async {
        match &observation {
            Observation::Model(message) => hooks.after_model(&context, message).await,
            Observation::Tool(ended) => hooks.after_tool(&context, ended).await,
            Observation::Compaction(ended) => hooks.after_compaction(&context, ended).await,
            Observation::Error(failed) => hooks.on_error(&context, failed).await,
            Observation::Turn(ended) => hooks.after_turn(&context, ended).await,
            Observation::Loop(ended) => hooks.after_loop(&context, ended).await,
            Observation::Update(update) => hooks.after_tool_update(&context, update).await,
        }
    };
    guarded(told, timeout)
        .await
        .err()
        .map(|HookError(reason)| (point, reason))
}

async fn guarded<T>(
    hook: impl Future<Output = Result<T, HookError>>,
    timeout: Duration,
) -> Result<T, HookError> {
    let hook = Contained::new(Box::pin(AssertUnwindSafe(hook).catch_unwind()));
    match tokio::time::timeout(timeout, hook).await {
        Ok(Ok(decided)) => decided,
        Ok(Err(panic)) => Err(HookError(format!(
            "a hook panicked: {}",
            panic_text(panic.as_ref())
        ))),
        Err(_elapsed) => Err(HookError(format!("a hook took longer than {timeout:?}"))),
    }
}

/// Returns what a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
