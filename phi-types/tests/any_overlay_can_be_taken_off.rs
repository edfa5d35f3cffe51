//! Whatever overlays are laid on a view and taken off again, in any order, the view is what all that
//! are left make of the history from scratch.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::DateTime;
use phi_types::{Arguments, LoopId, PartFacts, RawJson};
use phi_types::{
    AskedBy, AssistantMessage, AssistantPart, CompactionBlock, CompactionEnded, Configuration,
    Content, ContextRestored, Continuation, Entry, Event, EventKind, History, HistoryDigest,
    IllegalEvent, LoopStarted, Message, MessageAdded, Origin, OverlayId, PrunedResult, SessionId,
    StopReason, Tag, Tags, ToolCall, ToolEnded, ToolEnding, ToolResult, Transcript, Usage,
    UserMessage,
};
use proptest::prelude::{ProptestConfig, any, prop, proptest};

/// What a place of the view shows. The last two have no width: they mark places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    Original(usize),
    StandIn(usize, usize),
    /// An overlay that puts nothing in the place of what it hides.
    Nothing(usize),
    /// A stand-in of an overlay that was taken off.
    Ghost(usize, usize),
}

/// What happened, in order.
#[derive(Debug, Clone)]
enum Happened {
    Appended,
    Laid {
        hides: Vec<Shown>,
        puts: usize,
        pruned: Vec<(usize, u32)>,
    },
}

/// The naive model: it remembers what happened and works everything out from the beginning.
#[derive(Debug, Default)]
struct Naive {
    happened: Vec<Happened>,
    taken_off: BTreeSet<usize>,
    newest_tags: Option<u32>,
}

impl Naive {
    fn laid(&self) -> usize {
        let laid = self
            .happened
            .iter()
            .filter(|it| matches!(it, Happened::Laid { .. }));
        laid.count()
    }

    /// What an overlay that hid something hides when all that were taken off never were there.
    fn hides(&self, overlays: &[(&[Shown], usize)], hid: &[Shown]) -> BTreeSet<Shown> {
        let mut all = BTreeSet::new();
        for shown in hid {
            match *shown {
                Shown::StandIn(overlay, at) if self.taken_off.contains(&overlay) => {
                    let (hides, puts) = overlays[overlay];
                    if at + 1 == puts {
                        all.extend(self.hides(overlays, hides));
                    } else {
                        all.insert(Shown::Ghost(overlay, at));
                    }
                }
                Shown::Nothing(overlay) if self.taken_off.contains(&overlay) => {
                    all.extend(self.hides(overlays, overlays[overlay].0));
                }
                other => {
                    all.insert(other);
                }
            }
        }
        all
    }

    fn places(&self) -> Vec<Shown> {
        let mut places: Vec<Shown> = Vec::new();
        let mut overlays: Vec<(&[Shown], usize)> = Vec::new();
        let mut originals = 0;
        for happened in &self.happened {
            let (hid, puts) = match happened {
                Happened::Appended => {
                    places.push(Shown::Original(originals));
                    originals += 1;
                    continue;
                }
                Happened::Laid { hides, puts, .. } => (hides.as_slice(), *puts),
            };
            let overlay = overlays.len();
            overlays.push((hid, puts));
            let hides = self.hides(&overlays, hid);
            let Some(first) = places.iter().position(|it| hides.contains(it)) else {
                continue;
            };
            if self.taken_off.contains(&overlay) {
                let ghosts = (1..puts).map(|at| Shown::Ghost(overlay, at - 1));
                places.splice(first..first, ghosts);
                continue;
            }
            places.retain(|it| !hides.contains(it));
            let mut put: Vec<Shown> = (0..puts).map(|at| Shown::StandIn(overlay, at)).collect();
            if put.is_empty() {
                put.push(Shown::Nothing(overlay));
            }
            places.splice(first..first, put);
        }
        places
    }

    fn seen(&self) -> Vec<Shown> {
        let mut places = self.places();
        places.retain(|it| matches!(it, Shown::Original(_) | Shown::StandIn(..)));
        places
    }

    /// Everything from one place of the view to another, with what is marked between.
    fn between(&self, first: usize, count: usize) -> Vec<Shown> {
        let (seen, places) = (self.seen(), self.places());
        let at = |shown: Shown| places.iter().position(|it| *it == shown).unwrap();
        let mut between = places[at(seen[first])..=at(seen[first + count - 1])].to_vec();
        between.retain(|it| !matches!(it, Shown::Ghost(..)));
        between
    }

