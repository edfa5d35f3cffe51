//! One item of the output as far as it came, and the parts that it becomes.

use std::borrow::Cow;

use phi_types::{Delta, OpaqueDelta, PartFacts, PartFactsDelta, RawJson};
use serde_json::Value;

use super::event::{ItemFields, arguments_of, text_of};
use super::facts::{
    CUSTOM_CALL, FUNCTION_CALL, MESSAGE, REASONING, of_call, of_content, of_reasoning,
};
use crate::body::Fault;
use crate::object::push_string;
use crate::surrogates::without_lone_surrogates;

/// More pieces than this in one item are refused.
const PIECES_MAX: usize = 4_096;

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It says something.
    Message,
    /// It reasons.
    Reasoning,
    /// It calls a tool with a JSON object.
    Call,
    /// It calls a tool with text.
    CustomCall,
    /// Only the service understands it.
    Opaque,
}

impl Kind {
    pub(super) fn of(item: &ItemFields<'_>) -> Self {
        match &*item.text("type") {
            MESSAGE => Self::Message,
            REASONING => Self::Reasoning,
            FUNCTION_CALL => Self::Call,
            CUSTOM_CALL => Self::CustomCall,
            _ => Self::Opaque,
        }
    }
}

/// One item as far as it came.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    /// `output_index`, where the service states it.
    pub(super) index: Option<u64>,
    pub(super) id: String,
    /// Something of it came before the service announced it.
    pub(super) implied: bool,
    /// The service said that nothing more comes for it.
    pub(super) done: bool,
    /// The part of an item that is one, and of the first piece of a message.
    part: u32,
    pieces: Vec<Piece>,
    call: Announced,
}

/// One piece of the text of an item.
#[derive(Debug)]
struct Piece {
    place: Place,
    part: u32,
    said: String,
    /// The part was closed.
    ended: bool,
}

/// Where a piece of text stands in its item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A piece of the content that is text.
    Text(u64),
    /// A piece of the content that refuses.
    Refusal(u64),
    /// A piece of the summary of the reasoning.
    Summary(u64),
    /// A piece of the reasoning itself.
    Thought(u64),
    /// The arguments of a call.
    Arguments,
    /// The input of a call that takes text.
    Input,
}

impl Place {
    /// Returns what an item is that has such a piece.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Text(_) | Self::Refusal(_) => Kind::Message,
            Self::Summary(_) | Self::Thought(_) => Kind::Reasoning,
            Self::Arguments => Kind::Call,
            Self::Input => Kind::CustomCall,
        }
    }
}

/// What was said of a call.
#[derive(Debug, Default)]
struct Announced {
    id: String,
    name: String,
}

impl Item {
    pub(super) fn new(kind: Kind, part: u32) -> Self {
        Self {
            kind,
            index: None,
            id: String::new(),
            implied: true,
            done: false,
            part,
            pieces: Vec::new(),
            call: Announced::default(),
        }
    }

    /// Says whether the item refuses to answer.
    pub(super) fn is_refusal(&self) -> bool {
        let refuses = |piece: &Piece| matches!(piece.place, Place::Refusal(_));
        self.pieces.iter().any(refuses)
    }

    /// Says whether it shows any text.
    pub(super) fn has_text(&self) -> bool {
        self.pieces.iter().any(|piece| !piece.said.is_empty())
    }

    /// Takes what the service says of an item that begins.
    pub(super) fn announce(&mut self, item: &ItemFields<'_>, deltas: &mut Vec<Delta>) {
        self.implied = false;
        self.id = item.text("id").into_owned();
        if matches!(self.kind, Kind::Call | Kind::CustomCall) {
            self.announce_call(item, deltas);
        }
    }

    fn announce_call(&mut self, item: &ItemFields<'_>, deltas: &mut Vec<Delta>) {
        let (id, name) = (item.text("call_id"), item.text("name"));
        let is_new = |known: &str, now: &str| !now.is_empty() && known != now;
        if is_new(&self.call.id, &id) || is_new(&self.call.name, &name) {
            deltas.push(Delta::tool_call(self.part, &*id, &*name));
            self.call = Announced {
                id: id.into_owned(),
                name: name.into_owned(),
            };
        }
    }

