//! The vocabulary of phi: what things are, and nothing about how they happen.
//!
//! Every other crate of phi speaks in these words. Here are the messages and tools, the events and
//! the one fold from events to a conversation ([`Transcript`]), and the ports that a stranger
//! implements: [`Provider`], [`Tool`] and [`Journal`]. The crate reads no clock, draws no random
//! number and touches no network and no file.
//!
//! ```
//! use phi_types::{Assembler, Delta, Origin, StopReason};
//!
//! let mut assembler = Assembler::new();
//! for delta in [Delta::text(0, "Hello, "), Delta::text(0, "world"), Delta::finish(StopReason::EndTurn)] {
//!     assembler.push(&delta)?;
//! }
//! let message = assembler.into_message(Origin::default()).expect("the stream was finished");
//! assert_eq!(message.text(), "Hello, world");
//! # Ok::<(), phi_types::MisplacedDelta>(())
//! ```

mod approval;
mod assembler;
mod configuration;
mod context;
mod delta;
mod digest;
mod early;
mod error;
mod event;
mod facts;
mod history;
mod id;
mod image;
mod journal;
mod json;
mod limits;
mod live;
mod message;
mod outcome;
mod overlay;
mod overlays;
mod part_facts;
mod provider;
mod queue;
mod request;
mod sent;
mod stuck;
mod tokens;
mod tool;
mod transcript;
mod transcript_check;
mod usage;

pub use approval::{
    AnswerScope, Approval, ApprovalRequested, ApprovalResolved, CallHash, StickyAnswers,
};
pub use assembler::{Assembler, MisplacedDelta};
pub use configuration::{
    CompactAt, Configuration, Limits, Point, QueuePolicy, RetryPolicy, ToolExecution, ToolPolicy,
};
pub use context::{
    AskedBy, ContextChange, ContextPruned, ContextRestored, ContextReverted, InvalidTag, OverlayId,
    Prune, Revert, RevertCategory, Tag, Tags,
};
pub use delta::{
    Delta, Finish, OpaqueDelta, PartEnded, PartFactsDelta, Started, TextDelta, ToolCallDelta,
};
pub use digest::{digest_of, mix};
pub use early::{EarlyCall, EarlyStart};
pub use error::{JournalError, ProviderError, ProviderErrorKind};
pub use event::{Event, EventKind, FORMAT};
pub use facts::{
    AttemptFacts, BranchScore, BranchSelected, BranchesStarted, CacheBroken, CompactionBlock,
    CompactionEnded, CompactionStarted, Continuation, Extension, ForkedFrom, LimitWarning,
    LoopEnded, LoopStarted, MessageAdded, ModelFailed, ModelStarted, PrunedResult, Recovered,
    RequestPart, SessionEnded, SessionStarted, SpawnedBy, StopCause, StopRequested, SurfaceChanged,
    ToolEnded, ToolStarted, TurnEnded, TurnStarted, TurnTrigger,
};
pub use history::{CallResult, Entry, History, HistoryDigest};
pub use id::{ConfigurationId, EffectId, InvalidId, LoopId, QueueId, SessionId};
pub use image::ImageSize;
pub use journal::Journal;
pub use json::RawJson;
pub use limits::{LimitReached, LimitScope};
pub use live::{Increment, Live};
pub use message::{
    AssistantMessage, AssistantPart, Content, ExtensionMessage, ImageSource, Message, OpaquePart,
    Origin, StopReason, TextPart, ThinkingPart, UserMessage,
};
pub use outcome::{LimitKind, LoopError, Outcome};
pub use part_facts::{Facts, PartFacts};
pub use provider::{Identity, Provider};
pub use queue::{Delivery, FilterVerdict, InputFiltered, MessageQueued, Queue};
pub use request::{
    ModelPatch, Options, OutputSchema, Request, Surface, Target, Thinking, ToolChoice,
};
pub use sent::Sent;
pub use stuck::LoopStuck;
pub use tokens::{Calibration, CountedTokens, EstimatedTokens, TokenCounter};
pub use tool::{
    Arguments, EffectClass, InvalidArguments, ProgressSink, Spawned, Tool, ToolCall, ToolContext,
    ToolEnding, ToolKind, ToolProgress, ToolResult, ToolSpec,
};
pub use transcript::{IllegalEvent, NextView, OpenCall, Queued, Transcript};
pub use transcript_check::{TranscriptChecker, TranscriptFault, check_transcript};
pub use usage::{Price, Spent, Usage};
