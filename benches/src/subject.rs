//! What is measured: loops without journal and hooks, one or several.

use std::sync::Arc;

use phi_eval::{Branch, Evaluation};
use phi_loop::{Driver, Finished, Hooks, Run, Start};
use phi_types::{
    Configuration, Delta, Entry, History, Limits, Provider, SessionId, Transcript, UserMessage,
};
use tokio::runtime::{Builder, Runtime};

use crate::canned::CannedProvider;
use crate::noop::NoopTool;
use crate::replies;

/// A loop that is ready to run.
#[derive(Debug)]
pub struct Subject {
    run: Run,
}

/// What a loop begins with.
#[derive(Debug)]
pub struct Prepared {
    driver: Driver,
    start: Start,
}

impl Prepared {
    /// Gives it hooks.
    #[must_use]
    pub fn hooks(self, hooks: Arc<dyn Hooks>) -> Self {
        let driver = self.driver.hooks(hooks);
        Self { driver, ..self }
    }
}

impl Subject {
    /// Makes the first loop of a session.
    #[must_use]
    pub fn new(replies: Vec<Vec<Delta>>) -> Self {
        Self::begin(Self::prepare(Transcript::new(), replies))
    }

    /// Prepares a loop that continues a conversation, with the default policy but for the limits
    /// that a bench would reach: turns, and identical calls.
    ///
    /// # Panics
    /// Never: the session id is valid.
    #[must_use]
    pub fn prepare(transcript: Transcript, replies: Vec<Vec<Delta>>) -> Prepared {
        Self::prepare_with(transcript, Arc::new(CannedProvider::new(replies)))
    }

    /// Prepares a loop like [`Subject::prepare`], over another provider.
    ///
    /// # Panics
    /// Never: the session id is valid.
    #[must_use]
    pub fn prepare_with(transcript: Transcript, provider: Arc<dyn Provider>) -> Prepared {
        let driver = Driver::new(provider).tools(vec![Arc::new(NoopTool::default())]);
        let session = SessionId::new("bench").expect("the name is valid");
        let configuration = Configuration {
            limits: Limits {
                turns: None,
                identical_calls: None,
                ..Limits::default()
            },
            ..Configuration::default()
        };
        let surface = driver.surface("", "canned");
        let start = Start {
            transcript,
            ..Start::new(session, configuration, surface)
        };
        Prepared { driver, start }
    }

    /// Begins a loop.
    ///
    /// # Panics
    /// Never: the prompt is not empty and there is a model.
    #[must_use]
    pub fn begin(Prepared { driver, start }: Prepared) -> Self {
        let run = driver.prompt(start, "Begin.").expect("the start is sound");
        Self { run }
    }

    /// Runs to the end; every update is taken and dropped. Returns how many there were.
    ///
    /// **Cancel safety:** a dropped call leaves the loop where it is.
    pub async fn drain(&mut self) -> u64 {
        let mut updates = 0;
        while self.run.next().await.is_some() {
            updates += 1;
        }
        updates
    }

    /// Returns what the loop came to.
    #[must_use]
    pub fn finished(&self) -> Finished {
        self.run.finished()
    }
}

/// Makes an evaluation of branches that answer once each.
///
/// # Panics
/// Never: the session id is valid.
#[must_use]
pub fn branches(transcript: Transcript, count: usize) -> Evaluation {
    let branch = || {
        let driver = Driver::new(Arc::new(CannedProvider::new(vec![replies::text(1)])));
        let surface = driver.surface("", "canned");
        Branch::new(driver, Configuration::default(), surface)
    };
    let session = SessionId::new("bench").expect("the name is valid");
    Evaluation::new(session, transcript)
        .branches((0..count).map(|_| branch()).collect())
        .prompt("Begin.")
        .at_once(count)
}

/// Makes a conversation of so many messages of 1 KB.
#[must_use]
pub fn conversation(messages: usize) -> Transcript {
    let message = || Entry::User(Arc::new(UserMessage::text("m".repeat(1_024))));
    let history: History = (0..messages).map(|_| message()).collect();
    // The requests of the turns before have hashed it.
    std::hint::black_box(history.digest());
    Transcript::from_history(history)
}

/// Makes the runtime of the benches: one thread, with timers.
///
/// # Panics
/// If the system gives no event queue.
#[must_use]
pub fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime of one thread needs little")
}
