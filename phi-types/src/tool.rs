//! Tools: what a model may call, what it asked for, what it reads back, and the port.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_core::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::context::ContextChange;
use crate::id::{EffectId, SessionId};
use crate::json::RawJson;
use crate::message::Content;
use crate::part_facts::PartFacts;
use crate::usage::Spent;

/// What a model is told about a tool, and what a loop must know to run it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// The name that the model calls. Providers accept `^[a-zA-Z0-9_-]{1,64}$`.
    pub name: Arc<str>,
    /// When and how to use it, for the model.
    pub description: Arc<str>,
    /// A JSON Schema of the arguments, of type `object`.
    pub input_schema: RawJson,
    /// What it does, for a user interface.
    pub kind: ToolKind,
    /// What running it again after a crash would mean.
    pub effect_class: EffectClass,
}

/// What a tool does, in the words of the Agent Client Protocol (`ToolKind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    /// Reads files or data.
    Read,
    /// Changes files or content.
    Edit,
    /// Removes files or data.
    Delete,
    /// Moves or renames files.
    Move,
    /// Searches.
    Search,
    /// Runs commands or code.
    Execute,
    /// Reasons or plans.
    Think,
    /// Gets something from outside.
    Fetch,
    /// Anything else.
    Other,
}

/// What running a tool a second time means, which decides what a resume does with an open call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectClass {
    /// Changes nothing: a resume runs it again.
    Pure,
    /// Running it twice is running it once: a resume runs it again under the same effect id.
    Idempotent,
    /// Must not run twice: a resume reports it as interrupted with unknown outcome.
    AtMostOnce,
}

/// What a model asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The id that the model gave it. Models repeat ids: nothing is matched by it inside phi.
    pub id: Arc<str>,
    /// The tool's name as the model wrote it.
    pub name: Arc<str>,
    /// The arguments.
    pub arguments: Arguments,
    /// What the provider wants back with the call.
    #[serde(default, skip_serializing_if = "PartFacts::is_empty")]
    pub facts: PartFacts,
}

/// The arguments of a tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arguments {
    /// A JSON object.
    Object(RawJson),
    /// Text that is no JSON object. It never runs.
    Malformed {
        /// The text as the model wrote it.
        raw: Arc<str>,
        /// What is wrong with it, for the model to read.
        error: Arc<str>,
    },
}

impl Arguments {
    /// Reads the text of a closed call: nothing but white space means no arguments, `{}`.
    #[must_use]
    pub fn parse(raw: &str) -> Self {
        if raw.trim().is_empty() {
            return Self::Object(RawJson::empty_object());
        }
        match RawJson::parse(raw) {
            Ok(value) if value.is_object() => Self::Object(value),
            Ok(_) => Self::malformed(raw, "the arguments are JSON but not an object"),
            Err(error) => Self::malformed(raw, &format!("the arguments are not JSON: {error}")),
        }
    }

    /// Keeps the text of a call that was cut off before its end.
    #[must_use]
    pub fn cut_off(raw: &str) -> Self {
        Self::malformed(
            raw,
            "the call was cut off before its arguments were complete",
        )
    }

    fn malformed(raw: &str, error: &str) -> Self {
        Self::Malformed {
            raw: Arc::from(raw),
            error: Arc::from(error),
        }
    }

    /// Returns the text as the model wrote it.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Object(object) => object.as_str(),
            Self::Malformed { raw, .. } => raw,
        }
    }

    /// Returns the object, unless the text was malformed.
    #[must_use]
    pub fn object(&self) -> Option<&RawJson> {
        match self {
            Self::Object(object) => Some(object),
            Self::Malformed { .. } => None,
        }
    }
}

/// What the model reads back for a call. A tool that fails says so here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// Text and images for the model.
    pub content: Vec<Content>,
    /// Whether the model is told that the call failed.
    pub is_error: bool,
    /// Facts for programs and user interfaces; no model reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<RawJson>,
    /// What the call wants changed in what the model reads. It takes effect when all calls of the
    /// turn have their results; where it does not fit, the result becomes an error that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Box<ContextChange>>,
}

