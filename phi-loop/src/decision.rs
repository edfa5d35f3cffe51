//! Decisions: what hooks are asked about, and what they may answer.

use std::sync::Arc;

use phi_types::{
    History, LimitKind, ModelPatch, Point, Queue, QueueId, RawJson, Request, ToolCall, TurnTrigger,
    UserMessage,
};

use crate::io::Compact;

/// Names one decision: the event after which it is asked for and what it is about.
///
/// A decision precedes the event that announces its step, so it has no event of its own; a restored
/// machine asks again under a new name where need be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionId {
    /// The `seq` of the event after which it is asked for.
    pub seq: u64,
    /// The place of the call among the calls of its message; for a message of the queue its place
    /// there, from 1; 0 for a step of the loop itself.
    pub index: u32,
}

/// What a decision is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// A prompt, or a message that waits, is about to be let in.
    Input(Incoming),
    /// The loop is about to take its first turn on this conversation.
    Loop(History),
    /// A turn is about to begin.
    Turn(NextTurn),
    /// A model is about to be called with this request.
    Model(Request),
    /// A tool is about to run this call.
    Tool(Arc<ToolCall>),
    /// The view is about to be made smaller. The effect has no name yet: its `seq` is 0.
    Compaction(Box<Compact>),
    /// The loop is about to end as completed with this conversation.
    End(History),
}

impl Subject {
    /// Returns the point at which it is asked for.
    #[must_use]
    pub fn point(&self) -> Point {
        match self {
            Self::Input(_) => Point::FilterInput,
            Self::Loop(_) => Point::BeforeLoop,
            Self::Turn(_) => Point::BeforeTurn,
            Self::Model(_) => Point::BeforeModel,
            Self::Tool(_) => Point::BeforeTool,
            Self::Compaction(_) => Point::BeforeCompaction,
            Self::End(_) => Point::BeforeEnd,
        }
    }
}

/// What somebody wants to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// Where it came in.
    pub source: InputSource,
    /// What is said; several messages only in a prompt.
    pub messages: Vec<Arc<UserMessage>>,
}

/// Where a message came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputSource {
    /// It is the prompt of the loop.
    Prompt,
    /// It waits in a queue.
    Queued(QueueId, Queue),
}

/// A turn that is about to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct NextTurn {
    /// Its number, from 1; a grace turn has the number of the turn before.
    pub index: u32,
    /// Why it begins.
    pub trigger: TurnTrigger,
    /// What the model will read.
    pub view: History,
}

/// What the hooks decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Go on unchanged.
    Proceed,
    /// Let the input in, with a warning that the model reads.
    Warn {
        /// The warning.
        warning: String,
    },
    /// Change the model call.
    Patch(ModelPatch),
    /// Run the tool with these arguments.
    Rewrite(RawJson),
    /// Ask somebody whether the tool may run.
    Ask {
        /// What the person is told.
        question: String,
        /// Other arguments with which it would run.
        arguments: Option<RawJson>,
    },
    /// Do not end: these messages join and another turn begins.
    Continue(Vec<Arc<UserMessage>>),
    /// Do not do it: a call is answered as denied, a message that waits is dropped, a compaction is
    /// left out, or where the view overflowed fails the loop; everything else rejects the loop.
    Deny {
        /// Why, for the model or the caller to read.
        reason: String,
    },
    /// A limit that the loop shares with others leaves no room for this call: nothing new starts, and
    /// the loop ends, after a grace turn where the configuration says so. A compaction before an
    /// overflow is left out, and the model call that follows is decided about.
    Limit {
        /// Which.
        limit: LimitKind,
    },
    /// A hook failed; gates fail closed: like [`Verdict::Deny`], but where that would reject the loop
    /// it fails.
    Fail {
        /// How it failed.
        reason: String,
    },
}
