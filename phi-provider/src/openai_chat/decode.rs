//! Reads the chunks of a stream, or a whole answer, which differ in one word only.

use std::borrow::Cow;

use phi_types::{Delta, RawJson, StopReason};
use serde_json::{Value, json};

use super::answer::Answer;
use super::calls::{CallPiece, Key};
use super::chunk::{Block, CallEntry, Choice, Chunk, Content, FunctionPiece, Piece, is_stated};
use super::facts::{Extra, ReasoningField};
use super::finish::Word;
use super::quirks::ThinkTags;
use crate::body::{Fault, Protocol};
use crate::lenient::{Few, Object};
use crate::sse::StreamEvent;
use crate::surrogates::without_lone_surrogates;

/// Reads one answer. One choice is read: the one with index 0.
#[derive(Debug)]
pub(super) struct ChatReader {
    answer: Answer,
    /// The service said that nothing more comes.
    terminated: bool,
}

/// Which of the two shapes an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Chunk,
    Whole,
}

impl Protocol for ChatReader {
    fn event(&mut self, event: StreamEvent<'_>, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        let data = event.data.trim();
        if data.is_empty() || self.terminated {
            return Ok(());
        }
        if data == "[DONE]" {
            self.terminated = true;
            return Ok(());
        }
        if event.name == "error" {
            return Err(reported(data));
        }
        self.read(data, Form::Chunk, deltas)
    }

    fn whole(&mut self, body: &str, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        self.read(body.trim(), Form::Whole, deltas)?;
        self.terminated = true;
        Ok(())
    }

    fn close(&mut self, deltas: &mut Vec<Delta>) -> bool {
        if self.answer.is_finished() {
            self.answer.settle(deltas);
            return true;
        }
        if !self.terminated || self.answer.is_empty() {
            return false;
        }
        // The service says that the answer is complete and not why the model stopped. Calls say
        // what it waits for; a text may be anything, and is not taken for success.
        let reason = if self.answer.has_calls() {
            StopReason::ToolUse
        } else {
            StopReason::Other
        };
        self.answer.stop(reason, None, deltas);
        true
    }

    fn is_over(&self) -> bool {
        self.terminated
    }
}

impl ChatReader {
    pub(super) fn new(tags: ThinkTags) -> Self {
        Self {
            answer: Answer::new(tags),
            terminated: false,
        }
    }

