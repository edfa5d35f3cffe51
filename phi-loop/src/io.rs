//! What goes into the machine and what comes out of it.

use std::sync::Arc;

use phi_types::{
    AnswerScope, Approval, CallHash, CompactionBlock, ContextChange, CountedTokens, Delta,
    EffectId, Event, History, IllegalEvent, LimitKind, Live, LoopId, OverlayId, ProviderError,
    PrunedResult, QueueId, RawJson, Request, SessionId, Spawned, Surface, SurfaceChanged, Tag,
    Target, TokenCounter, ToolCall, ToolEnding, ToolProgress, ToolResult, Usage, UserMessage,
};

use crate::counting::Counting;
use crate::decision::{DecisionId, Subject, Verdict};

/// What happened outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The user speaks; the first input of a loop.
    Prompt(Vec<Arc<UserMessage>>),
    /// The conversation goes on without a prompt; the first input of a loop.
    Continue,
    /// A message for the model's next call; calls that have not started are skipped.
    Steer(QueueId, Arc<UserMessage>),
    /// A message for the time when the loop would end.
    FollowUp(QueueId, Arc<UserMessage>),
    /// A model call yielded an increment.
    Delta(EffectId, Delta),
    /// A model call's stream ended without an error.
    ModelEnded(EffectId),
    /// A model call failed.
    ModelFailed(EffectId, ProviderError),
    /// A running tool reports progress.
    ToolProgress(EffectId, ToolProgress),
    /// A running tool names the sub-agent that does its work, and what that one has spent so far.
    ToolSpawned(EffectId, Spawned),
    /// A tool ended.
    ToolEnded(EffectId, ToolReport),
    /// The question whether a call may run was answered, for this call or for the session.
    Approval(EffectId, Approval, AnswerScope),
    /// The view can be made smaller.
    Compacted(EffectId, Compacted, Usage),
    /// The view cannot be made smaller; the text says why, the usage what the attempt took.
    CompactionFailed(EffectId, String, Usage),
    /// A hook decided.
    Decided(DecisionId, Verdict),
    /// Of a limit that the loop shares with others, four fifths are used.
    LimitNear(LimitKind),
    /// What the model is shown changes from its next call on.
    SurfaceChanged(SurfaceChanged),
    /// What the model reads shall change from its next call on: results are pruned, or what follows
    /// an entry is taken back. It may come before the first input of a loop, and alone.
    Change(ContextChange),
    /// An overlay shall be taken off the view; it may come before the first input of a loop too.
    Restore(OverlayId),
    /// The time of [`crate::Machine::next_timeout`] has come.
    Timeout,
    /// Nothing new starts; what runs may finish.
    Stop(String),
    /// The loop ends at once; what runs is aborted.
    Cancel,
}

/// How a tool ended, as the driver saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolReport {
    /// Finished, failed, or invalid for arguments that the tool refused before its work began.
    pub ending: ToolEnding,
    /// What the model reads.
    pub result: Arc<ToolResult>,
    /// The sub-agent that did the work.
    pub child: Option<Spawned>,
}

impl ToolReport {
    /// Makes the report of a tool that returned: failed if the result says so.
    #[must_use]
    pub fn returned(result: ToolResult) -> Self {
        let ending = if result.is_error {
            ToolEnding::Failed
        } else {
            ToolEnding::Finished
        };
        Self {
            ending,
            result: Arc::new(result),
            child: None,
        }
    }
}

/// What the machine wants its driver to do, in this order: write and hand out events, then act.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// The events of one step. They are written before anything that follows is acted on.
    Events(Vec<Event>),
    /// A live increment.
    Live(Live),
    /// Something to do.
    Effect(Effect),
    /// An effect to break off; what it still reports is stale.
    Abort(EffectId),
}

