//! The port of policy: what is asked before a step and told after it.

use std::sync::Arc;

use async_trait::async_trait;
use phi_types::{
    Arguments, AssistantMessage, LoopId, ModelPatch, Point, RawJson, Request, SessionId, ToolCall,
    ToolEnded,
};

/// Policy of a loop.
///
/// Every method has a default that changes nothing, and is called only where [`Hooks::points`] claims
/// its point. A gate (`before_*`) that fails, panics or takes too long fails closed. An observer
/// (`after_*`) that does so is reported as [`crate::Update::HookFailed`] and changes nothing.
///
/// Observers run one after the other, and the loop waits for them: while one runs, nothing but a
/// cancel is looked at.
///
/// | method | when | may change | several combine | cannot take back |
/// |---|---|---|---|---|
/// | `before_model` | before each attempt is announced | the request of this attempt, or refuse it | patches in order, a refusal wins | earlier turns |
/// | `before_tool` | before each call is announced | the arguments, or deny, or have somebody asked | in order: a denial wins, then a question, then the arguments | calls that started |
/// | `after_model` | after the answer is written | nothing | in order | the answer |
/// | `after_tool` | after the result is written | nothing | in order | the result |
///
/// **Cancel safety:** the future of a hook is dropped when the loop is cancelled or dropped.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// Says which points it claims. The same for the life of the value.
    fn points(&self) -> Vec<Point>;

    /// Decides about a model call.
    ///
    /// # Errors
    /// A gate that fails ends the loop as failed.
    async fn before_model(
        &self,
        context: &HookContext,
        request: &Request,
    ) -> Result<ModelDecision, HookError> {
        let _unread = (context, request);
        Ok(ModelDecision::Proceed)
    }

    /// Decides about a tool call.
    ///
    /// # Errors
    /// A gate that fails denies the call.
    async fn before_tool(
        &self,
        context: &HookContext,
        call: &ToolCall,
    ) -> Result<ToolDecision, HookError> {
        let _unread = (context, call);
        Ok(ToolDecision::Allow)
    }

    /// Observes an answer of the model.
    ///
    /// # Errors
    /// A failure is reported and changes nothing.
    async fn after_model(
        &self,
        context: &HookContext,
        message: &AssistantMessage,
    ) -> Result<(), HookError> {
        let _unread = (context, message);
        Ok(())
    }

    /// Observes the result of a call.
    ///
    /// # Errors
    /// A failure is reported and changes nothing.
    async fn after_tool(&self, context: &HookContext, ended: &ToolEnded) -> Result<(), HookError> {
        let _unread = (context, ended);
        Ok(())
    }
}

/// Where a hook is called.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HookContext {
    /// The session.
    pub session: SessionId,
    /// The loop.
    pub loop_id: LoopId,
}

impl HookContext {
    /// Makes the context of a loop.
    #[must_use]
    pub fn new(session: SessionId, loop_id: LoopId) -> Self {
        Self { session, loop_id }
    }
}

/// What a hook decides about a model call.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelDecision {
    /// Go on.
    Proceed,
    /// Change this attempt.
    Patch(ModelPatch),
    /// Do not call the model: the loop ends as rejected.
    Reject {
        /// Why.
        reason: String,
    },
}

/// What a hook decides about a tool call.
#[derive(Debug, Clone, PartialEq)]
pub enum ToolDecision {
    /// It may run.
    Allow,
    /// It runs with these arguments.
    Rewrite(RawJson),
    /// Somebody is asked.
    Ask {
        /// What the person is told.
        question: String,
        /// Other arguments with which it would run; the person is asked about these.
        arguments: Option<RawJson>,
    },
    /// It does not run.
    Deny {
        /// Why, for the model to read.
        reason: String,
    },
}

/// Says why a hook failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HookError(pub String);

/// No policy.
#[async_trait]
impl Hooks for () {
    fn points(&self) -> Vec<Point> {
        Vec::new()
    }
}

/// Several hooks in order: each is called where it claims the point.
#[async_trait]
impl Hooks for Vec<Arc<dyn Hooks>> {
    fn points(&self) -> Vec<Point> {
        let mut points: Vec<Point> = self.iter().flat_map(|hooks| hooks.points()).collect();
        points.sort_unstable();
        points.dedup();
        points
    }

    async fn before_model(
        &self,
        context: &HookContext,
        request: &Request,
    ) -> Result<ModelDecision, HookError> {
        let mut request = request.clone();
        let mut sum = ModelPatch::default();
        for hooks in self
            .iter()
            .filter(|hooks| hooks.points().contains(&Point::BeforeModel))
        {
            match hooks.before_model(context, &request).await? {
                ModelDecision::Proceed => {}
                ModelDecision::Reject { reason } => return Ok(ModelDecision::Reject { reason }),
                ModelDecision::Patch(patch) => {
                    patch.apply(&mut request);
                    sum.merge(patch);
                }
            }
        }
        Ok(if sum.is_empty() {
            ModelDecision::Proceed
        } else {
            ModelDecision::Patch(sum)
        })
    }

    async fn before_tool(
        &self,
        context: &HookContext,
        call: &ToolCall,
    ) -> Result<ToolDecision, HookError> {
        let mut call = call.clone();
        let (mut rewritten, mut asked) = (None, None);
        for hooks in self
            .iter()
            .filter(|hooks| hooks.points().contains(&Point::BeforeTool))
        {
            match hooks.before_tool(context, &call).await? {
                ToolDecision::Allow => {}
                ToolDecision::Deny { reason } => return Ok(ToolDecision::Deny { reason }),
                ToolDecision::Ask {
                    question,
                    arguments,
                } => {
                    asked = asked.or(Some(question));
                    rewritten = arguments.or(rewritten);
                }
                ToolDecision::Rewrite(arguments) => rewritten = Some(arguments),
            }
            if let Some(arguments) = &rewritten {
                call.arguments = Arguments::Object(arguments.clone());
            }
        }
        Ok(match (asked, rewritten) {
            (Some(question), arguments) => ToolDecision::Ask {
                question,
                arguments,
            },
            (None, Some(arguments)) => ToolDecision::Rewrite(arguments),
            (None, None) => ToolDecision::Allow,
        })
    }

    async fn after_model(
        &self,
        context: &HookContext,
        message: &AssistantMessage,
    ) -> Result<(), HookError> {
        let mut failed = Vec::new();
        for hooks in self
            .iter()
            .filter(|hooks| hooks.points().contains(&Point::AfterModel))
        {
            failed.extend(hooks.after_model(context, message).await.err());
        }
        all_failures(failed)
    }

    async fn after_tool(&self, context: &HookContext, ended: &ToolEnded) -> Result<(), HookError> {
        let mut failed = Vec::new();
        for hooks in self
            .iter()
            .filter(|hooks| hooks.points().contains(&Point::AfterTool))
        {
            failed.extend(hooks.after_tool(context, ended).await.err());
        }
        all_failures(failed)
    }
}

/// Every observer is called; what failed is reported together.
fn all_failures(failed: Vec<HookError>) -> Result<(), HookError> {
    if failed.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = failed.into_iter().map(|HookError(text)| text).collect();
    Err(HookError(texts.join("; ")))
}
