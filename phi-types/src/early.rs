//! Calls that start while the model still speaks, and what becomes of them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::facts::ToolStarted;
use crate::message::AssistantMessage;
use crate::tool::ToolCall;
use crate::transcript::OpenCall;

/// Where a call stood in the stream of an answer when it started early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlyStart {
    /// The number of the attempt in its turn that asks for the call.
    pub attempt: u32,
    /// The part of its stream that is the call.
    pub part: u32,
}

/// A call that started early and that no message holds yet.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlyCall {
    /// The `seq` of its [`ToolStarted`].
    pub seq: u64,
    /// When it started.
    pub at: DateTime<Utc>,
    /// What was written of its start.
    pub started: ToolStarted,
}

/// Makes the open calls of an answer and takes those off the list that started early.
///
/// A message holds a call that started early if it has a call of the same name with the same
/// arguments. Several such calls are matched in their order; which of two equal ones it is makes no
/// difference.
pub(crate) fn open_calls(message: &AssistantMessage, early: &mut Vec<EarlyCall>) -> Vec<OpenCall> {
    let calls = message.tool_calls().map(|call| OpenCall {
        call: Arc::clone(call),
        result: None,
        early: None,
    });
    let mut open: Vec<OpenCall> = calls.collect();
    early.retain(|started| {
        let wanted = |open: &&mut OpenCall| {
            open.early.is_none() && is_same(&open.call, &started.started.call)
        };
        let place = open.iter_mut().find(wanted);
        let found = place.is_some();
        if let Some(open) = place {
            open.early = Some(Box::new(started.clone()));
        }
        !found
    });
    open
}

fn is_same(a: &ToolCall, b: &ToolCall) -> bool {
    a.name == b.name && a.arguments == b.arguments
}
