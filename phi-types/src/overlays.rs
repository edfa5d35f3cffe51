//! Which entry of the view shows what of the history, and how overlays come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::context::{OverlayId, Tag, Tags};
use crate::facts::{CompactionBlock, PrunedResult};
use crate::history::{Entry, History, Item};
use crate::message::{Content, UserMessage};
use crate::overlay::range;
use crate::tool::ToolResult;
use crate::transcript::IllegalEvent;

mod runs;

use runs::{Gone, Run};

/// How a view comes of its history.
///
/// Places in the history are the coordinates: what an overlay hides is remembered as what it is,
/// originals or what stood for them, so that any overlay can be taken off, also from below newer
/// ones. It is as large as the overlays are many, and what joins the conversation leaves it alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Overlays {
    /// Every overlay there ever was, in order; runs name them by their place here.
    all: Vec<Overlay>,
    /// What the view begins with.
    runs: Vec<Run>,
    /// The first of the originals with which it ends.
    tail: usize,
    /// What stands for a result of the history, by whose overlay; the newest one is shown.
    pruned: BTreeMap<(usize, u32), Versions>,
    tags: Option<Tags>,
}

/// What overlays show for a result, the newest last.
type Versions = Vec<(usize, Arc<ToolResult>)>;

#[derive(Debug, Clone, PartialEq)]
struct Overlay {
    id: OverlayId,
    /// What stands for what it hides.
    replacement: Vec<Arc<UserMessage>>,
    /// What it hides.
    hidden: Vec<Run>,
    /// Whether it was taken off.
    restored: bool,
}

/// A change of the view: a range of its entries and what comes in their place.
type Edit = (Range<usize>, Vec<Item>);

impl Overlays {
    pub(crate) fn tags(&self) -> Option<Tags> {
        self.tags
    }

