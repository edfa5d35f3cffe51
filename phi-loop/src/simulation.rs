//! A seeded world for the machine, with oracles that hold in every world (feature `simulation`).
//!
//! A [`Simulation`] makes a [`Scenario`] from each seed: a policy, tools, models, and a list of moves.
//! A move settles something outstanding in one of many ways, or interferes: somebody steers, stops or
//! cancels, a report comes twice, the process ends in the middle of a write. After every step the
//! [`Oracle`]s are asked; after the last move the world ends everything in the simplest way, so that
//! every scenario ends. A scenario that breaks a promise is made smaller while it still does, and
//! comes back as a [`Violation`] with the list of inputs that shows it.
//!
//! The machine is simulated alone: no runtime, no clock, no model, no tool.
//!
//! # Your own policy and tools
//!
//! Every method of [`Setting`] has a default. Replace what is yours and say what must always hold:
//!
//! ```
//! use phi_loop::simulation::{Dice, Setting, Simulation};
//! use phi_loop::{Machine, Subject, Verdict};
//! use phi_types::{Configuration, Event, EventKind, Point, ToolEnding};
//!
//! struct NothingTwice;
//!
//! impl Setting for NothingTwice {
//!     fn configuration(&self, _dice: &mut Dice) -> Configuration {
//!         Configuration { points: vec![Point::BeforeTool], ..Configuration::default() }
//!     }
//!     fn verdict(&self, subject: &Subject, _dice: &mut Dice) -> Verdict {
//!         match subject {
//!             Subject::Tool(call) if &*call.name == "once" => Verdict::Deny { reason: "no".into() },
//!             _ => Verdict::Proceed,
//!         }
//!     }
//!     fn check(&self, events: &[Event], _machine: &Machine) -> Result<(), String> {
//!         let ran = |event: &&Event| match &event.kind {
//!             EventKind::ToolStarted(started) => &*started.call.name == "once",
//!             _ => false,
//!         };
//!         match events.iter().find(ran) {
//!             Some(event) => Err(format!("event {} starts a call that is denied", event.seq)),
//!             None => Ok(()),
//!         }
//!     }
//! }
//!
//! let tally = Simulation::new(NothingTwice).run(0..50).expect("no seed breaks the policy");
//! assert_eq!(tally.worlds, 50);
//! ```
//!
//! With the settings that come with phi, from the command line:
//!
//! ```text
//! cargo run -p phi-loop --release --features simulation --bin simulate -- --seeds 10000 --enumerate
//! ```

mod dice;
mod effects;
mod fingerprint;
mod interleavings;
mod moves;
mod oracle;
mod resume;
mod run;
mod scenario;
mod setting;
mod shrink;
mod story;
mod tally;
mod watch;
mod world;

pub use dice::Dice;
pub use interleavings::{Interleavings, every_interleaving};
pub use oracle::{Broken, Oracle};
pub use run::{Simulation, Violation};
pub use scenario::{Move, Scenario};
pub use setting::{Anything, Setting, any_configuration, any_surface};
pub use tally::Tally;
