//! The policy of a loop: limits, retry, how tools run, where hooks decide.

use serde::{Deserialize, Serialize};

use crate::context::Tags;
use crate::id::ConfigurationId;
use crate::queue::Delivery;

/// The policy that a loop runs under, recorded when it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    // Wide: the whole policy of a loop, one field for each of its parts.
    /// Its name, which stands in the ids of its loops.
    pub id: ConfigurationId,
    /// Where the loop must stop.
    pub limits: Limits,
    /// What happens after a failed attempt.
    pub retry: RetryPolicy,
    /// How the calls of a turn run.
    pub tools: ToolPolicy,
    /// Whether the model gets one turn without tools to wrap up when a limit is reached. That turn
    /// is outside the turn count.
    pub grace_turn: bool,
    /// Whether a compactor is at hand, so that an overflow compacts and sends again.
    pub compaction: bool,
    /// When the view is made smaller before it overflows, where a compactor is at hand; `None`
    /// waits for the overflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compact_at: Option<CompactAt>,
    /// Whether an exact counter is at hand. Until the first report or count, it is asked once the
    /// estimate is a quarter of what must not be exceeded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact_count: bool,
    /// How messages that wait join.
    #[serde(default, skip_serializing_if = "QueuePolicy::is_default")]
    pub queues: QueuePolicy,
    /// How long the model reads the tags of entries, by which it can name them; `None` shows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Tags>,
    /// The points that hooks claim; elsewhere nobody is asked.
    pub points: Vec<Point>,
    /// The seed of everything random: the jitter of retries.
    pub seed: u64,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            id: ConfigurationId::new("default").expect("the name is valid"),
            limits: Limits::default(),
            retry: RetryPolicy::default(),
            tools: ToolPolicy::default(),
            grace_turn: false,
            compaction: false,
            compact_at: None,
            exact_count: false,
            queues: QueuePolicy::default(),
            tags: None,
            points: Vec::new(),
            seed: 0,
        }
    }
}

/// How large the next request may be before the view is made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompactAt {
    /// So many tokens.
    Tokens(u64),
    /// So much of the model's window, in percent; never where the window is not known.
    WindowPercent(u8),
}

/// How messages that wait join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePolicy {
    /// Steering messages, before a model call; all of them unless said otherwise.
    pub steering: Delivery,
    /// Follow-up messages, when the loop would end; one at a time unless said otherwise.
    pub follow_up: Delivery,
}

impl QueuePolicy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for QueuePolicy {
    fn default() -> Self {
        Self {
            steering: Delivery::All,
            follow_up: Delivery::OneAtATime,
        }
    }
}

/// Where a loop must stop. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Turns; 100 unless said otherwise.
    pub turns: Option<u32>,
    /// Tokens of all attempts, prompt with cache and output.
    pub tokens: Option<u64>,
    /// Cost of all attempts in US dollars, as far as prices are known.
    pub cost_usd: Option<f64>,
    /// Wall time in milliseconds, without the time in which only an approval is outstanding and
    /// without the time between a crash and the resume.
    pub wall_time_ms: Option<u64>,
    /// Tool calls that started.
    pub tool_calls: Option<u32>,
    /// How often the model may go round the same circle; 20 unless said otherwise.
    ///
    /// A circle is a call, or the calls of up to four turns, that come again with the same arguments
    /// and read the same results: `A A A` as well as `A B A B`. A call whose results change, as when
    /// the model polls, is none; the other limits hold for it.
    pub identical_calls: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            turns: Some(100),
            tokens: None,
            cost_usd: None,
            wall_time_ms: None,
            tool_calls: None,
            identical_calls: Some(20),
        }
    }
}

/// What happens after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts for one turn at one model, the first one included.
    pub attempts_max: u32,
    /// The wait after the first failure, doubled after each further one, in milliseconds.
    pub wait_first_ms: u64,
    /// The longest wait, in milliseconds. A provider that asks for more ends the attempts there.
    pub wait_max_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            wait_first_ms: 500,
            wait_max_ms: 60_000,
        }
    }
}

/// How the calls of a turn run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolPolicy {
    /// How many at once.
    pub execution: ToolExecution,
    /// How long one call may run, in milliseconds; ten minutes unless said otherwise.
    pub timeout_ms: Option<u64>,
    /// Whether calls of pure tools start while the model still speaks, as soon as they are complete
    /// in its stream; not unless said so.
    ///
    /// They start in call order: a call that has to wait, because its tool is not pure or not known
    /// or its arguments are malformed, keeps those after it waiting too. As many start early as may
    /// run at once, and none where a hook decides about calls.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub early_start: bool,
}

impl Default for ToolPolicy {
    fn default() -> Self {
        Self {
            execution: ToolExecution::Parallel { max: 128 },
            timeout_ms: Some(600_000),
            early_start: false,
        }
    }
}

/// How many calls of a turn run at once. A cap of zero counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToolExecution {
    /// One after the other, in call order.
    Sequential,
    /// Up to `max`; as one ends the next one starts.
    Parallel {
        /// The cap.
        max: u32,
    },
    /// In groups of `size`; a group starts when the one before has ended.
    Batched {
        /// Calls in a group.
        size: u32,
    },
}

/// A point of a loop that hooks may claim: before a step they decide, after it they observe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// When a prompt, a steering or a follow-up message has arrived: a hook may warn or reject.
    FilterInput,
    /// Before the first turn: a hook may reject the loop.
    BeforeLoop,
    /// Before each turn: a hook may reject it.
    BeforeTurn,
    /// Before a model is called: a hook may patch the request.
    BeforeModel,
    /// Before a tool runs: a hook may deny, rewrite the arguments or have somebody asked.
    BeforeTool,
    /// Before progress of a tool is shown: a hook may replace or hide it.
    BeforeToolUpdate,
    /// Before the view is made smaller: a hook may forbid it.
    BeforeCompaction,
    /// Before the loop ends with its answer: a hook may go on with a message.
    BeforeEnd,
    /// After a model has answered: a hook may observe.
    AfterModel,
    /// After a call has its result: a hook may observe.
    AfterTool,
    /// After progress of a tool was shown: a hook may observe.
    AfterToolUpdate,
    /// After the view was made smaller, or could not be: a hook may observe.
    AfterCompaction,
    /// After an attempt to call a model failed: a hook may observe.
    OnError,
    /// After a turn has ended: a hook may observe.
    AfterTurn,
    /// After the loop has ended: a hook may observe.
    AfterLoop,
}
