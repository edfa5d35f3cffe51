//! How a scripted delay passes.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::gate::Gate;

/// How a scripted delay passes: in real time, in tokio's time or by hand.
pub trait Timer: Send + Sync {
    /// Returns a future that ends after the duration; dropping it ends the wait.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

impl fmt::Debug for dyn Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer")
    }
}

/// Real time on a thread for each sleep, so that it needs no runtime.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThreadTimer;

impl Timer for ThreadTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let over = Gate::new();
            let _sleeper = Sleeper::start(duration, over.clone());
            over.passed().await;
        })
    }
}

/// Tokio's clock, which `tokio::time::pause` stops. It needs a running tokio runtime.
#[cfg(feature = "tokio")]
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioTimer;

#[cfg(feature = "tokio")]
impl Timer for TokioTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A thread that opens a gate after a while; dropping it ends the thread at once.
struct Sleeper {
    stopped: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Sleeper {
    fn start(duration: Duration, over: Gate) -> Self {
        let stopped = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            let (stopped, changed) = &*shared;
            let guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = changed.wait_timeout_while(guard, duration, |stopped| !*stopped);
            drop(waited);
            over.open();
        });
        let thread = Some(thread);
        Self { stopped, thread }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let (stopped, changed) = &*self.stopped;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // The thread cannot panic, and there is nobody to tell.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::block_on;
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_thread_timer_ends_without_a_runtime() {
        block_on(ThreadTimer.sleep(Duration::from_millis(1)));
    }

    #[test]
    fn a_dropped_sleep_does_not_last() {
        let mut sleep = ThreadTimer.sleep(Duration::from_secs(1_000_000));
        assert_eq!(sleep.as_mut().now_or_never(), None);
        // Dropping joins the thread: the test would hang if the thread slept on.
        drop(sleep);
    }
}
