//! What a session is after its events: session, loops, turns, attempts, tool calls.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{
    Approval, ApprovalRequested, AssistantMessage, BranchScore, CompactionEnded, Configuration,
    ContextPruned, ContextRestored, ContextReverted, Continuation, EffectClass, EffectId,
    ForkedFrom, InputFiltered, LimitKind, LoopId, LoopStarted, LoopStuck, ModelFailed,
    ModelStarted, Outcome, RawJson, SessionId, SpawnedBy, Spent, StopCause, ToolCall, ToolEnding,
    ToolResult, Transcript, TurnTrigger, Usage, UserMessage,
};

use crate::summary::{SessionSummary, Status};

/// One conversation or task, as its events tell it.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    // Wide: what a session is reads off one value, and no two of these facts belong closer together.
    /// Its name.
    pub id: SessionId,
    /// The agent that it belongs to.
    pub agent: Option<Arc<str>>,
    /// The call that spawned it, where it is a sub-agent's.
    pub spawned_by: Option<SpawnedBy>,
    /// Where it was forked from.
    pub forked_from: Option<ForkedFrom>,
    /// The time of its first event; `None` before it.
    pub created_at: Option<DateTime<Utc>>,
    /// The time of its newest event.
    pub updated_at: Option<DateTime<Utc>>,
    /// When it ended on purpose.
    pub ended_at: Option<DateTime<Utc>>,
    /// When [`crate::TaskHooks::after_task`] had taken note of that end.
    pub after_task_at: Option<DateTime<Utc>>,
    /// Its loops in the order in which they began.
    pub loops: Vec<LoopRecord>,
    /// Its groups of branches in the order in which they began.
    pub groups: Vec<BranchGroup>,
    /// What openers of its log put right.
    pub recoveries: Vec<Recovery>,
    /// How many events it has.
    pub events: u64,
}

impl Session {
    /// Makes a session without events.
    #[must_use]
    pub fn new(id: SessionId) -> Self {
        Self {
            id,
            agent: None,
            spawned_by: None,
            forked_from: None,
            created_at: None,
            updated_at: None,
            ended_at: None,
            after_task_at: None,
            loops: Vec::new(),
            groups: Vec::new(),
            recoveries: Vec::new(),
            events: 0,
        }
    }

    /// Returns its status: running while any loop runs, else that of the branch that was chosen or
    /// of the newest loop, whichever came later. Without a loop it is open.
    #[must_use]
    pub fn status(&self) -> Status {
        if self.loops.iter().any(|record| record.outcome.is_none()) {
            return Status::Running;
        }
        self.newest_loop().map_or(Status::Open, LoopRecord::status)
    }

    /// Returns the tokens of all its loops.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for record in &self.loops {
            usage.add(&record.usage());
        }
        usage
    }

    /// Returns the cost of all its loops in US dollars, as far as prices are known.
    #[must_use]
    pub fn cost_usd(&self) -> f64 {
        self.loops.iter().map(|record| record.cost_usd).sum()
    }

    /// Iterates over the sessions of its sub-agents with the calls that they worked for. The other
    /// side is the `spawned_by` of each of them.
    pub fn children(&self) -> impl Iterator<Item = (EffectId, &SessionId)> {
        self.loops.iter().flat_map(LoopRecord::children)
    }

    /// Returns how many turns its loops have.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.loops
            .iter()
            .map(|record| record.turns.len() as u64)
            .sum()
    }

    /// Returns the loop that a next one would continue: the chosen branch where the newest loop is
    /// one of a group, else the newest loop.
    #[must_use]
    pub fn newest_loop(&self) -> Option<&LoopRecord> {
        let newest = self.loops.last()?;
        let group = self
            .groups
            .iter()
            .rev()
            .find(|group| group.loops.contains(&newest.id));
        let winner = group.and_then(|group| group.winner.as_ref());
        let chosen = winner.and_then(|id| self.loops.iter().find(|record| record.id == *id));
        Some(chosen.unwrap_or(newest))
    }

    /// Returns the conversation that a next loop would continue.
    #[must_use]
    pub fn transcript(&self) -> Option<&Transcript> {
        self.newest_loop().map(|record| &record.transcript)
    }

    /// Returns what a list of sessions shows.
    #[must_use]
    pub fn summary(&self) -> SessionSummary {
        SessionSummary {
            id: self.id.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            loops: self.loops.len() as u64,
            turns: self.turns(),
            status: self.status(),
            usage: self.usage(),
            agent: self.agent.clone(),
            spawned_by: self.spawned_by.clone(),
            ended_at: self.ended_at,
        }
    }
}

