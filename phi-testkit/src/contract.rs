//! What whoever implements a port of `phi-types` must keep, as functions that check it.

mod provider;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use phi_types::{
    Content, EffectId, LoopId, RawJson, SessionId, Tool, ToolContext, ToolResult, ToolSpec,
};

pub use self::provider::{ProviderBreach, ProviderCard, ProviderRule, provider, provider_card};

/// Says which promise a tool did not keep.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ToolBreach {
    /// The name is not one that providers accept.
    #[error("the name {0:?} is not one that providers accept: use 1 to 64 of A-Z a-z 0-9 _ -")]
    Name(Arc<str>),
    /// The description is empty.
    #[error("the tool has no description: the model would not know when to use it")]
    NoDescription,
    /// The schema is not one of an object.
    #[error("the input schema is not a JSON Schema of type object: {0}")]
    Schema(RawJson),
    /// Arguments that the test calls right are refused.
    #[error("the arguments {arguments} are refused: {reason}")]
    Refused {
        /// The arguments.
        arguments: RawJson,
        /// What the tool said.
        reason: String,
    },
    /// The call panicked.
    #[error("the call panicked: a failure is a result that the model reads")]
    Panicked,
    /// The result holds a text that providers refuse.
    #[error("the result holds an empty text, which providers refuse: say that there is nothing")]
    EmptyText,
    /// The description changed.
    #[error("the spec changed from {before:?} to {after:?}: it is the same for the life of a tool")]
    SpecChanged {
        /// What it was.
        before: Box<ToolSpec>,
        /// What it became.
        after: Box<ToolSpec>,
    },
}

/// Checks a tool with arguments that are right, and returns its result, which may be a failure.
///
/// Providers accept its name and schema; the arguments pass its own check; a call that is dropped
/// before it returns disturbs nobody; the call does not panic and says something where it says
/// anything; the spec stays the same.
///
/// The call runs up to twice, the first time until it waits for something.
///
/// # Errors
/// The first [`ToolBreach`].
pub async fn tool(tool: &dyn Tool, arguments: RawJson) -> Result<ToolResult, ToolBreach> {
    let before = tool.spec().clone();
    check_spec(&before)?;
    if let Err(refused) = tool.validate(&arguments) {
        let reason = refused.to_string();
        return Err(ToolBreach::Refused { arguments, reason });
    }
    let call = || AssertUnwindSafe(tool.call(arguments.clone(), context())).catch_unwind();
    let result = match call().now_or_never() {
        Some(result) => result,
        None => call().await,
    };
    let result = result.map_err(|_| ToolBreach::Panicked)?;
    let is_empty = |it: &Content| matches!(it, Content::Text { text } if text.is_empty());
    if result.content.iter().any(is_empty) {
        return Err(ToolBreach::EmptyText);
    }
    if *tool.spec() != before {
        return Err(ToolBreach::SpecChanged {
            before: Box::new(before),
            after: Box::new(tool.spec().clone()),
        });
    }
    Ok(result)
}

fn check_spec(spec: &ToolSpec) -> Result<(), ToolBreach> {
    let is_accepted = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=64).contains(&spec.name.len()) || !spec.name.bytes().all(is_accepted) {
        return Err(ToolBreach::Name(Arc::clone(&spec.name)));
    }
    if spec.description.trim().is_empty() {
        return Err(ToolBreach::NoDescription);
    }
    let schema = spec
        .input_schema
        .read::<serde_json::Map<String, serde_json::Value>>();
    let is_object = |schema: serde_json::Map<String, serde_json::Value>| {
        schema.get("type").is_some_and(|it| it == "object")
    };
    if schema.is_ok_and(is_object) {
        return Ok(());
    }
    Err(ToolBreach::Schema(spec.input_schema.clone()))
}

fn context() -> ToolContext {
    let session = SessionId::new("contract").expect("the id is valid");
    let loop_id = LoopId::new("contract.test.1").expect("the id is valid");
    ToolContext::new(session, EffectId { loop_id, seq: 1 }, Arc::new(()))
}
