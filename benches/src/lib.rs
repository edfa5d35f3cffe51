//! What the benches share: a provider without thought, a tool without effect, and the least loop.
//!
//! Each bench does the same work twice in one run: through the driver of phi-loop, and through
//! [`floor`], which does only what every loop must. Their ratio does not depend on the machine.
//!
//! ```
//! use benches::{CannedProvider, NoopTool, floor, prompt, replies};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let provider = CannedProvider::new(replies::tool_turns(3));
//! let mut history = vec![prompt()];
//! floor::run(&provider, &NoopTool::default(), &mut history).await;
//! assert_eq!(history.len(), 1 + 3 * 2 + 1);
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod floor;
pub mod replies;

mod canned;
mod every_point;
mod noop;
mod pair;
mod recording;
mod slow;
mod subject;

pub use canned::CannedProvider;
pub use every_point::EveryPoint;
pub use floor::prompt;
pub use noop::NoopTool;
pub use pair::Pair;
pub use recording::Recording;
pub use slow::SlowProvider;
pub use subject::{Prepared, Subject, branches, conversation, runtime};
