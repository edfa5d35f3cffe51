//! What running tools tell their run: the newest report of each, in bounded memory, and what calls
//! that were broken off leave to be done.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_core::future::BoxFuture;
use futures_util::task::AtomicWaker;
use phi_types::{EffectId, ProgressSink, Spawned, ToolProgress};

/// Holds the newest report of each running tool until the run takes it.
#[derive(Default)]
pub(crate) struct Progress {
    reports: Mutex<Reports>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Reports {
    progress: BTreeMap<EffectId, ToolProgress>,
    spawned: BTreeMap<EffectId, Spawned>,
    left: Vec<BoxFuture<'static, ()>>,
    /// The run is gone: nobody would do what is left.
    is_closed: bool,
}

impl Progress {
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<(EffectId, ToolProgress)> {
        self.waker.register(cx.waker());
        match self.lock().progress.pop_first() {
            Some(report) => Poll::Ready(report),
            None => Poll::Pending,
        }
    }

    /// Takes the next sub-agent that was named.
    pub(crate) fn poll_spawned(&self, cx: &Context<'_>) -> Poll<(EffectId, Spawned)> {
        self.waker.register(cx.waker());
        match self.lock().spawned.pop_first() {
            Some(spawned) => Poll::Ready(spawned),
            None => Poll::Pending,
        }
    }

    /// Takes the sub-agents that were named since.
    pub(crate) fn take_spawned(&self) -> BTreeMap<EffectId, Spawned> {
        std::mem::take(&mut self.lock().spawned)
    }

    /// Drops what a tool reported that has ended, but for its sub-agent.
    pub(crate) fn forget(&self, effect: &EffectId) -> Option<Spawned> {
        let mut reports = self.lock();
        reports.progress.remove(effect);
        reports.spawned.remove(effect)
    }

    /// Takes what calls that were broken off leave to be done.
    pub(crate) fn take_left(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut self.lock().left)
    }

    /// Takes nothing to be done any more.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
    }

    fn lock(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressSink for Progress {
    fn report(&self, effect: &EffectId, progress: ToolProgress) {
        self.lock().progress.insert(effect.clone(), progress);
        self.waker.wake();
    }

    fn spawned(&self, effect: &EffectId, spawned: Spawned) {
        self.lock().spawned.insert(effect.clone(), spawned);
        self.waker.wake();
    }

    fn finish_later(&self, work: BoxFuture<'static, ()>) {
        let mut reports = self.lock();
        if reports.is_closed {
            // What is dropped here may report too.
            drop(reports);
            drop(work);
            return;
        }
        reports.left.push(work);
        drop(reports);
        self.waker.wake();
    }
}
