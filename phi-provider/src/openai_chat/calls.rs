//! Finds out which tool call a piece of `tool_calls` belongs to.

use std::borrow::Cow;
use std::mem;

use phi_types::{Delta, PartFacts, PartFactsDelta};

use super::scan::{ObjectScan, is_special_tokens};

/// More calls than this in one answer are refused: no model asks for so many.
const CALLS_MAX: usize = 4_096;

/// More bytes than this behind the arguments are no special tokens any more.
const TAIL_BYTES_MAX: usize = 256;

/// The tool calls of one answer.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
    /// The call that the last piece belonged to.
    latest: usize,
}

/// One piece of a call, as it came.
#[derive(Debug)]
pub(super) struct CallPiece<'a> {
    pub(super) key: Key,
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) arguments: Cow<'a, str>,
    /// What the service wants back with the call.
    pub(super) facts: Option<PartFacts>,
}

/// What a service tells the calls of one answer apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// `index`.
    Index(u64),
    /// Nothing but perhaps the id.
    None,
    /// The legacy `function_call`, of which an answer has one.
    Legacy,
}

#[derive(Debug)]
struct Call {
    part: u32,
    key: Key,
    id: String,
    name: String,
    scan: ObjectScan,
    /// The arguments, where one piece held them all: a service that repeats a piece repeats these.
    whole: Option<Box<str>>,
    /// What came behind the arguments and may be special tokens.
    tail: String,
    ended: bool,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes one piece. `next_part` gives a new call its part.
    ///
    /// # Errors
    /// There are too many calls.
    pub(super) fn push(
        &mut self,
        piece: CallPiece<'_>,
        next_part: &mut u32,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), String> {
        let at = match self.find(&piece) {
            Some(at) => at,
            None if piece.id.is_empty() && piece.name.is_empty() && piece.arguments.is_empty() => {
                return Ok(());
            }
            None if self.calls.len() >= CALLS_MAX => {
                return Err(format!("the answer has more than {CALLS_MAX} tool calls"));
            }
            None => {
                // What comes next is another call: those before it that are whole are closed.
                for call in &mut self.calls {
                    if call.scan == ObjectScan::Complete {
                        call.end(deltas);
                    }
                }
                self.calls.push(Call::new(*next_part, piece.key));
                *next_part += 1;
                self.calls.len() - 1
            }
        };
        self.latest = at;
        if let Some(call) = self.calls.get_mut(at) {
            call.take(piece, deltas);
        }
        Ok(())
    }

    /// Ends the calls that nothing more can come for. Where the output was cut off, the latest call
    /// is one of them only if its arguments are whole.
    pub(super) fn end(&mut self, cut: bool, deltas: &mut Vec<Delta>) {
        for (at, call) in self.calls.iter_mut().enumerate() {
            if !cut || at != self.latest || call.scan == ObjectScan::Complete {
                call.end(deltas);
            }
        }
    }

    /// Finds the call that a piece continues.
    fn find(&self, piece: &CallPiece<'_>) -> Option<usize> {
        if !piece.id.is_empty()
            && let Some(at) = self.calls.iter().rposition(|call| call.id == piece.id)
        {
            // Some services give every call the same id, or an id of its own to no call.
            let known = self.calls.get(at)?;
            let same = known.key == piece.key || piece.key == Key::None || known.key == Key::None;
            return if same {
                Some(at)
            } else {
                self.find_by_key(piece)
            };
        }
        self.find_by_key(piece)
    }

    fn find_by_key(&self, piece: &CallPiece<'_>) -> Option<usize> {
        let at = match piece.key {
            Key::None => self.calls.len().checked_sub(1)?,
            key => self.calls.iter().rposition(|call| call.key == key)?,
        };
        let call = self.calls.get(at)?;
        (!call.is_another(piece)).then_some(at)
    }
}

impl Call {
    fn new(part: u32, key: Key) -> Self {
        Self {
            part,
            key,
            id: String::new(),
            name: String::new(),
            scan: ObjectScan::default(),
            whole: None,
            tail: String::new(),
            ended: false,
        }
    }

