//! Overlays: what a compaction leaves out of a view, which the history keeps.

use std::sync::Arc;

use crate::facts::{CompactionBlock, PrunedResult};
use crate::history::{CallResult, Entry, History};
use crate::transcript::IllegalEvent;

impl History {
    /// Returns the view with tool results replaced and then a block of entries replaced. Both name
    /// entries as they stand in this view. The entries before the first change stay shared.
    ///
    /// # Errors
    /// [`IllegalEvent`] for a place that the view does not have.
    pub fn overlaid(
        &self,
        pruned: &[PrunedResult],
        block: Option<&CompactionBlock>,
    ) -> Result<Self, IllegalEvent> {
        let len = self.len();
        let block = block
            .map(|block| Ok((range(block, len)?, block)))
            .transpose()?;
        let mut first = block.as_ref().map_or(len, |(range, _)| range.0);
        for result in pruned {
            first = first.min(usize::try_from(result.entry).unwrap_or(usize::MAX));
        }
        let mut rest: Vec<Entry> = self.newest_first().take(len - first).cloned().collect();
        rest.reverse();
        for result in pruned {
            replace(&mut rest, first, result)?;
        }
        if let Some(((start, end), block)) = block {
            let messages = block
                .replacement
                .iter()
                .map(|it| Entry::User(Arc::clone(it)));
            let replaced = rest.splice(start - first..end - first, messages);
            drop(replaced);
        }
        let mut view = self.prefix(first);
        for entry in rest {
            view.push(entry);
        }
        Ok(view)
    }
}

fn range(block: &CompactionBlock, len: usize) -> Result<(usize, usize), IllegalEvent> {
    let CompactionBlock { first, count, .. } = *block;
    let start = usize::try_from(first).ok();
    let end = first
        .checked_add(count)
        .and_then(|end| usize::try_from(end).ok());
    match (start, end) {
        (Some(start), Some(end)) if end <= len && count > 0 => Ok((start, end)),
        _ => Err(IllegalEvent::NoSuchBlock { first, count, len }),
    }
}

fn replace(rest: &mut [Entry], first: usize, new: &PrunedResult) -> Result<(), IllegalEvent> {
    let (entry, index) = (new.entry, new.index);
    let place = usize::try_from(entry)
        .ok()
        .and_then(|at| at.checked_sub(first));
    let Some(Entry::Results(results)) = place.and_then(|at| rest.get_mut(at)) else {
        return Err(IllegalEvent::NoSuchResult { entry, index });
    };
    let mut all: Vec<CallResult> = results.to_vec();
    let one = usize::try_from(index)
        .ok()
        .and_then(|index| all.get_mut(index));
    let Some(one) = one else {
        return Err(IllegalEvent::NoSuchResult { entry, index });
    };
    one.result = Arc::clone(&new.result);
    *results = all.into();
    Ok(())
}
