//! Who answers when a sub-agent asks whether a call may run.

use std::sync::Arc;

use async_trait::async_trait;
use phi_types::{Approval, ApprovalRequested, EffectId, SessionId, ToolCall};

/// A question that a hook has put in the loop of a sub-agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The session of the sub-agent.
    pub session: SessionId,
    /// The question's own effect: the loop and the `seq` of its `ApprovalRequested`.
    pub effect: EffectId,
    /// The call as it would run: the answer is for exactly this.
    pub call: Arc<ToolCall>,
    /// What the person is told.
    pub question: String,
}

impl Question {
    pub(crate) fn new(session: &SessionId, effect: EffectId, asked: &ApprovalRequested) -> Self {
        Self {
            session: session.clone(),
            effect,
            call: Arc::clone(&asked.call),
            question: asked.question.clone(),
        }
    }
}

/// Answers the questions of sub-agents, at any depth, on behalf of whoever runs the root.
///
/// **Cancel safety:** the future is dropped when the sub-agent is cancelled; a question that was not
/// answered is put again when its loop is resumed.
#[async_trait]
pub trait Approver: Send + Sync {
    /// Answers one question, however late.
    async fn approve(&self, question: Question) -> Approval;
}