    /// Takes more text. `next_part` gives the second piece of a message its part.
    pub(super) fn grow(
        &mut self,
        place: Place,
        text: Cow<'_, str>,
        next_part: &mut u32,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        if text.is_empty() || self.done || self.is_said_elsewhere(place) {
            return Ok(());
        }
        let breaks = self.breaks_before(place);
        let at = self.piece(place, next_part)?;
        let Some(piece) = self.pieces.get_mut(at) else {
            return Ok(());
        };
        let is_first = piece.said.is_empty();
        piece.said.push_str(&text);
        let part = piece.part;
        deltas.push(match place {
            Place::Text(_) | Place::Refusal(_) => Delta::text(part, text),
            Place::Summary(_) | Place::Thought(_) if breaks => {
                Delta::thinking(part, format!("\n\n{text}"))
            }
            Place::Summary(_) | Place::Thought(_) => Delta::thinking(part, text),
            Place::Input => Delta::arguments(part, input_piece(&text, is_first)),
            Place::Arguments => Delta::arguments(part, text),
        });
        Ok(())
    }

    /// Reasoning and its summary say the same: what came first is shown.
    fn is_said_elsewhere(&self, place: Place) -> bool {
        let first = self.pieces.first().map(|piece| piece.place);
        match place {
            Place::Summary(_) => matches!(first, Some(Place::Thought(_))),
            Place::Thought(_) => matches!(first, Some(Place::Summary(_))),
            Place::Text(_) | Place::Refusal(_) | Place::Arguments | Place::Input => false,
        }
    }

    /// Says whether a paragraph of reasoning begins that is not the first one.
    fn breaks_before(&self, place: Place) -> bool {
        self.has_text() && !self.pieces.iter().any(|piece| piece.place == place)
    }

    fn piece(&mut self, place: Place, next_part: &mut u32) -> Result<usize, Fault> {
        if let Some(at) = self.pieces.iter().rposition(|piece| piece.place == place) {
            return Ok(at);
        }
        if self.pieces.len() >= PIECES_MAX {
            let message = format!("an item has more than {PIECES_MAX} pieces of text");
            return Err(Fault::Protocol(message));
        }
        let part = if self.kind == Kind::Message && !self.pieces.is_empty() {
            let part = *next_part;
            *next_part = part.saturating_add(1);
            part
        } else {
            self.part
        };
        self.pieces.push(Piece {
            place,
            part,
            said: String::new(),
            ended: false,
        });
        Ok(self.pieces.len() - 1)
    }

    /// Takes the whole of a text: what of it did not come before is shown now.
    pub(super) fn complete(
        &mut self,
        place: Place,
        whole: &str,
        next_part: &mut u32,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let piece = self.pieces.iter().rfind(|piece| piece.place == place);
        let said = piece.map_or("", |piece| piece.said.as_str());
        match whole.strip_prefix(said) {
            Some(missing) => {
                let missing = Cow::Owned(missing.to_owned());
                self.grow(place, missing, next_part, deltas)
            }
            None if are_others(place, said, whole) => {
                // A call must not run with arguments that its end does not confirm.
                let name = &self.call.name;
                let message = format!("the pieces of the arguments of `{name}` are not its end");
                Err(Fault::Protocol(message))
            }
            None => Ok(()),
        }
    }

    /// Takes the whole item, of which some or nothing came before.
    pub(super) fn finish(
        &mut self,
        item: &ItemFields<'_>,
        next_part: &mut u32,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        if self.done {
            return Ok(());
        }
        self.announce(item, deltas);
        match self.kind {
            Kind::Message => self.finish_message(item, next_part, deltas)?,
            Kind::Reasoning => self.finish_reasoning(item, next_part, deltas)?,
            Kind::Call => {
                let arguments = arguments_of(item.raw("arguments"));
                self.complete(Place::Arguments, &arguments, next_part, deltas)?;
                self.finish_call(item, FUNCTION_CALL, deltas);
            }
            Kind::CustomCall => {
                let input = item.text("input");
                self.complete(Place::Input, &input, next_part, deltas)?;
                self.finish_call(item, CUSTOM_CALL, deltas);
            }
            Kind::Opaque => {
                let data = RawJson::parse(&without_lone_surrogates(item.json));
                if let Ok(data) = data {
                    let kind = item.text("type").into_owned();
                    let part = self.part;
                    deltas.push(Delta::Opaque(OpaqueDelta { part, kind, data }));
                }
                deltas.push(Delta::part_ended(self.part));
            }
        }
        self.done = true;
        Ok(())
    }

