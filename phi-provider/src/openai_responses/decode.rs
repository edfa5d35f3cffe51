//! Reads the events of a stream, or a whole answer, which is what the last event holds.

use std::borrow::Cow;
use std::mem;

use phi_types::{Delta, Finish, Started, StopReason};
use serde_json::Value;
use serde_json::value::RawValue;

use super::event::{Event, Response, arguments_of};
use super::finish::Outcome;
use super::item::Place;
use super::items::{Address, Items};
use crate::body::{Fault, Protocol, reported_error};
use crate::lenient::{Object, repairs};
use crate::sse::StreamEvent;
use crate::surrogates::without_lone_surrogates;

/// Reads one answer.
#[derive(Debug)]
pub(super) struct ResponsesReader {
    started: Option<Started>,
    items: Items,
    /// The service said how the answer ended: nothing that follows belongs to it.
    finished: bool,
}

impl Protocol for ResponsesReader {
    fn event(&mut self, event: StreamEvent<'_>, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        let data = event.data.trim();
        if self.finished || data.is_empty() || data == "[DONE]" {
            return Ok(());
        }
        let error = match serde_json::from_str::<Object<Event<'_>>>(data) {
            Ok(Object(Some(read))) => return self.take(event.name, data, read, deltas),
            Ok(Object(None)) => return reported_error(data).map_or(Ok(()), Err),
            Err(error) => error,
        };
        for repaired in repairs(data) {
            if let Ok(Object(Some(read))) = serde_json::from_str(&repaired) {
                return self.take(event.name, &repaired, read, deltas);
            }
        }
        if event.name == "error" {
            return Err(Fault::Reported(Value::String(data.to_owned())));
        }
        Err(Fault::json("an event", &error))
    }

    fn whole(&mut self, body: &str, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        let repaired = without_lone_surrogates(body.trim());
        let response =
            Response::read(&repaired).map_err(|error| Fault::json("the answer", &error))?;
        let is_answer = response.object.as_str() == "response" || response.output.is_some();
        if !is_answer {
            let text = "the answer is JSON but no response of the Responses protocol: check the \
                        base URL and the path";
            return Err(Fault::Protocol(text.to_owned()));
        }
        self.end(&response, "", deltas)
    }

    fn close(&mut self, _deltas: &mut Vec<Delta>) -> bool {
        self.finished
    }

    fn is_over(&self) -> bool {
        self.finished
    }
}

impl ResponsesReader {
    pub(super) fn new() -> Self {
        Self {
            started: None,
            items: Items::new(),
            finished: false,
        }
    }

    fn take(
        &mut self,
        name: &str,
        data: &str,
        mut event: Event<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let stated = mem::take(&mut event.kind);
        let kind = if stated.is_empty() {
            name
        } else {
            stated.as_str()
        };
        let Some(kind) = kind.strip_prefix("response.") else {
            return match kind {
                "error" => Err(reported(data)),
                _ => reported_error(data).map_or(Ok(()), Err),
            };
        };
        if let Some(place) = place_of(kind, &event) {
            let new = mem::take(&mut event.delta).into_cow();
            let address = Address {
                index: event.output_index.0,
                id: event.item_id.as_str(),
            };
            return if kind.ends_with(".delta") {
                self.items.grow(address, place, new, deltas)
            } else {
                let whole = whole_text(&event, place);
                self.items.complete(address, place, &whole, deltas)
            };
        }
        match (kind, event.item, event.response) {
            ("output_item.added", Some(item), _) => {
                self.items.begin(event.output_index.0, item, deltas)
            }
            ("output_item.done", Some(item), _) => {
                self.items.end(event.output_index.0, item, deltas)
            }
            ("created" | "queued" | "in_progress", _, Some(response)) => {
                self.start(&read(response)?, deltas);
                Ok(())
            }
            ("completed" | "incomplete" | "failed" | "cancelled" | "done", _, response) => {
                let response = response.map(read).transpose()?.unwrap_or_default();
                self.end(&response, kind, deltas)
            }
            ("error", ..) => Err(reported(data)),
            // Items that the service runs itself report how far they are; kinds of events that are
            // not known here mean nothing.
            _ => Ok(()),
        }
    }

