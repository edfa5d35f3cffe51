//! Parallel evaluation: several configurations run from one conversation, and a strategy chooses.
//!
//! A branch is a loop of its own with its own id and journal entries; all branches share the history
//! that they start from. Whatever goes wrong in one branch touches no other, and every branch comes
//! back with its outcome, usage and cost. The loops need a tokio runtime with timers.
//!
//! ```
//! use phi_eval::{Branch, Evaluation, First};
//! use phi_types::{Configuration, SessionId, Transcript};
//! # use {phi_loop::Driver, phi_testkit::{Reply, ScriptedProvider}, std::sync::Arc};
//! # let model = |text| Driver::new(Arc::new(ScriptedProvider::new([Reply::text(text)])));
//! # let (fast, slow) = (model("fast"), model("slow"));
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let branch = |driver: Driver| {
//!     let surface = driver.surface("Be brief.", "model");
//!     Branch::new(driver, Configuration::default(), surface)
//! };
//! let evaluation = Evaluation::new(SessionId::new("s")?, Transcript::new())
//!     .branches(vec![branch(fast), branch(slow)])
//!     .prompt("Which one?");
//! let evaluated = evaluation.run(&First).await;
//! assert!(evaluated.winner()?.is_some());
//! assert_eq!(evaluated.branches().len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod branch;
mod evaluated;
mod evaluation;
mod race;
mod strategy;

pub use branch::Branch;
pub use evaluated::{ChoiceError, Evaluated};
pub use evaluation::Evaluation;
pub use strategy::{Candidate, EvaluationStrategy, First, Rating, StrategyError};