/// Something that the machine asks the world to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Call a model; answer with deltas, then [`Input::ModelEnded`] or [`Input::ModelFailed`].
    CallModel(Box<CallModel>),
    /// Run a tool; answer with [`Input::ToolEnded`].
    RunTool(RunTool),
    /// Make the view smaller; answer with [`Input::Compacted`] or [`Input::CompactionFailed`].
    Compact(Box<Compact>),
    /// Ask whether a call may run; answer with [`Input::Approval`], however late.
    AskApproval(AskApproval),
    /// Ask the hooks; answer with [`Input::Decided`].
    Decide(DecisionId, Subject),
}

/// Call a model.
#[derive(Debug, Clone, PartialEq)]
pub struct CallModel {
    /// The effect.
    pub id: EffectId,
    /// The place of the model in the surface's list, from 0.
    pub index: u32,
    /// The model.
    pub target: Target,
    /// What it is asked.
    pub request: Request,
}

/// Run a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct RunTool {
    /// The effect. With the session it is the call's idempotency key.
    pub id: EffectId,
    /// The call as it shall run.
    pub call: Arc<ToolCall>,
    /// Its arguments.
    pub arguments: RawJson,
}

/// Make the view smaller.
#[derive(Debug, Clone, PartialEq)]
pub struct Compact {
    /// The effect.
    pub id: EffectId,
    /// The session.
    pub session: SessionId,
    /// What the model reads now.
    pub view: History,
    /// What it is shown besides.
    pub surface: Surface,
    /// The window that it must fit, where it is known.
    pub window_tokens: Option<u64>,
    /// What the next request shall not exceed, so that a while passes before the next compaction:
    /// half of what it must not exceed.
    pub budget_tokens: u64,
    /// What the next request exceeds; `None` after an overflow.
    pub threshold_tokens: Option<u64>,
    /// How tokens are counted.
    pub counting: Counting,
    /// Tokens of everything besides the view, counted in this way and before any correction.
    pub surface_tokens: u64,
}

impl Compact {
    /// Counts from now on with an exact counter.
    #[must_use]
    pub fn counted_by(self, counter: Arc<dyn TokenCounter>) -> Self {
        let surface_tokens = counter.surface(&self.surface);
        let exact = Self {
            counting: Counting::Exact(counter),
            surface_tokens,
            ..self
        };
        // Half of the request, which may be less than it was estimated to be.
        let half = exact.tokens_of(&exact.view) / 2;
        Self {
            budget_tokens: exact.budget_tokens.min(half),
            ..exact
        }
    }

    /// Counts the tokens of the next request with another view: an estimate, corrected by what was
    /// reported, or what an exact counter counts.
    #[must_use]
    pub fn tokens_of(&self, view: &History) -> u64 {
        self.counting
            .tokens(self.surface_tokens + self.counting.view(view))
    }

    /// Says whether the next request would be small enough to be sent: smaller than it is now, and
    /// inside the window where that is known.
    #[must_use]
    pub fn fits(&self, view: &History) -> bool {
        let tokens = self.tokens_of(view);
        self.counting.view(view) < self.counting.view(&self.view)
            && self.window_tokens.is_none_or(|window| tokens <= window)
    }
}

/// How a view is made smaller. Both parts name entries of the view as it was.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Compacted {
    /// Tool results that are shown shorter.
    pub pruned: Vec<PrunedResult>,
    /// Entries that something shorter stands for.
    pub block: Option<CompactionBlock>,
    /// What an exact counter counted, where there is one. Nothing but a count says that the view need
    /// not be made smaller.
    pub counted: Option<CountedTokens>,
}

impl From<CompactionBlock> for Compacted {
    fn from(block: CompactionBlock) -> Self {
        Self {
            block: Some(block),
            ..Self::default()
        }
    }
}

/// Ask whether a call may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskApproval {
    /// The effect.
    pub id: EffectId,
    /// The tool.
    pub tool: Arc<str>,
    /// The arguments with which it would run.
    pub arguments: RawJson,
    /// What the person is told.
    pub question: String,
    /// The hash of exactly this call, for an approver that shows or keeps it.
    pub hash: CallHash,
}

