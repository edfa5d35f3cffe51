//! Blocking work on a thread of its own that its call owns.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a dropped call waits for its work to notice, as on a file system that hangs.
const STOP_WAIT_MAX: Duration = Duration::from_secs(2);

/// Says that the call was dropped, or that the runtime shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call was cancelled")]
pub(crate) struct Cancelled;

/// Tells blocking work to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Fails once the call was dropped.
    pub(crate) fn check(&self) -> Result<(), Cancelled> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Cancelled);
        }
        Ok(())
    }
}

enum Stage<T> {
    Queued,
    Running,
    Done(T),
    Gone,
}

struct Shared<T> {
    stage: Mutex<Stage<T>>,
    changed: Condvar,
}

impl<T> Shared<T> {
    fn stage(&self) -> MutexGuard<'_, Stage<T>> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage<T>) {
        *self.stage() = stage;
        self.changed.notify_all();
    }
}

/// Marks work that panicked as gone, so that nobody waits for it.
struct Finish<'a, T>(&'a Shared<T>);

impl<T> Drop for Finish<'_, T> {
    fn drop(&mut self) {
        let mut stage = self.0.stage();
        if matches!(*stage, Stage::Running) {
            *stage = Stage::Gone;
        }
        drop(stage);
        self.0.changed.notify_all();
    }
}

struct Owner<T> {
    shared: Arc<Shared<T>>,
    cancel: Cancel,
}

impl<T> Drop for Owner<T> {
    fn drop(&mut self) {
        self.cancel.0.store(true, Ordering::Relaxed);
        let mut stage = self.shared.stage();
        if matches!(*stage, Stage::Queued) {
            *stage = Stage::Gone;
        }
        let waited = self
            .shared
            .changed
            .wait_timeout_while(stage, STOP_WAIT_MAX, |stage| {
                matches!(stage, Stage::Running)
            });
        let (mut stage, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let left = std::mem::replace(&mut *stage, Stage::Gone);
        drop(stage);
        drop(left);
    }
}

/// Runs work on the runtime's threads for blocking work.
///
/// **Cancel safety:** dropping the future tells the work to stop, then waits until it has, two
/// seconds at most; work that has not started never does.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce(&Cancel) -> T + Send + 'static,
) -> Result<T, Cancelled> {
    let owner = Owner {
        shared: Arc::new(Shared {
            stage: Mutex::new(Stage::Queued),
            changed: Condvar::new(),
        }),
        cancel: Cancel::default(),
    };
    let shared = Arc::clone(&owner.shared);
    let cancel = owner.cancel.clone();
    let joined = tokio::task::spawn_blocking(move || {
        {
            let mut stage = shared.stage();
            if matches!(*stage, Stage::Gone) {
                return;
            }
            *stage = Stage::Running;
        }
        let finish = Finish(&shared);
        let result = work(&cancel);
        shared.set(Stage::Done(result));
        drop(finish);
    })
    .await;
    if let Err(error) = joined {
        if error.is_panic() {
            resume_unwind(error.into_panic());
        }
        return Err(Cancelled);
    }
    let stage = std::mem::replace(&mut *owner.shared.stage(), Stage::Gone);
    match stage {
        Stage::Done(result) => Ok(result),
        Stage::Queued | Stage::Running | Stage::Gone => Err(Cancelled),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_dropped_call_has_stopped_its_work() {
        let (started, is_started) = mpsc::channel();
        let (stopped, is_stopped) = mpsc::channel();
        let mut call = Box::pin(run(move |cancel| {
            started.send(()).unwrap();
            while cancel.check().is_ok() {
                std::thread::yield_now();
            }
            stopped.send(()).unwrap();
        }));
        assert!((&mut call).now_or_never().is_none());
        is_started.recv().unwrap();
        drop(call);
        assert_eq!(is_stopped.try_recv(), Ok(()));
    }

    #[tokio::test]
    async fn a_result_that_nobody_takes_is_dropped_with_the_call() {
        let value = Arc::new(());
        let theirs = Arc::clone(&value);
        let (started, is_started) = mpsc::channel();
        let mut call = Box::pin(run(move |_| {
            started.send(()).unwrap();
            theirs
        }));
        assert!((&mut call).now_or_never().is_none());
        is_started.recv().unwrap();
        drop(call);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[tokio::test]
    #[should_panic(expected = "from the work")]
    async fn a_panic_of_the_work_is_a_panic_of_the_call() {
        let _never = run(|_| panic!("from the work")).await;
    }
}
