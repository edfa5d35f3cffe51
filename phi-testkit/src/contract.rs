//! What whoever implements a port of `phi-types` must keep, as functions that check it.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use phi_types::{
    Assembler, AssistantMessage, Content, Delta, EffectId, LoopId, MisplacedDelta, Origin,
    Provider, ProviderError, RawJson, Request, SessionId, Tool, ToolContext, ToolResult, ToolSpec,
};

/// Says which promise a provider did not keep.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProviderBreach {
    /// The protocol or the service has no name.
    #[error("the identity names no {0}: messages could not say who wrote them")]
    Nameless(&'static str),
    /// The stream ended with neither a finish nor an error.
    #[error("the stream ended with neither a finish nor an error")]
    NoEnding,
    /// Something came after an error.
    #[error("{0:?} came after an error, which must be the last thing")]
    AfterError(Box<Result<Delta, ProviderError>>),
    /// Something other than a correction came after the finish.
    #[error("{0:?} came after the finish, where only usage and a corrected finish may come")]
    AfterFinish(Box<Result<Delta, ProviderError>>),
    /// More came for a part that had ended.
    #[error("{0:?} came for a part that had ended")]
    AfterPartEnd(Box<Delta>),
    /// A part changed its nature.
    #[error(transparent)]
    Misplaced(#[from] MisplacedDelta),
    /// A call never got a name, which no provider accepts in the next request.
    #[error("a call of the message has no name")]
    NamelessCall,
    /// An error does not say what went wrong.
    #[error("the error of kind {0} has no message")]
    SilentError(phi_types::ProviderErrorKind),
}

/// Checks one call of a provider, and returns its message or the error that it ended with.
///
/// The stream holds a finish and after it only usage and corrected finishes, or ends with one error; parts keep their
/// nature and their end; the stream stays ended. A second stream, dropped after its first item,
/// disturbs nobody.
///
/// # Errors
/// The first [`ProviderBreach`].
pub async fn provider(
    provider: &dyn Provider,
    request: Request,
) -> Result<Result<AssistantMessage, ProviderError>, ProviderBreach> {
    let identity = provider.identity();
    for (name, what) in [
        (identity.protocol, "protocol"),
        (identity.provider, "service"),
    ] {
        if name.is_empty() {
            return Err(ProviderBreach::Nameless(what));
        }
    }
    let mut stream = provider.stream(request.clone());
    let mut dropped = provider.stream(request);
    drop(dropped.next().await);
    drop(dropped);
    let mut assembler = Assembler::new();
    let mut ended = HashSet::new();
    // The calls, and whether each was given a name.
    let mut named: HashMap<u32, bool> = HashMap::new();
    while let Some(item) = stream.next().await {
        let is_correction = matches!(item, Ok(Delta::Usage(_) | Delta::Finish(_)));
        if assembler.finish().is_some() && !is_correction {
            return Err(ProviderBreach::AfterFinish(Box::new(item)));
        }
        let delta = match item {
            Ok(delta) => delta,
            Err(error) => return ended_by(error, stream.next().await),
        };
        match part_of(&delta) {
            Some(part) if ended.contains(&part) => {
                return Err(ProviderBreach::AfterPartEnd(Box::new(delta)));
            }
            Some(_) | None => {}
        }
        if let Delta::PartEnded(it) = &delta {
            ended.insert(it.part);
        }
        match &delta {
            Delta::ToolCall(it) => *named.entry(it.part).or_default() |= !it.name.is_empty(),
            Delta::Arguments(it) => {
                named.entry(it.part).or_default();
            }
            _ => {}
        }
        assembler.push(&delta)?;
    }
    let message = assembler.into_message(Origin::default());
    let message = message.ok_or(ProviderBreach::NoEnding)?;
    if named.values().any(|named| !named) {
        return Err(ProviderBreach::NamelessCall);
    }
    Ok(Ok(message))
}

type Ended = Result<Result<AssistantMessage, ProviderError>, ProviderBreach>;

fn ended_by(error: ProviderError, after: Option<Result<Delta, ProviderError>>) -> Ended {
    if let Some(after) = after {
        return Err(ProviderBreach::AfterError(Box::new(after)));
    }
    if error.message.is_empty() {
        return Err(ProviderBreach::SilentError(error.kind));
    }
    Ok(Err(error))
}

fn part_of(delta: &Delta) -> Option<u32> {
    match delta {
        Delta::Text(it) | Delta::Thinking(it) | Delta::Arguments(it) => Some(it.part),
        Delta::ToolCall(it) => Some(it.part),
        Delta::PartFacts(it) => Some(it.part),
        Delta::Opaque(it) => Some(it.part),
        Delta::PartEnded(it) => Some(it.part),
        Delta::Started(_) | Delta::Usage(_) | Delta::Finish(_) => None,
    }
}

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
