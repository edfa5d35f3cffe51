//! Finds the item of the output to which a piece of a stream belongs.

use std::borrow::Cow;

use phi_types::Delta;
use serde_json::value::RawValue;

use super::event::ItemFields;
use super::item::{Item, Kind, Place};
use crate::body::Fault;

/// More items than this in one answer are refused.
const ITEMS_MAX: usize = 4_096;

/// The items of one answer.
#[derive(Debug)]
pub(super) struct Items {
    items: Vec<Item>,
    /// The part of the next item. The first one is left to reasoning that stands beside the items.
    next_part: u32,
}

/// How a service names the item of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address<'a> {
    /// `output_index`.
    pub(super) index: Option<u64>,
    /// `item_id`, which GitHub Copilot changes with every event.
    pub(super) id: &'a str,
}

impl Items {
    /// The part of reasoning that stands beside the items.
    pub(super) const BESIDE: u32 = 0;

    pub(super) fn new() -> Self {
        Self {
            items: Vec::new(),
            next_part: Self::BESIDE + 1,
        }
    }

    pub(super) fn has_calls(&self) -> bool {
        let is_call = |item: &Item| matches!(item.kind, Kind::Call | Kind::CustomCall);
        self.items.iter().any(is_call)
    }

    pub(super) fn has_refusal(&self) -> bool {
        self.items.iter().any(Item::is_refusal)
    }

    pub(super) fn has_reasoning(&self) -> bool {
        let shows = |item: &Item| item.kind == Kind::Reasoning && item.has_text();
        self.items.iter().any(shows)
    }

    /// Takes an item that begins.
    pub(super) fn begin(
        &mut self,
        index: Option<u64>,
        item: &RawValue,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let Some(fields) = ItemFields::read(item) else {
            return Ok(());
        };
        let kind = Kind::of(&fields);
        let id = fields.text("id");
        let address = Address { index, id: &id };
        // The pieces may come before their item, and an item may be announced twice. Another item
        // at the same place is one of a service that gives all of them the same place.
        let known = self.find(address, kind).filter(|at| {
            let known = self.items.get(*at);
            known.is_some_and(|it| it.implied || (!it.done && !id.is_empty() && it.id == *id))
        });
        let at = match known {
            Some(at) => at,
            None => self.push(kind, index)?,
        };
        if let Some(item) = self.items.get_mut(at) {
            item.announce(&fields, deltas);
        }
        Ok(())
    }

    /// Takes an item that is complete.
    pub(super) fn end(
        &mut self,
        index: Option<u64>,
        item: &RawValue,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let Some(fields) = ItemFields::read(item) else {
            return Ok(());
        };
        let kind = Kind::of(&fields);
        let id = fields.text("id");
        let known = self.find(Address { index, id: &id }, kind).filter(|at| {
            let known = self.items.get(*at);
            known.is_some_and(|it| !it.done || (!id.is_empty() && it.id == *id))
        });
        let at = match known {
            Some(at) => at,
            None => self.push(kind, index)?,
        };
        self.finish(at, &fields, deltas)
    }

    fn finish(
        &mut self,
        at: usize,
        fields: &ItemFields<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        match self.items.get_mut(at) {
            Some(item) => item.finish(fields, &mut self.next_part, deltas),
            None => Ok(()),
        }
    }

    /// Takes more text of an item.
    pub(super) fn grow(
        &mut self,
        address: Address<'_>,
        place: Place,
        text: Cow<'_, str>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        if text.is_empty() {
            return Ok(());
        }
        match self.at(address, place.kind())? {
            Some(item) => item.0.grow(place, text, item.1, deltas),
            None => Ok(()),
        }
    }

    /// Takes the whole of a text of an item.
    pub(super) fn complete(
        &mut self,
        address: Address<'_>,
        place: Place,
        whole: &str,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        if whole.is_empty() {
            return Ok(());
        }
        match self.at(address, place.kind())? {
            Some(item) => item.0.complete(place, whole, item.1, deltas),
            None => Ok(()),
        }
    }

    /// Takes the output of a whole answer, or of the end of a stream: what of it did not come
    /// before. Some services leave it empty there.
    pub(super) fn reconcile(
        &mut self,
        output: &[&RawValue],
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        let streamed = self.items.len();
        for (nth, item) in (0_usize..).zip(output) {
            let Some(fields) = ItemFields::read(item) else {
                continue;
            };
            let kind = Kind::of(&fields);
            let id = fields.text("id");
            let index = u64::try_from(nth).ok();
            let known = self.find(Address { index, id: &id }, kind).or_else(|| {
                let same_count = streamed == output.len();
                let same = |item: &&Item| same_count && item.kind == kind;
                self.items.get(nth).filter(same).map(|_| nth)
            });
            let at = match known.filter(|at| *at < streamed) {
                Some(at) => at,
                None => self.push(kind, index)?,
            };
            self.finish(at, &fields, deltas)?;
        }
        Ok(())
    }

    /// Closes what is still open.
    pub(super) fn seal(&mut self, is_complete: bool, deltas: &mut Vec<Delta>) {
        for item in &mut self.items {
            item.seal(is_complete, deltas);
        }
    }

    /// Returns the item of an event, or one that the event implies, with the counter of parts.
    fn at(
        &mut self,
        address: Address<'_>,
        kind: Kind,
    ) -> Result<Option<(&mut Item, &mut u32)>, Fault> {
        let at = match self.find(address, kind) {
            Some(at) => at,
            None => {
                let at = self.push(kind, address.index)?;
                if let Some(item) = self.items.get_mut(at) {
                    address.id.clone_into(&mut item.id);
                }
                at
            }
        };
        let next_part = &mut self.next_part;
        Ok(self.items.get_mut(at).map(|item| (item, next_part)))
    }

    /// Finds an item by its place and among those by its id, else by its id alone, else the latest
    /// one that is open.
    fn find(&self, address: Address<'_>, kind: Kind) -> Option<usize> {
        let Address { index, id } = address;
        let last = |fits: &dyn Fn(&Item) -> bool| {
            let mut items = self.items.iter();
            items.rposition(|item| item.kind == kind && fits(item))
        };
        let has_id = |item: &Item| !id.is_empty() && item.id == id;
        if index.is_some() {
            let has_index = |item: &Item| item.index == index;
            let exact = last(&|item| has_index(item) && has_id(item));
            return exact
                .or_else(|| last(&has_index))
                .or_else(|| last(&|item| item.index.is_none() && has_id(item)));
        }
        if id.is_empty() {
            return last(&|item| !item.done);
        }
        last(&has_id)
    }

    fn push(&mut self, kind: Kind, index: Option<u64>) -> Result<usize, Fault> {
        if self.items.len() >= ITEMS_MAX {
            let message = format!("the answer has more than {ITEMS_MAX} items");
            return Err(Fault::Protocol(message));
        }
        let mut item = Item::new(kind, self.next_part);
        item.index = index;
        self.next_part = self.next_part.saturating_add(1);
        self.items.push(item);
        Ok(self.items.len() - 1)
    }
}
