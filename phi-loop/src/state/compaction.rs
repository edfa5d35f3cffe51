//! When the view is made smaller, what may come of it, and what follows.

use std::sync::Arc;

use phi_types::{
    Calibration, CompactAt, CompactionBlock, CompactionEnded, CompactionStarted, CountedTokens,
    Entry, EventKind, History, LoopError, NextView, Point, Usage,
};

use super::{Calling, Phase, Purpose, Stage, State};
use crate::io::Compacted;
use crate::step::{Asked, Step};

/// After so many compactions in a row that did not help, none is tried before an overflow.
const FAILURES_MAX: u32 = 3;

impl State {
    /// Says whether the view shall be made smaller before the next request.
    pub(crate) fn compaction_due(&self) -> bool {
        let Phase::Calling(Calling { attempts, .. }) = &self.phase else {
            return false;
        };
        self.configuration.compaction
            && !attempts.shrunk
            && self.counts.compactions_failed < FAILURES_MAX
            && (self.compacts_first() || self.exceeds_threshold() || self.count_due())
    }

    /// Says whether nothing can be sent before the view is smaller.
    pub(crate) fn has_overflowed(&self) -> bool {
        match &self.phase {
            Phase::Calling(Calling { stage, .. }) => matches!(stage, Stage::Overflowed),
            Phase::New
            | Phase::Started
            | Phase::Between { .. }
            | Phase::Settling { .. }
            | Phase::Ended(_) => false,
        }
    }

    /// Says whether the loop was told to begin with a compaction and is in its first turn.
    fn compacts_first(&self) -> bool {
        self.counts.purpose == Purpose::CompactedAnswer && self.counts.turns <= 1
    }

    /// Says whether an exact counter has to be asked because nothing is known of the estimate yet:
    /// no text is four times as long in tokens as it was counted.
    fn count_due(&self) -> bool {
        let counted = self.transcript.calibration() != Calibration::default();
        if !self.configuration.exact_count || counted {
            return false;
        }
        self.threshold()
            .is_some_and(|threshold| self.transcript.estimated_tokens() > threshold / 4)
    }

    fn exceeds_threshold(&self) -> bool {
        self.threshold()
            .is_some_and(|threshold| self.transcript.estimated_tokens() > threshold)
    }

    fn threshold(&self) -> Option<u64> {
        match self.configuration.compact_at? {
            CompactAt::Tokens(tokens) => Some(tokens),
            CompactAt::WindowPercent(percent) => {
                let part = u128::from(self.window_tokens()?) * u128::from(percent) / 100;
                u64::try_from(part).ok()
            }
        }
    }

    /// Returns the threshold that makes a compaction due; `None` where an overflow or the caller does.
    pub(crate) fn exceeded_tokens(&self) -> Option<u64> {
        let Phase::Calling(Calling { stage, .. }) = &self.phase else {
            return None;
        };
        match stage {
            _ if self.compacts_first() => None,
            Stage::Overflowed | Stage::Compacting { overflow: true, .. } => None,
            Stage::Due(_)
            | Stage::InFlight { .. }
            | Stage::Compacting { .. }
            | Stage::GivenUp(_)
            | Stage::Cut => self.threshold(),
        }
    }

    /// Returns the window of the model that is asked next.
    pub(crate) fn window_tokens(&self) -> Option<u64> {
        let Phase::Calling(Calling { attempts, .. }) = &self.phase else {
            return None;
        };
        let target = usize::try_from(self.target_of(*attempts)).ok()?;
        self.transcript.surface().models.get(target)?.window_tokens
    }

    /// Returns what the next request shall not exceed after a compaction.
    pub(crate) fn budget_tokens(&self) -> u64 {
        let now = self.transcript.estimated_tokens();
        let threshold = self.threshold().into_iter();
        let most = threshold.chain(self.window_tokens()).min();
        most.map_or(now, |most| most.min(now)) / 2
    }

    pub(crate) fn step_compaction(&self, asked: &Asked<'_>) -> Step {
        if self.claims(Point::BeforeCompaction) {
            return asked.decide(Point::BeforeCompaction);
        }
        Step::Emit(self.compaction_started())
    }

    pub(crate) fn compaction_started(&self) -> EventKind {
        EventKind::CompactionStarted(CompactionStarted {
            entries: entries(self.transcript.view()),
            tokens: Some(self.transcript.estimated_tokens()),
        })
    }

    /// Records what a compaction came to, with the view to which it leads: what does not fit is
    /// refused.
    pub(crate) fn compaction_ended(
        &self,
        compacted: Compacted,
        usage: Usage,
    ) -> (EventKind, Option<NextView>) {
        let Compacted {
            pruned,
            block,
            counted,
        } = compacted;
        let mut ended = CompactionEnded {
            block,
            pruned,
            error: None,
            entries: 0,
            tokens: None,
            counted: counted.map(Box::new),
            usage,
        };
        match self.compacted_view(&mut ended) {
            Ok(next) => (EventKind::CompactionEnded(Arc::new(ended)), Some(next)),
            Err(why) => (self.compaction_failed(Some(why), usage), None),
        }
    }

    /// Records that the view could not be made smaller; without a reason, that it shall be tried
    /// again.
    pub(crate) fn compaction_failed(&self, error: Option<String>, usage: Usage) -> EventKind {
        EventKind::CompactionEnded(Arc::new(CompactionEnded {
            block: None,
            pruned: Vec::new(),
            error,
            entries: entries(self.transcript.view()),
            tokens: Some(self.transcript.estimated_tokens()),
            counted: None,
            usage,
        }))
    }

