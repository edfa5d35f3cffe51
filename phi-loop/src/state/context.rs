//! Changes of what the model reads, on request: whether they fit, and the events that they come to.

use std::collections::BTreeMap;
use std::sync::Arc;

use phi_types::{
    AskedBy, AssistantPart, CompactionBlock, ContextChange, ContextPruned, ContextRestored,
    ContextReverted, EffectId, Entry, EventKind, History, NextView, OverlayId, Prune, PrunedResult,
    Revert, RevertCategory, StopReason, Tag, ToolResult, UserMessage,
};

use super::{Calling, Phase, State};
use crate::calls::Calls;
use crate::io::ContextRefused;
use crate::step::Step;

/// What stands for a result that was pruned without a memo.
pub(crate) const PRUNED: &str = "[This result was pruned.]";

/// What the message begins with that stands for entries that were reverted.
pub(crate) const REVERTED: &str = "[What followed was taken back";

/// A change that fits: the event that records it and the view to which it leads.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) kind: EventKind,
    pub(crate) next: NextView,
}

impl State {
    /// Checks a change against the view as it is now.
    pub(crate) fn plan(
        &self,
        change: &ContextChange,
        by: &AskedBy,
    ) -> Result<Planned, ContextRefused> {
        let by_call = matches!(by, AskedBy::Call { .. });
        let planned = match change {
            ContextChange::Prune(prune) => self.plan_prune(prune, by)?,
            ContextChange::Revert(revert) => self.plan_revert(revert, by)?,
        };
        let before = self.transcript.view().estimated_tokens();
        if by_call && planned.next.view().estimated_tokens() >= before {
            return Err(ContextRefused::NotSmaller);
        }
        Ok(planned)
    }

    /// Finds the next change that a call of the turn asked for. What no longer fits, because something
    /// else changed the view since the call had its result, is left out.
    pub(crate) fn changed_by(&self, calls: &Calls) -> Option<Step> {
        calls.changes().find_map(|(_, seq, change)| {
            let loop_id = self.loop_id.clone();
            let effect = EffectId { loop_id, seq };
            let planned = self.plan(change, &AskedBy::Call { effect }).ok()?;
            Some(Step::Change(Box::new(planned)))
        })
    }

    /// Checks that an overlay can be taken off.
    pub(crate) fn plan_restore(&self, overlay: &OverlayId) -> Result<Planned, ContextRefused> {
        let restored = |tokens| {
            EventKind::ContextRestored(ContextRestored {
                by: AskedBy::Caller {},
                overlay: overlay.clone(),
                tokens,
            })
        };
        let planned = self.planned(restored)?;
        let view = planned.next.view();
        check_view(view, self.transcript.unanswered() > 0)?;
        let tokens = self.transcript.estimated_tokens_of(view);
        match self.window_of_next() {
            Some(window_tokens) if tokens > window_tokens => Err(ContextRefused::TooLarge {
                tokens,
                window_tokens,
            }),
            Some(_) | None => Ok(planned),
        }
    }

    /// Makes an event, and the view to which it leads, of which it states the tokens.
    fn planned(&self, kind: impl Fn(u64) -> EventKind) -> Result<Planned, ContextRefused> {
        let next = self.transcript.next_view(self.next_overlay(), &kind(0));
        let next = next.map_err(ContextRefused::Impossible)?;
        let kind = kind(self.transcript.estimated_tokens_of(next.view()));
        Ok(Planned { kind, next })
    }

    /// Names the overlay that the next event lays.
    pub(crate) fn next_overlay(&self) -> OverlayId {
        OverlayId {
            loop_id: self.loop_id.clone(),
            seq: self.trace.seq + 1,
        }
    }

    fn window_of_next(&self) -> Option<u64> {
        if let Phase::Calling(Calling { .. }) = &self.phase {
            return self.window_tokens();
        }
        let models = &self.transcript.surface().models;
        models.first().and_then(|model| model.window_tokens)
    }

