//! The agent loop: a pure machine that decides what happens next, and its async driver.
//!
//! [`Machine`] takes inputs and hands out events and effects; it reads no clock and does nothing by
//! itself. Its state is a fold of its events, so a log restores it ([`Machine::restore`]), goes on
//! after a crash ([`Machine::resume`]) and can be checked ([`replay`]).

mod calls;
mod digest;
#[cfg(feature = "driver")]
mod driver;
mod io;
mod limits;
mod machine;
mod replay;
mod request;
mod retry;
mod state;
mod step;

#[cfg(feature = "driver")]
pub use driver::{
    Driver, Finished, Handle, HookContext, HookError, HookFailed, Hooks, ModelDecision, Run,
    ToolDecision, Undelivered, Update,
};
pub use io::{
    AskApproval, CallModel, Compact, DecisionId, Effect, Input, Output, Rejected, RunTool, Subject,
    ToolReport, Verdict,
};
pub use machine::{Machine, Start};
pub use replay::{Diverged, replay};
pub use state::IllegalSequence;
