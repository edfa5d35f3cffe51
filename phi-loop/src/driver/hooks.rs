//! The port of policy: what is asked before a step and told after it.

use async_trait::async_trait;
use phi_types::{
    AssistantMessage, CompactionEnded, LoopEnded, LoopId, ModelFailed, ModelPatch, Point, RawJson,
    Request, SessionId, ToolCall, ToolEnded, TurnEnded,
};

use crate::io::Compact;

/// Policy of a loop.
///
/// Every method has a default that changes nothing, and is called only where [`Hooks::points`] claims
/// its point. A gate (`before_*`) that fails, panics or takes too long fails closed. An observer
/// (`after_*`, `on_error`) that does so is reported as [`crate::Update::HookFailed`] and changes nothing.
///
/// Observers run one after the other, and the loop waits for them: while one runs, nothing but a
/// cancel is looked at.
///
/// | method | when | may change | several combine | cannot take back |
/// |---|---|---|---|---|
/// | `before_model` | before each attempt is announced | the request of this attempt, or refuse it | patches in order, a refusal wins | earlier turns |
/// | `before_tool` | before each call is announced | the arguments, or deny, or have somebody asked | in order: a denial wins, then a question, then the arguments | calls that started |
/// | `before_compaction` | before each compaction is announced | nothing, or leave it out | in order: the first that leaves it out wins | what was left out before |
/// | `after_model` | after the answer is written | nothing | in order | the answer |
/// | `after_tool` | after the result is written | nothing | in order | the result |
/// | `after_compaction` | after its outcome is written | nothing | in order | the outcome |
/// | `on_error` | after the failure of an attempt is written, before the next attempt or fall-back | nothing | in order | the failure |
/// | `after_turn` | after the end of a turn is written | nothing | in order | the turn |
/// | `after_loop` | after the end of the loop is written, before the run ends | nothing | in order | the outcome |
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

    /// Decides about a compaction, which the machine asks for before it begins.
    ///
    /// # Errors
    /// A gate that fails leaves the compaction out.
    async fn before_compaction(
        &self,
        context: &HookContext,
        compact: &Compact,
    ) -> Result<CompactionDecision, HookError> {
        let _unread = (context, compact);
        Ok(CompactionDecision::Proceed)
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

    /// Observes what a compaction came to.
    ///
    /// # Errors
    /// A failure is reported and changes nothing.
    async fn after_compaction(
        &self,
        context: &HookContext,
        ended: &CompactionEnded,
    ) -> Result<(), HookError> {
        let _unread = (context, ended);
        Ok(())
    }

    /// Observes an attempt to call a model that failed, whatever follows it.
    ///
    /// # Errors
    /// A failure is reported and changes nothing.
    async fn on_error(&self, context: &HookContext, failed: &ModelFailed) -> Result<(), HookError> {
        let _unread = (context, failed);
        Ok(())
    }

    /// Observes the end of a turn.
    ///
    /// # Errors
    /// A failure is reported and changes nothing.
    async fn after_turn(&self, context: &HookContext, ended: &TurnEnded) -> Result<(), HookError> {
        let _unread = (context, ended);
        Ok(())
    }

    /// Observes the end of the loop, with its outcome.
    ///
    /// # Errors
    /// A failure is reported and changes nothing.
    async fn after_loop(&self, context: &HookContext, ended: &LoopEnded) -> Result<(), HookError> {
        let _unread = (context, ended);
        Ok(())
    }
}

/// What a hook decides about a compaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompactionDecision {
    /// Go on.
    Proceed,
    /// Leave it out in this turn. After an overflow the loop fails: nothing can be sent.
    Skip {
        /// Why.
        reason: String,
    },
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
