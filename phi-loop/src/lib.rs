//! The agent loop: a pure machine that decides what happens next, and its async driver.
//!
//! [`Machine`] takes inputs and hands out events and effects; it reads no clock and does nothing by
//! itself. Its state is a fold of its events, so a log restores it ([`Machine::restore`]), goes on
//! after a crash ([`Machine::resume`]) and can be checked ([`replay`]). With the feature `driver`,
//! a `Driver` does what the machine asks: it calls providers, runs tools, asks hooks and writes
//! ahead to a journal. With the feature `simulation`, seeded worlds try every promise of the machine.
//!
//! ```
//! use std::sync::Arc;
//! use phi_loop::{Input, Machine, Output, Start};
//! use phi_types::{Configuration, Identity, SessionId, Surface, Target, UserMessage};
//!
//! let model = Target::new(Identity { protocol: "openai-chat", provider: "openai" }, "a-model");
//! let surface = Surface { models: Arc::from([model]), ..Surface::default() };
//! let start = Start::new(SessionId::new("s1")?, Configuration::default(), surface);
//! let mut machine = Machine::new(start);
//! machine.handle(Default::default(), Input::Prompt(vec![Arc::new(UserMessage::text("Hi"))]))?;
//! assert!(matches!(machine.poll(), Some(Output::Events(_)))); // written first,
//! assert!(matches!(machine.poll(), Some(Output::Effect(_)))); // then done
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod calls;
mod counting;
mod decision;
mod digest;
#[cfg(feature = "driver")]
mod driver;
mod gates;
mod io;
mod limits;
mod machine;
mod replay;
mod request_record;
mod retry;
#[cfg(feature = "simulation")]
pub mod simulation;
mod state;
mod step;

pub use counting::Counting;
pub use decision::{DecisionId, Incoming, InputSource, NextTurn, Subject, Verdict};
#[cfg(feature = "driver")]
pub use driver::{
    Breaker, Budget, CompactionDecision, CompactionFailed, Compactor, Driver, DropMiddle,
    EndDecision, Finished, GateDecision, Handle, HookContext, HookError, HookFailed, Hooks,
    InOrder, InputDecision, Keep, Ledger, ModelDecision, Place, Reservation, Run, Scope, Spending,
    Summarise, SummaryFailed, ToolDecision, ToolUpdate, TruncateResults, Undelivered, Update,
    UpdateDecision,
};
pub use io::{
    AskApproval, CallModel, Compact, Compacted, ContextRefused, Effect, Input, Output, Rejected,
    RunTool, ToolReport,
};
pub use machine::{Machine, Start};
pub use replay::{Diverged, replay};
pub use request_record::{
    BlockKind, BlockOrigin, EventId, NoRequest, RequestBlock, RequestRecord, request_record,
};
pub use state::IllegalSequence;
