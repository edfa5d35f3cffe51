//! What each kind of event says.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::configuration::{Configuration, Point};
use crate::early::EarlyStart;
use crate::error::ProviderError;
use crate::history::HistoryDigest;
use crate::id::{EffectId, LoopId, QueueId, SessionId};
use crate::json::RawJson;
use crate::limits::LimitScope;
use crate::message::{Message, UserMessage};
use crate::outcome::{LimitKind, Outcome};
use crate::request::{ModelPatch, Options, Target};
use crate::tokens::CountedTokens;
use crate::tool::{EffectClass, ToolCall, ToolEnding, ToolResult, ToolSpec};
use crate::usage::{Spent, Usage};

/// A session began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStarted {
    /// The version of the event format: [`crate::FORMAT`].
    pub format: u32,
    /// The agent that the session belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Arc<str>>,
    /// The call that spawned the session, where it is a sub-agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawned_by: Option<SpawnedBy>,
    /// Where the session was forked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkedFrom>,
}

/// The call that spawned a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpawnedBy {
    /// The parent's session.
    pub session: SessionId,
    /// The tool call in it.
    pub effect: EffectId,
}

/// Where a session was forked from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkedFrom {
    /// The parent.
    pub session: SessionId,
    /// The position of the last event that both share.
    pub position: u64,
    /// The checksum of that event's line.
    pub checksum: u32,
}

/// A session ended on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnded {}

/// Something was put right after a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Recovered {
    /// The log ended in a line that was never acknowledged; it was moved aside.
    TornTail {
        /// How many bytes were moved.
        bytes: u64,
        /// The name of the file beside the log that holds them now.
        moved_to: String,
    },
    /// A loop goes on after its process ended: what was open is settled by the events that follow.
    Restart {
        /// The points that are claimed from here on, besides those that the loop began with.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        claims: Vec<Point>,
    },
}

/// Several configurations run from one history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchesStarted {
    /// The loops, in the order of their configurations.
    pub loops: Vec<LoopId>,
}

/// One of the branches was chosen, or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BranchSelected {
    /// The loops that were compared.
    pub loops: Vec<LoopId>,
    /// The one that was chosen; `None` if no branch completed.
    pub winner: Option<LoopId>,
    /// The strategy that chose.
    pub strategy: String,
    /// How the strategy rated the loops, as far as it did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<BranchScore>,
    /// Tokens that the choice took; `None` is not reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// How a strategy rated a branch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BranchScore {
    /// The loop.
    pub loop_id: LoopId,
    /// The score, higher is better; `None` where it is no finite number, which JSON cannot hold.
    pub score: Option<f64>,
}

/// A loop began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoopStarted {
    /// The agent that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Arc<str>>,
    /// The loop whose conversation it continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<LoopId>,
    /// In which way it continues.
    pub continuation: Continuation,
    /// The policy that it runs under.
    pub configuration: Configuration,
    /// What the caller wants to find again, as an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<RawJson>,
    /// How the digests of this loop's requests are made of the entries; chained where a log does not
    /// say it.
    #[serde(
        default = "HistoryDigest::unsaid",
        skip_serializing_if = "HistoryDigest::is_unsaid"
    )]
    pub history_digest: HistoryDigest,
}

/// In which way a loop continues what was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Continuation {
    /// Nothing was before.
    Initial,
    /// It follows the loop before.
    Default,
    /// It repeats the loop before, from the conversation before that one.
    Rerun,
    /// It is one of several branches.
    Branch,
    /// It begins with a compaction, where a compactor is at hand, however small the view is.
    Compaction,
    /// It changes what the model reads, between two loops that work, and ends with that.
    ContextChange,
}

/// A loop ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoopEnded {
    /// How.
    pub outcome: Outcome,
    /// Tokens of all its attempts.
    pub usage: Usage,
    /// A hash over everything that came into the loop and when, so that a replay notices a change
    /// even in what no later request depends on.
    pub inputs_digest: u64,
}

/// Somebody asked the loop to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequested {
    /// In which way.
    pub cause: StopCause,
}

/// In which way a loop is asked to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StopCause {
    /// At once: what runs is aborted. The outcome is cancelled.
    Cancel {},
    /// What runs may finish; nothing new starts. The outcome is aborted, with this reason.
    Stop {
        /// Why.
        reason: String,
    },
    /// At once, because a limit was reached in mid-turn. The outcome names it.
    Limit {
        /// Which.
        limit: LimitKind,
    },
}

/// What the model is shown changed; the first one of a loop states everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SurfaceChanged {
    /// The new system prompt; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Arc<str>>,
    /// The new tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Arc<[ToolSpec]>>,
    /// The new models: the first one, then those to fall back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Arc<[Target]>>,
    /// The new options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Arc<Options>>,
}

/// A limit is near: at least four fifths are used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitWarning {
    /// Which.
    pub limit: LimitKind,
    /// Whose.
    #[serde(default, skip_serializing_if = "LimitScope::is_loop")]
    pub scope: LimitScope,
}

/// A turn began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnStarted {
    /// The number of the turn in its loop, from 1. A grace turn has the number of the turn before.
    pub index: u32,
    /// Why.
    pub trigger: TurnTrigger,
}

/// Why a turn began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnTrigger {
    /// The user's prompt.
    Prompt,
    /// The caller wants the conversation continued without a prompt.
    Continue,
    /// The results of the turn before.
    ToolResults,
    /// A steering message.
    Steering,
    /// A follow-up message.
    FollowUp,
    /// The provider paused a long turn.
    Pause,
    /// A limit was reached and the model may wrap up.
    Grace,
    /// A hook kept the loop from its end with a message.
    Hook,
}

