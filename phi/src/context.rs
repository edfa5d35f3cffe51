//! Changes of what the model reads, between the loops of a session.

use phi_loop::{Driver, Rejected, Start};
use phi_types::{Continuation, Outcome, OverlayId, Prune, Revert};

use crate::error::SessionError;
use crate::open::Session;

impl Session {
    /// Takes tool results out of what the model reads, before the next prompt. The history keeps them,
    /// and [`Session::restore`] brings them back. While a loop runs, [`phi_loop::Handle::prune`] does
    /// the same.
    ///
    /// It returns when the change is in the log, as a loop of its own, so it outlives the process and
    /// is part of every fork from there. Nothing is asked of a model. [`Session::rerun`] repeats the
    /// loop before it, on the conversation as it was then.
    ///
    /// **Cancel safety:** a dropped call may have made the change; [`Session::resume`] settles that.
    ///
    /// # Errors
    /// [`SessionError::Rejected`] says what does not fit, [`SessionError::Unfinished`] that a loop was
    /// cut off, and [`SessionError::Unchanged`] why the log did not take it.
    pub async fn prune(&mut self, prune: Prune) -> Result<(), SessionError> {
        self.change(|driver, start| driver.prune(start, prune))
            .await
    }

    /// Takes what follows an entry out of what the model reads; a summary stands for it. Unlike a
    /// model, the caller may take back what the user said, up to the first task. Otherwise like
    /// [`Session::prune`].
    ///
    /// **Cancel safety:** a dropped call may have made the change; [`Session::resume`] settles that.
    ///
    /// # Errors
    /// Those of [`Session::prune`].
    pub async fn revert(&mut self, revert: Revert) -> Result<(), SessionError> {
        self.change(|driver, start| driver.revert(start, revert))
            .await
    }

    /// Takes an overlay off what the model reads: one of [`phi_types::Transcript::overlays`] of
    /// [`Session::transcript`], of whichever loop, a compaction included. What another overlay hides
    /// too stays hidden. Otherwise like [`Session::prune`].
    ///
    /// **Cancel safety:** a dropped call may have made the change; [`Session::resume`] settles that.
    ///
    /// # Errors
    /// Those of [`Session::prune`].
    pub async fn restore(&mut self, overlay: OverlayId) -> Result<(), SessionError> {
        self.change(|driver, start| driver.restore(start, overlay))
            .await
    }

    async fn change(
        &mut self,
        begin: impl FnOnce(&Driver, Start) -> Result<phi_loop::Run, Rejected>,
    ) -> Result<(), SessionError> {
        let (_, surface) = self.policy();
        let mut start = self.start(surface)?;
        start.continuation = Continuation::ContextChange;
        let finished = self.begin(start, begin)?.finish().await;
        match finished.outcome {
            Outcome::Completed {} => Ok(()),
            outcome => Err(SessionError::Unchanged { outcome }),
        }
    }
}
