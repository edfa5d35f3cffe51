//! Gives what the service sends its place among the parts of one message.

use std::borrow::Cow;
use std::mem;

use phi_types::{Delta, Facts, PartFacts, PartFactsDelta, RawJson, StopReason};
use serde_json::value::RawValue;

use super::event::{Block, Call, CitationPlace};
use crate::body::Fault;

/// The parts of one answer as far as it came.
#[derive(Debug, Default)]
pub(super) struct Parts {
    next: u32,
    /// The blocks, and the plan, that are not closed.
    open: Vec<Open>,
    calls: Vec<OpenCall>,
    pub(super) calls_begun: u32,
    /// Where citations go: the newest part of each place.
    places: Vec<Place>,
    held_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plan,
    Thinking,
    Text,
}

#[derive(Debug)]
struct Open {
    index: Option<u64>,
    part: u32,
    kind: Kind,
}

/// What a part is, and the citations that are about it, each as its JSON.
#[derive(Debug)]
struct Place {
    index: Option<u64>,
    part: u32,
    kind: Kind,
    citations: Vec<String>,
    unsaid: bool,
}

#[derive(Debug)]
struct OpenCall {
    index: Option<u64>,
    part: u32,
    /// The arguments so far, while they may still be the word `null`, which says that there are none.
    held: Option<String>,
}

/// More blocks and calls than this in one answer are refused: no model writes so many.
const PARTS_MAX: u32 = 4_096;

impl Parts {
    pub(super) fn plan(
        &mut self,
        text: Cow<'_, str>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        if text.is_empty() {
            return Ok(());
        }
        let part = self.part(None, Kind::Plan, deltas)?;
        deltas.push(Delta::thinking(part, text));
        Ok(())
    }

    /// Takes a block of the content, or a piece of one.
    pub(super) fn block(
        &mut self,
        index: Option<u64>,
        block: Block<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        if !block.thinking.is_empty() {
            let part = self.part(index, Kind::Thinking, deltas)?;
            deltas.push(Delta::thinking(part, block.thinking.into_cow()));
        }
        if !block.text.is_empty() {
            let part = self.part(index, Kind::Text, deltas)?;
            deltas.push(Delta::text(part, block.text.into_cow()));
        }
        Ok(())
    }

    /// Ends what is open of the content at an index.
    pub(super) fn end_block(&mut self, index: Option<u64>, deltas: &mut Vec<Delta>) {
        self.close(|open| open.index == index, deltas);
    }

    /// Begins a call.
    pub(super) fn call(
        &mut self,
        index: Option<u64>,
        call: &Call<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        self.end_plan(deltas);
        let part = self.new_part()?;
        self.calls_begun += 1;
        let function = call.function.0.as_ref();
        let name = function.map_or("", |function| function.name.as_str());
        deltas.push(Delta::tool_call(part, call.id.as_str(), name));
        self.calls.push(OpenCall {
            index,
            part,
            held: Some(String::new()),
        });
        self.arguments(index, call, deltas)
    }

    /// Takes more of the arguments of a call, and of its name and id where they come late.
    pub(super) fn call_piece(
        &mut self,
        index: Option<u64>,
        call: &Call<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let Some(open) = self.calls.iter().rfind(|open| open.index == index) else {
            return self.call(index, call, deltas);
        };
        let name = call.function.0.as_ref().map_or("", |it| it.name.as_str());
        if !name.is_empty() || !call.id.is_empty() {
            deltas.push(Delta::tool_call(open.part, call.id.as_str(), name));
        }
        self.arguments(index, call, deltas)
    }

    fn arguments(
        &mut self,
        index: Option<u64>,
        call: &Call<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let piece = call.function.0.as_ref().map(|it| it.arguments());
        let piece = piece.unwrap_or_default();
        let open = self.calls.iter_mut().rfind(|open| open.index == index);
        if let Some(open) = open.filter(|_| !piece.is_empty()) {
            open.take(piece, deltas);
        }
        Ok(())
    }

    pub(super) fn end_call(&mut self, index: Option<u64>, deltas: &mut Vec<Delta>) {
        for call in self.calls.extract_if(.., |open| open.index == index) {
            call.end(deltas);
        }
    }

    /// Takes citations, one or a list of them.
    pub(super) fn cite(&mut self, citations: &RawValue, held_max: usize) -> Result<(), Fault> {
        let list = match serde_json::from_str::<Vec<&RawValue>>(citations.get()) {
            Ok(list) => list,
            Err(_) => vec![citations],
        };
        for citation in list {
            let Ok(place) = serde_json::from_str::<CitationPlace<'_>>(citation.get()) else {
                continue;
            };
            let kind = match place.kind.as_str() {
                "PLAN" => Kind::Plan,
                "THINKING_CONTENT" => Kind::Thinking,
                _ => Kind::Text,
            };
            let of_kind = |it: &&mut Place| it.kind == kind;
            let stated = place.content_index.0;
            let at = self
                .places
                .iter()
                .rposition(|it| it.kind == kind && (stated.is_none() || it.index == stated));
            let found = match at {
                Some(at) => self.places.get_mut(at),
                None => self.places.iter_mut().rfind(of_kind),
            };
            let Some(found) = found else {
                continue;
            };
            self.held_bytes = self.held_bytes.saturating_add(citation.get().len());
            if self.held_bytes > held_max {
                let message = format!("the citations hold more than {held_max} bytes");
                return Err(Fault::Protocol(message));
            }
            found.citations.push(citation.get().to_owned());
            found.unsaid = true;
        }
        Ok(())
    }

    /// Ends everything, but a call that was not ended only if it cannot be cut off.
    pub(super) fn end(&mut self, stop_reason: StopReason, deltas: &mut Vec<Delta>) {
        self.close(|_| true, deltas);
        for place in &mut self.places {
            place.say(deltas);
        }
        let is_cut = matches!(
            stop_reason,
            StopReason::MaxTokens | StopReason::ContextWindow
        );
        for mut call in mem::take(&mut self.calls) {
            if is_cut {
                call.flush(deltas);
            } else {
                call.end(deltas);
            }
        }
    }

    /// Ends blocks, each with the citations that it has by now. Later ones are said at the end, so
    /// that no list is said more than twice.
    fn close(&mut self, is_over: impl Fn(&Open) -> bool, deltas: &mut Vec<Delta>) {
        for open in self.open.extract_if(.., |open| is_over(open)) {
            if let Some(place) = self.places.iter_mut().rfind(|it| it.part == open.part) {
                place.say(deltas);
            }
            deltas.push(Delta::part_ended(open.part));
        }
    }

    fn end_plan(&mut self, deltas: &mut Vec<Delta>) {
        self.close(|open| open.kind == Kind::Plan, deltas);
    }

    fn part(
        &mut self,
        index: Option<u64>,
        kind: Kind,
        deltas: &mut Vec<Delta>,
    ) -> Result<u32, Fault> {
        let same = |open: &&Open| open.index == index && open.kind == kind;
        if let Some(open) = self.open.iter().rfind(same) {
            return Ok(open.part);
        }
        // An index is given to one block at a time.
        self.close(|open| open.index == index, deltas);
        let part = self.new_part()?;
        self.open.push(Open { index, part, kind });
        self.places.push(Place {
            index,
            part,
            kind,
            citations: Vec::new(),
            unsaid: false,
        });
        if kind == Kind::Plan {
            push_extra(part, "{\"tool_plan\":true}", deltas);
        }
        Ok(part)
    }

    fn new_part(&mut self) -> Result<u32, Fault> {
        if self.next >= PARTS_MAX {
            let message = format!("the answer has more than {PARTS_MAX} blocks and calls");
            return Err(Fault::Protocol(message));
        }
        self.next += 1;
        Ok(self.next - 1)
    }
}

