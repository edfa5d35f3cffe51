//! What a translation cost.

use std::fmt;
use std::sync::Arc;

/// Something that the reader does not see as it was. What a protocol does not take back even from
/// its author, as reasoning that only leads to the next answer, is none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Loss {
    /// The index of the entry in the view.
    pub entry: usize,
    /// What was lost.
    pub kind: LossKind,
}

/// What was lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossKind {
    /// Thinking was left out.
    ThinkingDropped,
    /// Thinking became text.
    ThinkingBecameText,
    /// What the provider stated beside a text or a call was left out.
    FactsDropped,
    /// An opaque part was left out.
    OpaqueDropped {
        /// Its kind.
        kind: Arc<str>,
    },
    /// A call got another id, in the call and in its result.
    CallIdChanged,
    /// Arguments that are no JSON object were wrapped into one.
    ArgumentsWrapped,
    /// An image became a note in text.
    ImageReplaced,
    /// The images of a result follow it in a user message.
    ImageMoved,
    /// A call had no result and got one that says so.
    ResultInvented,
    /// A result had no call and became text of the user.
    ResultBecameText,
    /// The conversation began with an answer, and a note of the user precedes it.
    BeginningInvented,
    /// Nothing of a message was left.
    MessageDropped,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}: ", self.entry)?;
        match &self.kind {
            LossKind::ThinkingDropped => f.write_str("thinking was left out"),
            LossKind::ThinkingBecameText => f.write_str("thinking became text"),
            LossKind::FactsDropped => f.write_str("a signature or an item id was left out"),
            LossKind::OpaqueDropped { kind } => write!(f, "a part `{kind}` was left out"),
            LossKind::CallIdChanged => f.write_str("a call got another id"),
            LossKind::ArgumentsWrapped => f.write_str("malformed arguments were wrapped"),
            LossKind::ImageReplaced => f.write_str("an image was left out"),
            LossKind::ImageMoved => f.write_str("an image of a result moved behind it"),
            LossKind::ResultInvented => f.write_str("a call had no result"),
            LossKind::ResultBecameText => f.write_str("a result without its call became text"),
            LossKind::BeginningInvented => f.write_str("the conversation began with an answer"),
            LossKind::MessageDropped => f.write_str("nothing was left of a message"),
        }
    }
}
