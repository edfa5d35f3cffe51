//! The grammar of deltas: which may follow which.

use std::collections::HashMap;

use phi_types::{Assembler, Delta, ProviderError, ProviderErrorKind};

use super::decoding::Decoded;

/// How strictly deltas are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// As of a service that keeps its protocol.
    Recorded,
    /// As of bytes that nobody meant: what no reader of deltas could live with.
    Damaged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Open,
    Ended,
}

/// Says what is wrong with the deltas of one body, if something is.
pub(super) fn breach(decoded: &Decoded, strictness: Strictness) -> Option<String> {
    let mut assembler = Assembler::new();
    let mut places: HashMap<u32, Place> = HashMap::new();
    for (at, delta) in decoded.deltas.iter().enumerate() {
        let finished = assembler.finish().is_some();
        if let Err(misplaced) = assembler.push(delta) {
            return Some(format!("delta {at}: {misplaced}"));
        }
        let wrong = match (delta, part_of(delta)) {
            // A part that never said anything may end: nothing is left of it.
            (Delta::PartEnded(_), Some(part)) => match places.insert(part, Place::Ended) {
                Some(Place::Open) | None => None,
                Some(Place::Ended) => Some("a part that has ended ends again"),
            },
            (Delta::Arguments(_), Some(part)) if !places.contains_key(&part) => {
                places.insert(part, Place::Open);
                (strictness == Strictness::Recorded)
                    .then_some("arguments come for a call that has not begun")
            }
            (_, Some(part)) => match *places.entry(part).or_insert(Place::Open) {
                Place::Open => None,
                Place::Ended => (strictness == Strictness::Recorded)
                    .then_some("more comes for a part that has ended"),
            },
            (_, None) => None,
        };
        // A reason that stands too early may be corrected where the bytes are damaged.
        let late = strictness == Strictness::Recorded && finished && delta.is_output();
        let wrong = wrong.or(late.then_some("output comes after the finish"));
        if let Some(wrong) = wrong {
            return Some(format!("delta {at}: {wrong}: {delta:?}"));
        }
    }
    match (&decoded.error, assembler.finish()) {
        (None, None) => Some("the body ended well without a finish".to_owned()),
        (Some(error), _) if error.message.is_empty() => {
            Some(format!("the error of kind {} has no message", error.kind))
        }
        // What a service reports counts at any time; what it merely garbles does not any more.
        (Some(error), Some(_)) if is_garbled(error) => {
            Some(format!("an error follows the finish: {error}"))
        }
        (None | Some(_), Some(_)) | (Some(_), None) => None,
    }
}

fn is_garbled(error: &ProviderError) -> bool {
    matches!(
        error.kind,
        ProviderErrorKind::Protocol | ProviderErrorKind::Incomplete
    )
}

fn part_of(delta: &Delta) -> Option<u32> {
    match delta {
        Delta::Text(it) | Delta::Thinking(it) | Delta::Arguments(it) => Some(it.part),
        Delta::ToolCall(it) => Some(it.part),
        Delta::PartFacts(it) => Some(it.part),
        Delta::Opaque(it) => Some(it.part),
        Delta::PartEnded(it) => Some(it.part),
        Delta::Started(_) | Delta::Usage(_) | Delta::Finish(_) => None,
    }
}