    /// Takes the id and the model. Copilot states another id with each event.
    fn start(&mut self, response: &Response<'_>, deltas: &mut Vec<Delta>) {
        let stated = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let known = self.started.clone().unwrap_or_default();
        let now = Started {
            response_id: stated(response.id.as_str()).or(known.response_id),
            model: stated(response.model.as_str()).or(known.model),
        };
        if self.started.as_ref() != Some(&now) {
            self.started = Some(now.clone());
            deltas.push(Delta::Started(now));
        }
    }

    /// Takes a whole response, if it is one that ended.
    fn end(
        &mut self,
        response: &Response<'_>,
        event: &str,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let outcome = Outcome::of(response, event);
        self.start(response, deltas);
        if outcome == Outcome::Open {
            return Ok(());
        }
        self.items.reconcile(&response.output(), deltas)?;
        let thought = response.reasoning.as_str();
        if !thought.is_empty() && !self.items.has_reasoning() {
            deltas.push(Delta::thinking(Items::BESIDE, thought));
            deltas.push(Delta::part_ended(Items::BESIDE));
        }
        if let Some(usage) = &response.usage.0 {
            deltas.push(Delta::Usage(usage.usage()));
        }
        let (stop_reason, raw) = match outcome {
            Outcome::Open => return Ok(()),
            Outcome::Failed(error) => return Err(Fault::Reported(error)),
            Outcome::Complete => (StopReason::EndTurn, Some("completed".to_owned())),
            Outcome::Stopped(reason, raw) => (reason, raw),
        };
        // The service says that the answer is complete, or nothing: its parts say what it is.
        let stop_reason = match (stop_reason, &raw) {
            (StopReason::EndTurn, _) | (StopReason::Other, None) if self.items.has_calls() => {
                StopReason::ToolUse
            }
            (StopReason::EndTurn, _) if self.items.has_refusal() => StopReason::Refusal,
            (reason, _) => reason,
        };
        let is_complete = matches!(
            stop_reason,
            StopReason::EndTurn | StopReason::ToolUse | StopReason::Refusal
        );
        self.items.seal(is_complete, deltas);
        self.finished = true;
        deltas.push(Delta::Finish(Finish { stop_reason, raw }));
        Ok(())
    }
}

/// Returns where the text of an event stands in its item.
fn place_of(kind: &str, event: &Event<'_>) -> Option<Place> {
    let content = event.content_index.0.unwrap_or(0);
    let summary = event.summary_index.0.unwrap_or(0);
    match kind {
        "output_text.delta" | "output_text.done" => Some(Place::Text(content)),
        "refusal.delta" | "refusal.done" => Some(Place::Refusal(content)),
        "reasoning_summary_text.delta" | "reasoning_summary_text.done" => {
            Some(Place::Summary(summary))
        }
        "reasoning_text.delta" | "reasoning_text.done" => Some(Place::Thought(content)),
        "function_call_arguments.delta" | "function_call_arguments.done" => Some(Place::Arguments),
        "custom_tool_call_input.delta" | "custom_tool_call_input.done" => Some(Place::Input),
        _ => None,
    }
}

fn whole_text<'e>(event: &'e Event<'_>, place: Place) -> Cow<'e, str> {
    match place {
        Place::Text(_) | Place::Summary(_) | Place::Thought(_) => {
            Cow::Borrowed(event.text.as_str())
        }
        Place::Refusal(_) => Cow::Borrowed(event.refusal.as_str()),
        Place::Input => Cow::Borrowed(event.input.as_str()),
        Place::Arguments => event
            .arguments
            .map_or(Cow::Borrowed(""), |raw| arguments_of(raw.get())),
    }
}

fn read(response: &RawValue) -> Result<Response<'_>, Fault> {
    Response::read(response.get()).map_err(|error| Fault::json("a response", &error))
}

/// An error in the words of the service.
fn reported(data: &str) -> Fault {
    let value = serde_json::from_str(&without_lone_surrogates(data));
    Fault::Reported(value.unwrap_or_else(|_| Value::String(data.to_owned())))
}
