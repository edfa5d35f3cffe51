//! Makes deltas of an answer in the Converse protocol, streamed or whole.

use std::borrow::Cow;

use phi_types::{Delta, Facts, Finish, PartFacts, Started, StopReason};

use super::block::{Block, Foreign, Kind, REDACTED, cite, facts, kind_of, opaque, redacted};
use super::event;
use crate::body::{Fault, Framing, Protocol};
use crate::lenient::{Str, repairs};
use crate::object::Object;
use crate::sse::StreamEvent;
use crate::surrogates::without_lone_surrogates;

/// The decoder's state: the blocks that are open, and how far the message is.
#[derive(Debug)]
pub(super) struct ConverseDecoder {
    /// The service's id of the request, which names the response.
    request_id: Option<String>,
    open: Vec<Open>,
    parts: u32,
    held_bytes: usize,
    held_bytes_max: usize,
    progress: Progress,
}

/// A block whose end did not come yet.
#[derive(Debug)]
struct Open {
    index: u64,
    part: u32,
    block: Block,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    /// Nothing came yet.
    Waiting,
    Started,
    /// `messageStop` came: the answer is complete.
    Finished,
    /// `metadata` came too: nothing more comes.
    Over,
}

/// More blocks than this are never open at once.
const OPEN_MAX: usize = 256;

/// What an event is read as: JSON that cannot be read is told apart from what it says.
type Taken = Result<Result<(), Fault>, serde_json::Error>;

impl ConverseDecoder {
    pub(super) fn new(request_id: Option<String>, held_bytes_max: usize) -> Self {
        Self {
            request_id,
            open: Vec::new(),
            parts: 0,
            held_bytes: 0,
            held_bytes_max,
            progress: Progress::Waiting,
        }
    }

    fn start(&mut self, deltas: &mut Vec<Delta>) {
        if self.progress == Progress::Waiting {
            self.progress = Progress::Started;
            deltas.push(Delta::Started(Started {
                response_id: self.request_id.take(),
                model: None,
            }));
        }
    }

    /// Takes an event. Nothing is changed where its JSON cannot be read.
    fn take(&mut self, name: &str, data: &str, deltas: &mut Vec<Delta>) -> Taken {
        Ok(match name {
            "contentBlockDelta" => {
                let block: event::BlockEvent<'_> = serde_json::from_str(data)?;
                let Some(raw) = block.delta else {
                    return Ok(Ok(()));
                };
                let delta = serde_json::from_str(raw.get())?;
                self.start(deltas);
                let index = block.content_block_index.0.unwrap_or(0);
                self.delta(index, delta, raw.get(), deltas)
            }
            "contentBlockStart" => {
                let block: event::BlockEvent<'_> = serde_json::from_str(data)?;
                let raw = block.start.map_or("{}", |raw| raw.get());
                let start = serde_json::from_str(raw)?;
                self.start(deltas);
                let index = block.content_block_index.0.unwrap_or(0);
                self.block_start(index, &start, raw, deltas)
            }
            "contentBlockStop" => {
                let block: event::BlockEvent<'_> = serde_json::from_str(data)?;
                self.block_stop(block.content_block_index.0.unwrap_or(0), deltas);
                Ok(())
            }
            "messageStart" => {
                self.start(deltas);
                Ok(())
            }
            "messageStop" => {
                let stop: event::MessageStop<'_> = serde_json::from_str(data)?;
                self.start(deltas);
                self.finish(stop.stop_reason.as_str(), deltas);
                Ok(())
            }
            "metadata" => {
                let metadata: event::Metadata = serde_json::from_str(data)?;
                self.metadata(&metadata, deltas);
                Ok(())
            }
            // Kinds that are not known here mean nothing.
            _ => Ok(()),
        })
    }

    fn metadata(&mut self, metadata: &event::Metadata, deltas: &mut Vec<Delta>) {
        if let Some(usage) = metadata.usage.0 {
            deltas.push(Delta::Usage(usage.usage()));
        }
        if self.progress == Progress::Finished {
            self.progress = Progress::Over;
        }
    }