    /// Makes the view to which a compaction leads, and states what is left.
    fn next_view(&self, ended: &mut CompactionEnded) -> Result<NextView, String> {
        let kind = EventKind::CompactionEnded(Arc::new(ended.clone()));
        let next = self.transcript.next_view(self.next_overlay(), &kind);
        let next = next.map_err(|error| error.to_string())?;
        ended.entries = entries(next.view());
        ended.tokens = Some(match &ended.counted {
            Some(counted) => counted.after,
            None => self.transcript.estimated_tokens_of(next.view()),
        });
        Ok(next)
    }

    /// Says whether an exact count found the request to be inside the threshold after all.
    fn is_small_enough(&self, counted: CountedTokens) -> bool {
        let threshold = self.exceeded_tokens();
        counted.before == counted.after && threshold.is_some_and(|most| counted.after <= most)
    }

    /// A compaction lies inside the view, makes it smaller, parts no call from its result and leaves
    /// what fits the window. What is left is stated.
    fn compacted_view(&self, ended: &mut CompactionEnded) -> Result<NextView, String> {
        let view = self.transcript.view();
        if ended.pruned.is_empty() && ended.block.is_none() {
            return match &ended.counted {
                Some(counted) if self.is_small_enough(**counted) => self.next_view(ended),
                Some(_) | None => Err("nothing was left out".to_owned()),
            };
        }
        if let Some(block) = &ended.block {
            check_block(view, block)?;
        }
        let next = self.next_view(ended)?;
        let smaller = next.view();
        let is_smaller = match &ended.counted {
            Some(counted) => counted.after < counted.before,
            None => smaller.estimated_tokens() < view.estimated_tokens(),
        };
        if !is_smaller {
            return Err("what stands for the entries is as long as they were".to_owned());
        }
        let tokens = ended.tokens.unwrap_or(0);
        match self.window_tokens() {
            Some(window) if tokens > window => Err(format!(
                "about {tokens} tokens would be left for a window of {window}"
            )),
            Some(_) | None => Ok(next),
        }
    }

    pub(super) fn start_compaction(&mut self, seq: u64) -> Result<(), &'static str> {
        let calling = self.calling()?;
        let overflow = match calling.stage {
            Stage::Overflowed => true,
            Stage::Due(_) => false,
            Stage::InFlight { .. } | Stage::Compacting { .. } | Stage::GivenUp(_) | Stage::Cut => {
                return Err("no compaction is due");
            }
        };
        calling.stage = Stage::Compacting { seq, overflow };
        Ok(())
    }

    pub(super) fn end_compaction(&mut self, ended: &CompactionEnded) -> Result<(), &'static str> {
        self.add_cost(&ended.usage);
        let overflow = match self.calling()?.stage {
            Stage::Compacting { overflow, .. } => overflow,
            Stage::Overflowed => true,
            Stage::Due(_) => false,
            Stage::InFlight { .. } | Stage::GivenUp(_) | Stage::Cut => {
                return Err("no compaction is under way");
            }
        };
        let done = ended.block.is_some() || !ended.pruned.is_empty();
        let small_enough = !done && ended.error.is_none() && ended.counted.is_some();
        if small_enough && overflow {
            return Err("a request that overflowed is not small enough");
        }
        let again = !done && ended.error.is_none() && !small_enough;
        let stage = match &ended.error {
            Some(error) if overflow && !done => Stage::GivenUp(LoopError::Overflow {
                reason: error.clone(),
            }),
            None if overflow && again => Stage::Overflowed,
            Some(_) | None => Stage::Due(None),
        };
        let helped = (done || small_enough) && !self.exceeds_threshold();
        if !again {
            let failed = &mut self.counts.compactions_failed;
            *failed = if helped { 0 } else { failed.saturating_add(1) };
        }
        let calling = self.calling()?;
        calling.stage = stage;
        calling.attempts.shrunk |= !again;
        Ok(())
    }
}

fn entries(view: &History) -> u64 {
    u64::try_from(view.len()).unwrap_or(u64::MAX)
}

fn check_block(view: &History, block: &CompactionBlock) -> Result<(), String> {
    let len = entries(view);
    let (first, count) = (block.first, block.count);
    let end = first.checked_add(count).filter(|end| *end <= len);
    let Some(end) = end.filter(|_| count > 0) else {
        return Err(format!(
            "the block from {first}, {count} long, exceeds a view of {len}"
        ));
    };
    if u64::try_from(block.replacement.len()).unwrap_or(u64::MAX) >= count {
        return Err("the replacement is not shorter than what it stands for".to_owned());
    }
    // What follows the block, what it begins with, and what the view begins with, in one walk.
    let (mut parts, mut user_first) = (false, false);
    for (back, entry) in (0..len).zip(view.newest_first()) {
        let at = len - 1 - back;
        parts |= (at == first || at == end) && matches!(entry, Entry::Results(_));
        let is_first = at == if first == 0 { end } else { 0 };
        user_first |= is_first && matches!(entry, Entry::User(_));
    }
    if parts {
        return Err("the block parts tool calls from their results".to_owned());
    }
    let says_nothing = |message: &_| crate::machine::check_message(message).is_err();
    if block.replacement.iter().any(|it| says_nothing(it)) {
        return Err("the replacement holds an empty message".to_owned());
    }
    if !user_first && (first > 0 || block.replacement.is_empty()) {
        return Err("the view would not begin with a user message".to_owned());
    }
    Ok(())
}
