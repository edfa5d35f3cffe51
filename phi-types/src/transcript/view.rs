//! The view of a transcript: how it comes of the history, and the events that change that.

use std::ops::Range;
use std::sync::Arc;

use super::{IllegalEvent, Transcript};
use crate::context::OverlayId;
use crate::event::{Event, EventKind};
use crate::facts::LoopStarted;
use crate::history::{Entry, History};
use crate::overlays::{Overlays, itself};

/// The view as an event will make it, so that it can be checked before the event is written and need
/// not be made again: see [`Transcript::next_view`].
#[derive(Debug, Clone)]
pub struct NextView {
    id: OverlayId,
    before: History,
    overlays: Option<Arc<Overlays>>,
    view: History,
}

impl NextView {
    /// Returns the view.
    #[must_use]
    pub fn view(&self) -> &History {
        &self.view
    }
}

impl Transcript {
    /// Makes the view to which an event leads that is to have this name: a compaction, or a change or
    /// restoration of the context. Any other kind leaves the view as it is.
    ///
    /// The cost is linear in the entries after the first one that changes.
    ///
    /// # Errors
    /// [`IllegalEvent`] for a place or an overlay that the view does not have.
    pub fn next_view(&self, id: OverlayId, kind: &EventKind) -> Result<NextView, IllegalEvent> {
        let (pruned, block) = match kind {
            EventKind::CompactionEnded(ended) => (ended.pruned.as_slice(), ended.block.as_ref()),
            EventKind::ContextPruned(pruned) => (pruned.results.as_slice(), None),
            EventKind::ContextReverted(reverted) => ([].as_slice(), Some(&reverted.block)),
            _ => ([].as_slice(), None),
        };
        let both = (&self.history, &self.view);
        let (mut overlays, mut view) = (self.overlays.clone(), self.view.clone());
        if !pruned.is_empty() || block.is_some() {
            let changed = Arc::make_mut(overlays.get_or_insert_default());
            view = changed.lay(id.clone(), pruned, block, both)?;
        } else if let EventKind::ContextRestored(restored) = kind {
            let changed = Arc::make_mut(overlays.get_or_insert_default());
            view = changed.take_off(&restored.overlay, both)?;
        }
        let before = self.view.clone();
        Ok(NextView {
            id,
            before,
            overlays,
            view,
        })
    }

    /// Iterates over the overlays that the view has, compactions included, the oldest first.
    pub fn overlays(&self) -> impl Iterator<Item = &OverlayId> {
        let overlays = self.overlays.iter();
        overlays.flat_map(|overlays| overlays.ids())
    }

    /// Returns the place in the view of an entry of the history; `None` if it is hidden or there is
    /// no such entry. The cost is linear in the overlays.
    #[must_use]
    pub fn shown_at(&self, entry: usize) -> Option<usize> {
        if entry >= self.history.len() {
            return None;
        }
        match &self.overlays {
            None => Some(entry),
            Some(overlays) => overlays.shown_at(entry),
        }
    }

    /// Returns the place in the history of an entry of the view; `None` if it stands for others or
    /// there is no such entry. The cost is linear in the overlays.
    #[must_use]
    pub fn original_at(&self, place: usize) -> Option<usize> {
        if place >= self.view.len() {
            return None;
        }
        match &self.overlays {
            None => Some(place),
            Some(overlays) => overlays.original_at(place),
        }
    }

    /// Returns the places in the history of what an entry of the view stands for, in order: its own, or
    /// those of everything that a stand-in hides. The cost is linear in the overlays.
    #[must_use]
    pub fn stands_for(&self, place: usize) -> Vec<Range<usize>> {
        if place >= self.view.len() {
            return Vec::new();
        }
        match &self.overlays {
            None => itself(place),
            Some(overlays) => overlays.stands_for(place),
        }
    }

    /// Takes over how this loop hashes and tags.
    pub(super) fn begin(&mut self, started: &LoopStarted) {
        self.history.digest_by(started.history_digest);
        self.view.digest_by(started.history_digest);
        let tags = started.configuration.tags;
        if tags == self.overlays.as_ref().and_then(|it| it.tags()) {
            return;
        }
        let overlays = Arc::make_mut(self.overlays.get_or_insert_default());
        self.view = overlays.tag(tags, &self.history);
    }

    pub(super) fn change_view(
        &mut self,
        event: &Event,
        next: Option<NextView>,
    ) -> Result<(), IllegalEvent> {
        let loop_id = event.loop_id.clone().ok_or(IllegalEvent::OutsideLoop)?;
        let seq = event.seq;
        let id = OverlayId { loop_id, seq };
        let made = next.filter(|next| next.id == id && next.before.is_same_path(&self.view));
        let next = match made {
            Some(next) => next,
            None => self.next_view(id, &event.kind)?,
        };
        self.overlays = next.overlays;
        self.view = next.view;
        Ok(())
    }

    pub(super) fn push(&mut self, entry: Entry) {
        match &self.overlays {
            None => {
                self.history.push(entry);
                self.view = self.history.clone();
            }
            Some(overlays) => overlays.push(&mut self.history, &mut self.view, entry),
        }
    }
}
