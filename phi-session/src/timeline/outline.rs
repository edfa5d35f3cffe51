//! The fold from events to what a page shows of the whole: when what ran, and what it took.
//!
//! It keeps some hundred bytes for each turn and each thing that ran, and no content, so that a log of
//! any size has a page.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{
    BranchSelected, Event, EventKind, LoopId, Message, Outcome, Price, Recovered, SessionId,
    Target, TurnTrigger, Usage,
};

use super::clock::{Clock, Times};
use super::text::excerpt;

/// The longest text of a whole event that is kept, in characters.
const TEXT_MAX: usize = 300;

/// What a page shows of a whole session.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) session: SessionId,
    pub(super) events: u64,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) updated_at: Option<DateTime<Utc>>,
    pub(super) links: Links,
    /// Events that belong to no loop.
    pub(super) facts: Extent,
    pub(super) loops: Vec<LoopOutline>,
    by_id: HashMap<LoopId, usize>,
    pub(super) groups: Vec<Group>,
}

/// The agent of a session and the sessions that it comes from.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) agent: Option<Arc<str>>,
    pub(super) spawned_by: Option<SessionId>,
    pub(super) forked_from: Option<SessionId>,
}

/// Where events stand in the log, and how much they are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    /// The position of the first one; 0 where there is none.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) events: u64,
    /// About how many bytes they take.
    pub(super) bytes: u64,
}

/// Branches that ran from one history.
#[derive(Debug)]
pub(super) struct Group {
    /// Its loops, in the order of their configurations.
    pub(super) loops: Vec<LoopId>,
    pub(super) winner: Option<LoopId>,
    pub(super) strategy: Option<String>,
}

/// What a page shows of a whole loop.
#[derive(Debug)]
pub(super) struct LoopOutline {
    // Wide: what a loop was reads off one value.
    pub(super) id: LoopId,
    pub(super) extent: Extent,
    pub(super) started_at: DateTime<Utc>,
    pub(super) ended_at: DateTime<Utc>,
    pub(super) outcome: Option<(&'static str, String)>,
    pub(super) turns: Vec<TurnOutline>,
    /// What ran, in the order in which it started.
    pub(super) spans: Vec<Span>,
    pub(super) spent: Spent,
    pub(super) clock: Clock,
    models: Arc<[Target]>,
    target: u32,
    /// The first message since the newest turn ended.
    between: Option<u64>,
    /// The spans that have not ended.
    open: Vec<usize>,
}

/// What a page shows of a whole turn.
#[derive(Debug)]
pub(super) struct TurnOutline {
    pub(super) index: u32,
    pub(super) trigger: TurnTrigger,
    /// The position of its first event.
    pub(super) first: u64,
    pub(super) started_at: DateTime<Utc>,
    pub(super) ended_at: DateTime<Utc>,
    pub(super) is_open: bool,
    pub(super) calls: u32,
    pub(super) failures: u32,
    pub(super) spent: Spent,
}

/// Something that took time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// The `seq` of the event that began it.
    pub(super) seq: u64,
    pub(super) what: What,
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
    pub(super) is_bad: bool,
    /// Whether its end is in the log.
    pub(super) is_open: bool,
}

/// What took time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Model,
    Tool,
    Compaction,
    Approval,
    Retry,
}

/// Tokens and what they cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) usage: Usage,
    pub(super) usd: f64,
    /// Tokens were reported for a model without a price.
    pub(super) is_more: bool,
}

impl Spent {
    pub(super) fn add(&mut self, other: &Self) {
        self.usage.add(&other.usage);
        self.usd += other.usd;
        self.is_more |= other.is_more;
    }
}

impl Extent {
    fn add(&mut self, position: u64, bytes: u64) {
        if self.events == 0 {
            self.first = position;
        }
        self.last = position;
        self.events += 1;
        self.bytes += bytes;
    }
}

impl Outline {
    pub(super) fn new(session: SessionId) -> Self {
        Self {
            session,
            events: 0,
            started_at: None,
            updated_at: None,
            links: Links::default(),
            facts: Extent::default(),
            loops: Vec::new(),
            by_id: HashMap::new(),
            groups: Vec::new(),
        }
    }

    /// Folds the event at a position in, which takes about so many bytes.
    pub(super) fn follow(&mut self, position: u64, event: &Event, bytes: u64) {
        self.events += 1;
        self.started_at.get_or_insert(event.at);
        self.updated_at = self.updated_at.max(Some(event.at));
        let Some(loop_id) = &event.loop_id else {
            self.facts.add(position, bytes);
            return self.fact(&event.kind);
        };
        let place = self.loop_place(loop_id, event.at);
        if let Some(record) = self.loops.get_mut(place) {
            record.extent.add(position, bytes);
            record.follow(position, event);
        }
    }

    /// Returns the place of a loop in [`Outline::loops`].
    pub(super) fn place_of(&self, loop_id: &LoopId) -> Option<usize> {
        self.by_id.get(loop_id).copied()
    }

