//! Says what a session could not do, and what would help.

use phi_loop::{IllegalSequence, Rejected};
use phi_session::StoreError;
use phi_types::{LoopError, LoopId, Outcome, SessionId};

/// Says why a session did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A loop of the session was cut off, by the end of its process or because its run was dropped.
    #[error(
        "go on with session `{session}`: its loop `{loop_id}` was cut off; resume it first \
         (`Session::resume`)"
    )]
    Unfinished {
        /// The session.
        session: SessionId,
        /// The loop.
        loop_id: LoopId,
    },
    /// The session of a sub-agent was not spawned by the call that wants to go on with it.
    #[error(
        "go on with session `{session}`: another call than this one has spawned it, or none; move \
         it out of the way"
    )]
    NotSpawned {
        /// The session.
        session: SessionId,
    },
    /// The loop did not take the prompt, or the change of the context does not fit.
    #[error("start the loop: {0}")]
    Rejected(#[from] Rejected),
    /// The log of a loop is not one that a loop wrote.
    #[error("restore loop `{loop_id}`: {source}; read the session instead of going on with it")]
    NotRestorable {
        /// The loop.
        loop_id: LoopId,
        /// What is wrong with it.
        source: IllegalSequence,
    },
    /// The loop ended without an answer. The session holds what it did and goes on from there.
    #[error("get an answer: {}", outcome_text(.outcome))]
    Unanswered {
        /// How it ended.
        outcome: Outcome,
    },
    /// The log did not take a change of the context.
    #[error("change the context: {}", outcome_text(.outcome))]
    Unchanged {
        /// What happened instead.
        outcome: Outcome,
    },
    /// There is no loop that could be repeated.
    #[error("session {session} has no loop to repeat: give it a prompt first")]
    NothingToRepeat {
        /// The session.
        session: SessionId,
    },
}

/// Says for a person how a loop ended.
pub(crate) fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Completed {} => "the loop completed".to_owned(),
        Outcome::Rejected { reason } => format!("a hook refused the input: {reason}"),
        Outcome::Cancelled {} => "the loop was cancelled".to_owned(),
        Outcome::Failed {
            error: error @ LoopError::Journal { .. },
        } => format!("{error}; resume the loop once the store works again"),
        Outcome::Failed { error } => error.to_string(),
        Outcome::LimitReached { limit } => {
            format!(
                "a limit was reached, {}; raise it and proceed",
                limit.as_str()
            )
        }
        Outcome::Aborted { reason } => format!("the loop was stopped: {reason}"),
    }
}
