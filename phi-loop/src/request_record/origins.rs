//! Which event each entry of a view comes from, followed from event to event.

use std::collections::HashMap;
use std::sync::Arc;

use phi_types::{CompactionBlock, Entry, Event, EventKind, History, ToolEnding, Transcript};

use super::{BlockOrigin, EventId};

/// Where the entries of a view come from.
#[derive(Default)]
pub(super) struct Origins {
    /// One for each entry of the view.
    entries: Vec<BlockOrigin>,
    /// One for each entry of the history.
    originals: Vec<BlockOrigin>,
    /// Every form in which an entry of the history was shown, by its place there.
    shown: HashMap<usize, Vec<(Entry, BlockOrigin)>>,
    /// Every message that stood for others, by where it is in memory, which it keeps.
    stand_ins: HashMap<usize, (Entry, BlockOrigin)>,
    /// The results of the calls that are being settled.
    results: Vec<(u32, EventId)>,
}

impl Origins {
    pub(super) fn entries(self) -> Vec<BlockOrigin> {
        self.entries
    }

    /// Takes note of an event before it is folded.
    pub(super) fn before(&mut self, kind: &EventKind, id: &EventId) {
        match kind {
            EventKind::Message(_) => self.results.clear(),
            EventKind::ToolEnded(ended) if ended.ending != ToolEnding::Discarded => {
                self.results.push((ended.index, id.clone()));
            }
            _ => {}
        }
    }

    /// Follows the view through an event that was folded.
    pub(super) fn after(
        &mut self,
        before: &History,
        transcript: &Transcript,
        (event, id): (&Event, &EventId),
    ) {
        let (history, view) = (transcript.history(), transcript.view());
        if view.is_same_path(before) {
            return;
        }
        let joined = history.len() > self.originals.len();
        if joined {
            let origin = match &event.kind {
                EventKind::ToolEnded(_) => self.take_results(),
                _ => BlockOrigin::Events(vec![id.clone()]),
            };
            self.originals.push(origin);
        }
        let stays = view.departs_from(before);
        let stays = stays.unwrap_or(before.len()).min(self.entries.len());
        let old = self.entries.split_off(stays);
        let change = Change {
            kind: &event.kind,
            id,
            first: stays,
            old: &old,
        };
        let new = view.len().saturating_sub(stays);
        let newest: Vec<&Entry> = view.newest_first().take(new).collect();
        for (at, entry) in (stays..).zip(newest.into_iter().rev()) {
            let is_new = joined && at + 1 == view.len();
            let origin = match transcript.original_at(at) {
                Some(original) => self.of_original((at, original), entry, (&change, is_new)),
                None => self.of_stand_in(at, entry, &change),
            };
            self.entries.push(origin);
        }
    }

    /// Returns the origin of an entry of the history, in the form in which the view has it.
    fn of_original(
        &mut self,
        (at, original): (usize, usize),
        entry: &Entry,
        (change, is_new): (&Change<'_>, bool),
    ) -> BlockOrigin {
        let forms = self.shown.entry(original).or_default();
        if let Some((_, origin)) = forms.iter().find(|(form, _)| form == entry) {
            return origin.clone();
        }
        let itself = self.originals.get(original);
        let origin = match itself {
            Some(itself) if is_new => itself.clone(),
            itself => change.origin_of(at, itself),
        };
        forms.push((entry.clone(), origin.clone()));
        origin
    }

    fn of_stand_in(&mut self, at: usize, entry: &Entry, change: &Change<'_>) -> BlockOrigin {
        let known = self.stand_ins.entry(address(entry));
        let (_, origin) = known.or_insert_with(|| (entry.clone(), change.origin_of(at, None)));
        origin.clone()
    }

    fn take_results(&mut self) -> BlockOrigin {
        self.results.sort_unstable_by_key(|(index, _)| *index);
        BlockOrigin::Events(self.results.drain(..).map(|(_, id)| id).collect())
    }
}

/// What an event did to a view, from its first change on.
struct Change<'a> {
    kind: &'a EventKind,
    id: &'a EventId,
    first: usize,
    old: &'a [BlockOrigin],
}

impl Change<'_> {
    /// Returns the origin of an entry that was never shown in this form.
    fn origin_of(&self, at: usize, itself: Option<&BlockOrigin>) -> BlockOrigin {
        let stands_for = match self.kind {
            EventKind::CompactionEnded(ended) => self.replaced(at, ended.block.as_ref()),
            EventKind::ContextReverted(reverted) => self.replaced(at, Some(&reverted.block)),
            EventKind::ContextPruned(_) => self.replaced(at, None),
            EventKind::ContextRestored(_) => itself.cloned().into_iter().collect(),
            // It shows its tag in another way.
            _ => {
                let shown = self.old.get(at.saturating_sub(self.first)).or(itself);
                let this = || BlockOrigin::Events(vec![self.id.clone()]);
                return shown.cloned().unwrap_or_else(this);
            }
        };
        BlockOrigin::Overlay {
            event: self.id.clone(),
            stands_for,
        }
    }

    /// Returns what an entry of the new view stands for.
    fn replaced(&self, at: usize, block: Option<&CompactionBlock>) -> Vec<BlockOrigin> {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let from = |at: usize| at.saturating_sub(self.first);
        let (start, count, len) = block.map_or((usize::MAX, 0, 0), |block| {
            let len = block.replacement.len();
            (place(block.first), place(block.count), len)
        });
        let end = start.saturating_add(len);
        if (start..end).contains(&at) {
            let gone = self.old.iter().skip(from(start)).take(count);
            return gone.cloned().collect();
        }
        // A result that is shown shorter stands for itself, wherever the block has moved it.
        let was = match at >= end {
            true => at.saturating_add(count).saturating_sub(len),
            false => at,
        };
        self.old.get(from(was)).cloned().into_iter().collect()
    }
}

/// Where an entry is in memory.
fn address(entry: &Entry) -> usize {
    match entry {
        Entry::User(it) => Arc::as_ptr(it).addr(),
        Entry::Assistant(it) => Arc::as_ptr(it).addr(),
        Entry::Results(it) => Arc::as_ptr(it).cast::<()>().addr(),
        Entry::Extension(it) => Arc::as_ptr(it).addr(),
    }
}
