//! Translates a conversation for the model that shall read it, and says what that cost.

mod loss;
mod rules;
mod translator;

use std::borrow::Cow;
use std::sync::Arc;

use phi_types::{AssistantMessage, Content, History, OpaquePart, PartFacts, ThinkingPart};

pub use self::loss::{Loss, LossKind};
pub use self::rules::{Fate, IdRule, Images, Kinship, Reader, ResultImages, Rules};
pub(crate) use self::translator::{Step, Translator};

/// One message as the reader takes it. None is empty.
#[derive(Debug, Clone, PartialEq)]
pub enum Message<'v> {
    /// What the user says.
    User(Vec<Cow<'v, Content>>),
    /// What a model answered.
    Assistant(Answer<'v>),
    /// The results of all calls of the answer before, one for each, in call order. Nothing stands
    /// between them and the answer.
    Results(Vec<AnsweredCall<'v>>),
}

/// What a model answered, as the reader takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<'v> {
    /// At least one part.
    pub parts: Vec<Part<'v>>,
    /// How near its author is to the reader.
    pub kinship: Kinship,
    /// The message that was translated.
    pub source: &'v AssistantMessage,
}

/// A part of an answer as the reader takes it.
#[derive(Debug, Clone, PartialEq)]
pub enum Part<'v> {
    /// Text. It is not empty, and not blank unless blank text stays or a fact of it goes back.
    Text {
        /// The text.
        text: Cow<'v, str>,
        /// What goes back beside it, where something does.
        facts: Option<&'v PartFacts>,
    },
    /// Thinking that the reader takes as thinking.
    Thinking(&'v ThinkingPart),
    /// A call.
    Call {
        /// The id that the reader accepts; no other call of the conversation has it.
        id: Arc<str>,
        /// The name of the tool.
        name: &'v str,
        /// The arguments as the text of a JSON object.
        arguments: Cow<'v, str>,
        /// What goes back beside it, where something does.
        facts: Option<&'v PartFacts>,
    },
    /// Something of the provider that only it understands, which goes back as it came.
    Opaque(&'v OpaquePart),
}

/// The result of one call as the reader takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct AnsweredCall<'v> {
    /// The id of the call, as it stands in the answer.
    pub id: Arc<str>,
    /// The name of the tool.
    pub name: &'v str,
    /// What the call itself was sent with, where something goes back.
    pub facts: Option<&'v PartFacts>,
    /// What the tool returned, perhaps nothing.
    pub content: Vec<Cow<'v, Content>>,
    /// Whether the tool failed.
    pub is_error: bool,
}

/// A conversation as the reader takes it, and what that cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation<'v> {
    /// The messages, oldest first.
    pub messages: Vec<Message<'v>>,
    /// What was lost, oldest first.
    pub losses: Vec<Loss>,
}

/// Translates a view for a reader.
///
/// What comes out holds, for every view: the first message is of the user; no message and no part
/// is empty; every call has an id that
/// the reader accepts and that no other call has; the message after an answer with calls holds one
/// result for each, in call order; what only its author may read goes to its author alone. Every
/// wire of this crate sends what this function makes.
#[must_use]
pub fn translate<'v>(view: &'v History, reader: Reader<'_>, rules: &Rules) -> Translation<'v> {
    let entries = view.entries();
    let mut translator = Translator::new(rules.call_ids);
    let mut messages = Vec::new();
    let mut losses = Vec::new();
    let mut rest = entries.as_slice();
    let mut index = 0;
    while let Some((entry, after)) = rest.split_first() {
        let mut step = Step {
            reader,
            rules,
            entry: index,
            after,
            losses: &mut losses,
            each: &mut |message| messages.push(message),
        };
        translator.entry(&mut step, entry);
        rest = after;
        index += 1;
    }
    Translation { messages, losses }
}