    fn finish_message(
        &mut self,
        item: &ItemFields<'_>,
        next_part: &mut u32,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let contents = item.list("content");
        for (nth, content) in (0..).zip(&contents) {
            let Some(content) = ItemFields::read(content) else {
                continue;
            };
            let (place, text) = match &*content.text("type") {
                "refusal" => (Place::Refusal(nth), content.text("refusal")),
                _ => (Place::Text(nth), content.text("text")),
            };
            self.complete(place, &text, next_part, deltas)?;
            self.finish_piece(place, of_content(item, Some(&content)), next_part, deltas)?;
        }
        if contents.is_empty() {
            // The text alone, as some services send it.
            let text = text_of(item.raw("content"));
            self.complete(Place::Text(0), &text, next_part, deltas)?;
        }
        let facts = of_content(item, None);
        let open = self.pieces.iter().filter(|piece| !piece.ended);
        let open: Vec<Place> = open.map(|piece| piece.place).collect();
        for place in open {
            self.finish_piece(place, facts.clone(), next_part, deltas)?;
        }
        Ok(())
    }

    /// Closes a piece of a message. One without a text stays where it has facts: the service wants
    /// to see it again behind its reasoning.
    fn finish_piece(
        &mut self,
        place: Place,
        facts: PartFacts,
        next_part: &mut u32,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let is_known = self.pieces.iter().any(|piece| piece.place == place);
        if !is_known && facts.is_empty() {
            return Ok(());
        }
        let at = self.piece(place, next_part)?;
        if let Some(piece) = self.pieces.get_mut(at) {
            let part = piece.part;
            piece.ended = true;
            if piece.said.is_empty() {
                deltas.push(Delta::text(part, ""));
            }
            push_facts(part, facts, deltas);
            deltas.push(Delta::part_ended(part));
        }
        Ok(())
    }

    fn finish_reasoning(
        &mut self,
        item: &ItemFields<'_>,
        next_part: &mut u32,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        for (name, place) in [
            ("content", Place::Thought as fn(u64) -> Place),
            ("summary", Place::Summary),
        ] {
            for (nth, text) in (0..).zip(item.list(name)) {
                if let Some(text) = ItemFields::read(text) {
                    self.complete(place(nth), &text.text("text"), next_part, deltas)?;
                }
            }
        }
        let text = match self.pieces.as_slice() {
            [only] => only.said.as_str(),
            _ => "",
        };
        push_facts(self.part, of_reasoning(item, text), deltas);
        deltas.push(Delta::part_ended(self.part));
        Ok(())
    }

    /// Closes a call, unless the service says that its arguments were cut off.
    fn finish_call(&mut self, item: &ItemFields<'_>, kind: &str, deltas: &mut Vec<Delta>) {
        if self.call.id.is_empty() && self.call.name.is_empty() && !self.has_text() {
            deltas.push(Delta::tool_call(self.part, "", ""));
        }
        push_facts(self.part, of_call(item, kind), deltas);
        if item.text("status") != "incomplete" {
            self.close_call(deltas);
        }
    }

    fn close_call(&mut self, deltas: &mut Vec<Delta>) {
        if self.kind == Kind::CustomCall {
            let end = if self.has_text() {
                "\"}"
            } else {
                "{\"input\":\"\"}"
            };
            deltas.push(Delta::arguments(self.part, end));
        }
        deltas.push(Delta::part_ended(self.part));
    }

    /// Closes what the service did not close before it ended the response. A call is complete
    /// only if the response is.
    pub(super) fn seal(&mut self, is_complete: bool, deltas: &mut Vec<Delta>) {
        if self.done {
            return;
        }
        self.done = true;
        match self.kind {
            Kind::Message => {
                for piece in self.pieces.iter().filter(|piece| !piece.ended) {
                    deltas.push(Delta::part_ended(piece.part));
                }
            }
            Kind::Reasoning if self.has_text() => deltas.push(Delta::part_ended(self.part)),
            Kind::Call | Kind::CustomCall if is_complete => self.close_call(deltas),
            Kind::Reasoning | Kind::Call | Kind::CustomCall | Kind::Opaque => {}
        }
    }
}

fn push_facts(part: u32, facts: PartFacts, deltas: &mut Vec<Delta>) {
    if !facts.is_empty() {
        deltas.push(Delta::PartFacts(PartFactsDelta { part, facts }));
    }
}

/// Writes a piece of an input that is text as a piece of the arguments `{"input": …}`.
fn input_piece(text: &str, is_first: bool) -> String {
    let mut json = String::new();
    push_string(&mut json, text);
    let inner = json.get(1..json.len() - 1).unwrap_or_default();
    if is_first {
        format!("{{\"input\":\"{inner}")
    } else {
        inner.to_owned()
    }
}

/// Says whether the end of a call states other arguments than its pieces did. The same value in
/// another spelling is no other, and an end that states less states nothing.
fn are_others(place: Place, said: &str, whole: &str) -> bool {
    if place.kind() != Kind::Call && place.kind() != Kind::CustomCall || said.starts_with(whole) {
        return false;
    }
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    place == Place::Input || value(said).is_none() || value(said) != value(whole)
}