impl ToolResult {
    /// Makes a result of one text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            content: vec![Content::text(text)],
            is_error: false,
            details: None,
            change: None,
        }
    }

    /// Makes a failed result of one text, which says what went wrong and what would be right.
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        Self {
            is_error: true,
            ..Self::text(text)
        }
    }

    /// Adds facts for programs; a value that JSON cannot hold adds nothing.
    #[must_use]
    pub fn with_details<T: Serialize + ?Sized>(mut self, details: &T) -> Self {
        self.details = RawJson::from_value(details).ok();
        self
    }

    /// Asks for a change of what the model reads.
    #[must_use]
    pub fn with_change(mut self, change: ContextChange) -> Self {
        self.change = Some(Box::new(change));
        self
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolEnding {
    /// The tool returned a result.
    Finished,
    /// The tool returned a failure, or panicked.
    Failed,
    /// A hook or a person refused it before it started.
    Denied,
    /// Something that came in between made it pointless before it started.
    Skipped,
    /// The tool is not known or its arguments are wrong: it never started.
    Invalid,
    /// It ran longer than it may and was stopped.
    TimedOut,
    /// The loop was cancelled.
    Cancelled,
    /// A crash came between its start and its result, and it must not run twice.
    Interrupted,
    /// It was started early for an answer that failed or does not hold it: no model reads its result.
    Discarded,
}

/// Says why arguments do not fit a tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidArguments(pub String);

/// The port of tools.
///
/// **Cancel safety:** a call is cancelled by dropping its future; a tool cleans up in `Drop`. A
/// tool that blocks its thread for more than a millisecond moves the work to a thread of its own.
/// One that does block holds up its own run: a cancel or a timeout is looked at when it returns, and
/// nothing starts after it. A thread of a tool's own is not stopped by the drop: the run ends without
/// it, and to stop it is the tool's part. A panic in a call, or in its `Drop`, stays in the call.
#[async_trait]
pub trait Tool: Send + Sync {
    /// Describes the tool. The same for the life of the value.
    fn spec(&self) -> &ToolSpec;

    /// Checks arguments before the call is announced. The default accepts everything.
    ///
    /// # Errors
    /// What is wrong and what would be right, for the model to read.
    fn validate(&self, arguments: &RawJson) -> Result<(), InvalidArguments> {
        let _unread = arguments;
        Ok(())
    }

    /// Runs the call. Failure is a result with `is_error`, which the model reads.
    async fn call(&self, arguments: RawJson, context: ToolContext) -> ToolResult;
}

impl fmt::Debug for dyn Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tool").field(&self.spec().name).finish()
    }
}

/// What a running call knows about itself.
#[derive(Clone)]
#[non_exhaustive]
pub struct ToolContext {
    /// The running session.
    pub session: SessionId,
    /// The effect. With the session it is an idempotency key: a resume runs a call again under it.
    pub effect: EffectId,
    progress: Arc<dyn ProgressSink>,
}

impl ToolContext {
    /// Makes the context of one call.
    #[must_use]
    pub fn new(session: SessionId, effect: EffectId, progress: Arc<dyn ProgressSink>) -> Self {
        Self {
            session,
            effect,
            progress,
        }
    }

    /// Reports progress. It never blocks; where nobody keeps up, older reports are replaced.
    pub fn progress(&self, progress: ToolProgress) {
        self.progress.report(&self.effect, progress);
    }

    /// Names the sub-agent that does the work of the call, and what it has spent so far. It never
    /// blocks; a later report replaces an earlier one, and the newest stands in the call's end.
    pub fn spawned(&self, spawned: Spawned) {
        self.progress.spawned(&self.effect, spawned);
    }

    /// Hands over what must still be done once the call is broken off by a cancel or a timeout; to be
    /// called while the call is dropped.
    ///
    /// The loop polls it beside its own work, and does not end before it. Where the whole run was
    /// dropped, as if its process had ended, it is dropped undone.
    pub fn finish_later(&self, work: BoxFuture<'static, ()>) {
        self.progress.finish_later(work);
    }
}

impl fmt::Debug for ToolContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolContext")
            .field("session", &self.session)
            .field("effect", &self.effect)
            .finish_non_exhaustive()
    }
}

/// A live increment of a running call. Nothing is ever rebuilt from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolProgress {
    /// What the call has to show so far, or what is new; the tool's description says which.
    pub text: String,
}

/// The sub-agent that does the work of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Spawned {
    /// Its session.
    pub session: SessionId,
    /// What it has spent so far, with all that it spawned.
    pub spent: Spent,
}

/// Where progress goes, and what else a running call tells its loop.
pub trait ProgressSink: Send + Sync {
    /// Takes one report without blocking and with bounded memory.
    fn report(&self, effect: &EffectId, progress: ToolProgress);

    /// Takes the name of a sub-agent and what it has spent so far, in place of what was reported
    /// before. The default drops it.
    fn spawned(&self, effect: &EffectId, spawned: Spawned) {
        let _unread = (effect, spawned);
    }

    /// Takes over what a call that was broken off leaves to be done. The default drops it undone.
    fn finish_later(&self, work: BoxFuture<'static, ()>) {
        drop(work);
    }
}

/// The sink that drops every report.
impl ProgressSink for () {
    fn report(&self, _effect: &EffectId, _progress: ToolProgress) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_arguments_are_an_empty_object_and_garbage_is_malformed() {
        assert_eq!(Arguments::parse(" ").object().unwrap().as_str(), "{}");
        assert_eq!(
            Arguments::parse("{\"a\":1}").object().unwrap().as_str(),
            "{\"a\":1}"
        );
        for bad in ["[1]", "null", "{\"a\":", "{}<|endoftext|>", "{\"a\":1,}"] {
            let Arguments::Malformed { raw, error } = Arguments::parse(bad) else {
                panic!("{bad} was taken for arguments")
            };
            assert_eq!(&*raw, bad);
            assert!(!error.is_empty());
        }
    }
}
