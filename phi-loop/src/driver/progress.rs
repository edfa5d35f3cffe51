//! Progress of running tools: the newest report of each, in bounded memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use phi_types::{EffectId, ProgressSink, ToolProgress};

/// Holds the newest report of each running tool until the run takes it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    newest: Mutex<BTreeMap<EffectId, ToolProgress>>,
    waker: AtomicWaker,
}

impl Progress {
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<(EffectId, ToolProgress)> {
        self.waker.register(cx.waker());
        match self.lock().pop_first() {
            Some(report) => Poll::Ready(report),
            None => Poll::Pending,
        }
    }

    /// Drops what a tool reported that has ended.
    pub(crate) fn forget(&self, effect: &EffectId) {
        self.lock().remove(effect);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<EffectId, ToolProgress>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressSink for Progress {
    fn report(&self, effect: &EffectId, progress: ToolProgress) {
        self.lock().insert(effect.clone(), progress);
        self.waker.wake();
    }
}