    /// Returns what all loops took.
    pub(super) fn total(&self) -> (Spent, Times) {
        let (mut spent, mut times) = (Spent::default(), Times::default());
        for record in &self.loops {
            spent.add(&record.spent);
            times.add(&record.clock.times);
        }
        (spent, times)
    }

    fn loop_place(&mut self, loop_id: &LoopId, at: DateTime<Utc>) -> usize {
        if let Some(place) = self.place_of(loop_id) {
            return place;
        }
        let place = self.loops.len();
        self.loops.push(LoopOutline::new(loop_id.clone(), at));
        self.by_id.insert(loop_id.clone(), place);
        place
    }

    fn fact(&mut self, kind: &EventKind) {
        match kind {
            EventKind::SessionStarted(started) => {
                self.links = Links {
                    agent: started.agent.clone(),
                    spawned_by: started.spawned_by.as_ref().map(|it| it.session.clone()),
                    forked_from: started.forked_from.as_ref().map(|it| it.session.clone()),
                };
            }
            EventKind::BranchesStarted(started) => drop(self.group(&started.loops)),
            EventKind::BranchSelected(selected) => {
                let BranchSelected {
                    winner, strategy, ..
                } = &**selected;
                let (winner, strategy) = (winner.clone(), excerpt(strategy, TEXT_MAX));
                let group = self.group(&selected.loops);
                group.winner = winner;
                group.strategy = Some(strategy);
            }
            _ => {}
        }
    }

    fn group(&mut self, ids: &[LoopId]) -> &mut Group {
        let found = self.groups.iter().rposition(|it| it.loops == ids);
        let place = found.unwrap_or_else(|| {
            self.groups.push(Group {
                loops: ids.to_vec(),
                winner: None,
                strategy: None,
            });
            self.groups.len() - 1
        });
        self.groups
            .get_mut(place)
            .expect("it was found or has just been added")
    }
}

impl LoopOutline {
    fn new(id: LoopId, at: DateTime<Utc>) -> Self {
        Self {
            id,
            extent: Extent::default(),
            started_at: at,
            ended_at: at,
            outcome: None,
            turns: Vec::new(),
            spans: Vec::new(),
            spent: Spent::default(),
            clock: Clock::new(at),
            models: Arc::from([]),
            target: 0,
            between: None,
            open: Vec::new(),
        }
    }

    /// Returns the place of the turn that a position belongs to; `None` before the first turn.
    pub(super) fn turn_at(&self, position: u64) -> Option<usize> {
        let after = self.turns.partition_point(|turn| turn.first <= position);
        after.checked_sub(1)
    }

    /// Returns what an event began.
    pub(super) fn span(&self, seq: u64) -> Option<&Span> {
        let place = self.spans.binary_search_by_key(&seq, |span| span.seq);
        self.spans.get(place.ok()?)
    }

    /// Names the model of an attempt.
    pub(super) fn model(&self) -> Option<&str> {
        let target = usize::try_from(self.target).ok()?;
        self.models.get(target).map(|it| it.model.as_ref())
    }

    fn follow(&mut self, position: u64, event: &Event) {
        if matches!(event.kind, EventKind::Recovered(Recovered::Restart { .. })) {
            self.interrupt();
        }
        let before = self.ended_at;
        self.clock.advance(event.at);
        self.ended_at = self.ended_at.max(event.at);
        self.spans_of(event);
        self.spending(&event.kind);
        self.turns_of(position, event, before);
        if let EventKind::LoopEnded(ended) = &event.kind {
            self.outcome = Some(outcome(&ended.outcome));
            self.interrupt();
        }
    }

    /// Ends what is open: its process has ended.
    fn interrupt(&mut self) {
        for place in std::mem::take(&mut self.open) {
            if let Some(span) = self.spans.get_mut(place) {
                span.to = span.to.max(self.ended_at);
            }
        }
        self.clock.stop();
    }

    fn spans_of(&mut self, event: &Event) {
        let (seq, at) = (event.seq, event.at);
        match &event.kind {
            EventKind::ModelStarted(started) => {
                self.target = started.target;
                self.end(at, false, |span| span.what == What::Retry);
                self.begin(seq, at, What::Model);
            }
            EventKind::ModelFailed(failed) => {
                self.end(at, true, |span| span.what == What::Model);
                if failed.retry_at.is_some() {
                    self.begin(seq, at, What::Retry);
                }
            }
            EventKind::Message(added) if matches!(added.message, Message::Assistant(_)) => {
                self.end(at, false, |span| span.what == What::Model);
            }
            EventKind::ToolStarted(_) => self.begin(seq, at, What::Tool),
            EventKind::ToolEnded(ended) => {
                let is_bad =
                    ended.ending != phi_types::ToolEnding::Finished || ended.result.is_error;
                let is_its =
                    |span: &Span| span.what == What::Tool && Some(span.seq) == ended.started;
                self.end(at, is_bad, is_its);
            }
            EventKind::ApprovalRequested(_) => self.begin(seq, at, What::Approval),
            EventKind::ApprovalResolved(resolved) => {
                let is_denied = matches!(resolved.approval, phi_types::Approval::Denied { .. });
                self.end(at, is_denied, |span| span.seq == resolved.request);
            }
            EventKind::CompactionStarted(_) => self.begin(seq, at, What::Compaction),
            EventKind::CompactionEnded(ended) => {
                self.end(at, ended.error.is_some(), |span| {
                    span.what == What::Compaction
                });
            }
            _ => {}
        }
    }