    /// What of the history a stand-in stands for, through all that it hides.
    fn stands_for(&self, shown: Shown, originals: &mut BTreeSet<usize>) {
        let laid = self.happened.iter().filter_map(|it| match it {
            Happened::Laid { hides, puts, .. } => Some((hides.as_slice(), *puts)),
            Happened::Appended => None,
        });
        let overlays: Vec<(&[Shown], usize)> = laid.collect();
        match shown {
            Shown::Original(original) => drop(originals.insert(original)),
            Shown::StandIn(overlay, _) | Shown::Nothing(overlay) => {
                for hidden in self.hides(&overlays, overlays[overlay].0) {
                    self.stands_for(hidden, originals);
                }
            }
            Shown::Ghost(..) => {}
        }
    }

    fn view(&self, history: &History) -> Vec<Entry> {
        let history = history.entries();
        let mut pruned: BTreeMap<(usize, u32), usize> = BTreeMap::new();
        let laid = self.happened.iter().filter_map(|it| match it {
            Happened::Laid { pruned, .. } => Some(pruned),
            Happened::Appended => None,
        });
        for (overlay, results) in laid
            .enumerate()
            .filter(|it| !self.taken_off.contains(&it.0))
        {
            pruned.extend(results.iter().map(|result| (*result, overlay)));
        }
        let tag = |at: usize, len| {
            let shows = self
                .newest_tags
                .is_some_and(|newest| at + newest as usize >= len);
            shows.then_some(at as u64)
        };
        let view = self.seen().into_iter().map(|shown| match shown {
            Shown::StandIn(overlay, at) => Entry::User(stand_in(overlay, at)),
            Shown::Original(at) => match (history[at], tag(at, history.len())) {
                (Entry::Results(results), tag) => {
                    let mut results = results.to_vec();
                    let several = results.len() > 1;
                    for (index, one) in (0..).zip(&mut results) {
                        let mut text = match &one.result.content[0] {
                            Content::Text { text } => text.clone(),
                            Content::Image { .. } => String::new(),
                        };
                        if let Some(overlay) = pruned.get(&(at, index)) {
                            text = shorter(*overlay);
                        }
                        if let Some(entry) = tag {
                            let result = several.then_some(index);
                            text = format!("[{}] {text}", Tag { entry, result });
                        }
                        one.result = Arc::new(ToolResult::text(text));
                    }
                    Entry::Results(results.into())
                }
                (Entry::User(message), Some(entry)) => {
                    let [Content::Text { text }] = message.content.as_slice() else {
                        return Entry::User(Arc::clone(message));
                    };
                    let text = format!("[{}] {text}", Tag::entry(entry));
                    Entry::User(Arc::new(UserMessage::text(text)))
                }
                (entry, _) => entry.clone(),
            },
            Shown::Nothing(_) | Shown::Ghost(..) => unreachable!("they are not seen"),
        });
        view.collect()
    }
}

fn shorter(overlay: usize) -> String {
    format!("pruned by {overlay}")
}

fn stand_in(overlay: usize, at: usize) -> Arc<UserMessage> {
    Arc::new(UserMessage::text(format!("{at} of {overlay}")))
}

/// A transcript and its model.
struct Both {
    transcript: Transcript,
    naive: Naive,
    seq: u64,
    names: Vec<OverlayId>,
}

impl Both {
    fn new(tags: Option<u32>, digest: HistoryDigest) -> Self {
        let mut both = Self {
            transcript: Transcript::new(),
            naive: Naive {
                newest_tags: tags,
                ..Naive::default()
            },
            seq: 0,
            names: Vec::new(),
        };
        let configuration = Configuration {
            tags: tags.map(|newest| {
                if newest > 20 {
                    Tags::Stay
                } else {
                    Tags::Newest(newest)
                }
            }),
            ..Configuration::default()
        };
        both.naive.newest_tags = tags.map(|newest| if newest > 20 { u32::MAX } else { newest });
        let started = LoopStarted {
            agent: None,
            parent: None,
            continuation: Continuation::Initial,
            configuration,
            metadata: None,
            history_digest: digest,
        };
        both.apply(EventKind::LoopStarted(Arc::new(started)))
            .unwrap();
        both
    }

    fn event(&mut self, kind: EventKind) -> Event {
        self.seq += 1;
        Event {
            session: SessionId::new("s").unwrap(),
            loop_id: Some(LoopId::new("s.c.1").unwrap()),
            seq: self.seq,
            at: DateTime::default(),
            kind,
        }
    }

