//! The async driver: it does what the machine asks, and nothing of its own accord.

mod books;
mod compaction;
mod contained;
mod counter;
mod handle;
mod hooks;
mod in_flight;
mod inbox;
mod lazy_futures;
mod ledger;
mod others;
mod parts;
mod progress;
mod run;
mod several;
mod spending;
mod update;
mod work;

pub use compaction::{
    Breaker, CompactionFailed, Compactor, DropMiddle, InOrder, Keep, Scope, Summarise,
    SummaryFailed, TruncateResults,
};
pub use handle::{Handle, Undelivered};
pub use hooks::{
    CompactionDecision, EndDecision, GateDecision, HookContext, HookError, Hooks, InputDecision,
    ModelDecision, ToolDecision, ToolUpdate, UpdateDecision,
};
pub use ledger::{Budget, Ledger, Place, Reservation, Spending};
pub use parts::Driver;
pub use run::{Finished, Run};
pub use update::{HookFailed, Update};
