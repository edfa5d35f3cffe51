//! Makes deltas of an answer, streamed or whole.

use phi_types::{Delta, Finish, Started, StopReason};
use serde_json::{Value, json};

use super::event::{Event, Message, ReportedUsage, Whole};
use super::parts::Parts;
use crate::body::{Fault, Protocol, is_stated};
use crate::lenient::{Object, repairs};
use crate::sse::StreamEvent;

/// One answer as far as it came.
#[derive(Debug)]
pub(super) struct ChatReader {
    started: bool,
    parts: Parts,
    citation_bytes_max: usize,
    finished: bool,
}

impl Protocol for ChatReader {
    fn event(&mut self, event: StreamEvent<'_>, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        let data = event.data.trim();
        if data.is_empty() || self.finished || data == "[DONE]" {
            return Ok(());
        }
        let error = match serde_json::from_str::<Object<Event<'_>>>(data) {
            Ok(Object(Some(parsed))) => return self.take(event.name, data, parsed, deltas),
            Ok(Object(None)) => return Err(Fault::Protocol("an event is no object".to_owned())),
            Err(error) => error,
        };
        for repaired in repairs(data) {
            if let Ok(parsed) = serde_json::from_str::<Event<'_>>(&repaired) {
                return self.take(event.name, &repaired, parsed, deltas);
            }
        }
        Err(Fault::json("an event", &error))
    }

    fn whole(&mut self, body: &str, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        let body = body.trim();
        let error = match serde_json::from_str::<Object<Whole<'_>>>(body) {
            Ok(Object(Some(whole))) => return self.take_whole(body, whole, deltas),
            Ok(Object(None)) => return Err(Fault::Protocol("the answer is no object".to_owned())),
            Err(error) => error,
        };
        for repaired in repairs(body) {
            if let Ok(whole) = serde_json::from_str::<Whole<'_>>(&repaired) {
                return self.take_whole(&repaired, whole, deltas);
            }
        }
        Err(Fault::json("the answer", &error))
    }

    fn close(&mut self, _deltas: &mut Vec<Delta>) -> bool {
        self.finished
    }

    fn is_over(&self) -> bool {
        self.finished
    }
}

impl ChatReader {
    pub(super) fn new(citation_bytes_max: usize) -> Self {
        Self {
            started: false,
            parts: Parts::default(),
            citation_bytes_max,
            finished: false,
        }
    }

    fn take(
        &mut self,
        name: &str,
        data: &str,
        event: Event<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let kind = match event.kind.as_str() {
            "" => name,
            kind => kind,
        };
        let says_message = event.message.is_some_and(|it| it.get().starts_with('"'));
        if kind == "error" || event.error.is_some_and(is_stated) || says_message {
            return Err(Fault::Reported(value_of(data)));
        }
        let delta = event.delta.0.unwrap_or_default();
        let (index, message) = (event.index.0, delta.message.0.unwrap_or_default());
        match kind {
            "message-start" => {
                self.start(event.id.as_str(), deltas);
                self.take_message(None, message, deltas)
            }
            "content-start" | "content-delta" | "tool-plan-delta" => {
                self.parts.plan(message.tool_plan.into_cow(), deltas)?;
                for block in message.content {
                    self.parts.block(index, block, deltas)?;
                }
                Ok(())
            }
            "content-end" => {
                self.parts.end_block(index, deltas);
                Ok(())
            }
            "tool-call-start" => {
                // An index that comes again is another call.
                self.parts.end_call(index, deltas);
                for call in message.tool_calls {
                    self.parts.call(index, &call, deltas)?;
                }
                Ok(())
            }
            "tool-call-delta" => {
                for call in message.tool_calls {
                    self.parts.call_piece(index, &call, deltas)?;
                }
                Ok(())
            }
            "tool-call-end" => {
                self.parts.end_call(index, deltas);
                Ok(())
            }
            "citation-start" => match message.citations {
                Some(citations) => self.parts.cite(citations, self.citation_bytes_max),
                None => Ok(()),
            },
            "message-end" => {
                report(delta.usage, deltas);
                self.finish(delta.finish_reason.as_str(), delta.error.as_str(), deltas)
            }
            // `citation-end` says nothing, and kinds that are not known here mean nothing.
            _ => Ok(()),
        }
    }