    fn block_start(
        &mut self,
        index: u64,
        start: &event::Start<'_>,
        raw: &str,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        if let Some(call) = start.tool_use.0.as_ref().filter(|it| !it.is_foreign()) {
            self.block_stop(index, deltas);
            let part = self.open(index, Block::Call)?;
            push_call(part, call, deltas);
            return Ok(());
        }
        let fields = Object::read(raw).unwrap_or_default().into_fields();
        // Kinds whose deltas say enough: what their start says of them is read over.
        let known = |name: &str| matches!(name, "text" | "reasoningContent");
        let mut foreign = fields.into_iter().filter(|(name, _)| !known(name));
        if let Some((name, value)) = foreign.next() {
            self.block_stop(index, deltas);
            self.hold(value.len())?;
            self.open(index, Block::Foreign(Foreign::new(&name, &value)))?;
        }
        Ok(())
    }

    fn delta(
        &mut self,
        index: u64,
        delta: event::Delta<'_>,
        raw: &str,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let open = self.open.iter_mut().rfind(|open| open.index == index);
        if let Some(Open {
            block: Block::Foreign(foreign),
            ..
        }) = open
        {
            let value = Object::read(raw).unwrap_or_default().into_fields().pop();
            if let Some((_, value)) = value {
                foreign.push(&value);
                self.hold(value.len())?;
            }
            return Ok(());
        }
        if !delta.text.is_empty() {
            let open = self.block(index, Kind::Text, deltas)?;
            if let Block::Text { said, .. } = &mut open.block {
                *said = true;
            }
            deltas.push(Delta::text(open.part, delta.text.into_cow()));
        }
        if let Some(call) = &delta.tool_use.0 {
            let part = self.block(index, Kind::Call, deltas)?.part;
            push_call(part, call, deltas);
        }
        if let Some(reasoning) = delta.reasoning_content.0 {
            self.reasoning(index, reasoning, deltas)?;
        }
        if let Some(citation) = delta.citation {
            let open = self.block(index, Kind::Text, deltas)?;
            if let Block::Text { citations, .. } = &mut open.block {
                citations.push(citation.get().to_owned());
            }
            self.hold(citation.get().len())?;
        }
        Ok(())
    }

    fn reasoning(
        &mut self,
        index: u64,
        reasoning: event::ReasoningDelta<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        if !reasoning.text.is_empty() {
            let part = self.block(index, Kind::Thinking, deltas)?.part;
            deltas.push(Delta::thinking(part, reasoning.text.into_cow()));
        }
        if !reasoning.signature.is_empty() {
            let part = self.block(index, Kind::Thinking, deltas)?.part;
            deltas.push(signature(part, &reasoning.signature));
        }
        if !reasoning.redacted_content.is_empty() {
            // It comes whole: one that follows is another one.
            self.block_stop(index, deltas);
            let part = self.next_part()?;
            let block = redacted(reasoning.redacted_content.as_str());
            deltas.extend(opaque(part, REDACTED, &block));
            deltas.push(Delta::part_ended(part));
        }
        Ok(())
    }

    /// Returns the open block of an index, a new one if there is none of that kind: texts and
    /// reasoning have no beginning.
    fn block(
        &mut self,
        index: u64,
        kind: Kind,
        deltas: &mut Vec<Delta>,
    ) -> Result<&mut Open, Fault> {
        let at = self.open.iter().rposition(|open| open.index == index);
        let fits = at.and_then(|at| self.open.get(at));
        if !fits.is_some_and(|open| open.block.is(kind)) {
            self.block_stop(index, deltas);
            self.open(index, Block::new(kind))?;
        }
        let open = self.open.iter_mut().rfind(|open| open.index == index);
        open.ok_or_else(|| Fault::Protocol("a content block was lost".to_owned()))
    }