    fn begin(&mut self, seq: u64, at: DateTime<Utc>, what: What) {
        // A log that repeats a `seq` has no second span for it.
        if self.spans.last().is_some_and(|last| last.seq >= seq) {
            return;
        }
        self.clock.begin(what);
        self.open.push(self.spans.len());
        self.spans.push(Span {
            seq,
            what,
            from: at,
            to: at,
            is_bad: false,
            is_open: true,
        });
    }

    /// Ends the open spans that fit.
    fn end(&mut self, at: DateTime<Utc>, is_bad: bool, fits: impl Fn(&Span) -> bool) {
        let Self {
            open, spans, clock, ..
        } = self;
        open.retain(|place| {
            let Some(span) = spans.get_mut(*place).filter(|span| fits(span)) else {
                return true;
            };
            span.to = at.max(span.from);
            span.is_bad = is_bad;
            span.is_open = false;
            clock.end(span.what);
            false
        });
    }

    fn turns_of(&mut self, position: u64, event: &Event, before: DateTime<Utc>) {
        let is_between = self.turns.last().is_none_or(|turn| !turn.is_open);
        if let Some(turn) = self.turns.last_mut().filter(|turn| turn.is_open) {
            turn.ended_at = turn.ended_at.max(event.at);
        }
        match &event.kind {
            EventKind::TurnStarted(started) => self.turns.push(TurnOutline {
                index: started.index,
                trigger: started.trigger,
                first: self.between.take().unwrap_or(position),
                started_at: event.at,
                ended_at: event.at,
                is_open: true,
                calls: 0,
                failures: 0,
                spent: Spent::default(),
            }),
            EventKind::Message(_) if is_between => {
                self.between.get_or_insert(position);
            }
            EventKind::TurnEnded(_) | EventKind::LoopEnded(_) => {
                if let Some(turn) = self.turns.last_mut().filter(|turn| turn.is_open) {
                    turn.is_open = false;
                    // A loop that ends in mid-turn ended it when it last did something.
                    if matches!(event.kind, EventKind::LoopEnded(_)) {
                        turn.ended_at = before.max(turn.started_at);
                    }
                }
            }
            EventKind::ToolEnded(_) => self.count(|turn| turn.calls += 1),
            EventKind::ModelFailed(_) => self.count(|turn| turn.failures += 1),
            _ => {}
        }
    }

    fn count(&mut self, count: impl Fn(&mut TurnOutline)) {
        if let Some(turn) = self.turns.last_mut() {
            count(turn);
        }
    }

    fn spending(&mut self, kind: &EventKind) {
        match kind {
            EventKind::SurfaceChanged(changed) => {
                if let Some(models) = &changed.models {
                    self.models = Arc::clone(models);
                }
            }
            EventKind::ModelFailed(failed) => self.spend(&failed.facts.usage, self.target),
            EventKind::Message(added) => {
                if let Message::Assistant(message) = &added.message {
                    self.spend(&message.usage, self.target);
                }
            }
            // A compaction is billed like the first model, which made it or is nearest to what did.
            EventKind::CompactionEnded(ended) => self.spend(&ended.usage, 0),
            _ => {}
        }
    }

    fn spend(&mut self, usage: &Usage, target: u32) {
        let target = usize::try_from(target).ok();
        let target = target.and_then(|it| self.models.get(it));
        let price: Option<Price> = target.and_then(|it| it.price);
        let spent = Spent {
            usage: *usage,
            usd: price.map_or(0.0, |price| price.cost_usd(usage)),
            is_more: price.is_none() && usage.total_tokens() > 0,
        };
        self.spent.add(&spent);
        if let Some(turn) = self.turns.last_mut() {
            turn.spent.add(&spent);
        }
    }
}

/// Says how a loop ended: the class of the style sheet, and words.
pub(super) fn outcome(outcome: &Outcome) -> (&'static str, String) {
    let (class, text) = match outcome {
        Outcome::Completed {} => ("good", "completed".to_owned()),
        Outcome::Rejected { reason } => ("bad", format!("rejected: {reason}")),
        Outcome::Cancelled {} => ("wait", "cancelled".to_owned()),
        Outcome::Failed { error } => ("bad", format!("failed: {error}")),
        Outcome::LimitReached { limit } => ("wait", format!("limit reached: {}", limit.as_str())),
        Outcome::Aborted { reason } => ("bad", format!("aborted: {reason}")),
    };
    (class, excerpt(&text, TEXT_MAX))
}