    /// Iterates over the overlays that the view has, the oldest first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &OverlayId> {
        let there = self.all.iter().filter(|overlay| !overlay.restored);
        there.map(|overlay| &overlay.id)
    }

    /// Returns the place in the view of an entry of the history, unless it is hidden.
    pub(crate) fn shown_at(&self, original: usize) -> Option<usize> {
        let mut at = 0;
        for run in &self.runs {
            if let Run::Originals { first, count } = *run
                && let Some(past) = original.checked_sub(first).filter(|past| *past < count)
            {
                return Some(at + past);
            }
            at += run.len();
        }
        original.checked_sub(self.tail).map(|past| at + past)
    }

    /// Returns the place in the history of an entry of the view; `None` for a stand-in.
    pub(crate) fn original_at(&self, place: usize) -> Option<usize> {
        let mut rest = place;
        for run in &self.runs {
            if rest < run.len() {
                return match *run {
                    Run::Originals { first, .. } => Some(first + rest),
                    Run::StandIns { .. } => None,
                };
            }
            rest -= run.len();
        }
        Some(self.tail + rest)
    }

    /// Returns the places in the history of what an entry of the view stands for: its own, or those of
    /// everything that the overlay of a stand-in hides.
    pub(crate) fn stands_for(&self, place: usize) -> Vec<Range<usize>> {
        let mut rest = place;
        let at = self.runs.iter().find(|run| {
            let inside = rest < run.len();
            rest -= if inside { 0 } else { run.len() };
            inside
        });
        let overlay = match at {
            None => return itself(self.tail + rest),
            Some(Run::Originals { first, .. }) => return itself(first + rest),
            Some(Run::StandIns { overlay, .. }) => *overlay,
        };
        let (mut originals, mut seen, mut next) = (Vec::new(), BTreeSet::new(), vec![overlay]);
        while let Some(overlay) = next.pop() {
            let hidden = self.all.get(overlay).filter(|_| seen.insert(overlay));
            for run in hidden.into_iter().flat_map(|overlay| &overlay.hidden) {
                match *run {
                    Run::Originals { first, count } => originals.push(first..first + count),
                    Run::StandIns { overlay, .. } => next.push(overlay),
                }
            }
        }
        originals.sort_unstable_by_key(|range| range.start);
        originals
    }

    /// Appends an entry to the history and, with its tag, to the view.
    pub(crate) fn push(&self, history: &mut History, view: &mut History, entry: Entry) {
        if self.shows_the_history() {
            history.push(entry);
            *view = history.clone();
            return;
        }
        let original = history.len();
        history.push(entry);
        for item in history.items(&[original]) {
            view.push_item(self.shown(original, item, history.len()));
        }
        let Some(Tags::Newest(newest)) = self.tags else {
            return;
        };
        let newest = usize::try_from(newest).ok();
        let aged = newest.and_then(|newest| original.checked_sub(newest));
        let Some(aged) = aged.filter(|aged| *aged < original) else {
            return;
        };
        let bears_tags = |item: &Item| matches!(item.entry(), Entry::User(_) | Entry::Results(_));
        if history.items(&[aged]).iter().any(bears_tags) {
            *view = view.spliced(self.redrawn(&[aged], history));
        }
    }

    /// Lays an overlay on the view and returns the new view.
    pub(crate) fn lay(
        &mut self,
        id: OverlayId,
        pruned: &[PrunedResult],
        block: Option<&CompactionBlock>,
        (history, view): (&History, &History),
    ) -> Result<History, IllegalEvent> {
        let range = block.map(|block| range(block, view.len())).transpose()?;
        let overlay = self.all.len();
        let originals = self.prune(overlay, pruned, (history, view))?;
        let mut edits = self.redrawn(&originals, history);
        let (mut replacement, mut hidden) = (Vec::new(), Vec::new());
        if let (Some(block), Some((start, end))) = (block, range) {
            edits.retain(|(at, _)| !(start..end).contains(&at.start));
            let before = edits.partition_point(|(at, _)| at.start < start);
            edits.insert(before, (start..end, stand_ins(&block.replacement)));
            let from = self.split(start, Side::After);
            let to = self.split(end, Side::Before);
            let (first, count) = (0, block.replacement.len());
            let marker = Run::StandIns {
                overlay,
                first,
                count,
            };
            hidden = self.runs.splice(from..to, [marker]).collect();
            replacement.clone_from(&block.replacement);
        }
        self.all.push(Overlay {
            id,
            replacement,
            hidden,
            restored: false,
        });
        self.join();
        Ok(view.spliced(edits))
    }

    /// Takes an overlay off the view and returns the new view.
    ///
    /// What it hid comes back where the last of its stand-ins is: into the view, or into what another
    /// overlay hides. So the order in which overlays are taken off makes no difference.
    pub(crate) fn take_off(
        &mut self,
        id: &OverlayId,
        (history, view): (&History, &History),
    ) -> Result<History, IllegalEvent> {
        let of = |overlay: &Overlay| overlay.id == *id && !overlay.restored;
        let Some(place) = self.all.iter().position(of) else {
            return Err(IllegalEvent::NoSuchOverlay(id.clone()));
        };
        let originals = self.unprune(place);
        let view = view.spliced(self.redrawn(&originals, history));
        let (mut hidden, mut len) = (Vec::new(), 0);
        if let Some(overlay) = self.all.get_mut(place) {
            overlay.restored = true;
            len = std::mem::take(&mut overlay.replacement).len();
            hidden = std::mem::take(&mut overlay.hidden);
        }
        let gone = Gone { place, len, hidden };
        let (mut at, mut edits) = (0, Vec::new());
        for run in &self.runs {
            if let Some(back) = gone.back(*run) {
                edits.push((at..at + run.len(), self.drawn(back, history)));
            }
            at += run.len();
        }
        gone.leave(&mut self.runs);
        for overlay in &mut self.all {
            gone.leave(&mut overlay.hidden);
        }
        self.join();
        Ok(self.shared(view.spliced(edits), history))
    }

    /// Shows tags in another way from now on and returns the new view.
    pub(crate) fn tag(&mut self, tags: Option<Tags>, history: &History) -> History {
        self.tags = tags;
        if self.shows_the_history() {
            return history.clone();
        }
        let mut runs = self.runs.clone();
        let (first, count) = (self.tail, history.len() - self.tail);
        runs.push(Run::Originals { first, count });
        let mut view = history.prefix(0);
        for item in self.drawn(&runs, history) {
            view.push_item(item);
        }
        view
    }

    /// A view that shows the history as it is shares it.
    fn shared(&self, view: History, history: &History) -> History {
        if self.shows_the_history() {
            return history.clone();
        }
        view
    }

    fn shows_the_history(&self) -> bool {
        self.runs.is_empty() && self.tail == 0 && self.pruned.is_empty() && self.tags.is_none()
    }

    /// Notes what stands for results, and returns whose they are in the history, in order.
    fn prune(
        &mut self,
        overlay: usize,
        pruned: &[PrunedResult],
        (history, view): (&History, &History),
    ) -> Result<Vec<usize>, IllegalEvent> {
        let mut named = Vec::with_capacity(pruned.len());
        for new in pruned {
            let (entry, index) = (new.entry, new.index);
            let place = usize::try_from(entry).ok().filter(|at| *at < view.len());
            let original = place.and_then(|place| self.original_at(place));
            let original = original.ok_or(IllegalEvent::NoSuchResult { entry, index })?;
            named.push((original, new));
        }
        let mut originals: Vec<usize> = named.iter().map(|(original, _)| *original).collect();
        originals.sort_unstable();
        originals.dedup();
        let items = history.items(&originals);
        for (original, new) in named {
            let (entry, index) = (new.entry, new.index);
            let item = originals.binary_search(&original).ok();
            let item = item.and_then(|at| items.get(at)).map(Item::entry);
            let results = match item {
                Some(Entry::Results(results)) => results.len(),
                _ => 0,
            };
            if usize::try_from(index).map_or(true, |index| index >= results) {
                return Err(IllegalEvent::NoSuchResult { entry, index });
            }
            let result = Arc::clone(&new.result);
            let versions = self.pruned.entry((original, index)).or_default();
            versions.push((overlay, result));
        }
        Ok(originals)
    }

    /// Forgets what an overlay put in the place of results, and returns whose they are in the history.
    fn unprune(&mut self, overlay: usize) -> Vec<usize> {
        let mut originals = Vec::new();
        self.pruned.retain(|(original, _), versions| {
            let before = versions.len();
            versions.retain(|(of, _)| *of != overlay);
            if versions.len() < before {
                originals.push(*original);
            }
            !versions.is_empty()
        });
        originals.dedup();
        originals
    }

    /// Makes the edits that show some entries of the history as they are now.
    fn redrawn(&self, originals: &[usize], history: &History) -> Vec<Edit> {
        let shown = originals.iter().copied();
        let shown = shown.filter_map(|original| Some((self.shown_at(original)?, original)));
        let (places, originals): (Vec<usize>, Vec<usize>) = shown.unzip();
        let items = originals.iter().zip(history.items(&originals));
        let edits = places.into_iter().zip(items).map(|(at, (original, item))| {
            let item = self.shown(*original, item, history.len());
            (at..at + 1, vec![item])
        });
        edits.collect()
    }

    /// Draws runs.
    fn drawn(&self, runs: &[Run], history: &History) -> Vec<Item> {
        let mut drawn = Vec::new();
        for run in runs {
            match *run {
                Run::Originals { first, count } => {
                    let originals: Vec<usize> = (first..first + count).collect();
                    let items = originals.iter().zip(history.items(&originals));
                    let items = items.map(|(at, item)| self.shown(*at, item, history.len()));
                    drawn.extend(items);
                }
                Run::StandIns {
                    overlay,
                    first,
                    count,
                } => {
                    let replacement = self.all.get(overlay).map(|it| it.replacement.as_slice());
                    let replacement = replacement.and_then(|it| it.get(first..first + count));
                    drawn.extend(stand_ins(replacement.unwrap_or_default()));
                }
            }
        }
        drawn
    }

    /// Makes what the view shows of an entry of the history.
    fn shown(&self, original: usize, item: Item, len: usize) -> Item {
        let tagged = self.tags.is_some_and(|tags| tags.show(original, len));
        let mut pruned = self
            .pruned
            .range((original, 0)..=(original, u32::MAX))
            .peekable();
        if !tagged && pruned.peek().is_none() {
            return item;
        }
        let entry = u64::try_from(original).unwrap_or(u64::MAX);
        match item.entry() {
            Entry::Results(results) => {
                let mut results = results.to_vec();
                for ((_, index), versions) in pruned {
                    let one = usize::try_from(*index).ok();
                    let one = one.and_then(|index| results.get_mut(index));
                    if let (Some(one), Some((_, result))) = (one, versions.last()) {
                        one.result = Arc::clone(result);
                    }
                }
                let several = results.len() > 1;
                for (index, one) in (0..).zip(&mut results).filter(|_| tagged) {
                    let result = several.then_some(index);
                    let mut new = one.result.as_ref().clone();
                    put(&mut new.content, Tag { entry, result });
                    one.result = Arc::new(new);
                }
                Item::new(Entry::Results(results.into()))
            }
            Entry::User(message) if tagged => {
                let mut message = message.as_ref().clone();
                put(&mut message.content, Tag::entry(entry));
                Item::new(Entry::User(Arc::new(message)))
            }
            Entry::User(_) | Entry::Assistant(_) | Entry::Extension(_) => item,
        }
    }

    /// Makes a place of the view lie between two runs and returns the second one. Where overlays put
    /// nothing at that place, they end up before it, or after it.
    fn split(&mut self, place: usize, side: Side) -> usize {
        let known: usize = self.runs.iter().map(Run::len).sum();
        if place > known {
            let (first, count) = (self.tail, place - known);
            self.runs.push(Run::Originals { first, count });
            self.tail += count;
        }
        let mut rest = place;
        let mut found = self.runs.len();
        for (at, run) in self.runs.iter().enumerate() {
            if rest == 0 && (side == Side::Before || run.len() > 0) {
                found = at;
                break;
            }
            if rest < run.len() {
                let (before, after) = run.split(rest);
                self.runs.splice(at..=at, [before, after]);
                return at + 1;
            }
            rest -= run.len();
        }
        found
    }

    /// Joins runs that follow each other, and those that end where the tail begins.
    fn join(&mut self) {
        let mut joined: Vec<Run> = Vec::with_capacity(self.runs.len());
        for run in self.runs.drain(..) {
            match joined.last_mut().and_then(|last| last.with(run)) {
                Some(both) => {
                    joined.pop();
                    joined.push(both);
                }
                None => joined.push(run),
            }
        }
        if let Some(Run::Originals { first, count }) = joined.last().copied()
            && first + count == self.tail
        {
            joined.pop();
            self.tail = first;
        }
        self.runs = joined;
    }
}

/// What an entry of the history stands for.
pub(crate) fn itself(original: usize) -> Vec<Range<usize>> {
    Some(original..original + 1).into_iter().collect()
}

/// On which side of a place of the view overlays that put nothing there end up.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Before,
    After,
}

fn stand_ins(messages: &[Arc<UserMessage>]) -> Vec<Item> {
    let items = messages
        .iter()
        .map(|it| Item::new(Entry::User(Arc::clone(it))));
    items.collect()
}

/// Puts a tag before what a model reads.
fn put(content: &mut Vec<Content>, tag: Tag) {
    match content.first_mut() {
        Some(Content::Text { text }) => *text = format!("[{tag}] {text}"),
        Some(Content::Image { .. }) | None => content.insert(0, Content::text(format!("[{tag}]"))),
    }
}