    fn read(&mut self, data: &str, form: Form, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        // Gemini behind this protocol reports errors as a list.
        if data.starts_with('[')
            && let Ok(list) = serde_json::from_str::<Few<Chunk<'_>>>(data)
            && list.into_iter().any(|chunk| chunk.is_error())
        {
            return Err(reported(data));
        }
        let error = match serde_json::from_str::<Object<Chunk<'_>>>(data) {
            Ok(Object(Some(chunk))) => return self.take(data, chunk, form, deltas),
            Ok(Object(None)) => {
                let what = format!("a chunk is no JSON object but `{}`", beginning(data));
                return Err(Fault::Protocol(what));
            }
            Err(error) => error,
        };
        // Half of a surrogate pair is no character, and of a field that comes twice the last one
        // counts; everything else in the chunk is fine.
        let repaired = without_lone_surrogates(data);
        if let Ok(value) = serde_json::from_str::<Value>(&repaired) {
            let repaired = value.to_string();
            if let Ok(Object(Some(chunk))) = serde_json::from_str(&repaired) {
                return self.take(&repaired, chunk, form, deltas);
            }
        }
        Err(Fault::json("a chunk", &error))
    }

    fn take(
        &mut self,
        data: &str,
        chunk: Chunk<'_>,
        form: Form,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        if chunk.is_error() {
            return Err(reported(data));
        }
        let (id, model) = (chunk.id.as_str(), chunk.model.as_str());
        self.answer.start(id, model, deltas);
        for choice in chunk.choices {
            if choice.index.0.unwrap_or(0) == 0 {
                self.take_choice(choice, form, deltas)?;
            }
        }
        let mut usage = chunk.usage.0;
        if let Some(extra) = chunk.x_groq.0 {
            if !extra.error.is_empty() {
                let error = json!({ "error": extra.error.as_str() });
                return Err(Fault::Reported(error));
            }
            usage = usage.or(extra.usage.0);
        }
        if let Some(usage) = usage {
            self.answer.report(usage.usage(), deltas);
        }
        Ok(())
    }

    fn take_choice(
        &mut self,
        choice: Choice<'_>,
        form: Form,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        if let Some(error) = choice.error.filter(|error| is_stated(error)) {
            return Err(Fault::Reported(json!({ "error": value_of(error.get()) })));
        }
        // Perplexity repeats the answer so far as `message` beside every `delta`, and sends an
        // empty `delta` beside the `message` of a whole answer.
        let piece = match (form, choice.delta.0, choice.message.0) {
            (Form::Whole, delta, message) => message.map(|message| *message).or(delta),
            (Form::Chunk, Some(delta), _) => Some(delta),
            (Form::Chunk, None, message) => {
                let is_first = self.answer.is_empty();
                message.filter(|_| is_first).map(|message| *message)
            }
        };
        if let Some(piece) = piece {
            self.take_piece(piece, deltas)?;
        }
        if let Some(usage) = choice.usage.0 {
            self.answer.report(usage.usage(), deltas);
        }
        let word = choice.finish_reason.as_str();
        if word.is_empty() {
            return Ok(());
        }
        let reason = match Word::read(word) {
            Word::Complete => StopReason::EndTurn,
            Word::Stopped(reason) => reason,
            Word::Failed(error) => return Err(Fault::Reported(error)),
        };
        self.answer.stop(reason, Some(word.to_owned()), deltas);
        Ok(())
    }

    fn take_piece(&mut self, piece: Piece<'_>, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        // A service that sends its reasoning under several names is shown once.
        let (text, field) = if piece.reasoning_content.is_empty() {
            (piece.reasoning, ReasoningField::Reasoning)
        } else {
            (piece.reasoning_content, ReasoningField::ReasoningContent)
        };
        let shown = !text.is_empty();
        let answer = &mut self.answer;
        answer.push_thinking(text.into_cow(), field, deltas);
        for detail in piece.reasoning_details.0 {
            let pushed = answer.push_detail(detail, shown, deltas);
            pushed.map_err(Fault::Protocol)?;
        }
        match piece.content {
            Content::None => {}
            Content::Text(text) => answer.push_text(text, deltas),
            Content::Blocks(blocks) => take_blocks(answer, blocks, deltas),
        }
        answer.push_refusal(piece.refusal.into_cow(), deltas);
        for call in &piece.tool_calls.0 {
            self.take_call(call, deltas)?;
        }
        if let Some(function) = &piece.function_call.0 {
            let arguments = arguments_of(function)?;
            let call = CallPiece {
                key: Key::Legacy,
                id: "",
                name: function.name.as_str(),
                arguments,
                facts: None,
            };
            let pushed = self.answer.push_call(call, deltas);
            pushed.map_err(Fault::Protocol)?;
        }
        Ok(())
    }

    fn take_call(&mut self, entry: &CallEntry<'_>, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        let function = entry.function.0.as_ref();
        let custom = entry.custom.0.as_deref();
        let is_named = function.is_some_and(|function| !function.name.is_empty());
        let (name, arguments) = match (function, custom) {
            // Snowflake sends an empty `custom` beside every function.
            (_, Some(custom)) if !is_named && !custom.name.is_empty() => {
                (custom.name.as_str(), Cow::Borrowed(custom.input.as_str()))
            }
            (Some(function), _) => (function.name.as_str(), arguments_of(function)?),
            (None, _) => ("", Cow::Borrowed("")),
        };
        let extra_content = entry.extra_content.filter(|extra| is_stated(extra));
        let facts = extra_content.map(|extra| {
            let extra = Extra {
                extra_content: RawJson::parse(extra.get()).ok(),
                ..Extra::default()
            };
            extra.facts()
        });
        let call = CallPiece {
            key: entry.index.0.map_or(Key::None, Key::Index),
            id: entry.id.as_str(),
            name,
            arguments,
            facts,
        };
        self.answer.push_call(call, deltas).map_err(Fault::Protocol)
    }
}

fn take_blocks(answer: &mut Answer, blocks: Vec<Block<'_>>, deltas: &mut Vec<Delta>) {
    for block in blocks {
        match block.thinking {
            Content::None => {}
            Content::Text(text) => answer.push_thinking(text, ReasoningField::Content, deltas),
            Content::Blocks(blocks) => {
                for block in blocks {
                    let text = block.text.into_cow();
                    answer.push_thinking(text, ReasoningField::Content, deltas);
                }
            }
        }
        answer.push_text(block.text.into_cow(), deltas);
        answer.push_refusal(block.refusal.into_cow(), deltas);
    }
}

fn arguments_of<'a>(function: &FunctionPiece<'a>) -> Result<Cow<'a, str>, Fault> {
    let arguments = function.arguments();
    arguments.map_err(|error| Fault::json("`function.arguments`", &error))
}

/// An error in the words of the service.
fn reported(data: &str) -> Fault {
    Fault::Reported(value_of(data))
}

/// Reads an error, which is rare and of any shape; what is no JSON is its text.
fn value_of(data: &str) -> Value {
    serde_json::from_str(data).unwrap_or_else(|_| Value::from(data))
}

/// The beginning of a text, for a message.
fn beginning(text: &str) -> String {
    text.chars().take(40).collect()
}
