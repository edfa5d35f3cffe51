//! Runs a rule on a thread of its own, so that a panic and a try without an end are findings.

use std::any::Any;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::card::Failure;

/// What is being tried right now.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    now: Arc<Mutex<Try>>,
}

#[derive(Debug, Clone, Default)]
struct Try {
    count: usize,
    case: String,
    seed: Option<u64>,
}

impl Progress {
    /// Says what is tried next.
    pub(super) fn trying(&self, case: &str, seed: Option<u64>) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.count += 1;
        if now.case != case {
            case.clone_into(&mut now.case);
        }
        now.seed = seed;
    }

    /// Returns how many tries there were.
    pub(super) fn tries(&self) -> usize {
        self.read().count
    }

    fn read(&self) -> Try {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.clone()
    }

    fn failure(&self, what: String) -> Failure {
        let Try { case, seed, .. } = self.read();
        Failure {
            seed,
            ..Failure::new(case, what)
        }
    }
}

/// Runs a job, and makes a failure of its panic, and of a try that takes longer than `patience`.
pub(super) fn guarded<T: Send + 'static>(
    patience: Duration,
    first: &str,
    job: impl FnOnce(&Progress) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let progress = Progress::default();
    progress.trying(first, None);
    let (done, result) = channel();
    let seen = progress.clone();
    let started = thread::Builder::new().spawn(move || {
        let result = job(&seen);
        // Nobody listens any more where the patience ended.
        drop(done.send(result));
    });
    let thread = match started {
        Ok(thread) => thread,
        Err(error) => return Err(progress.failure(format!("no thread could be made: {error}"))),
    };
    let mut before = progress.tries();
    loop {
        match result.recv_timeout(patience) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => {
                let said = thread.join().err().map(|panic| words_of(&*panic));
                let said = said.unwrap_or_else(|| "nothing".to_owned());
                return Err(progress.failure(format!("it panicked: {said}")));
            }
            Err(RecvTimeoutError::Timeout) if progress.tries() == before => {
                let what = format!("it did not end within {patience:?}");
                return Err(progress.failure(what));
            }
            Err(RecvTimeoutError::Timeout) => before = progress.tries(),
        }
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without words".to_owned())
}
