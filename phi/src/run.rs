//! A loop in progress, which leaves its session where the next one begins.

use phi_loop::{Finished, Handle, Rejected, Update};
use phi_types::{Approval, EffectId, Entry, EventKind, LoopError, LoopId, Outcome};

use crate::error::SessionError;
use crate::open::{Begun, Session};

/// A loop in progress.
///
/// It moves while [`Run::next`] is polled and not otherwise. Dropping it before its end stops
/// everything in flight; the session then waits for [`Session::resume`].
#[derive(Debug)]
pub struct Run<'a> {
    session: &'a mut Session,
    begun: Begun,
    run: phi_loop::Run,
    /// Whether the session has what the loop came to.
    settled: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn new(session: &'a mut Session, begun: Begun, run: phi_loop::Run) -> Self {
        Self {
            session,
            begun,
            run,
            settled: false,
        }
    }

    /// Waits for the next update; `None` once the loop has ended and everything was handed out.
    ///
    /// **Cancel safety:** a dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Update> {
        if self.settled {
            return None;
        }
        self.session.began(&self.begun);
        let update = self.run.next().await;
        match &update {
            Some(Update::Event(event)) => {
                if let EventKind::InputFiltered(filtered) = &event.kind {
                    self.session.filtered(filtered);
                }
            }
            Some(Update::Live(_) | Update::HookFailed(_)) => {}
            None => self.settle(),
        }
        update
    }

    /// Runs to the end and returns what the loop came to.
    ///
    /// **Cancel safety:** a dropped call drops the run.
    pub async fn finish(mut self) -> Finished {
        while self.next().await.is_some() {}
        self.run.finished()
    }

    /// Runs to the end and returns the text of the answer.
    ///
    /// **Cancel safety:** a dropped call drops the run.
    ///
    /// # Errors
    /// [`SessionError::Unanswered`] for every outcome but completed; the session holds what was done.
    pub async fn answer(self) -> Result<String, SessionError> {
        let finished = self.finish().await;
        let outcome = finished.outcome;
        if outcome != (Outcome::Completed {}) {
            return Err(SessionError::Unanswered { outcome });
        }
        Ok(match finished.transcript.history().last() {
            Some(Entry::Assistant(message)) => message.text(),
            Some(Entry::User(_) | Entry::Results(_) | Entry::Extension(_)) | None => String::new(),
        })
    }

    /// Returns a handle that steers, follows up, approves and cancels from elsewhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.run.handle()
    }

    /// Answers the question whether a call may run, at once.
    ///
    /// # Errors
    /// [`Rejected::NotOutstanding`] if nobody asks this any more.
    pub fn approve(&mut self, effect: EffectId, approval: Approval) -> Result<(), Rejected> {
        self.run.approve(effect, approval)
    }

    /// Like [`Run::approve`], and the answer holds for every call of this session with the same tool
    /// and arguments: nobody is asked again.
    ///
    /// # Errors
    /// [`Rejected::NotOutstanding`] if nobody asks this any more.
    pub fn approve_for_session(
        &mut self,
        effect: EffectId,
        approval: Approval,
    ) -> Result<(), Rejected> {
        self.run.approve_for_session(effect, approval)
    }

    /// Returns what the loop came to. Before its end, the outcome is aborted.
    #[must_use]
    pub fn finished(&self) -> Finished {
        self.run.finished()
    }

    /// Returns the loop.
    #[must_use]
    pub fn loop_id(&self) -> &LoopId {
        &self.begun.loop_id
    }

    /// Hands the conversation back, unless the journal failed and nobody knows what it holds.
    fn settle(&mut self) {
        self.settled = true;
        let finished = self.run.finished();
        let is_unknown = matches!(
            finished.outcome,
            Outcome::Failed {
                error: LoopError::Journal { .. }
            }
        );
        if !is_unknown {
            self.session.ended(&self.begun, &finished.transcript);
        }
    }
}
