//! Ctrl-C and SIGTERM: the first asks to cancel, the second ends the process at once.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::failure::{Exit, Failure, to_stderr};

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Interrupt {
    first: Arc<Notify>,
    listener: JoinHandle<()>,
}

/// Has a write beyond the largest file that is allowed fail, as one on a full disk does. The signal
/// of it would end the process; those that it starts have it as usual.
pub(crate) fn let_writes_fail() -> Result<(), Failure> {
    let too_large = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    signal(too_large).map(drop).map_err(|error| deaf(&error))
}

fn deaf(error: &io::Error) -> Failure {
    Failure::failed(format!(
        "cannot listen for signals ({error}): free some files"
    ))
}

impl Interrupt {
    /// Takes the signals over. The second one is obeyed on another thread, so that nothing that
    /// blocks here can hold it up.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| deaf(&error))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| deaf(&error))?;
        let first = Arc::new(Notify::new());
        let notify = Arc::clone(&first);
        let listener = tokio::spawn(async move {
            let mut is_first = true;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if !is_first {
                    std::process::exit(i32::from(Exit::Cancelled.code()));
                }
                is_first = false;
                to_stderr("cancelling; a second signal ends at once");
                notify.notify_one();
            }
        });
        Ok(Self { first, listener })
    }

    /// Waits for the first signal.
    pub(crate) async fn first(&self) {
        self.first.notified().await;
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.listener.abort();
    }
}
