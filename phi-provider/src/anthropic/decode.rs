//! Makes deltas of an answer in the Anthropic Messages protocol, streamed or whole.

use phi_types::{
    Delta, Finish, OpaqueDelta, PartFacts, PartFactsDelta, RawJson, Started, StopReason,
};
use serde_json::Value;
use serde_json::value::RawValue;

use super::CONTAINER;
use super::block::{Block, start};
use super::event::{self, Event, Message};
use crate::body::{Fault, Protocol, is_stated, reported_error};
use crate::sse::StreamEvent;
use crate::surrogates::without_lone_surrogates;

/// The decoder's state: the blocks that are open, and how far the message is.
#[derive(Debug)]
pub(super) struct MessagesDecoder {
    open: Vec<Open>,
    parts: u32,
    held_bytes: usize,
    held_bytes_max: usize,
    started: bool,
    finished: bool,
    /// The message was stopped: nothing that follows belongs to it.
    stopped: bool,
    /// A stop reason that the head of the message stated already.
    early_stop: Option<String>,
    container: Option<RawJson>,
}

/// A block that was started and not stopped.
#[derive(Debug)]
struct Open {
    index: u64,
    part: u32,
    block: Block,
}

/// More blocks than this are never open at once.
const OPEN_MAX: usize = 256;

impl MessagesDecoder {
    pub(super) fn new(held_bytes_max: usize) -> Self {
        Self {
            open: Vec::new(),
            parts: 0,
            held_bytes: 0,
            held_bytes_max,
            started: false,
            finished: false,
            stopped: false,
            early_stop: None,
            container: None,
        }
    }

    fn take(&mut self, event: Event<'_>, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        match &*event.kind.0 {
            "content_block_delta" => {
                let (Some(index), Some(delta)) = (event.index, event.delta) else {
                    return Err(missing("content_block_delta", "`index` or `delta`"));
                };
                self.block_delta(index, delta, deltas)
            }
            "content_block_start" => {
                let (Some(index), Some(block)) = (event.index, event.content_block) else {
                    return Err(missing("content_block_start", "`index` or `content_block`"));
                };
                self.block_start(index, block, deltas)
            }
            "content_block_stop" => {
                let index = event.index;
                if let Some(at) = self.open.iter().rposition(|open| Some(open.index) == index) {
                    let open = self.open.remove(at);
                    Self::block_stop(&open, deltas);
                }
                Ok(())
            }
            "message_start" => {
                let message = event
                    .message
                    .ok_or_else(|| missing("message_start", "`message`"))?;
                self.message_start(message, deltas)
            }
            "message_delta" => {
                if let Some(usage) = event.usage {
                    deltas.push(Delta::Usage(usage.usage()));
                }
                let Some(delta) = event.delta else {
                    return Ok(());
                };
                self.take_container(delta.container);
                if let Some(reason) = delta.stop_reason {
                    self.finish(reason.into_string(), deltas);
                }
                Ok(())
            }
            "message_stop" => {
                if let Some(reason) = self.early_stop.take() {
                    self.finish(reason, deltas);
                }
                self.stopped = self.finished;
                Ok(())
            }
            // Pings come at any time, and kinds that are not known here mean nothing.
            _ => Ok(()),
        }
    }

    fn message_start(
        &mut self,
        message: Message<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        if !std::mem::replace(&mut self.started, true) {
            deltas.push(Delta::Started(Started {
                response_id: message.id.map(event::Text::into_string),
                model: message.model.map(event::Text::into_string),
            }));
        }
        if let Some(usage) = message.usage {
            deltas.push(Delta::Usage(usage.usage()));
        }
        self.take_container(message.container);
        // A message that begins anew leaves behind what the first attempt had open.
        self.open.clear();
        for (index, block) in (0..).zip(message.content.unwrap_or_default()) {
            self.block_start(index, block, deltas)?;
            if let Some(open) = self.open.pop() {
                Self::block_stop(&open, deltas);
            }
        }
        self.early_stop = message.stop_reason.map(event::Text::into_string);
        Ok(())
    }

    fn block_start(
        &mut self,
        index: u64,
        block: &RawValue,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        self.open.retain(|open| open.index != index);
        if self.open.len() >= OPEN_MAX {
            let message = format!("more than {OPEN_MAX} content blocks are open at once");
            return Err(Fault::Protocol(message));
        }
        self.hold(block.get().len())?;
        let part = self.parts;
        self.parts = part
            .checked_add(1)
            .ok_or_else(|| Fault::Protocol("the answer has too many content blocks".to_owned()))?;
        let block =
            start(part, block, deltas).map_err(|error| Fault::json("a content block", &error))?;
        self.open.push(Open { index, part, block });
        Ok(())
    }

    fn block_delta(
        &mut self,
        index: u64,
        delta: event::Delta<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        if !self.open.iter().any(|open| open.index == index) {
            let Some(block) = Block::implied_by(&delta) else {
                return Ok(());
            };
            let part = self.parts;
            self.parts = part.saturating_add(1);
            if self.open.len() < OPEN_MAX {
                self.open.push(Open { index, part, block });
            }
        }
        let Some(open) = self.open.iter_mut().rfind(|open| open.index == index) else {
            return Ok(());
        };
        let held = open.block.delta(open.part, delta, deltas);
        self.hold(held)
    }

    fn block_stop(open: &Open, deltas: &mut Vec<Delta>) {
        open.block.flush(open.part, deltas);
        deltas.push(Delta::part_ended(open.part));
    }

    fn take_container(&mut self, container: Option<&RawValue>) {
        let container = container.filter(|raw| raw.get() != "null");
        if let Some(raw) = container.and_then(|raw| RawJson::parse(raw.get()).ok()) {
            self.container = Some(raw);
        }
    }

    /// Takes the stop reason. A call that is still open stays so: it may be cut off.
    fn finish(&mut self, raw: String, deltas: &mut Vec<Delta>) {
        if raw.is_empty() {
            return;
        }
        for open in &self.open {
            open.block.flush_facts(open.part, deltas);
        }
        if let Some(data) = self.container.take() {
            deltas.push(Delta::Opaque(OpaqueDelta {
                part: self.parts,
                kind: CONTAINER.to_owned(),
                data,
            }));
            deltas.push(Delta::part_ended(self.parts));
            self.parts = self.parts.saturating_add(1);
        }
        self.finished = true;
        deltas.push(Delta::Finish(Finish {
            stop_reason: stop_reason(&raw),
            raw: Some(raw),
        }));
    }

    /// Counts bytes that stay in memory until their block ends.
    fn hold(&mut self, bytes: usize) -> Result<(), Fault> {
        if self.open.is_empty() {
            self.held_bytes = 0;
        }
        self.held_bytes = self.held_bytes.saturating_add(bytes);
        if self.held_bytes > self.held_bytes_max {
            let max = self.held_bytes_max;
            let message = format!("a content block is longer than {max} bytes: raise the limit");
            return Err(Fault::Protocol(message));
        }
        Ok(())
    }
}

