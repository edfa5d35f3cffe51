//! A gate: one thing waits until another opens it.

use std::future::Future;
use std::sync::Arc;

use crate::watch::Watch;

/// A gate that is closed until somebody opens it. A clone is the same gate.
///
/// It orders two things in a test without a sleep: a scripted tool or reply waits for it, and the
/// test opens it when it has seen what it wanted to see.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Watch<bool>>);

impl Gate {
    /// Makes a closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate for good.
    pub fn open(&self) {
        self.0.update(|open| *open = true);
    }

    /// Says whether the gate is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.read(|open| *open)
    }

    /// Waits until the gate is open.
    ///
    /// **Cancel safety:** dropping the future changes nothing.
    pub fn passed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.until(|open| *open)
    }
}
