//! A value that futures and threads can wait on.

use std::future::{Future, poll_fn};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// A shared value whose every change wakes those who wait for a condition on it.
#[derive(Debug, Default)]
pub(crate) struct Watch<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State<T> {
    value: T,
    // One waker for each waiting task; emptied by every change.
    wakers: Vec<Waker>,
}

impl<T> Watch<T> {
    pub(crate) fn new(value: T) -> Self {
        let wakers = Vec::new();
        Self {
            state: Mutex::new(State { value, wakers }),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut state = self.lock();
        let answer = change(&mut state.value);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
        answer
    }

    pub(crate) fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.lock().value)
    }

    /// Waits until the condition holds. Cancel-safe: nothing is lost when the future is dropped.
    pub(crate) fn until<F>(
        self: &Arc<Self>,
        holds: F,
    ) -> impl Future<Output = ()> + Send + use<T, F>
    where
        T: Send,
        F: Fn(&T) -> bool + Send,
    {
        let watch = Arc::clone(self);
        poll_fn(move |context| {
            let mut state = watch.lock();
            if holds(&state.value) {
                return Poll::Ready(());
            }
            if !state.wakers.iter().any(|it| it.will_wake(context.waker())) {
                state.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic of a test's closure leaves a value that is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
