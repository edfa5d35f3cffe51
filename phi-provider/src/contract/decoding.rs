//! The rules of decoders on recorded bodies.

use std::sync::Arc;

use phi_types::{
    Assembler, AssistantMessage, Delta, Identity, Origin, ProviderError, ProviderErrorKind, Usage,
};

use super::Subject;
use super::card::{Failure, Outcome};
use super::case::Case;
use super::grammar::{Strictness, breach};
use super::random::Random;
use super::rule::Rule;
use super::watch::Progress;
use crate::wire::{ResponseHead, Wire};

/// What came out of a body.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decoded {
    pub(super) deltas: Vec<Delta>,
    pub(super) error: Option<ProviderError>,
}

impl Decoded {
    /// The message, where the body was an answer and its deltas fit together.
    pub(super) fn message(&self, origin: Origin) -> Option<AssistantMessage> {
        if self.error.is_some() {
            return None;
        }
        let mut assembler = Assembler::new();
        for delta in &self.deltas {
            assembler.push(delta).ok()?;
        }
        assembler.into_message(origin)
    }

    fn finishes(&self) -> usize {
        let finishes = self.deltas.iter();
        finishes.filter(|it| matches!(it, Delta::Finish(_))).count()
    }

    /// Both without the cuts of their texts, which no one asks to be the same.
    fn is_like(&self, other: &Self) -> bool {
        self.error == other.error
            && (self.deltas == other.deltas || joined(&self.deltas) == joined(&other.deltas))
    }
}

/// Joins texts that follow each other in one part: a decoder may hand out a line in two pieces.
fn joined(deltas: &[Delta]) -> Vec<Delta> {
    let mut joined: Vec<Delta> = Vec::with_capacity(deltas.len());
    for delta in deltas {
        match (joined.last_mut(), delta) {
            (Some(Delta::Text(last)), Delta::Text(next))
            | (Some(Delta::Thinking(last)), Delta::Thinking(next))
            | (Some(Delta::Arguments(last)), Delta::Arguments(next))
                if last.part == next.part =>
            {
                last.text.push_str(&next.text);
            }
            _ => joined.push(delta.clone()),
        }
    }
    joined
}

/// Decodes a body that comes in pieces.
pub(super) fn decode<'a>(
    wire: &dyn Wire,
    head: &ResponseHead,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Decoded {
    let mut decoder = wire.decoder(head);
    let mut deltas = Vec::new();
    for piece in pieces {
        if let Err(error) = decoder.push(piece, &mut deltas) {
            let error = Some(error);
            return Decoded { deltas, error };
        }
    }
    let error = decoder.end(&mut deltas).err();
    Decoded { deltas, error }
}

/// The origin of messages of a wire.
pub(super) fn origin_of(identity: Identity<'_>, model: &Arc<str>) -> Origin {
    Origin {
        protocol: Arc::from(identity.protocol),
        provider: Arc::from(identity.provider),
        model: Arc::clone(model),
        response_id: None,
        response_model: None,
    }
}

pub(super) const NO_CASES: Outcome = Outcome::NotApplicable {
    reason: "there is no case for it: add recorded bodies",
};

/// Passes if something was tried.
pub(super) fn passed(progress: &Progress) -> Outcome {
    // The first try is the one that is announced before any.
    match progress.tries().saturating_sub(1) {
        0 => NO_CASES,
        tries => Outcome::Passed { tries },
    }
}

pub(super) fn meaning(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    for case in subject.cases_for(Rule::Meaning) {
        let Some(expected) = &case.expected else {
            continue;
        };
        progress.trying(&case.name, None);
        let decoded = decode(&*wire, &case.head, [case.body.as_slice()]);
        let found = decoded.error.as_ref();
        if found.map(|error| error.kind) != expected.error {
            let what = match (found, expected.error) {
                (Some(error), None) => {
                    format!("it is an error where an answer is expected: {error}")
                }
                (Some(error), Some(kind)) => {
                    format!("it is the error {error} where the kind {kind} is expected")
                }
                (None, _) => "it is an answer where an error is expected".to_owned(),
            };
            return Err(Failure::new(&case.name, what));
        }
        let origin = origin_of(wire.identity(), &subject.model);
        if let Some(message) = decoded.message(origin)
            && let Some(what) = expected.difference(&message)
        {
            return Err(Failure::new(&case.name, what));
        }
    }
    Ok(match passed(progress) {
        Outcome::NotApplicable { .. } => Outcome::NotApplicable {
            reason: "no case says what is expected: give some an `Expected`",
        },
        passed => passed,
    })
}

pub(super) fn any_cut(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    /// Bodies beyond it are not cut at every byte.
    const BYTEWISE_MAX: usize = 256 << 10;
    let wire = subject.wire();
    for (n, case) in (0_u64..).zip(subject.cases_for(Rule::AnyCut)) {
        progress.trying(&case.name, None);
        let whole = decode(&*wire, &case.head, [case.body.as_slice()]);
        let differs = |cut: &Decoded, how: &str| {
            let what = first_difference(&whole, cut);
            Failure::new(&case.name, format!("{how} gives another answer: {what}"))
        };
        if case.body.len() <= BYTEWISE_MAX {
            progress.trying(&case.name, None);
            let cut = decode(&*wire, &case.head, case.body.chunks(1));
            if !cut.is_like(&whole) {
                return Err(differs(&cut, "byte by byte"));
            }
        }
        for size_max in [7, 64, 1024] {
            let seed = subject.seed.wrapping_add(n);
            progress.trying(&case.name, Some(seed));
            let pieces = Random::new(seed).pieces(&case.body, size_max);
            let cut = decode(&*wire, &case.head, pieces);
            if !cut.is_like(&whole) {
                let how = format!("in pieces of up to {size_max} bytes");
                return Err(differs(&cut, &how).with_seed(seed));
            }
        }
    }
    Ok(passed(progress))
}

