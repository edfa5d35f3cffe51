//! What every real API asks of a conversation before it answers.

use std::collections::HashSet;
use std::sync::Arc;

use crate::history::{CallResult, Entry, History};
use crate::message::{AssistantMessage, AssistantPart, Content, StopReason, UserMessage};
use crate::tool::ToolCall;

/// Says why a real API would refuse a conversation. `entry` counts from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranscriptFault {
    /// The conversation holds nothing that a model reads.
    #[error("the conversation is empty: it begins with a user message")]
    Empty,
    /// The first entry is no user message.
    #[error("entry {entry} comes first and is {is}: a conversation begins with a user message")]
    FirstIsNotUser {
        /// The entry.
        entry: usize,
        /// What it is.
        is: &'static str,
    },
    /// A call of an assistant message has no result in the entry that follows.
    #[error("call {call:?} of entry {entry} has no result in the entry that follows")]
    Unanswered {
        /// The assistant message.
        entry: usize,
        /// The id of the call.
        call: Arc<str>,
    },
    /// A result has no call in the entry before.
    #[error("entry {entry} has a result for call {call:?}, which the entry before did not make")]
    ResultWithoutCall {
        /// The results.
        entry: usize,
        /// The id that the result names.
        call: Arc<str>,
    },
    /// Results are not in the order of the calls, or one call has two.
    #[error("entry {entry} answers call {found:?} where call {expected:?} is next")]
    ResultsOutOfOrder {
        /// The results.
        entry: usize,
        /// The call that is next.
        expected: Arc<str>,
        /// The call that was answered there.
        found: Arc<str>,
    },
    /// An entry of results holds none.
    #[error("entry {entry} holds no result")]
    NoResults {
        /// The results.
        entry: usize,
    },
    /// Two calls of one message have one id.
    #[error("entry {entry} has two calls with the id {call:?}")]
    RepeatedCallId {
        /// The assistant message.
        entry: usize,
        /// The id.
        call: Arc<str>,
    },
    /// A call has no id or no name.
    #[error("entry {entry} has a call without {without}")]
    NamelessCall {
        /// The assistant message.
        entry: usize,
        /// What is missing.
        without: &'static str,
    },
    /// An assistant message follows an assistant message that was not paused.
    #[error("entry {entry} is the second assistant message in a row")]
    AnswerAfterAnswer {
        /// The second one.
        entry: usize,
    },
    /// A message has no content.
    #[error("entry {entry} is {is} without content")]
    NoContent {
        /// The entry.
        entry: usize,
        /// What it is.
        is: &'static str,
    },
    /// A text is empty.
    #[error("entry {entry} is {is} with an empty text")]
    EmptyText {
        /// The entry.
        entry: usize,
        /// What it is.
        is: &'static str,
    },
    /// Nothing is asked: the conversation ends with an answer that is complete.
    #[error("entry {entry} is an answer and nothing follows it: a request ends with what is asked")]
    EndsWithAnswer {
        /// The answer.
        entry: usize,
    },
}

/// Checks that a conversation is one that real APIs accept.
///
/// It begins with a user message; every call is answered in the next entry and in call order;
/// no message is empty and no text either; call ids are unique inside a message; two assistant
/// messages stand in a row only where the first was paused. Extension entries are invisible.
/// A conversation may end with an answer here: only a request may not.
///
/// # Errors
/// The first [`TranscriptFault`].
pub fn check_transcript(history: &History) -> Result<(), TranscriptFault> {
    let mut checker = TranscriptChecker::default();
    for entry in history.entries() {
        checker.push(entry)?;
    }
    checker.end()
}

/// The check of [`check_transcript`], one entry at a time, so that a growing conversation is read
/// once.
#[derive(Debug, Clone, Default)]
pub struct TranscriptChecker {
    next: usize,
    begun: bool,
    /// The newest assistant message and its place, while nothing has followed it.
    answer: Option<(usize, Arc<AssistantMessage>)>,
    answers: usize,
}

impl TranscriptChecker {
    /// Reads the next entry.
    ///
    /// # Errors
    /// The [`TranscriptFault`] that it makes of the conversation; the checker is of no use after it.
    pub fn push(&mut self, entry: &Entry) -> Result<(), TranscriptFault> {
        let at = self.next;
        match entry {
            Entry::Extension(_) => {}
            Entry::User(message) => {
                self.no_open_call()?;
                check_user(at, message)?;
                (self.begun, self.answer) = (true, None);
            }
            Entry::Assistant(message) => {
                self.begun_before(at, ANSWER)?;
                self.no_open_call()?;
                if let Some((_, before)) = &self.answer
                    && before.stop_reason != StopReason::PauseTurn
                {
                    return Err(TranscriptFault::AnswerAfterAnswer { entry: at });
                }
                check_answer(at, message)?;
                self.answer = Some((at, Arc::clone(message)));
                self.answers += 1;
            }
            Entry::Results(results) => {
                self.begun_before(at, RESULTS)?;
                self.check_results(at, results)?;
                self.answer = None;
            }
        }
        self.next += 1;
        Ok(())
    }