impl Protocol for MessagesDecoder {
    fn event(&mut self, event: StreamEvent<'_>, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        if self.stopped || event.data.trim() == "[DONE]" {
            return Ok(());
        }
        let mut parsed = serde_json::from_str::<Event<'_>>(event.data);
        let sanitised;
        if parsed.is_err() {
            sanitised = without_lone_surrogates(event.data);
            parsed = serde_json::from_str(&sanitised);
        }
        match parsed {
            Ok(mut parsed) => {
                if parsed.kind.0.is_empty() {
                    if let Some(fault) = reported_error(event.data) {
                        return Err(fault);
                    }
                    parsed.kind.0 = event.name.into();
                }
                let reports = parsed.error.is_some_and(is_stated);
                if parsed.kind.0 == "error" || reports {
                    return Err(Fault::Reported(value_of(event.data)));
                }
                self.take(parsed, deltas)
            }
            Err(_) if event.name == "error" => Err(Fault::Reported(value_of(event.data))),
            Err(error) => {
                // The shapes of errors differ from those of events.
                if let Some(fault) = reported_error(event.data) {
                    return Err(fault);
                }
                match kind_of(&event) {
                    Some(kind) => Err(Fault::json(&format!("the event `{kind}`"), &error)),
                    None => Ok(()),
                }
            }
        }
    }

    fn whole(&mut self, body: &str, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        let sanitised = without_lone_surrogates(body);
        let message: Message<'_> =
            serde_json::from_str(&sanitised).map_err(|error| Fault::json("the answer", &error))?;
        if message.content.is_none() || message.stop_reason.is_none() && !message.is_message() {
            let text = "the answer is JSON but no message of the Anthropic Messages protocol: \
                        check the base URL and the path";
            return Err(Fault::Protocol(text.to_owned()));
        }
        self.message_start(message, deltas)?;
        if let Some(reason) = self.early_stop.take() {
            self.finish(reason, deltas);
        }
        Ok(())
    }

    fn close(&mut self, _deltas: &mut Vec<Delta>) -> bool {
        self.finished
    }

    fn is_over(&self) -> bool {
        self.stopped
    }
}

/// Returns the kind of an event that cannot be read, if it is one that matters.
fn kind_of(event: &StreamEvent<'_>) -> Option<String> {
    const KNOWN: &[&str] = &[
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
    ];
    let stated = serde_json::from_str::<event::BlockKind<'_>>(event.data);
    let stated = stated.map(|stated| stated.kind.into_string());
    match stated {
        Ok(kind) if !kind.is_empty() => KNOWN.contains(&kind.as_str()).then_some(kind),
        Ok(_) | Err(_) => {
            let known = KNOWN.contains(&event.name) || event.name == "message";
            known.then(|| event.name.to_owned())
        }
    }
}

fn value_of(data: &str) -> Value {
    serde_json::from_str(&without_lone_surrogates(data))
        .unwrap_or_else(|_| Value::String(data.to_owned()))
}

fn missing(kind: &str, what: &str) -> Fault {
    Fault::Protocol(format!("the event `{kind}` has no {what}"))
}

/// Maps the provider's word. One that is not known is never success.
fn stop_reason(word: &str) -> StopReason {
    match word {
        "end_turn" => StopReason::EndTurn,
        "max_tokens" => StopReason::MaxTokens,
        "stop_sequence" => StopReason::StopSequence,
        "tool_use" => StopReason::ToolUse,
        // A pause after a compaction is continued in the same way.
        "pause_turn" | "compaction" => StopReason::PauseTurn,
        "refusal" => StopReason::Refusal,
        "model_context_window_exceeded" => StopReason::ContextWindow,
        "sensitive" => StopReason::ContentFilter,
        _ => StopReason::Other,
    }
}

/// Makes the delta that states facts of a part.
pub(super) fn facts(part: u32, facts: PartFacts) -> Delta {
    Delta::PartFacts(PartFactsDelta { part, facts })
}
