//! What tests of agents need and no network has: scripted models and tools, time by hand, a faulty server.
//!
//! [`ScriptedProvider`] answers from a list and refuses every transcript that a real API would
//! refuse ([`check_transcript`]). [`ScriptedTool`] counts its calls and fails, hangs or waits as told.
//! [`ManualClock`] moves when a test moves it, [`MemoryJournal`] keeps what a loop wrote, and a
//! [`Gate`] makes one thing wait for another without a sleep. [`Server`] serves recorded and faulty
//! bodies over HTTP on the loopback interface. [`contract`] checks providers and tools of others.
//!
//! ```
//! use futures_util::StreamExt;
//! use phi_testkit::{block_on, Reply, ScriptedProvider, request};
//! use phi_types::{Assembler, Origin, Provider};
//!
//! let provider = ScriptedProvider::new([Reply::text("Hello, world")]);
//! let mut stream = provider.stream(request("Say hello"));
//! let mut assembler = Assembler::new();
//! while let Some(delta) = block_on(stream.next()) {
//!     assembler.push(&delta?)?;
//! }
//! let message = assembler.into_message(Origin::default()).expect("the reply is finished");
//! assert_eq!(message.text(), "Hello, world");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod clock;
pub mod contract;
mod executor;
mod gate;
mod journal;
mod provider;
mod reply;
mod script;
mod server;
mod timer;
mod tool;
mod watch;

pub use clock::ManualClock;
pub use executor::block_on;
pub use gate::Gate;
pub use journal::MemoryJournal;
pub use phi_types::{TranscriptFault, check_transcript};
pub use provider::{ScriptedProvider, request};
pub use reply::{Reply, ScriptedCall};
pub use script::{ScriptError, parse_script};
pub use server::{ClosedPort, Received, Response, Server};
#[cfg(feature = "tokio")]
pub use timer::TokioTimer;
pub use timer::{ThreadTimer, Timer};
pub use tool::{ProgressLog, ScriptedTool};