    /// Returns how many assistant messages there are.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.answers
    }

    /// Checks what only the end shows.
    ///
    /// # Errors
    /// A conversation without a message, or with a call that has no result.
    pub fn end(&self) -> Result<(), TranscriptFault> {
        if !self.begun {
            return Err(TranscriptFault::Empty);
        }
        self.no_open_call()
    }

    /// Checks what only the end of a request shows: that something is asked.
    ///
    /// # Errors
    /// As [`TranscriptChecker::end`], and a conversation that ends with an answer.
    pub fn end_of_request(&self) -> Result<(), TranscriptFault> {
        self.end()?;
        match &self.answer {
            Some((entry, answer)) if answer.stop_reason != StopReason::PauseTurn => {
                Err(TranscriptFault::EndsWithAnswer { entry: *entry })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn begun_before(&self, entry: usize, is: &'static str) -> Result<(), TranscriptFault> {
        if self.begun {
            return Ok(());
        }
        Err(TranscriptFault::FirstIsNotUser { entry, is })
    }

    fn no_open_call(&self) -> Result<(), TranscriptFault> {
        if let Some((entry, answer)) = &self.answer
            && let Some(call) = answer.tool_calls().next()
        {
            return Err(unanswered(*entry, call));
        }
        Ok(())
    }

    fn check_results(&self, at: usize, results: &[CallResult]) -> Result<(), TranscriptFault> {
        let Some(first) = results.first() else {
            return Err(TranscriptFault::NoResults { entry: at });
        };
        let Some((entry, answer)) = &self.answer else {
            return Err(without_call(at, first));
        };
        let mut calls = answer.tool_calls();
        for result in results {
            let is_known = answer.tool_calls().any(|call| call.id == result.call.id);
            match calls.next() {
                Some(call) if call.id == result.call.id => {}
                Some(call) if is_known => {
                    return Err(TranscriptFault::ResultsOutOfOrder {
                        entry: at,
                        expected: Arc::clone(&call.id),
                        found: Arc::clone(&result.call.id),
                    });
                }
                Some(_) | None => return Err(without_call(at, result)),
            }
            check_texts(at, RESULTS, &result.result.content, str::is_empty)?;
        }
        match calls.next() {
            Some(call) => Err(unanswered(*entry, call)),
            None => Ok(()),
        }
    }
}

const USER: &str = "a user message";
const ANSWER: &str = "an assistant message";
const RESULTS: &str = "a tool result";

fn unanswered(entry: usize, call: &ToolCall) -> TranscriptFault {
    let call = Arc::clone(&call.id);
    TranscriptFault::Unanswered { entry, call }
}

fn without_call(entry: usize, result: &CallResult) -> TranscriptFault {
    let call = Arc::clone(&result.call.id);
    TranscriptFault::ResultWithoutCall { entry, call }
}

fn check_user(entry: usize, message: &UserMessage) -> Result<(), TranscriptFault> {
    if message.content.is_empty() {
        return Err(TranscriptFault::NoContent { entry, is: USER });
    }
    // Anthropic: "text content blocks must contain non-whitespace text".
    check_texts(entry, USER, &message.content, |text| text.trim().is_empty())
}

fn check_texts(
    entry: usize,
    is: &'static str,
    content: &[Content],
    is_empty: impl Fn(&str) -> bool,
) -> Result<(), TranscriptFault> {
    let empty = |content: &Content| match content {
        Content::Text { text } => is_empty(text),
        Content::Image { .. } => false,
    };
    if content.iter().any(empty) {
        return Err(TranscriptFault::EmptyText { entry, is });
    }
    Ok(())
}

fn check_answer(entry: usize, message: &AssistantMessage) -> Result<(), TranscriptFault> {
    if message.parts.is_empty() {
        return Err(TranscriptFault::NoContent { entry, is: ANSWER });
    }
    let mut ids = HashSet::new();
    for part in &message.parts {
        match part {
            AssistantPart::Text(part) if part.text.is_empty() => {
                return Err(TranscriptFault::EmptyText { entry, is: ANSWER });
            }
            AssistantPart::ToolCall(call) => {
                let without = [("an id", &call.id), ("a name", &call.name)];
                if let Some((without, _)) = without.iter().find(|(_, text)| text.is_empty()) {
                    return Err(TranscriptFault::NamelessCall { entry, without });
                }
                if !ids.insert(&call.id) {
                    let call = Arc::clone(&call.id);
                    return Err(TranscriptFault::RepeatedCallId { entry, call });
                }
            }
            // The provider may keep its reasoning and its own items to itself.
            AssistantPart::Text(_) | AssistantPart::Thinking(_) | AssistantPart::Opaque(_) => {}
        }
    }
    Ok(())
}
