//! Which part of a view may be left out: not the first task, the last ask, a pinned message, the
//! newest turn, nor half of a call and its result.

use std::fmt;
use std::sync::Arc;

use phi_types::{CompactionBlock, Content, Entry, UserMessage};

use super::CompactionFailed;
use crate::io::Compact;
use crate::state::REVERTED;

/// What stands for a middle that was left out.
pub(super) const NOTE: &str = "[Earlier parts of this conversation were left out to make room.]";

/// What a summary that stands for a middle begins with.
pub(super) const HEADING: &str = "[Summary of the earlier conversation]";

/// How much of the newest part of a view stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// What the budget of the compaction allows.
    #[default]
    Budget,
    /// At most so many tokens, but the newest turn at least.
    Tokens(u64),
    /// So many of the newest loops, the one that runs included.
    Loops(usize),
}

type Pinned = Arc<dyn Fn(&UserMessage) -> bool + Send + Sync>;

/// What a compaction may leave out.
#[derive(Clone, Default)]
pub struct Scope {
    keep: Keep,
    pinned: Option<Pinned>,
}

/// The part of a view that is left out.
pub(super) struct Middle<'a> {
    /// Its first entry.
    first: usize,
    /// Its entries.
    pub(super) entries: &'a [&'a Entry],
    /// Messages of it that are kept word for word.
    kept: Vec<Arc<UserMessage>>,
}

impl Scope {
    /// Makes the scope that keeps as much as the budget allows and pins nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how much of the newest part stays.
    #[must_use]
    pub fn keep(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    /// Pins messages of the user: they are kept word for word.
    #[must_use]
    pub fn pinned(self, pinned: impl Fn(&UserMessage) -> bool + Send + Sync + 'static) -> Self {
        Self {
            pinned: Some(Arc::new(pinned)),
            ..self
        }
    }

    /// Finds what is left out, where something of so many tokens stands for it.
    pub(super) fn middle<'a>(
        &self,
        compact: &Compact,
        entries: &'a [&'a Entry],
        stand_in_tokens: u64,
    ) -> Result<Middle<'a>, CompactionFailed> {
        // What stands for entries that were left out before is nobody's ask.
        let is_ask =
            |entry: &&Entry| matches!(entry, Entry::User(message) if !is_stand_in(message));
        let task = entries.iter().position(is_ask);
        let last_ask = entries.iter().rposition(is_ask);
        let (Some(task), Some(last_ask)) = (task, last_ask) else {
            return Err(CompactionFailed::NothingToLeaveOut);
        };
        let first = task + 1;
        let counts = compact.counting.entries(&compact.view);
        let all: u64 = counts.iter().sum();
        let fixed = compact.surface_tokens + stand_in_tokens;
        let (oldest, last_end) = self.oldest_kept(entries, &counts);
        if oldest.is_some_and(|oldest| oldest <= first) {
            return Err(CompactionFailed::NothingToLeaveOut);
        }
        let (mut left_out, mut kept_tokens, mut kept) = (0_u64, 0_u64, Vec::new());
        let mut smallest = None;
        let until = newest_turn(entries).min(last_end);
        let middle = entries.iter().zip(&counts).enumerate();
        for (at, (entry, count)) in middle.take(until).skip(first) {
            left_out += count;
            if let Entry::User(message) = entry
                && (at == last_ask || self.pinned.as_ref().is_some_and(|it| it(message)))
            {
                kept.push(Arc::clone(message));
                kept_tokens += count;
            }
            let end = at + 1;
            let parts = matches!(entries.get(end), Some(Entry::Results(_)));
            let fewer = kept.len() + 1 < end - first;
            if parts || !fewer || left_out <= kept_tokens + stand_in_tokens {
                continue;
            }
            let tokens = fixed + all - left_out + kept_tokens;
            let tokens = compact.counting.tokens(tokens);
            smallest = Some((end, kept.len(), tokens));
            let enough = match self.keep {
                Keep::Budget => tokens <= compact.budget_tokens,
                Keep::Tokens(_) => oldest.is_some_and(|oldest| end >= oldest),
                Keep::Loops(_) => false,
            };
            if enough {
                break;
            }
        }
        let (end, kept_len, tokens) = smallest.ok_or(CompactionFailed::NothingToLeaveOut)?;
        if let Some(most_tokens) = compact.window_tokens.filter(|window| tokens > *window) {
            return Err(CompactionFailed::CannotFit {
                tokens,
                most_tokens,
            });
        }
        kept.truncate(kept_len);
        let entries = entries.get(first..end).unwrap_or_default();
        Ok(Middle {
            first,
            entries,
            kept,
        })
    }

    /// Returns the first entry that stays, where the scope says so itself, and the entry before which
    /// the middle must end.
    fn oldest_kept(&self, entries: &[&Entry], counts: &[u64]) -> (Option<usize>, usize) {
        match self.keep {
            Keep::Budget => (None, entries.len()),
            Keep::Tokens(most) => {
                let newest_first = counts.iter().rev().scan(0_u64, |sum, count| {
                    *sum += count;
                    Some(*sum)
                });
                let stay = newest_first.take_while(|sum| *sum <= most).count();
                (Some(entries.len() - stay), entries.len())
            }
            Keep::Loops(loops) => {
                let pairs = entries.windows(2).enumerate();
                let starts = pairs.filter_map(|(at, pair)| match pair {
                    [Entry::Assistant(_), Entry::User(_)] => Some(at + 1),
                    _ => None,
                });
                let starts: Vec<usize> = starts.collect();
                let nth = starts.len().checked_sub(loops.max(1));
                let oldest = nth.and_then(|nth| starts.get(nth)).copied().unwrap_or(0);
                (Some(oldest), oldest)
            }
        }
    }
}

impl Middle<'_> {
    /// Puts a text in the place of the middle, followed by what is kept word for word.
    pub(super) fn replaced_by(self, text: String) -> CompactionBlock {
        let mut replacement = vec![Arc::new(UserMessage::text(text))];
        replacement.extend(self.kept);
        CompactionBlock {
            first: u64::try_from(self.first).unwrap_or(u64::MAX),
            count: u64::try_from(self.entries.len()).unwrap_or(u64::MAX),
            replacement,
        }
    }
}

/// Says whether a message stands for entries that were left out.
fn is_stand_in(message: &UserMessage) -> bool {
    let begins = |text: &str| {
        let openings = [NOTE, HEADING, REVERTED];
        openings.iter().any(|opening| text.starts_with(opening))
    };
    matches!(message.content.first(), Some(Content::Text { text }) if begins(text))
}

/// Returns where the newest turn begins: its answer and results stay together.
fn newest_turn(entries: &[&Entry]) -> usize {
    let results = matches!(entries.last(), Some(Entry::Results(_)));
    entries.len().saturating_sub(if results { 2 } else { 1 })
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}