/// Says why an input was refused. It changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The loop has ended.
    #[error("the loop has ended")]
    Ended,
    /// Nothing under this name is outstanding: it is stale, was answered before or never was.
    #[error("no effect {0} is outstanding")]
    NotOutstanding(EffectId),
    /// No such decision is outstanding.
    #[error("no decision {0:?} is outstanding")]
    NotAsked(DecisionId),
    /// A message with this id was accepted before.
    #[error("a message with the id {0} was accepted before")]
    Duplicate(QueueId),
    /// The loop runs already, or has not begun.
    #[error("the loop {loop_id} {why}")]
    NotNow {
        /// The loop.
        loop_id: LoopId,
        /// What is the case, as "has begun already".
        why: &'static str,
    },
    /// What the model reads cannot be changed in this way.
    #[error("the context stays as it is: {0}")]
    Context(#[from] ContextRefused),
    /// The input makes no sense by itself.
    #[error("{0}")]
    IllShaped(String),
}

/// Says why what the model reads cannot be changed in a way that was asked for, and what would be
/// right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextRefused {
    /// No tag was given.
    #[error("no result is named: give the tag of at least one")]
    NothingNamed,
    /// The history has no such entry.
    #[error("there is no {tag}: the entries are n0 to n{}", .len.saturating_sub(1))]
    NoSuchEntry {
        /// What was named.
        tag: Tag,
        /// How many entries there are.
        len: usize,
    },
    /// An overlay hides the entry.
    #[error("{tag} is hidden already: name an entry that is shown")]
    NotShown {
        /// What was named.
        tag: Tag,
    },
    /// The entry holds no results, or not that one.
    #[error("{tag} is no tool result: only results are pruned")]
    NoResults {
        /// What was named.
        tag: Tag,
    },
    /// Nothing follows the entry but what the running turn needs.
    #[error("nothing that may go follows {tag}: name an earlier entry")]
    NothingFollows {
        /// What was named.
        tag: Tag,
    },
    /// The calls of the entry would lose their results.
    #[error("{tag} asks for tools and would lose their results: name {instead}")]
    PartsCalls {
        /// What was named.
        tag: Tag,
        /// The results.
        instead: Tag,
    },
    /// A message of the user would go, and the model itself asked for it.
    #[error(
        "{user} is a message of the user, which stays: name {user} or an entry after it, not {tag}"
    )]
    RemovesMessage {
        /// What was named.
        tag: Tag,
        /// The newest message that would go.
        user: Tag,
    },
    /// What stands for messages of the user would go, and the model itself asked for it.
    #[error(
        "what stands for messages of the user follows {tag}, and stays: name an entry after that"
    )]
    RemovesStandIn {
        /// What was named.
        tag: Tag,
    },
    /// The first task would go.
    #[error("the first task follows {tag}, and stays: name an entry after it")]
    RemovesTask {
        /// What was named.
        tag: Tag,
    },
    /// The model itself asked, and would read as much as before.
    #[error("what stands for it is as long as what would go: name more, or say less")]
    NotSmaller,
    /// A text says nothing.
    #[error("the {what} is blank: say something, or leave it out where it is optional")]
    Blank {
        /// Which.
        what: &'static str,
    },
    /// No provider would accept what is left.
    #[error("{why}: take newer overlays off first")]
    Unsound {
        /// What would be wrong.
        why: &'static str,
    },
    /// What comes back is more than fits the model's window.
    #[error(
        "about {tokens} tokens do not fit a window of {window_tokens}: take something else off"
    )]
    TooLarge {
        /// Tokens of the next request.
        tokens: u64,
        /// The window.
        window_tokens: u64,
    },
    /// The view has no such overlay or place.
    #[error("{0}")]
    Impossible(IllegalEvent),
}

impl Effect {
    /// Returns the effect's id; a decision has none.
    #[must_use]
    pub fn id(&self) -> Option<&EffectId> {
        match self {
            Self::CallModel(call) => Some(&call.id),
            Self::RunTool(run) => Some(&run.id),
            Self::Compact(compact) => Some(&compact.id),
            Self::AskApproval(ask) => Some(&ask.id),
            Self::Decide(..) => None,
        }
    }
}