fn first_difference(whole: &Decoded, cut: &Decoded) -> String {
    if whole.error != cut.error {
        return format!(
            "whole it ends with {:?}, cut with {:?}",
            whole.error, cut.error
        );
    }
    let (whole, cut) = (joined(&whole.deltas), joined(&cut.deltas));
    let mut pairs = whole.iter().zip(&cut);
    match pairs.find(|(whole, cut)| whole != cut) {
        Some((whole, cut)) => format!("whole {whole:?}, cut {cut:?}"),
        None => format!("whole {} deltas, cut {}", whole.len(), cut.len()),
    }
}

pub(super) fn cut_short(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    for (n, case) in (0_u64..).zip(subject.cases_for(Rule::CutShort)) {
        if !case.head.is_success() {
            continue;
        }
        let whole = decode(&*wire, &case.head, [case.body.as_slice()]);
        let seed = subject.seed.wrapping_add(n);
        let mut random = Random::new(seed);
        for end in cuts(case, &mut random) {
            progress.trying(&case.name, Some(seed));
            let Some(piece) = case.body.get(..end) else {
                continue;
            };
            let cut = decode(&*wire, &case.head, [piece]);
            if let Some(what) = cut_wrongly(&whole, &cut) {
                let what = format!("cut after {end} of {} bytes: {what}", case.body.len());
                return Err(Failure::new(&case.name, what).with_seed(seed));
            }
        }
    }
    Ok(passed(progress))
}

/// Where a body is cut: after each event or line, and at some other bytes; not too often.
fn cuts(case: &Case, random: &mut Random) -> Vec<usize> {
    const BOUNDARIES_MAX: usize = 48;
    const OTHERS: usize = 16;
    let mut boundaries = boundaries(&case.body);
    while boundaries.len() > BOUNDARIES_MAX {
        // The last ones tell most: the finish stands there.
        boundaries.remove(random.below(boundaries.len() - 8));
    }
    let others = (0..OTHERS).map(|_| random.below(case.body.len()));
    boundaries.extend(others);
    boundaries.sort_unstable();
    boundaries.dedup();
    boundaries
}

/// Where lines or binary messages end.
fn boundaries(body: &[u8]) -> Vec<usize> {
    let mut ends = vec![0];
    if body.first() == Some(&0) {
        let mut at = 0;
        while let Some(length) = body.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
            at += usize::try_from(u32::from_be_bytes(*length))
                .unwrap_or(0)
                .max(1);
            if at > body.len() {
                break;
            }
            ends.push(at);
        }
        return ends;
    }
    let is_end = |byte: u8| matches!(byte, b'\n' | b'\r');
    let lines = body.iter().enumerate();
    ends.extend(
        lines
            .filter(|(_, byte)| is_end(**byte))
            .map(|(at, _)| at + 1),
    );
    ends
}

fn cut_wrongly(whole: &Decoded, cut: &Decoded) -> Option<String> {
    match (&cut.error, &whole.error) {
        (Some(error), _) if error.kind == ProviderErrorKind::Incomplete => None,
        // An error that the service reports may be read before its last byte.
        (Some(error), Some(known)) if error.kind == known.kind => None,
        (Some(error), _) => Some(format!("it is no `Incomplete` but {error}")),
        (None, Some(known)) => Some(format!("it is an answer, where the whole is {known}")),
        (None, None) => {
            let mut whole_message = without_usage(whole)?;
            let cut_message = without_usage(cut)?;
            if whole.finishes() > 1 {
                // A later finish corrected the first.
                whole_message.stop_reason = cut_message.stop_reason;
                whole_message
                    .stop_reason_raw
                    .clone_from(&cut_message.stop_reason_raw);
            }
            (whole_message != cut_message).then(|| {
                format!(
                    "it is another message, {cut_message:?}, where the whole is {whole_message:?}"
                )
            })
        }
    }
}

fn without_usage(decoded: &Decoded) -> Option<AssistantMessage> {
    let message = decoded.message(Origin::default())?;
    Some(AssistantMessage {
        usage: Usage::default(),
        origin: Origin::default(),
        ..message
    })
}

pub(super) fn grammar(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    for case in subject.cases_for(Rule::Grammar) {
        progress.trying(&case.name, None);
        let decoded = decode(&*wire, &case.head, [case.body.as_slice()]);
        if let Some(what) = breach(&decoded, Strictness::Recorded) {
            return Err(Failure::new(&case.name, what));
        }
    }
    Ok(passed(progress))
}

pub(super) fn over_is_over(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    for case in subject.cases_for(Rule::OverIsOver) {
        let mut decoder = wire.decoder(&case.head);
        let mut deltas = Vec::new();
        let mut over = None;
        progress.trying(&case.name, None);
        for piece in case.body.chunks(16) {
            if decoder.push(piece, &mut deltas).is_err() {
                break;
            }
            match over {
                None if decoder.is_over() => over = Some(deltas.len()),
                Some(count) if deltas.len() > count => {
                    let what = format!("after the announced end came {:?}", deltas.get(count));
                    return Err(Failure::new(&case.name, what));
                }
                None | Some(_) => {}
            }
        }
    }
    Ok(passed(progress))
}
