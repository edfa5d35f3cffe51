//! What comes to a run from elsewhere: requests through handles, and the request to cancel.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::driver::handle::{COMMANDS_MAX, CancelFlag, Command, Handle};
use crate::io::Rejected;

/// What comes in from elsewhere.
#[derive(Default)]
pub(crate) struct Inbox {
    cancel: Arc<CancelFlag>,
    /// Made with the first handle: most runs are never spoken to, and a channel is large.
    channel: OnceLock<Channel>,
    /// Whether nothing is taken any more.
    refuses: bool,
}

struct Channel {
    sender: mpsc::Sender<Command>,
    /// Only ever reached through the run, so that nobody waits for it.
    commands: Mutex<mpsc::Receiver<Command>>,
}

impl Channel {
    fn commands(&mut self) -> &mut mpsc::Receiver<Command> {
        self.commands
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    pub(crate) fn handle(&self) -> Handle {
        let channel = self.channel.get_or_init(|| {
            let (sender, mut commands) = mpsc::channel(COMMANDS_MAX);
            if self.refuses {
                commands.close();
            }
            let commands = Mutex::new(commands);
            Channel { sender, commands }
        });
        // A run that waits was polled before there was a channel to listen to.
        self.cancel.wake();
        Handle::new(channel.sender.clone(), Arc::clone(&self.cancel))
    }

    /// Takes the request to cancel, if there is one.
    pub(crate) fn take_cancel(&self) -> bool {
        self.cancel.take()
    }

    /// Takes the request to cancel, or has the task woken when there is one.
    pub(crate) fn poll_cancel(&self, cx: &Context<'_>) -> bool {
        self.cancel.poll_take(cx)
    }

    /// Says whether no request waits.
    pub(crate) fn is_empty(&mut self) -> bool {
        let channel = self.channel.get_mut();
        channel.is_none_or(|channel| channel.commands().is_empty())
    }

    /// Takes the next request, or has the task woken when there is one.
    pub(crate) fn poll_command(&mut self, cx: &mut Context<'_>) -> Poll<Command> {
        let Some(channel) = self.channel.get_mut() else {
            return Poll::Pending;
        };
        match channel.commands().poll_recv(cx) {
            Poll::Ready(Some(command)) => Poll::Ready(command),
            // It has a sender of its own, and is closed only once nobody asks any more.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Takes nothing any more: what waits is answered, what comes later returns at once.
    pub(crate) fn refuse(&mut self) {
        self.refuses = true;
        let Some(channel) = self.channel.get_mut() else {
            return;
        };
        let commands = channel.commands();
        commands.close();
        while let Ok(command) = commands.try_recv() {
            // Whoever asked may have gone.
            drop(command.answer.send(Err(Rejected::Ended)));
        }
    }
}