impl Place {
    /// Says which citations the part has, if some were not said.
    fn say(&mut self, deltas: &mut Vec<Delta>) {
        if !mem::take(&mut self.unsaid) {
            return;
        }
        let plan = if self.kind == Kind::Plan {
            "\"tool_plan\":true,"
        } else {
            ""
        };
        let citations = self.citations.join(",");
        let extra = format!("{{{plan}\"citations\":[{citations}]}}");
        push_extra(self.part, &extra, deltas);
    }
}

/// A text longer than this is not the word `null`, whatever white space it has.
const NULL_BYTES_MAX: usize = 64;

impl OpenCall {
    fn take(&mut self, piece: Cow<'_, str>, deltas: &mut Vec<Delta>) {
        let Some(held) = &mut self.held else {
            deltas.push(Delta::arguments(self.part, piece));
            return;
        };
        held.push_str(&piece);
        if held.len() > NULL_BYTES_MAX || !"null".starts_with(held.trim()) {
            let arguments = mem::take(held);
            self.held = None;
            deltas.push(Delta::arguments(self.part, arguments));
        }
    }

    /// Gives out what is held, unless it is the word.
    fn flush(&mut self, deltas: &mut Vec<Delta>) {
        let held = self.held.take().unwrap_or_default();
        if !held.is_empty() && held.trim() != "null" {
            deltas.push(Delta::arguments(self.part, held));
        }
    }

    fn end(mut self, deltas: &mut Vec<Delta>) {
        self.flush(deltas);
        deltas.push(Delta::part_ended(self.part));
    }
}

fn push_extra(part: u32, extra: &str, deltas: &mut Vec<Delta>) {
    let facts = PartFacts::from(Facts {
        extra: RawJson::parse(extra).ok(),
        ..Facts::default()
    });
    deltas.push(Delta::PartFacts(PartFactsDelta { part, facts }));
}
