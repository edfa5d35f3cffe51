//! Reads the chunks of a stream, or a whole answer, which has the same shape.

use phi_types::{Delta, Finish, RawJson, Started, StopReason, Usage};
use serde_json::json;

use super::chunk::{Candidate, Chunk, Feedback, UsageMetadata};
use super::finish::Word;
use super::parts::{Parts, Standing, compact};
use crate::body::{Fault, Framing, Protocol, is_stated};
use crate::lenient::{Object, repairs};
use crate::sse::StreamEvent;

/// The kinds of the opaque parts that keep what stands beside the parts of an answer. They are no
/// parts for the service and do not go back.
pub(super) const ASIDES: [&str; 3] = [
    "citationMetadata",
    "groundingMetadata",
    "urlContextMetadata",
];

/// Reads one answer. One candidate is read: the one with index 0.
#[derive(Debug)]
pub(super) struct Reader {
    parts: Parts,
    started: Option<Started>,
    usage: UsageMetadata,
    reported: Usage,
    /// The finish reason that was stated last. It counts at the end of the body alone: a turn with
    /// tools of the service may state one and go on, and old models state one in every chunk.
    finish: Option<Finish>,
    asides: [Option<RawJson>; 3],
    is_stream: bool,
    /// The service said that nothing more comes.
    terminated: bool,
}

impl Protocol for Reader {
    const FRAMING: Framing = Framing::EventsOrItems;

    fn event(&mut self, event: StreamEvent<'_>, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        let data = event.data.trim();
        if data.is_empty() || self.terminated {
            return Ok(());
        }
        if data == "[DONE]" {
            self.terminated = true;
            return Ok(());
        }
        let taken = if event.name == "error" {
            Err(reported(data))
        } else {
            self.read(data, deltas).map(|_| ())
        };
        // After the finish reason nothing makes the answer an error.
        taken.or_else(|fault| self.finish.is_some().then_some(()).ok_or(fault))
    }

    fn whole(&mut self, body: &str, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        self.is_stream = false;
        if self.read(body.trim(), deltas)? {
            return Ok(());
        }
        let what = "the answer has none of the fields that the protocol gives it";
        Err(Fault::Protocol(what.to_owned()))
    }

    fn close(&mut self, deltas: &mut Vec<Delta>) -> bool {
        // A turn in which the service runs code may state that it is complete, and go on.
        let breaks_off = self.is_stream && self.parts.awaits_output();
        let breaks_off = |finish: &Finish| breaks_off && finish.stop_reason == StopReason::EndTurn;
        let Some(mut finish) = self.finish.take().filter(|it| !breaks_off(it)) else {
            return false;
        };
        self.parts.close(deltas);
        for (kind, aside) in ASIDES.iter().zip(&mut self.asides) {
            let kind = (*kind).to_owned();
            // An answer that is full of parts goes without what stands beside it.
            if self.parts.push_opaque(kind, aside.take(), deltas).is_err() {
                break;
            }
        }
        if finish.stop_reason == StopReason::EndTurn && self.parts.has_calls() {
            finish.stop_reason = StopReason::ToolUse;
        }
        deltas.push(Delta::Finish(finish));
        true
    }

    fn is_over(&self) -> bool {
        self.terminated
    }
}