    /// Folds an event, half of them with the view that was made before.
    fn apply(&mut self, kind: EventKind) -> Result<(), IllegalEvent> {
        let event = self.event(kind);
        let before = self.transcript.clone();
        let id = name(self.seq);
        let next = self.transcript.next_view(id, &event.kind);
        let made = next
            .as_ref()
            .ok()
            .filter(|_| self.seq.is_multiple_of(2))
            .cloned();
        let applied = self.transcript.apply_with(&event, made);
        match (&next, &applied) {
            (Err(a), Err(b)) => assert_eq!(a, b),
            (Ok(next), Ok(())) if next.view() != before.view() => {
                assert_eq!(next.view(), self.transcript.view());
            }
            (Ok(_), Ok(())) => {}
            other => panic!("{other:?}"),
        }
        if applied.is_err() {
            assert_eq!(self.transcript, before);
        }
        applied
    }

    fn say(&mut self, text: &str) {
        let message = Message::User(Arc::new(UserMessage::text(text)));
        let (turn, queued) = (1, None);
        let added = MessageAdded {
            message,
            turn,
            queued,
        };
        self.apply(EventKind::Message(added)).unwrap();
        self.naive.happened.push(Happened::Appended);
    }

    fn turn(&mut self, calls: u32) {
        let parts = (0..calls).map(|at| {
            AssistantPart::ToolCall(Arc::new(ToolCall {
                id: format!("c{at}").into(),
                name: "look".into(),
                arguments: Arguments::Object(RawJson::empty_object()),
                facts: PartFacts::default(),
            }))
        });
        let message = Message::Assistant(Arc::new(AssistantMessage {
            parts: parts.collect(),
            stop_reason: StopReason::ToolUse,
            stop_reason_raw: None,
            usage: Usage::default(),
            origin: Origin::default(),
        }));
        let (turn, queued) = (1, None);
        let added = MessageAdded {
            message,
            turn,
            queued,
        };
        self.apply(EventKind::Message(added)).unwrap();
        for index in 0..calls {
            let ended = ToolEnded {
                index,
                call_id: "c".into(),
                started: None,
                ending: ToolEnding::Finished,
                result: Arc::new(ToolResult::text(format!("{index} of {}", self.seq))),
                child: None,
                spent: None,
            };
            self.apply(EventKind::ToolEnded(ended)).unwrap();
        }
        self.naive
            .happened
            .extend([Happened::Appended, Happened::Appended]);
    }

    /// Lays an overlay, where it has something to hide or to shorten.
    fn lay(&mut self, first: usize, count: usize, puts: usize, prune: u8) {
        let seen = self.naive.seen();
        let overlay = self.naive.laid();
        let mut pruned = Vec::new();
        let mut noted = Vec::new();
        for (at, entry) in self.transcript.view().entries().into_iter().enumerate() {
            let Entry::Results(results) = entry else {
                continue;
            };
            for index in 0..u32::try_from(results.len()).unwrap() {
                if !(at * 3 + index as usize + usize::from(prune)).is_multiple_of(5) {
                    continue;
                }
                let Shown::Original(original) = seen[at] else {
                    unreachable!("results are")
                };
                noted.push((original, index));
                pruned.push(PrunedResult {
                    entry: at as u64,
                    index,
                    result: Arc::new(ToolResult::text(shorter(overlay))),
                });
            }
        }
        if prune.is_multiple_of(2) {
            (pruned, noted) = (Vec::new(), Vec::new());
        }
        let (first, count) = match seen.len() {
            0 => return,
            len => {
                let first = first % len;
                (first, 1 + count % (len - first))
            }
        };
        let block = !prune.is_multiple_of(3);
        if !block && pruned.is_empty() {
            return;
        }
        let hides = if block {
            self.naive.between(first, count)
        } else {
            Vec::new()
        };
        let puts = if block { puts } else { 0 };
        let block = block.then(|| CompactionBlock {
            first: first as u64,
            count: count as u64,
            replacement: (0..puts).map(|at| stand_in(overlay, at)).collect(),
        });
        self.apply(EventKind::CompactionEnded(Arc::new(CompactionEnded {
            block,
            pruned,
            error: None,
            entries: 0,
            tokens: None,
            counted: None,
            usage: Usage::default(),
        })))
        .unwrap();
        self.names.push(name(self.seq));
        self.naive.happened.push(Happened::Laid {
            hides,
            puts,
            pruned: noted,
        });
    }