    fn plan_prune(&self, prune: &Prune, by: &AskedBy) -> Result<Planned, ContextRefused> {
        let blank = |memo: &String| memo.trim().is_empty();
        if prune.memo.as_ref().is_some_and(blank) {
            return Err(ContextRefused::Blank { what: "memo" });
        }
        let mut named: BTreeMap<usize, Vec<Tag>> = BTreeMap::new();
        for tag in &prune.tags {
            named.entry(self.place(*tag)?).or_default().push(*tag);
        }
        let mut results = Vec::new();
        let view = self.transcript.view();
        for (place, entry) in entries_at(view, named.keys().copied()) {
            for tag in named.get(&place).into_iter().flatten() {
                let Entry::Results(there) = entry else {
                    return Err(ContextRefused::NoResults { tag: *tag });
                };
                let index = tag.result.and_then(|index| usize::try_from(index).ok());
                if tag.result.is_some() && index.is_none_or(|index| index >= there.len()) {
                    return Err(ContextRefused::NoResults { tag: *tag });
                }
                for (at, result) in (0_u32..).zip(there.iter()) {
                    if tag.result.is_none_or(|index| index == at) {
                        results.push((place, at, result.result.is_error));
                    }
                }
            }
        }
        results.sort_unstable();
        results.dedup();
        if results.is_empty() {
            return Err(ContextRefused::NothingNamed);
        }
        let memo = prune.memo.as_deref().into_iter();
        let texts = memo.chain(std::iter::repeat(PRUNED));
        let results = results
            .into_iter()
            .zip(texts)
            .map(|((place, index, is_error), text)| PrunedResult {
                entry: u64::try_from(place).unwrap_or(u64::MAX),
                index,
                result: Arc::new(ToolResult {
                    is_error,
                    ..ToolResult::text(text)
                }),
            });
        let results: Vec<PrunedResult> = results.collect();
        self.planned(|tokens| {
            EventKind::ContextPruned(ContextPruned {
                by: by.clone(),
                results: results.clone(),
                tokens,
            })
        })
    }

    fn plan_revert(&self, revert: &Revert, by: &AskedBy) -> Result<Planned, ContextRefused> {
        let Revert {
            to,
            category,
            summary,
        } = revert;
        if summary.trim().is_empty() {
            return Err(ContextRefused::Blank { what: "summary" });
        }
        if matches!(category, RevertCategory::Other(words) if words.trim().is_empty()) {
            return Err(ContextRefused::Blank { what: "category" });
        }
        let (to, place) = (*to, self.place(*to)?);
        let view = self.transcript.view();
        let first = place + 1;
        let end = view.len().saturating_sub(self.entries_of_running_turn());
        if first >= end {
            return Err(ContextRefused::NothingFollows { tag: to });
        }
        self.check_revert(to, (place, end), by)?;
        let text = format!("{REVERTED} ({category}). What is left of it:]\n{summary}");
        let block = CompactionBlock {
            first: u64::try_from(first).unwrap_or(u64::MAX),
            count: u64::try_from(end - first).unwrap_or(u64::MAX),
            replacement: vec![Arc::new(UserMessage::text(text))],
        };
        self.planned(|tokens| {
            EventKind::ContextReverted(Arc::new(ContextReverted {
                by: by.clone(),
                to,
                category: category.clone(),
                summary: summary.clone(),
                block: block.clone(),
                tokens,
            }))
        })
    }

    /// A revert leaves every call with its results and the first task. The model's own also leaves
    /// whatever the user said, word for word or in what stands for it: only the caller takes that back.
    fn check_revert(
        &self,
        to: Tag,
        (place, end): (usize, usize),
        by: &AskedBy,
    ) -> Result<(), ContextRefused> {
        let view = self.transcript.view();
        let by_call = matches!(by, AskedBy::Call { .. });
        let (mut task_stays, mut removed) = (false, None);
        for (back, entry) in view.newest_first().enumerate() {
            let at = view.len() - 1 - back;
            match entry {
                Entry::Assistant(message)
                    if at == place && message.tool_calls().next().is_some() =>
                {
                    let instead = Tag::entry(to.entry.saturating_add(1));
                    return Err(ContextRefused::PartsCalls { tag: to, instead });
                }
                Entry::User(_) if at <= place => {
                    task_stays = true;
                    break;
                }
                Entry::User(_) if by_call && at < end && removed.is_none() => {
                    removed = self.said_at(at);
                }
                Entry::User(_) | Entry::Assistant(_) | Entry::Results(_) | Entry::Extension(_) => {}
            }
        }
        match removed {
            Some(Said::Itself(user)) => {
                let user = Tag::entry(u64::try_from(user).unwrap_or(u64::MAX));
                return Err(ContextRefused::RemovesMessage { tag: to, user });
            }
            Some(Said::InOtherWords) => return Err(ContextRefused::RemovesStandIn { tag: to }),
            None => {}
        }
        if task_stays {
            Ok(())
        } else {
            Err(ContextRefused::RemovesTask { tag: to })
        }
    }