/// One run of the agent loop.
#[derive(Debug, Clone, PartialEq)]
pub struct LoopRecord {
    // Wide: what a loop was reads off one value, and no two of these facts belong closer together.
    /// Its name.
    pub id: LoopId,
    /// What it was started with: agent, parent, continuation, configuration, metadata.
    pub started: Arc<LoopStarted>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// The time of its newest event.
    pub updated_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
    /// Its turns in order, a grace turn last.
    pub turns: Vec<Turn>,
    /// User messages that joined and that no turn has taken up yet.
    pub waiting_input: Vec<Arc<UserMessage>>,
    /// What made its view smaller, failures included.
    pub compactions: Vec<Compaction>,
    /// What it was warned of and told.
    pub notices: Vec<Notice>,
    /// What all its attempts cost in US dollars, failed ones, compactions and sub-agents included, as far as
    /// prices are known.
    pub cost_usd: f64,
    /// The conversation after its newest event.
    pub transcript: Transcript,
    /// The `seq` of its newest event.
    pub seq: u64,
}

impl LoopRecord {
    /// Returns its status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.outcome.as_ref().map_or(Status::Running, Status::of)
    }

    /// Returns the tokens of all its attempts, failed ones and compactions included.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.transcript.usage()
    }

    /// Iterates over the sessions of its sub-agents with the calls that they worked for.
    pub fn children(&self) -> impl Iterator<Item = (EffectId, &SessionId)> {
        let calls = self.turns.iter().flat_map(|turn| {
            let early = turn.attempts.iter().flat_map(|attempt| &attempt.early);
            early.chain(&turn.calls)
        });
        calls.filter_map(|call| {
            let effect = EffectId {
                loop_id: self.id.clone(),
                seq: call.run.as_ref()?.seq,
            };
            Some((effect, call.end.as_ref()?.child.as_ref()?))
        })
    }

    /// Returns the policy that it runs under.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.started.configuration
    }

    /// Returns the loop whose conversation it continues.
    #[must_use]
    pub fn parent(&self) -> Option<&LoopId> {
        self.started.parent.as_ref()
    }

    /// Returns in which way it continues.
    #[must_use]
    pub fn continuation(&self) -> Continuation {
        self.started.continuation
    }

    /// Returns what its caller wanted to find again.
    #[must_use]
    pub fn metadata(&self) -> Option<&RawJson> {
        self.started.metadata.as_ref()
    }
}

/// One model call plus the tool calls that it asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Its number in the loop, from 1. A grace turn has the number of the turn before.
    pub index: u32,
    /// Why it began.
    pub trigger: TurnTrigger,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended; `None` while it runs, and where the loop ended first.
    pub ended_at: Option<DateTime<Utc>>,
    /// The user messages that joined before the model was called.
    pub input: Vec<Arc<UserMessage>>,
    /// The attempts to call a model, in order.
    pub attempts: Vec<Attempt>,
    /// What the model answered.
    pub answer: Option<Arc<AssistantMessage>>,
    /// The tool calls of the answer, in order.
    pub calls: Vec<CallRecord>,
    /// Tokens of all its attempts so far.
    pub usage: Usage,
}