/// A turn ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnEnded {
    /// The number of the turn in its loop.
    pub index: u32,
    /// Tokens of all its attempts.
    pub usage: Usage,
}

/// A model is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelStarted {
    /// The number of the attempt in its turn, from 1, over all models.
    pub attempt: u32,
    /// The model: its place in the surface's list, from 0.
    pub target: u32,
    /// What a hook changes in this call.
    #[serde(default, skip_serializing_if = "ModelPatch::is_empty")]
    pub patch: ModelPatch,
    /// A hash over the whole request: surface, view and patch.
    pub request_digest: u64,
}

/// The next request does not continue the one before it, so a provider's cache of prompts serves it
/// only as far as both agree. It precedes the [`ModelStarted`] of that request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheBroken {
    /// The first part that differs, in the order in which providers cache.
    pub part: RequestPart,
}

/// A part of a request, in the order in which providers cache: model, tools, system, options,
/// conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RequestPart {
    /// The model that is asked.
    Model {},
    /// The tools.
    Tools {},
    /// The system prompt.
    System {},
    /// The options.
    Options {},
    /// An entry of the view; every entry before it is the same.
    Entry {
        /// Its place, from 0; the length of the view if entries were taken off its end.
        index: u64,
    },
}

/// An attempt to call a model failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelFailed {
    /// The number of the attempt in its turn.
    pub attempt: u32,
    /// What went wrong.
    pub error: ProviderError,
    /// How far the attempt had come.
    pub facts: AttemptFacts,
    /// When the next attempt starts; `None` if there is none.
    pub retry_at: Option<DateTime<Utc>>,
}

/// How far an attempt had come when it failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptFacts {
    /// Whether output had been shown, which a user interface takes back.
    pub output_seen: bool,
    /// Whether the model had finished; then nothing is sent again.
    pub finish_seen: bool,
    /// Whether the process ended in between; such an attempt does not count as a failure.
    pub interrupted: bool,
    /// What was reported of tokens.
    pub usage: Usage,
}

/// A message joined the conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageAdded {
    /// The message.
    pub message: Message,
    /// The turn that it belongs to. A message that begins a turn precedes its [`TurnStarted`].
    pub turn: u32,
    /// The queue entry that it takes out of the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<QueueId>,
}

/// A tool call is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolStarted {
    /// The place of the call among the calls of its message, from 0.
    pub index: u32,
    /// The call as it will run.
    pub call: Arc<ToolCall>,
    /// What running it again would mean.
    pub effect_class: EffectClass,
    /// Where it stood in the stream of the answer, where it did not wait for its end.
    ///
    /// Such a call ends once the answer is there, which may hold the call at another place, and as
    /// discarded if the attempt fails or its answer does not hold the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early: Option<EarlyStart>,
}

/// A tool call has its result, whether it ran or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolEnded {
    /// The place of the call among the calls of its message, from 0.
    pub index: u32,
    /// The model's id of the call.
    pub call_id: Arc<str>,
    /// The `seq` of its [`ToolStarted`]; `None` if it never started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// How it ended.
    pub ending: ToolEnding,
    /// What the model reads.
    pub result: Arc<ToolResult>,
    /// The session of the sub-agent that did the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<SessionId>,
    /// What that sub-agent spent, as far as it was known when the call ended. It counts for the usage
    /// and the cost of this loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<Arc<Spent>>,
}

impl ToolEnded {
    /// Returns what a sub-agent spent for the call: nothing if none did the work.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.spent.as_deref().copied().unwrap_or_default()
    }
}

/// The view is made smaller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactionStarted {
    /// Entries of the view before.
    pub entries: u64,
    /// Tokens of the next request before: an estimate, corrected by what was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

/// The view was made smaller, or could not be, or an exact count found that it need not be: then there
/// is a count and nothing else. Without block, pruned results, error and count, the compaction was
/// interrupted by the end of its process and starts again. A hook that decides against a
/// compaction leaves an error without a [`CompactionStarted`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompactionEnded {
    /// What stands for what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<CompactionBlock>,
    /// Tool results that are shown shorter from now on; they name entries of the view before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pruned: Vec<PrunedResult>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Entries of the view after.
    pub entries: u64,
    /// Tokens of the next request after: an estimate, corrected by what was reported, or counted
    /// where there is a count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// What an exact counter counted; from then on it corrects the estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Box<CountedTokens>>,
    /// Tokens that it took.
    pub usage: Usage,
}

/// Entries of the view and what stands for them from now on. The log keeps the originals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompactionBlock {
    /// The first entry that is replaced, from 0.
    pub first: u64,
    /// How many entries are replaced, at least one.
    pub count: u64,
    /// What stands for them.
    pub replacement: Vec<Arc<UserMessage>>,
}

/// A tool result of the view and what stands for it from now on. The log keeps the original.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrunedResult {
    /// The entry of the view, from 0, which holds results.
    pub entry: u64,
    /// The place of the result in that entry, from 0.
    pub index: u32,
    /// What the model reads instead.
    pub result: Arc<ToolResult>,
}

/// A fact of an upper layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Who defines the fact.
    pub namespace: String,
    /// What it is, inside the namespace.
    pub name: String,
    /// The fact.
    pub data: RawJson,
}
