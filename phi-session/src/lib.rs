//! The session recorder and the event log of phi.
//!
//! A [`Store`] keeps one log for each session and lets one writer in; the writer is the
//! [`phi_types::Journal`] of a loop. A [`SessionRecorder`] folds the events into a [`Session`]: its
//! loops, turns, tool calls, status and usage. [`JsonlStore`] is the store on files, [`MemoryStore`]
//! the one in memory, and `SqliteStore` (feature `sqlite`) the one in a database.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use phi_session::{MemoryStore, Status, Store, load};
//! use phi_types::{EventKind, FORMAT, SessionEnded, SessionId, SessionStarted};
//!
//! let (store, id) = (MemoryStore::new(), SessionId::new("first")?);
//! let now = chrono::DateTime::UNIX_EPOCH;
//! let started = SessionStarted { format: FORMAT, agent: None, spawned_by: None, forked_from: None };
//! let writer = store.create(&id, started, now).await?;
//! writer.append_fact(now, EventKind::SessionEnded(SessionEnded {})).await?;
//! assert_eq!(writer.position(), 2);
//! assert_eq!(load(&store, &id).await?.session().status(), Status::Open);
//! # Ok(()) }
//! ```

pub mod acp;
mod blob;
mod chain;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod disk;
mod encode;
mod envelope;
mod error;
#[cfg(test)]
mod faults;
mod files;
mod fork;
mod import;
mod inactivity;
mod jsonl;
#[cfg(test)]
mod laws;
mod length;
mod lock;
mod loop_fold;
mod memory;
#[cfg(test)]
mod power;
mod read;
mod record;
mod recorded;
mod recorder;
mod redact;
#[cfg(test)]
mod scenarios;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod stream;
mod summary;
mod summary_fold;
mod sync;
mod timeline;
mod verify;

pub use blob::{BLOB_BYTES_MIN, Blob, BlobId, BlobSource, NoBlobId};
pub use chain::{Chain, Encoded, LINE_BYTES_MAX, LineRules};
pub use error::{BadLine, SeqGap, StoreError};
pub use inactivity::Inactivity;
pub use jsonl::{JsonlStore, LOG_FORMAT};
pub use memory::MemoryStore;
pub use read::{load, read_events};
pub use record::{
    ApprovalRecord, Attempt, BranchGroup, CallEnd, CallRecord, CallRun, Compaction, LoopRecord,
    Notice, NoticeKind, Recovery, Session, Turn,
};
pub use recorded::{RecordedSession, Refusal, TaskError, TaskHooks, Tasks};
pub use recorder::{IllegalSequence, Recorded, SessionRecorder};
pub use redact::{Redactor, ShortSecret};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
pub use store::{Listed, SessionReader, SessionWriter, Store, StoredEvent, StoredLine};
pub use stream::{
    ChannelSink, EventSink, FanOut, FanOutLoss, Gap, Hub, JsonlSink, PublishedStore, SinkError,
    Subscription, Update, channel, from_fn,
};
pub use summary::{SessionFilter, SessionSummary, Status};
pub use sync::SyncPolicy;
pub use timeline::{TimelineError, write_timeline};
pub use verify::{Verification, verify};
