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

impl Interrupt {
    /// Takes the signals over. The second one is obeyed on another thread, so that nothing that
    /// blocks here can hold it up.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let cannot = |error: io::Error| {
            Failure::failed(format!(
                "cannot listen for signals ({error}): free some files"
            ))
        };
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
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
