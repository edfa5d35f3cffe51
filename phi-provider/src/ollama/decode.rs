//! Makes deltas of the lines of a stream, or of a whole answer, which is one line.

use phi_types::{Delta, Finish, Started, StopReason, Usage, digest_of};
use serde_json::Value;

use super::line::{Call, Line, Message};
use crate::body::{Fault, Framing, Protocol, is_stated};
use crate::lenient::{Object, repairs};
use crate::sse::StreamEvent;

/// One answer as far as it came.
#[derive(Debug, Default)]
pub(super) struct LineReader {
    started: bool,
    next_part: u32,
    /// The part of text or thinking that grows.
    open: Option<Open>,
    calls: u32,
    finished: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    part: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Thinking,
    Text,
}

/// More calls than this in one answer are refused: no model asks for so many.
const CALLS_MAX: u32 = 4_096;

impl Protocol for LineReader {
    const FRAMING: Framing = Framing::Lines;

    fn event(&mut self, event: StreamEvent<'_>, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        let data = event.data.trim();
        if data.is_empty() || self.finished || data == "[DONE]" {
            return Ok(());
        }
        self.read(data, deltas)
    }

    fn whole(&mut self, body: &str, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        self.read(body.trim(), deltas)
    }

    fn close(&mut self, _deltas: &mut Vec<Delta>) -> bool {
        self.finished
    }

    fn is_over(&self) -> bool {
        self.finished
    }
}

impl LineReader {
    fn read(&mut self, data: &str, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        match serde_json::from_str::<Object<Line<'_>>>(data) {
            Ok(Object(Some(line))) => self.take(data, line, deltas),
            Ok(Object(None)) => Err(Fault::Protocol("a line is no JSON object".to_owned())),
            Err(error) => {
                for repaired in repairs(data) {
                    if let Ok(line) = serde_json::from_str::<Line<'_>>(&repaired) {
                        return self.take(&repaired, line, deltas);
                    }
                }
                Err(Fault::json("a line", &error))
            }
        }
    }

    fn take(&mut self, data: &str, line: Line<'_>, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        if line.error.is_some_and(is_stated) {
            let line = serde_json::from_str(data).unwrap_or_else(|_| Value::from(data));
            return Err(Fault::Reported(line));
        }
        if !self.started {
            self.started = true;
            let model = Some(line.model.as_str()).filter(|model| !model.is_empty());
            deltas.push(Delta::Started(Started {
                response_id: None,
                model: model.map(str::to_owned),
            }));
        }
        let done = line.is_done();
        if let Object(Some(message)) = line.message {
            self.take_message(message, line.created_at.as_str(), deltas)?;
        }
        let usage = Usage {
            input_tokens: line.prompt_eval_count.0,
            output_tokens: line.eval_count.0,
            ..Usage::default()
        };
        if usage != Usage::default() {
            deltas.push(Delta::Usage(usage));
        }
        if done {
            self.close_part(deltas);
            self.finished = true;
            deltas.push(Delta::Finish(self.finish(line.done_reason.as_str())));
        }
        Ok(())
    }

    fn take_message(
        &mut self,
        message: Message<'_>,
        created_at: &str,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        if !message.thinking.is_empty() {
            let part = self.part(Kind::Thinking, deltas);
            let text = message.thinking.into_cow().into_owned();
            deltas.push(Delta::thinking(part, text));
        }
        if !message.content.is_empty() {
            let part = self.part(Kind::Text, deltas);
            let text = message.content.into_cow().into_owned();
            deltas.push(Delta::text(part, text));
        }
        for call in message.tool_calls.0 {
            self.take_call(&call, created_at, deltas)?;
        }
        Ok(())
    }

    fn take_call(
        &mut self,
        call: &Call<'_>,
        created_at: &str,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let Some(function) = &call.function.0 else {
            return Ok(());
        };
        if self.calls >= CALLS_MAX {
            let message = format!("the answer has more than {CALLS_MAX} tool calls");
            return Err(Fault::Protocol(message));
        }
        self.close_part(deltas);
        let part = self.new_part();
        let (name, arguments) = (function.name.as_str(), function.arguments());
        let id = if call.id.is_empty() {
            made_id(created_at, self.calls, name, &arguments)
        } else {
            call.id.as_str().to_owned()
        };
        self.calls += 1;
        deltas.push(Delta::tool_call(part, id, name));
        deltas.push(Delta::arguments(part, arguments));
        deltas.push(Delta::part_ended(part));
        Ok(())
    }

    /// Returns the part that grows, a new one where the kind changes.
    fn part(&mut self, kind: Kind, deltas: &mut Vec<Delta>) -> u32 {
        if let Some(open) = self.open.filter(|open| open.kind == kind) {
            return open.part;
        }
        self.close_part(deltas);
        let part = self.new_part();
        self.open = Some(Open { part, kind });
        part
    }

    fn close_part(&mut self, deltas: &mut Vec<Delta>) {
        deltas.extend(self.open.take().map(|open| Delta::part_ended(open.part)));
    }

    fn new_part(&mut self) -> u32 {
        let part = self.next_part;
        self.next_part = part.saturating_add(1);
        part
    }

    /// Says what `done_reason` means. A server leaves it empty when the connection to the model
    /// broke, and says `load` or `unload` where it answered nothing.
    fn finish(&self, reason: &str) -> Finish {
        let stop_reason = match reason {
            "stop" if self.calls > 0 => StopReason::ToolUse,
            "stop" => StopReason::EndTurn,
            "" if self.calls > 0 => StopReason::ToolUse,
            "length" => StopReason::MaxTokens,
            _ => StopReason::Other,
        };
        let raw = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        Finish { stop_reason, raw }
    }
}

/// Makes the id of a call that came without one, of the time and of the call itself, so that no
/// other call of the conversation has it.
fn made_id(created_at: &str, nth: u32, name: &str, arguments: &str) -> String {
    let digest = digest_of(u64::from(nth), &(created_at, name, arguments));
    format!("call_{digest:016x}")
}
