//! Messages on their way into a conversation: what waits, and what the input filters decided.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::QueueId;
use crate::message::{Content, UserMessage};

/// A message arrived and waits for its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageQueued {
    /// Its id: a second one with this id is refused.
    pub id: QueueId,
    /// Which place it waits for.
    pub queue: Queue,
    /// The message.
    pub message: Arc<UserMessage>,
    /// Whether it waits for the input filters first; [`InputFiltered`] says what they decided.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// The place that a message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Queue {
    /// Before the next model call; calls that have not started are skipped.
    Steering,
    /// When the loop would end.
    FollowUp,
}

/// How many of the messages that wait for one place join there at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Every one, in the order of arrival.
    All,
    /// The oldest; the next one waits for the next place.
    OneAtATime,
}

/// The input filters decided about a prompt, or about a message that was held in the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputFiltered {
    /// The message of the queue; `None` for the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<QueueId>,
    /// What they decided.
    pub verdict: FilterVerdict,
    /// The messages of a prompt that was rejected: they join no conversation and stand here alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Arc<UserMessage>>,
}

/// What the input filters decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FilterVerdict {
    /// It joins as it is.
    Passed {},
    /// It joins with a warning that the model reads: the last content of the (last) message.
    Warned {
        /// The warning.
        warning: String,
    },
    /// It does not join.
    Rejected {
        /// Why.
        reason: String,
    },
}

impl UserMessage {
    /// Returns the message with a text after its content, as an input filter adds a warning.
    #[must_use]
    pub fn warned(&self, warning: &str) -> Self {
        let mut warned = self.clone();
        warned.content.push(Content::text(warning));
        warned
    }

    /// Returns the message as it was before this warning joined it; `None` if it does not end with it.
    #[must_use]
    pub fn unwarned(&self, warning: &str) -> Option<Self> {
        let mut unwarned = self.clone();
        match unwarned.content.pop() {
            Some(Content::Text { text }) if text == warning => Some(unwarned),
            Some(Content::Text { .. } | Content::Image { .. }) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_off_the_message_that_it_joined_and_no_other() {
        let message = UserMessage::text("hi");
        let warned = message.warned("careful");
        assert_eq!(warned.unwarned("careful"), Some(message.clone()));
        assert_eq!(warned.unwarned("other"), None);
        assert_eq!(message.unwarned("careful"), None);
        let twice = warned.warned("careful");
        assert_eq!(twice.unwarned("careful"), Some(warned));
    }

    #[test]
    fn a_message_that_is_not_held_reads_and_writes_as_before_there_were_filters() {
        let text =
            r#"{"id":"q1","queue":"steering","message":{"content":[{"type":"text","text":"hi"}]}}"#;
        let queued: MessageQueued = serde_json::from_str(text).unwrap();
        assert!(!queued.held);
        assert_eq!(serde_json::to_string(&queued).unwrap(), text);
    }
}