    /// Finds what the user said in a message of the view; nothing where it stands for what the model
    /// and its tools did.
    fn said_at(&self, place: usize) -> Option<Said> {
        let transcript = &self.transcript;
        if let Some(original) = transcript.original_at(place) {
            return Some(Said::Itself(original));
        }
        let hidden = transcript.stands_for(place);
        let mut newest = transcript.history().newest_first().enumerate();
        let last = transcript.history().len().saturating_sub(1);
        let said = newest.any(|(back, entry)| {
            let at = last - back;
            let range = hidden.get(hidden.partition_point(|range| range.end <= at));
            matches!(entry, Entry::User(_)) && range.is_some_and(|range| range.contains(&at))
        });
        said.then_some(Said::InOtherWords)
    }

    /// What the running turn has put into the view stays: its answer, and its results once they are
    /// there.
    fn entries_of_running_turn(&self) -> usize {
        match &self.phase {
            Phase::Settling { .. } => 1 + usize::from(self.transcript.unanswered() == 0),
            Phase::New
            | Phase::Started
            | Phase::Between { .. }
            | Phase::Calling(_)
            | Phase::Ended(_) => 0,
        }
    }

    /// Finds the place of an entry in the view.
    fn place(&self, tag: Tag) -> Result<usize, ContextRefused> {
        let len = self.transcript.history().len();
        let original = usize::try_from(tag.entry).ok().filter(|at| *at < len);
        let original = original.ok_or(ContextRefused::NoSuchEntry { tag, len })?;
        let place = self.transcript.shown_at(original);
        place.ok_or(ContextRefused::NotShown { tag })
    }
}

/// How a message of a view holds what the user said.
enum Said {
    /// It is that entry of the history.
    Itself(usize),
    /// It stands for what the user said, among others.
    InOtherWords,
}

/// Returns entries of a view by their places, which ascend, the newest first.
fn entries_at(
    view: &History,
    places: impl DoubleEndedIterator<Item = usize>,
) -> impl Iterator<Item = (usize, &Entry)> {
    let newest = view.len().saturating_sub(1);
    let mut entries = view.newest_first().enumerate();
    places.rev().filter_map(move |place| {
        let (_, entry) = entries.find(|(back, _)| newest - back == place)?;
        Some((place, entry))
    })
}

/// Checks that a view is one that every provider accepts; the newest answer may have open calls.
fn check_view(view: &History, open: bool) -> Result<(), ContextRefused> {
    let entries = view.entries();
    let unsound = |why| Err(ContextRefused::Unsound { why });
    let mut before: Option<&Entry> = None;
    for entry in entries
        .into_iter()
        .filter(|it| !matches!(it, Entry::Extension(_)))
    {
        match (before, entry) {
            (None, Entry::Assistant(_) | Entry::Results(_)) => {
                return unsound("it would not begin with a user message");
            }
            (Some(Entry::Assistant(asking)), Entry::Results(results))
                if asking.tool_calls().count() == results.len() => {}
            (_, Entry::Results(_)) => return unsound("results would stand without their calls"),
            (Some(Entry::Assistant(asking)), _) if asking.tool_calls().next().is_some() => {
                return unsound("a call would stand without its result");
            }
            (Some(Entry::Assistant(first)), Entry::Assistant(_))
                if first.stop_reason != StopReason::PauseTurn =>
            {
                return unsound("two answers would follow each other");
            }
            (_, Entry::User(_) | Entry::Assistant(_) | Entry::Extension(_)) => {}
        }
        before = Some(entry);
    }
    let calls = |part: &AssistantPart| matches!(part, AssistantPart::ToolCall(_));
    match before {
        None => unsound("nothing would be left"),
        Some(Entry::Assistant(last)) if !open && last.parts.iter().any(calls) => {
            unsound("a call would stand without its result")
        }
        Some(_) => Ok(()),
    }
}