    /// Says whether a piece of the same index, or without one, begins another call.
    fn is_another(&self, piece: &CallPiece<'_>) -> bool {
        let is_open = matches!(self.scan, ObjectScan::Open { .. });
        if !piece.id.is_empty() && !self.id.is_empty() && piece.id != self.id {
            // A new id is a new call, except in the middle of the arguments of a call that it does
            // not even name: some servers make a new id for every piece.
            return !(is_open && piece.name.is_empty());
        }
        if !piece.id.is_empty() && piece.id == self.id {
            return false;
        }
        if piece.name.is_empty() || self.name.is_empty() {
            return false;
        }
        let begins = piece.arguments.trim_start().starts_with('{');
        match self.scan {
            ObjectScan::Complete => begins || piece.name != self.name,
            ObjectScan::Empty => piece.key == Key::None && piece.name != self.name,
            ObjectScan::Open { .. } | ObjectScan::Other => piece.name != self.name,
        }
    }

    fn take(&mut self, piece: CallPiece<'_>, deltas: &mut Vec<Delta>) {
        let is_new = self.id.is_empty() && self.name.is_empty();
        let id_changed = self.id.is_empty() && !piece.id.is_empty();
        if id_changed {
            piece.id.clone_into(&mut self.id);
        }
        let name_changed = self.take_name(piece.name);
        if is_new || id_changed || name_changed {
            deltas.push(Delta::tool_call(self.part, &*self.id, &*self.name));
        }
        if let Some(facts) = piece.facts {
            let part = self.part;
            deltas.push(Delta::PartFacts(PartFactsDelta { part, facts }));
        }
        self.take_arguments(piece.arguments, deltas);
    }

    /// A name comes once, or again in every piece, or in pieces before the arguments.
    fn take_name(&mut self, name: &str) -> bool {
        if name.is_empty() || name == self.name || self.scan != ObjectScan::Empty {
            let first = self.name.is_empty() && !name.is_empty();
            if first {
                name.clone_into(&mut self.name);
            }
            return first;
        }
        if name.starts_with(&self.name) {
            self.name.clear();
        }
        self.name.push_str(name);
        true
    }

    fn take_arguments(&mut self, text: Cow<'_, str>, deltas: &mut Vec<Delta>) {
        // Groq says `null` where a tool has no parameters.
        let says_none = self.scan == ObjectScan::Empty && text.trim() == "null";
        if text.is_empty() || says_none {
            return;
        }
        if self.scan == ObjectScan::Complete && self.whole.as_deref() == Some(&*text) {
            return;
        }
        let before = self.scan;
        let (arguments, tail) = text.split_at(self.scan.take(&text));
        if before == ObjectScan::Empty && self.scan == ObjectScan::Complete {
            self.whole = Some(Box::from(&*text));
        }
        if tail.is_empty() {
            // Nothing is behind the arguments: they need no copy.
            deltas.push(Delta::arguments(self.part, text));
            return;
        }
        if !arguments.is_empty() {
            deltas.push(Delta::arguments(self.part, arguments));
        }
        self.tail.push_str(tail);
        let may_be_tokens = self.tail.trim_start().is_empty()
            || (self.tail.trim_start().starts_with('<') && self.tail.len() <= TAIL_BYTES_MAX);
        if !may_be_tokens {
            self.give_tail(deltas);
        }
    }

    /// What follows the arguments and is no special token makes them malformed, and is shown.
    fn give_tail(&mut self, deltas: &mut Vec<Delta>) {
        deltas.push(Delta::arguments(self.part, mem::take(&mut self.tail)));
        self.scan = ObjectScan::Other;
    }

    fn end(&mut self, deltas: &mut Vec<Delta>) {
        if !is_special_tokens(&self.tail) {
            self.give_tail(deltas);
        }
        if !mem::replace(&mut self.ended, true) {
            deltas.push(Delta::part_ended(self.part));
        }
    }
}
