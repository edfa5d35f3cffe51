//! The assembled agent: a provider, tools, hooks and a store behind sessions that go on.
//!
//! An [`Agent`] says what its sessions have at hand. A [`Session`] is one conversation; each prompt
//! starts a [`Run`], which is pulled for events and live increments. With a store, everything that
//! a run hands out is written down before, and a session goes on after its process ended.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use phi::types::SessionId;
//! use phi_testkit::{Reply, ScriptedProvider};
//!
//! let provider = ScriptedProvider::new([Reply::text("Hello."), Reply::text("Bye.")]);
//! let agent = phi::Agent::new(Arc::new(provider), "a-model").system("Be brief.");
//! let mut session = agent.session(SessionId::new("first")?).await?;
//! assert_eq!(session.prompt("Say hello.")?.answer().await?, "Hello.");
//! assert_eq!(session.prompt("And goodbye?")?.answer().await?, "Bye.");
//! assert_eq!(session.transcript().history().len(), 4);
//! # Ok(()) }
//! ```
//!
//! The crates of phi are here under shorter names: [`types`], [`agent_loop`], [`session`], and with
//! features `provider` (`http`, `anthropic`, `openai-chat`) and `tools` (`tools`). With the feature
//! `sqlite`, [`session`] has the store in a database.

mod agent;
mod approver;
mod clock;
mod context;
mod error;
mod fork;
mod log;
mod newest;
mod open;
#[cfg(feature = "structured-output")]
mod output;
#[cfg(doctest)]
mod readme;
mod replay;
mod run;
mod shown;
mod spawned;
mod spending;
mod sub_agent;

pub use agent::Agent;
pub use approver::{Approver, Question};
pub use error::SessionError;
pub use fork::fork;
pub use open::Session;
#[cfg(feature = "structured-output")]
pub use output::{OutputFailed, OutputRun};
pub use phi_loop as agent_loop;
#[cfg(any(
    feature = "anthropic",
    feature = "bedrock",
    feature = "cohere",
    feature = "gemini",
    feature = "http",
    feature = "models",
    feature = "ollama",
    feature = "openai-chat",
    feature = "openai-responses",
    feature = "structured-output",
    feature = "tiktoken",
    feature = "vertex"
))]
pub use phi_provider as provider;
pub use phi_session as session;
#[cfg(feature = "tools")]
pub use phi_tools as tools;
pub use phi_types as types;
pub use replay::{LoopDiverged, replay};
pub use run::Run;
pub use spending::spending;
pub use sub_agent::SubAgent;
