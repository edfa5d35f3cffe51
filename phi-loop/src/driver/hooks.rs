//! The port of policy: what is asked before a step and told after it.

use std::sync::Arc;

use async_trait::async_trait;
use phi_types::{
    AssistantMessage, CompactionEnded, EffectId, History, LoopEnded, LoopId, ModelFailed,
    ModelPatch, Point, RawJson, Request, SessionId, ToolCall, ToolEnded, ToolProgress, TurnEnded,
    UserMessage,
};

use crate::decision::{Incoming, NextTurn};
use crate::io::Compact;

#[doc = include_str!("../../docs/hooks.md")]
#[async_trait]
pub trait Hooks: Send + Sync {
    /// Says which points it claims. The same for the life of the value.
    fn points(&self) -> Vec<Point>;

    /// Decides whether a prompt, a steering or a follow-up message is let in.
    ///
    /// # Errors
    /// A filter that fails rejects a message that waits, and fails a loop for its prompt.
    async fn filter_input(
        &self,
        context: &HookContext,
        input: &Incoming,
    ) -> Result<InputDecision, HookError> {
        let _unread = (context, input);
        Ok(InputDecision::Pass)
    }

    /// Decides whether the loop takes its first turn on this conversation, which ends with the prompt.
    ///
    /// # Errors
    /// A gate that fails ends the loop as failed.
    async fn before_loop(
        &self,
        context: &HookContext,
        view: &History,
    ) -> Result<GateDecision, HookError> {
        let _unread = (context, view);
        Ok(GateDecision::Proceed)
    }

    /// Decides whether a turn begins.
    ///
    /// # Errors
    /// A gate that fails ends the loop as failed.
    async fn before_turn(
        &self,
        context: &HookContext,
        turn: &NextTurn,
    ) -> Result<GateDecision, HookError> {
        let _unread = (context, turn);
        Ok(GateDecision::Proceed)
    }

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

    /// Decides how progress of a running tool is shown.
    ///
    /// # Errors
    /// A gate that fails hides this report and is reported as [`crate::Update::HookFailed`].
    async fn before_tool_update(
        &self,
        context: &HookContext,
        update: &ToolUpdate,
    ) -> Result<UpdateDecision, HookError> {
        let _unread = (context, update);
        Ok(UpdateDecision::Show)
    }

    /// Decides whether the loop ends as completed with this conversation, which ends with the answer.
    ///
    /// # Errors
    /// A gate that fails ends the loop as failed.
    async fn before_end(
        &self,
        context: &HookContext,
        view: &History,
    ) -> Result<EndDecision, HookError> {
        let _unread = (context, view);
        Ok(EndDecision::End)
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

    /// Observes progress of a running tool that is shown.
    ///
    /// # Errors
    /// A failure is reported and changes nothing.
    async fn after_tool_update(
        &self,
        context: &HookContext,
        update: &ToolUpdate,
    ) -> Result<(), HookError> {
        let _unread = (context, update);
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

/// What a hook decides about an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputDecision {
    /// It is let in.
    Pass,
    /// It is let in with a warning that the model reads after it.
    Warn {
        /// The warning.
        warning: String,
    },
    /// It is not let in: a prompt rejects its loop, a message that waits is dropped.
    Reject {
        /// Why.
        reason: String,
    },
}

/// What a hook decides about a loop or a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateDecision {
    /// It begins.
    Proceed,
    /// It does not: the loop ends as rejected.
    Reject {
        /// Why.
        reason: String,
    },
}

/// What a hook decides about the end of a loop.
#[derive(Debug, Clone, PartialEq)]
pub enum EndDecision {
    /// The loop ends.
    End,
    /// These messages join in the user's name, at least one, and another turn begins.
    Continue(Vec<Arc<UserMessage>>),
}

/// Progress of a running tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolUpdate {
    /// The call.
    pub effect: EffectId,
    /// What it reports.
    pub progress: ToolProgress,
}

/// What a hook decides about progress.
#[derive(Debug, Clone, PartialEq)]
pub enum UpdateDecision {
    /// It is shown.
    Show,
    /// This is shown instead.
    Replace(ToolProgress),
    /// Nothing is shown.
    Hide,
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
