//! The event: one fact in a session's log.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::approval::{ApprovalRequested, ApprovalResolved};
use crate::context::{ContextPruned, ContextRestored, ContextReverted};
use crate::facts::{
    BranchSelected, BranchesStarted, CacheBroken, CompactionEnded, CompactionStarted, Extension,
    LimitWarning, LoopEnded, LoopStarted, MessageAdded, ModelFailed, ModelStarted, Recovered,
    SessionEnded, SessionStarted, StopRequested, SurfaceChanged, ToolEnded, ToolStarted, TurnEnded,
    TurnStarted,
};
use crate::id::{LoopId, SessionId};
use crate::json::{RawJson, deserialize_tagged};
use crate::limits::LimitReached;
use crate::queue::{InputFiltered, MessageQueued};
use crate::stuck::LoopStuck;

/// The version of the event format, written in [`SessionStarted`].
pub const FORMAT: u32 = 1;

/// One fact in a session's log.
///
/// `seq` counts the durable events of one loop from 1 without gaps; events outside a loop count in a
/// stream of their own, from 1 too. An event holds the new thing only, never the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The session.
    pub session: SessionId,
    /// The loop; `None` for facts of the session.
    pub loop_id: Option<LoopId>,
    /// The number of the event in its loop, from 1.
    pub seq: u64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
///
/// A kind that this version does not know is kept byte for byte as [`EventKind::Unknown`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// A session began; the first event of every log.
    SessionStarted(SessionStarted),
    /// A session ended on purpose.
    SessionEnded(SessionEnded),
    /// Something was put right after a crash.
    Recovered(Recovered),
    /// Several configurations run from one history.
    BranchesStarted(BranchesStarted),
    /// One of the branches was chosen.
    BranchSelected(Arc<BranchSelected>),
    /// A loop began.
    LoopStarted(Arc<LoopStarted>),
    /// A loop ended; nothing of that loop follows.
    LoopEnded(Arc<LoopEnded>),
    /// Somebody asked the loop to end.
    StopRequested(StopRequested),
    /// What the model is shown changed.
    SurfaceChanged(Arc<SurfaceChanged>),
    /// A limit is near.
    LimitWarning(LimitWarning),
    /// A limit that the loop shares with others is reached.
    LimitReached(LimitReached),
    /// The model goes round in circles.
    LoopStuck(LoopStuck),
    /// A turn began.
    TurnStarted(TurnStarted),
    /// A turn ended: the model answered and every call has its result.
    TurnEnded(TurnEnded),
    /// The next request does not continue the one before it.
    CacheBroken(CacheBroken),
    /// A model is called.
    ModelStarted(ModelStarted),
    /// An attempt to call a model failed.
    ModelFailed(Arc<ModelFailed>),
    /// A message joined the conversation.
    Message(MessageAdded),
    /// A message arrived and waits for its place.
    MessageQueued(MessageQueued),
    /// The input filters decided about a prompt or a message that waits.
    InputFiltered(InputFiltered),
    /// A tool call is run.
    ToolStarted(ToolStarted),
    /// A tool call has its result.
    ToolEnded(ToolEnded),
    /// Somebody is asked whether a call may run.
    ApprovalRequested(ApprovalRequested),
    /// They answered.
    ApprovalResolved(ApprovalResolved),
    /// The view is made smaller.
    CompactionStarted(CompactionStarted),
    /// It was, or could not be.
    CompactionEnded(Arc<CompactionEnded>),
    /// Tool results left the view.
    ContextPruned(ContextPruned),
    /// The entries after one of them left the view.
    ContextReverted(Arc<ContextReverted>),
    /// An overlay was taken off the view.
    ContextRestored(ContextRestored),
    /// A fact of an upper layer.
    Extension(Extension),
    /// A kind of a newer version, kept as it is.
    #[serde(untagged)]
    Unknown(RawJson),
}

deserialize_tagged!(EventKind, "type" {
    "session_started" => SessionStarted,
    "session_ended" => SessionEnded,
    "recovered" => Recovered,
    "branches_started" => BranchesStarted,
    "branch_selected" => BranchSelected,
    "loop_started" => LoopStarted,
    "loop_ended" => LoopEnded,
    "stop_requested" => StopRequested,
    "surface_changed" => SurfaceChanged,
    "limit_warning" => LimitWarning,
    "limit_reached" => LimitReached,
    "loop_stuck" => LoopStuck,
    "turn_started" => TurnStarted,
    "turn_ended" => TurnEnded,
    "cache_broken" => CacheBroken,
    "model_started" => ModelStarted,
    "model_failed" => ModelFailed,
    "message" => Message,
    "message_queued" => MessageQueued,
    "input_filtered" => InputFiltered,
    "tool_started" => ToolStarted,
    "tool_ended" => ToolEnded,
    "approval_requested" => ApprovalRequested,
    "approval_resolved" => ApprovalResolved,
    "compaction_started" => CompactionStarted,
    "compaction_ended" => CompactionEnded,
    "context_pruned" => ContextPruned,
    "context_reverted" => ContextReverted,
    "context_restored" => ContextRestored,
    "extension" => Extension,
} else Unknown);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::TurnTrigger;
    use crate::id::ConfigurationId;

    fn event(kind: EventKind) -> Event {
        let session = SessionId::new("s1").unwrap();
        let loop_id = LoopId::numbered(&session, &ConfigurationId::new("default").unwrap(), 1);
        let at = DateTime::from_timestamp(1_700_000_000, 5_000_000).unwrap();
        Event {
            session,
            loop_id: Some(loop_id),
            seq: 3,
            at,
            kind,
        }
    }

    #[test]
    fn an_event_reads_back_and_names_its_type_first() {
        let started = event(EventKind::TurnStarted(TurnStarted {
            index: 1,
            trigger: TurnTrigger::Prompt,
        }));
        let text = serde_json::to_string(&started).unwrap();
        assert_eq!(
            text,
            r#"{"session":"s1","loop_id":"s1.default.1","seq":3,"at":"2023-11-14T22:13:20.005Z","kind":{"type":"turn_started","index":1,"trigger":"prompt"}}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), started);
    }

    #[test]
    fn a_kind_of_a_newer_version_is_kept_byte_for_byte() {
        let text = r#"{"session":"s1","loop_id":null,"seq":1,"at":"2023-11-14T22:13:20Z","kind":{"n": 1.50, "type":"from_the_future"}}"#;
        let event: Event = serde_json::from_str(text).unwrap();
        assert!(matches!(event.kind, EventKind::Unknown(_)));
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
    }

    #[test]
    fn an_event_stays_small_enough_to_move() {
        assert!(size_of::<Event>() <= 160, "{}", size_of::<Event>());
    }
}