    fn open(&mut self, index: u64, block: Block) -> Result<u32, Fault> {
        if self.open.len() >= OPEN_MAX {
            let message = format!("more than {OPEN_MAX} content blocks are open at once");
            return Err(Fault::Protocol(message));
        }
        let part = self.next_part()?;
        self.open.push(Open { index, part, block });
        Ok(part)
    }

    fn next_part(&mut self) -> Result<u32, Fault> {
        let part = self.parts;
        self.parts = part
            .checked_add(1)
            .ok_or_else(|| Fault::Protocol("the answer has too many content blocks".to_owned()))?;
        Ok(part)
    }

    fn block_stop(&mut self, index: u64, deltas: &mut Vec<Delta>) {
        if let Some(at) = self.open.iter().rposition(|open| open.index == index) {
            let Open { part, block, .. } = self.open.remove(at);
            block.flush(part, deltas);
            deltas.push(Delta::part_ended(part));
        }
    }

    /// Takes the stop reason. A call that is still open stays so: it may be cut off.
    fn finish(&mut self, raw: &str, deltas: &mut Vec<Delta>) {
        for Open { part, block, .. } in self.open.drain(..) {
            let is_call = matches!(block, Block::Call);
            block.flush(part, deltas);
            if !is_call {
                deltas.push(Delta::part_ended(part));
            }
        }
        self.progress = Progress::Finished;
        deltas.push(Delta::Finish(Finish {
            stop_reason: stop_reason(raw),
            raw: (!raw.is_empty()).then(|| raw.to_owned()),
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

    /// Takes a whole answer. Nothing is changed where its JSON cannot be read.
    fn answer(&mut self, body: &str, deltas: &mut Vec<Delta>) -> Taken {
        let answer: event::Answer<'_> = serde_json::from_str(body)?;
        let Some(message) = answer.output.0.and_then(|output| output.message.0) else {
            if !answer.message.is_empty() {
                return Ok(Err(Fault::Reported(serde_json::from_str(body)?)));
            }
            let text = "the answer is JSON but none of the Converse protocol: check the base URL";
            return Ok(Err(Fault::Protocol(text.to_owned())));
        };
        let content = message.content.unwrap_or_default();
        let blocks = content.iter().map(|raw| serde_json::from_str(raw.get()));
        let blocks: Vec<event::Block<'_>> = blocks.collect::<Result<_, _>>()?;
        self.start(deltas);
        for (block, raw) in blocks.iter().zip(&content) {
            let part = match self.next_part() {
                Ok(part) => part,
                Err(fault) => return Ok(Err(fault)),
            };
            push_block(part, block, raw.get(), deltas);
            deltas.push(Delta::part_ended(part));
        }
        if let Some(usage) = answer.usage.0 {
            deltas.push(Delta::Usage(usage.usage()));
        }
        if !answer.stop_reason.is_empty() {
            self.finish(answer.stop_reason.as_str(), deltas);
        }
        Ok(Ok(()))
    }
}

impl Protocol for ConverseDecoder {
    const FRAMING: Framing = Framing::Frames;

    fn event(&mut self, event: StreamEvent<'_>, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        if self.progress >= Progress::Finished && event.name != "metadata" {
            return Ok(());
        }
        let mut taken = self.take(event.name, event.data, deltas);
        if taken.is_err() {
            for repaired in repairs(event.data) {
                taken = taken.or_else(|_| self.take(event.name, &repaired, deltas));
            }
        }
        taken.map_err(|error| Fault::json(&format!("the event `{}`", event.name), &error))?
    }

    fn whole(&mut self, body: &str, deltas: &mut Vec<Delta>) -> Result<(), Fault> {
        let mut taken = self.answer(body, deltas);
        if taken.is_err() {
            for repaired in repairs(body) {
                taken = taken.or_else(|_| self.answer(&repaired, deltas));
            }
        }
        taken.map_err(|error| Fault::json("the answer", &error))?
    }

    fn close(&mut self, _deltas: &mut Vec<Delta>) -> bool {
        self.progress >= Progress::Finished
    }

    fn is_over(&self) -> bool {
        self.progress == Progress::Over
    }
}

/// Sends a block of a whole answer.
fn push_block(part: u32, block: &event::Block<'_>, raw: &str, deltas: &mut Vec<Delta>) {
    if !block.text.is_empty() {
        deltas.push(Delta::text(part, block.text.as_str()));
        return;
    }
    if let Some(call) = block.tool_use.0.as_ref().filter(|it| !it.is_foreign()) {
        push_call(part, call, deltas);
        return;
    }
    if let Some(reasoning) = &block.reasoning_content.0 {
        if let Some(text) = &reasoning.reasoning_text.0 {
            deltas.push(Delta::thinking(part, text.text.as_str()));
            if !text.signature.is_empty() {
                deltas.push(signature(part, &text.signature));
            }
        } else if !reasoning.redacted_content.is_empty() {
            let block = redacted(reasoning.redacted_content.as_str());
            deltas.extend(opaque(part, REDACTED, &block));
        } else {
            deltas.extend(opaque(part, "reasoningContent", raw));
        }
        return;
    }
    if let Some(cited) = &block.citations_content.0 {
        let texts = cited.content.0.iter().filter(|it| !it.text.is_empty());
        let mut said = false;
        for text in texts {
            said = true;
            deltas.push(Delta::text(part, text.text.as_str()));
        }
        let citations = cited.citations.iter().flatten();
        let citations: Vec<&str> = citations.map(|raw| raw.get()).collect();
        cite(part, &citations, said, deltas);
        return;
    }
    let fields = Object::read(raw).unwrap_or_default().into_fields();
    let mut foreign = fields.into_iter().filter(|(name, _)| name != "type");
    if let Some((name, value)) = foreign.next().filter(|(name, _)| name != "text") {
        let kind = kind_of(&name, &Object::read(&value).unwrap_or_default());
        deltas.extend(opaque(part, &kind, raw));
    }
}

/// Sends what is said of a call. `input` is an object, or pieces of the text of one.
fn push_call(part: u32, call: &event::ToolUse<'_>, deltas: &mut Vec<Delta>) {
    let (id, name) = (call.tool_use_id.as_str(), call.name.as_str());
    if !id.is_empty() || !name.is_empty() {
        deltas.push(Delta::tool_call(part, id, name));
    }
    let Some(input) = call.input.filter(|raw| raw.get() != "null") else {
        return;
    };
    let input = without_lone_surrogates(input.get());
    match serde_json::from_str::<Piece<'_>>(&input) {
        Ok(Piece(text)) if text.is_empty() => {}
        Ok(Piece(text)) => deltas.push(Delta::arguments(part, text)),
        Err(_) => deltas.push(Delta::arguments(part, input)),
    }
}

/// A JSON string, borrowed where it holds no escape.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Piece<'a>(#[serde(borrow)] Cow<'a, str>);

fn signature(part: u32, signature: &Str<'_>) -> Delta {
    let signature = Some(signature.as_str().to_owned());
    facts(
        part,
        PartFacts::from(Facts {
            signature,
            ..Facts::default()
        }),
    )
}

/// Maps the service's word. One that is not known is never success.
fn stop_reason(word: &str) -> StopReason {
    match word {
        "end_turn" => StopReason::EndTurn,
        "tool_use" => StopReason::ToolUse,
        "max_tokens" => StopReason::MaxTokens,
        "stop_sequence" => StopReason::StopSequence,
        "pause_turn" => StopReason::PauseTurn,
        "refusal" => StopReason::Refusal,
        "guardrail_intervened" | "content_filtered" => StopReason::ContentFilter,
        "model_context_window_exceeded" => StopReason::ContextWindow,
        _ => StopReason::Other,
    }
}