    fn take_off(&mut self, which: usize) {
        if self.names.is_empty() {
            return;
        }
        let overlay = which % self.names.len();
        let restored = self.apply(EventKind::ContextRestored(ContextRestored {
            by: AskedBy::Caller {},
            overlay: self.names[overlay].clone(),
            tokens: 0,
        }));
        let expected = if self.naive.taken_off.insert(overlay) {
            Ok(())
        } else {
            Err(IllegalEvent::NoSuchOverlay(self.names[overlay].clone()))
        };
        assert_eq!(restored, expected);
    }

    fn check(&self) {
        let (history, view) = (self.transcript.history(), self.transcript.view());
        let expected = self.naive.view(history);
        assert_eq!(
            view.entries(),
            expected.iter().collect::<Vec<_>>(),
            "{:?}",
            self.naive
        );
        let seen = self.naive.seen();
        for (place, shown) in seen.iter().enumerate() {
            let original = match shown {
                Shown::Original(original) => Some(*original),
                _ => None,
            };
            assert_eq!(self.transcript.original_at(place), original);
            let mut stands_for = BTreeSet::new();
            self.naive.stands_for(*shown, &mut stands_for);
            let ranges = self.transcript.stands_for(place).into_iter().flatten();
            assert_eq!(
                ranges.collect::<Vec<_>>(),
                stands_for.into_iter().collect::<Vec<_>>(),
                "{:?}",
                self.naive
            );
        }
        assert_eq!(self.transcript.stands_for(view.len()), []);
        for original in 0..=history.len() {
            let place = seen.iter().position(|it| *it == Shown::Original(original));
            assert_eq!(
                self.transcript.shown_at(original),
                place,
                "{:?}",
                self.naive
            );
        }
        assert_eq!(self.transcript.original_at(view.len()), None);
        let there = (0..)
            .zip(&self.names)
            .filter(|(at, _)| !self.naive.taken_off.contains(at));
        let there: Vec<&OverlayId> = there.map(|(_, name)| name).collect();
        assert_eq!(self.transcript.overlays().collect::<Vec<_>>(), there);
        let afresh: History = expected.into_iter().collect();
        assert_eq!(view.estimated_tokens(), afresh.estimated_tokens());
        if there.is_empty() && self.naive.newest_tags.is_none() {
            assert!(view.is_same_path(history));
        }
    }
}

fn name(seq: u64) -> OverlayId {
    let loop_id = LoopId::new("s.c.1").unwrap();
    OverlayId { loop_id, seq }
}

fn play(tags: Option<u32>, digest: HistoryDigest, moves: &[(u8, u8, u8, u8)]) -> (usize, usize) {
    let mut both = Both::new(tags, digest);
    both.check();
    for (kind, a, b, c) in moves {
        match kind % 8 {
            0 => both.say(&format!("say {a}")),
            1 | 2 => both.turn(1 + u32::from(a % 3)),
            3..=5 => both.lay(
                usize::from(*a),
                usize::from(*b % 8),
                usize::from(c / 8 % 4),
                *c,
            ),
            _ => both.take_off(usize::from(*a)),
        }
        both.check();
    }
    let afresh: History = both
        .naive
        .view(both.transcript.history())
        .into_iter()
        .collect();
    if digest == HistoryDigest::default() {
        assert_eq!(
            *both.transcript.view(),
            afresh,
            "the digest is that of the content"
        );
    }
    (both.names.len(), both.naive.taken_off.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_view_is_what_the_overlays_that_are_left_make_of_the_history(
        tags in prop::option::of(0_u32..30),
        digest in prop::sample::select(vec![
            HistoryDigest::Chained,
            HistoryDigest::Combined,
            HistoryDigest::Packed,
        ]),
        moves in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 0..40),
    ) {
        play(tags, digest, &moves);
    }
}

#[test]
fn the_moves_lay_overlays_and_take_them_off() {
    let mut state = 7_u64;
    let mut byte = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        u8::try_from(state >> 56).unwrap()
    };
    let (mut laid, mut taken_off) = (0, 0);
    for _ in 0..20 {
        let moves: Vec<_> = (0..60).map(|_| (byte(), byte(), byte(), byte())).collect();
        let (some, less) = play(None, HistoryDigest::Packed, &moves);
        laid += some;
        taken_off += less;
    }
    assert!(
        laid > 200 && taken_off > 100,
        "{laid} laid, {taken_off} taken off"
    );
}