    fn take_whole(
        &mut self,
        body: &str,
        whole: Whole<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let Some(message) = whole.message.0 else {
            return Err(Fault::Reported(value_of(body)));
        };
        self.start(whole.id.as_str(), deltas);
        self.take_message(Some(0), message, deltas)?;
        report(whole.usage, deltas);
        self.finish(whole.finish_reason.as_str(), "", deltas)
    }

    /// Takes a message whose blocks and calls are whole. The blocks are counted from `first`; those
    /// of the head of a stream, where all lists are empty, have no index.
    fn take_message(
        &mut self,
        first: Option<u64>,
        message: Message<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        self.parts.plan(message.tool_plan.into_cow(), deltas)?;
        let mut index = first;
        for block in message.content {
            self.parts.block(index, block, deltas)?;
            index = index.map(|index| index.saturating_add(1));
        }
        if let Some(citations) = message.citations {
            self.parts.cite(citations, self.citation_bytes_max)?;
        }
        for call in message.tool_calls {
            self.parts.call(None, &call, deltas)?;
            self.parts.end_call(None, deltas);
        }
        Ok(())
    }

    fn start(&mut self, id: &str, deltas: &mut Vec<Delta>) {
        if !std::mem::replace(&mut self.started, true) {
            deltas.push(Delta::Started(Started {
                response_id: Some(id.to_owned()).filter(|id| !id.is_empty()),
                model: None,
            }));
        }
    }

    /// Takes the reason to stop. An error that the service states beside one is not shown: the
    /// reason says whether there is an answer.
    fn finish(&mut self, reason: &str, error: &str, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        let stop_reason = match reason.to_ascii_uppercase().as_str() {
            "COMPLETE" | "TOOL_CALL" if self.parts.calls_begun > 0 => StopReason::ToolUse,
            "COMPLETE" | "TOOL_CALL" => StopReason::EndTurn,
            "STOP_SEQUENCE" => StopReason::StopSequence,
            "MAX_TOKENS" => StopReason::MaxTokens,
            // The two of version 1 that others still send.
            "ERROR_LIMIT" => StopReason::ContextWindow,
            "ERROR_TOXIC" => StopReason::ContentFilter,
            "ERROR" => return Err(failed("server_error", reason, error)),
            "TIMEOUT" => return Err(failed("timeout", reason, error)),
            "" if !error.is_empty() => return Err(failed("server_error", reason, error)),
            // The end of a stream that names no reason is no finish.
            "" => return Ok(()),
            _ => StopReason::Other,
        };
        self.parts.end(stop_reason, deltas);
        self.finished = true;
        let raw = Some(reason.to_owned());
        deltas.push(Delta::Finish(Finish { stop_reason, raw }));
        Ok(())
    }
}

fn report(usage: Object<ReportedUsage>, deltas: &mut Vec<Delta>) {
    if let Some(usage) = usage.0 {
        deltas.push(Delta::Usage(usage.usage()));
    }
}

/// What the service states beside its reason is more exact than the reason.
fn failed(kind: &str, reason: &str, error: &str) -> Fault {
    let mut stated = json!({ "message": error });
    if error.is_empty() {
        let message = format!("the service ended the answer with the finish reason `{reason}`");
        stated = json!({"type": kind, "message": message});
    } else if kind != "server_error" {
        stated = json!({"type": kind, "message": error});
    }
    Fault::Reported(json!({ "error": stated }))
}

/// Reads an error, which is rare and of any shape; what is no JSON is its text.
fn value_of(data: &str) -> Value {
    serde_json::from_str(data).unwrap_or_else(|_| Value::from(data))
}
