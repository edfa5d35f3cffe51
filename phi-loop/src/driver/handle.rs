//! Speaking to a run from elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;
use phi_types::{
    AnswerScope, Approval, ContextChange, EffectId, OverlayId, Prune, QueueId, Revert,
    SurfaceChanged, UserMessage,
};
use tokio::sync::{mpsc, oneshot};

use crate::io::{Input, Rejected};

/// How many requests may wait for a run that is not pulled; a further one waits for its place.
pub(crate) const COMMANDS_MAX: usize = 64;

/// Speaks to a run from elsewhere. A clone speaks to the same run.
///
/// A run moves only while it is pulled, and so do these requests. Once the run has ended or was
/// dropped, they return at once.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    cancel: Arc<CancelFlag>,
}

/// An input from elsewhere, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Command {
    /// In a box: the channel reserves room for many.
    pub(crate) input: Box<Input>,
    pub(crate) answer: oneshot::Sender<Result<(), Rejected>>,
}

/// A request to cancel that needs no place in a queue.
#[derive(Debug, Default)]
pub(crate) struct CancelFlag {
    set: AtomicBool,
    waker: AtomicWaker,
}

/// Returns a message that a loop did not take.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the message was not taken: {reason}")]
pub struct Undelivered {
    /// The message.
    pub message: Arc<UserMessage>,
    /// Why it was not taken: [`Rejected::Ended`] if the loop ended first.
    pub reason: Rejected,
}

impl Handle {
    pub(crate) fn new(commands: mpsc::Sender<Command>, cancel: Arc<CancelFlag>) -> Self {
        Self { commands, cancel }
    }

    /// Sends a message that joins before the model's next call; calls that have not started are
    /// skipped. It returns when the message is in the journal. A second message with the same id is
    /// taken as a repeat of the first one and changes nothing.
    ///
    /// **Cancel safety:** a dropped call may have delivered the message; send it again with its id.
    ///
    /// # Errors
    /// [`Undelivered`] returns the message.
    pub async fn steer(
        &self,
        id: QueueId,
        message: impl Into<UserMessage>,
    ) -> Result<(), Undelivered> {
        let message = Arc::new(message.into());
        let answer = self.send(Input::Steer(id, Arc::clone(&message))).await;
        delivered(message, answer)
    }

    /// Sends a message that joins when the loop would end. Otherwise like [`Handle::steer`].
    ///
    /// **Cancel safety:** a dropped call may have delivered the message; send it again with its id.
    ///
    /// # Errors
    /// [`Undelivered`] returns the message.
    pub async fn follow_up(
        &self,
        id: QueueId,
        message: impl Into<UserMessage>,
    ) -> Result<(), Undelivered> {
        let message = Arc::new(message.into());
        let answer = self.send(Input::FollowUp(id, Arc::clone(&message))).await;
        delivered(message, answer)
    }

    /// Answers the question whether a call may run; the effect names the `ApprovalRequested` event.
    ///
    /// **Cancel safety:** a dropped call may have delivered the answer.
    ///
    /// # Errors
    /// [`Rejected::NotOutstanding`] if nobody asks this any more.
    pub async fn approve(&self, effect: EffectId, approval: Approval) -> Result<(), Rejected> {
        self.send(Input::Approval(effect, approval, AnswerScope::Once))
            .await
    }

    /// Like [`Handle::approve`], and the answer holds for every call of this session with the same
    /// tool and arguments: nobody is asked again.
    ///
    /// **Cancel safety:** a dropped call may have delivered the answer.
    ///
    /// # Errors
    /// [`Rejected::NotOutstanding`] if nobody asks this any more.
    pub async fn approve_for_session(
        &self,
        effect: EffectId,
        approval: Approval,
    ) -> Result<(), Rejected> {
        self.send(Input::Approval(effect, approval, AnswerScope::Session))
            .await
    }

    /// Changes what the model is shown from its next call on.
    ///
    /// **Cancel safety:** a dropped call may have made the change.
    ///
    /// # Errors
    /// [`Rejected::IllShaped`] for a change that leaves no model.
    pub async fn change_surface(&self, changed: SurfaceChanged) -> Result<(), Rejected> {
        self.send(Input::SurfaceChanged(changed)).await
    }

    /// Takes tool results out of what the model reads, from its next call on. The history keeps them,
    /// and [`Handle::restore`] brings them back.
    ///
    /// **Cancel safety:** a dropped call may have made the change.
    ///
    /// # Errors
    /// [`Rejected::Context`] says what does not fit; [`Rejected::NotNow`] while a compaction is under
    /// way.
    pub async fn prune(&self, prune: Prune) -> Result<(), Rejected> {
        self.send(Input::Change(ContextChange::Prune(prune))).await
    }

    /// Takes what follows an entry out of what the model reads, from its next call on; a summary
    /// stands for it. An answer whose calls are open stays. Otherwise like [`Handle::prune`].
    ///
    /// **Cancel safety:** a dropped call may have made the change.
    ///
    /// # Errors
    /// [`Rejected::Context`] says what does not fit; [`Rejected::NotNow`] while a compaction is under
    /// way.
    pub async fn revert(&self, revert: Revert) -> Result<(), Rejected> {
        self.send(Input::Change(ContextChange::Revert(revert)))
            .await
    }

    /// Takes an overlay off what the model reads, from its next call on: one of
    /// [`phi_types::Transcript::overlays`], however old, a compaction included. What a newer overlay
    /// hides too stays hidden. A compaction that was taken off may be made again, where the view
    /// exceeds the threshold for it.
    ///
    /// **Cancel safety:** a dropped call may have made the change.
    ///
    /// # Errors
    /// [`Rejected::Context`] says what does not fit; [`Rejected::NotNow`] while a compaction is under
    /// way.
    pub async fn restore(&self, overlay: OverlayId) -> Result<(), Rejected> {
        self.send(Input::Restore(overlay)).await
    }

    /// Ends the loop after what runs now; nothing new starts.
    ///
    /// **Cancel safety:** a dropped call may have made the request.
    ///
    /// # Errors
    /// [`Rejected::Ended`] if the loop has ended.
    pub async fn stop(&self, reason: impl Into<String>) -> Result<(), Rejected> {
        self.send(Input::Stop(reason.into())).await
    }

    /// Ends the loop at once; what runs is aborted. It never waits.
    pub fn cancel(&self) {
        self.cancel.set.store(true, Ordering::Release);
        self.cancel.wake();
    }

    async fn send(&self, input: Input) -> Result<(), Rejected> {
        let (answer, answered) = oneshot::channel();
        let input = Box::new(input);
        if self.commands.send(Command { input, answer }).await.is_err() {
            return Err(Rejected::Ended);
        }
        answered.await.unwrap_or(Err(Rejected::Ended))
    }
}

impl CancelFlag {
    /// Wakes the task that pulls the run, if one waits.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Takes the request, if there is one.
    pub(crate) fn take(&self) -> bool {
        self.set.load(Ordering::Acquire) && self.set.swap(false, Ordering::AcqRel)
    }

    /// Takes the request, or has the task woken when there is one.
    pub(crate) fn poll_take(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.take()
    }
}

/// A repeat of an accepted message is accepted.
fn delivered(message: Arc<UserMessage>, answer: Result<(), Rejected>) -> Result<(), Undelivered> {
    match answer {
        Ok(()) | Err(Rejected::Duplicate(_)) => Ok(()),
        Err(reason) => Err(Undelivered { message, reason }),
    }
}
