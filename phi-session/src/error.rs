//! Says what a store could not do, and what would help.

use std::io;
use std::path::PathBuf;

use phi_types::{LoopId, SessionId};

use crate::blob::BlobId;
use crate::recorder::IllegalSequence;

/// Says why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store has no such session.
    #[error("find session `{session}`: the store has none of that name; list the sessions")]
    Unknown {
        /// The session that was asked for.
        session: SessionId,
    },
    /// The session has a log without one whole event: its creation was cut short.
    #[error("read session `{session}`: its log holds no whole event; create the session again")]
    Empty {
        /// The session.
        session: SessionId,
    },
    /// A session of this name exists already.
    #[error("create session `{session}`: it exists already; open it or choose another name")]
    Exists {
        /// The session.
        session: SessionId,
    },
    /// Forks of the session read their past from it.
    #[error(
        "delete session `{session}`: {} read their past from it; delete them first",
        session_names(.forks)
    )]
    HasForks {
        /// The session.
        session: SessionId,
        /// Its forks.
        forks: Vec<SessionId>,
    },
    /// The session has no such position.
    #[error("fork session `{session}` at position {position}: it has positions 1 to {newest}")]
    NoSuchPosition {
        /// The session.
        session: SessionId,
        /// The position that was asked for.
        position: u64,
        /// The newest one that can be read.
        newest: u64,
    },
    /// A fork and the session that it was forked from do not fit.
    #[error(
        "read session `{session}`: it was forked from `{parent}` at position {position}, which is \
             gone or another one; put the right one back"
    )]
    OtherParent {
        /// The fork.
        session: SessionId,
        /// The session that it names.
        parent: SessionId,
        /// The last position that both share.
        position: u64,
    },
    /// Another writer has the session open.
    #[error("lock session `{session}`: {} has it open; wait until it ends", owner_name(*.owner))]
    Locked {
        /// The session.
        session: SessionId,
        /// The process id of the other writer, where it is known.
        owner: Option<u32>,
    },
    /// A stored line is not what was written. Events before it can be read; nothing is appended.
    #[error(
        "read session `{session}` at position {position} ({place}): {reason}; \
             what is before it can be read, and nothing is appended"
    )]
    Corrupt {
        /// The session.
        session: SessionId,
        /// The position that the line would have.
        position: u64,
        /// Where the line is, as a file and a byte offset.
        place: String,
        /// What is wrong with it.
        reason: BadLine,
    },
    /// Events in the middle of the log are not there.
    #[error(
        "read session `{session}`: its log goes on at position {found} where {expected} is due; \
             put the missing segment back"
    )]
    Missing {
        /// The session.
        session: SessionId,
        /// The position that should follow.
        expected: u64,
        /// The position that does.
        found: u64,
    },
    /// The log was written by a newer version.
    #[error(
        "read session `{session}`: its log has format {found} and this version knows \
             {known}; use a newer version"
    )]
    NewerFormat {
        /// The session.
        session: SessionId,
        /// The format of the log.
        found: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// A log or an event belongs to another session.
    #[error("use session `{expected}`: this belongs to session `{found}`; use that one")]
    OtherSession {
        /// The session that is open.
        expected: SessionId,
        /// The session that the log or event names.
        found: SessionId,
    },
    /// An event that was to be appended does not follow the one before it.
    #[error("append to session `{session}`: {source}")]
    Sequence {
        /// The session.
        session: SessionId,
        /// Which event was due.
        source: SeqGap,
    },
    /// The events are no sequence that phi writes.
    #[error("fold session `{session}` at position {position}: {source}")]
    Illegal {
        /// The session.
        session: SessionId,
        /// The position of the event.
        position: u64,
        /// What is wrong with it.
        source: IllegalSequence,
    },
    /// An event is larger than a line may be.
    #[error("append to session `{session}`: an event takes {bytes} bytes and a line at most {max}")]
    TooLarge {
        /// The session.
        session: SessionId,
        /// The size of the line.
        bytes: usize,
        /// The largest size.
        max: usize,
    },
    /// An event cannot be written as one line of JSON.
    #[error("append to session `{session}`: an event does not encode: {source}")]
    Encode {
        /// The session.
        session: SessionId,
        /// Why not.
        source: serde_json::Error,
    },
    /// An earlier write or sync failed, so that nothing more is taken.
    #[error("append to session `{session}`: an earlier write failed ({reason}); open it again")]
    Poisoned {
        /// The session.
        session: SessionId,
        /// What failed first.
        reason: String,
    },
    /// The log was removed or changed by others while it was open.
    #[error(
        "append to session `{session}`: its log `{}` was removed or changed by others",
        .path.display()
    )]
    Vanished {
        /// The session.
        session: SessionId,
        /// The file.
        path: PathBuf,
    },
    /// Something other than a regular file or folder stands where one belongs.
    #[error("open `{}`: it is not a regular {expected}; move it away", .path.display())]
    WrongKind {
        /// What should be there: `file` or `folder`.
        expected: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// The file of a whole store is spoilt.
    #[error("read `{}`: {reason}; put a sound copy in its place", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused.
    #[error("{action} `{}`: {source}", .path.display())]
    Io {
        /// What was tried, as `open`.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A store that is not made of files failed in its own way.
    #[error("{action}: {reason}")]
    Backend {
        /// What was tried.
        action: &'static str,
        /// Why it failed, with the remedy.
        reason: String,
    },
}

impl StoreError {
    /// Says whether the session is not there, or not yet: to create it is the remedy.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Empty { .. })
    }
}