/// One attempt to call a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// What was sent.
    pub started: ModelStarted,
    /// When.
    pub started_at: DateTime<Utc>,
    /// When it failed or answered; `None` while it runs.
    pub ended_at: Option<DateTime<Utc>>,
    /// How it failed.
    pub failed: Option<Arc<ModelFailed>>,
    /// Calls that started early and that no answer holds: those that run while it streams, and those
    /// that ended as discarded.
    pub early: Vec<CallRecord>,
}

/// One tool call: what was asked for, what ran, what came back.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRecord {
    /// The call as the model asked for it.
    pub call: Arc<ToolCall>,
    /// What ran; `None` if it never started.
    pub run: Option<CallRun>,
    /// The questions whether it may run.
    pub approvals: Vec<ApprovalRecord>,
    /// What came back; `None` while it is open.
    pub end: Option<CallEnd>,
}

/// What ran for a tool call.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRun {
    /// The call as it ran.
    pub call: Arc<ToolCall>,
    /// What running it again would mean.
    pub effect_class: EffectClass,
    /// When it started.
    pub at: DateTime<Utc>,
    /// The `seq` of its start, which names the effect.
    pub seq: u64,
}

/// What came back for a tool call.
#[derive(Debug, Clone, PartialEq)]
pub struct CallEnd {
    /// How it ended.
    pub ending: ToolEnding,
    /// What the model reads.
    pub result: Arc<ToolResult>,
    /// The session of the sub-agent that did the work.
    pub child: Option<SessionId>,
    /// What that sub-agent spent, where one was at work; it counts for the turn.
    pub spent: Option<Arc<Spent>>,
    /// When it ended.
    pub at: DateTime<Utc>,
}

/// One question whether a call may run.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalRecord {
    /// The `seq` of the question.
    pub seq: u64,
    /// The question.
    pub requested: ApprovalRequested,
    /// When it was asked.
    pub at: DateTime<Utc>,
    /// The answer and its time; `None` while it is awaited.
    pub answer: Option<(Approval, DateTime<Utc>)>,
}

/// One attempt to make the view smaller.
#[derive(Debug, Clone, PartialEq)]
pub struct Compaction {
    /// Entries of the view before.
    pub entries_before: u64,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How it ended, and when; `None` while it runs.
    pub ended: Option<(Arc<CompactionEnded>, DateTime<Utc>)>,
}

/// Something that a loop was warned of or told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub kind: NoticeKind,
}

/// What a loop was warned of or told.
#[derive(Debug, Clone, PartialEq)]
pub enum NoticeKind {
    /// Somebody asked it to end.
    Stop(StopCause),
    /// A limit was near.
    Limit(LimitKind),
    /// A limit that it shares with others was reached.
    LimitReached(LimitKind),
    /// The model repeated one call.
    Stuck(LoopStuck),
    /// It went on after its process had ended.
    Restart,
    /// The input filters decided about a prompt or a message of its queue.
    Filtered(InputFiltered),
    /// Tool results left its view.
    Pruned(ContextPruned),
    /// What followed an entry left its view.
    Reverted(Arc<ContextReverted>),
    /// An overlay was taken off its view.
    Restored(ContextRestored),
}

/// Several configurations that ran from one history.
#[derive(Debug, Clone, PartialEq)]
pub struct BranchGroup {
    /// The loops, in the order of their configurations.
    pub loops: Vec<LoopId>,
    /// When they began; `None` while only the choice is known.
    pub started_at: Option<DateTime<Utc>>,
    /// When one was chosen; `None` while they are compared.
    pub selected_at: Option<DateTime<Utc>>,
    /// The loop that was chosen.
    pub winner: Option<LoopId>,
    /// The strategy that chose.
    pub strategy: Option<String>,
    /// How the strategy rated the loops, as far as it did.
    pub scores: Vec<BranchScore>,
    /// Tokens that the choice took; `None` is not reported. They are no part of any loop's.
    pub usage: Option<Usage>,
}

/// What an opener of the log put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// When.
    pub at: DateTime<Utc>,
    /// How many bytes were moved aside.
    pub bytes: u64,
    /// The name of the file beside the log that holds them.
    pub moved_to: String,
}
