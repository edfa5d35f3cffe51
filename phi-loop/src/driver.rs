//! The async driver: it does what the machine asks, and nothing of its own accord.

mod handle;
mod hooks;
mod in_flight;
mod parts;
mod progress;
mod run;
mod work;

pub use handle::{Handle, Undelivered};
pub use hooks::{HookContext, HookError, Hooks, ModelDecision, ToolDecision};
pub use parts::Driver;
pub use run::{Finished, HookFailed, Run, Update};