/// Says why a stored line is not taken for what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadLine {
    /// It does not end in a checksum and a line end.
    #[error("the line is not whole")]
    NotWhole,
    /// It is longer than a line may be.
    #[error("the line is longer than {max} bytes")]
    TooLong {
        /// The largest size.
        max: usize,
    },
    /// The checksum is not that of the line and the one before it.
    #[error("the checksum is {found:08x} where {expected:08x} is right")]
    Checksum {
        /// The checksum that the content has.
        expected: u32,
        /// The checksum that the line states.
        found: u32,
    },
    /// The checksum is right but the line is no event, or no header.
    #[error("the line is no {expected}: {reason}")]
    NotReadable {
        /// What it should be: `event` or `header`.
        expected: &'static str,
        /// What the JSON reader found.
        reason: String,
    },
    /// The event belongs to another session.
    #[error("the event belongs to session `{found}`")]
    OtherSession {
        /// The session that it names.
        found: SessionId,
    },
    /// The event does not follow the one before it.
    #[error("{0}")]
    Sequence(SeqGap),
    /// A long string of the event is not where it was kept.
    #[error("its blob `{id}` is missing")]
    MissingBlob {
        /// The blob.
        id: BlobId,
    },
    /// A long string of the event is not what was kept.
    #[error("its blob `{id}` is not what was written")]
    AlteredBlob {
        /// The blob.
        id: BlobId,
    },
    /// A long string of the event cannot be read.
    #[error("its blob `{id}` cannot be read: {reason}")]
    UnreadableBlob {
        /// The blob.
        id: BlobId,
        /// Why not.
        reason: String,
    },
    /// The header does not fit the file's name or the segment before it.
    #[error("the header says {found} where {expected} is right")]
    Header {
        /// What would be right.
        expected: String,
        /// What it says.
        found: String,
    },
}

/// Says which event was due in one stream of events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {expected} of {} is due and event {found} came", stream_name(.loop_id.as_ref()))]
pub struct SeqGap {
    /// The loop; `None` for the events of the session itself.
    pub loop_id: Option<LoopId>,
    /// The `seq` that would be right.
    pub expected: u64,
    /// The `seq` that came.
    pub found: u64,
}

fn owner_name(owner: Option<u32>) -> String {
    owner.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

fn session_names(sessions: &[SessionId]) -> String {
    let names: Vec<String> = sessions.iter().map(|it| format!("`{it}`")).collect();
    names.join(", ")
}

fn stream_name(loop_id: Option<&LoopId>) -> String {
    loop_id.map_or_else(
        || "the session".to_owned(),
        |loop_id| format!("loop `{loop_id}`"),
    )
}