impl Reader {
    /// Makes a reader that holds at most so many bytes of one answer.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            parts: Parts::new(bytes_max),
            started: None,
            usage: UsageMetadata::default(),
            reported: Usage::default(),
            finish: None,
            asides: [None, None, None],
            is_stream: true,
            terminated: false,
        }
    }

    /// Reads a chunk. Says whether it holds anything of the protocol.
    fn read(&mut self, data: &str, deltas: &mut Vec<Delta>) -> Result<bool, Fault> {
        let error = match serde_json::from_str::<Object<Chunk<'_>>>(data) {
            Ok(Object(Some(chunk))) => return self.take(data, chunk, deltas),
            Ok(Object(None)) => {
                return Err(Fault::Protocol("a chunk is no JSON object".to_owned()));
            }
            Err(error) => error,
        };
        for repaired in repairs(data) {
            if let Ok(Object(Some(chunk))) = serde_json::from_str(&repaired) {
                return self.take(&repaired, chunk, deltas);
            }
        }
        Err(Fault::json("a chunk", &error))
    }

    fn take(
        &mut self,
        data: &str,
        chunk: Chunk<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<bool, Fault> {
        if chunk.error.is_some_and(is_stated) {
            return Err(reported(data));
        }
        let is_known = !chunk.candidates.is_empty()
            || chunk.usage_metadata.0.is_some()
            || chunk.prompt_feedback.0.is_some()
            || !chunk.model_version.is_empty()
            || !chunk.response_id.is_empty();
        self.start(
            chunk.response_id.as_str(),
            chunk.model_version.as_str(),
            deltas,
        );
        if let Some(usage) = chunk.usage_metadata.0 {
            self.report(usage, deltas);
        }
        if let Some(feedback) = chunk.prompt_feedback.0
            && chunk.candidates.is_empty()
            && feedback.is_block()
        {
            return Err(feedback.fault());
        }
        for candidate in chunk.candidates {
            if candidate.index.0.unwrap_or(0) == 0 {
                self.take_candidate(candidate, deltas)?;
            }
        }
        Ok(is_known)
    }

    fn take_candidate(
        &mut self,
        candidate: Candidate<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let started = self.started.as_ref();
        let response_id = started.and_then(|started| started.response_id.as_deref());
        let parts = candidate.content.0.unwrap_or_default().parts;
        let mut is_first = true;
        for part in parts {
            let standing = Standing {
                is_first,
                response_id,
            };
            if self.parts.take(part, standing, deltas)? {
                self.finish = None;
                is_first = false;
            }
        }
        let beside = [
            candidate.citation_metadata,
            candidate.grounding_metadata,
            candidate.url_context_metadata,
        ];
        for (aside, value) in self.asides.iter_mut().zip(beside) {
            let stated = value.filter(|value| !matches!(value.get(), "null" | "{}"));
            let stated = stated.and_then(|value| RawJson::parse(&compact(value.get())).ok());
            *aside = stated.or_else(|| aside.take());
        }
        let word = candidate.finish_reason.as_str();
        let stop_reason = match Word::read(word, candidate.finish_message.as_str()) {
            Word::Unstated => return Ok(()),
            Word::Complete => StopReason::EndTurn,
            Word::Stopped(reason) => reason,
            Word::Failed(error) => return Err(Fault::Reported(error)),
        };
        self.finish = Some(Finish {
            stop_reason,
            raw: Some(word.to_owned()),
        });
        Ok(())
    }

    fn start(&mut self, id: &str, model: &str, deltas: &mut Vec<Delta>) {
        let stated = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let is_new = |known: &Option<String>, text: &str| known.is_none() && !text.is_empty();
        match &mut self.started {
            Some(known) if !is_new(&known.response_id, id) && !is_new(&known.model, model) => {}
            Some(known) => {
                known.response_id = known.response_id.take().or_else(|| stated(id));
                known.model = known.model.take().or_else(|| stated(model));
                deltas.push(Delta::Started(known.clone()));
            }
            None => {
                let started = Started {
                    response_id: stated(id),
                    model: stated(model),
                };
                deltas.push(Delta::Started(started.clone()));
                self.started = Some(started);
            }
        }
    }

    fn report(&mut self, usage: UsageMetadata, deltas: &mut Vec<Delta>) {
        self.usage.replace_with(usage);
        let usage = self.usage.usage();
        if usage != self.reported {
            self.reported = usage;
            deltas.push(Delta::Usage(usage));
        }
    }
}

impl Feedback<'_> {
    /// Says whether it refuses the prompt. A message alone is a block without its word.
    fn is_block(&self) -> bool {
        !self.block_reason.is_empty() || !self.block_reason_message.is_empty()
    }

    fn fault(&self) -> Fault {
        let mut message = "the prompt was blocked".to_owned();
        for stated in [&self.block_reason, &self.block_reason_message] {
            if !stated.is_empty() {
                message.push_str(": ");
                message.push_str(stated.as_str());
            }
        }
        Fault::Reported(json!({"error": {"type": "content_filter", "message": message}}))
    }
}

/// An error in the words of the service; what is no JSON is its text.
fn reported(data: &str) -> Fault {
    let value = serde_json::from_str(data);
    Fault::Reported(value.unwrap_or_else(|_| json!({ "error": data })))
}
