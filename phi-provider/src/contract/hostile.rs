//! The rules of decoders on bytes that nobody meant.

use phi_types::{Delta, ProviderErrorKind};

use super::Subject;
use super::card::{Failure, Outcome};
use super::case::Case;
use super::decoding::{Decoded, NO_CASES, decode, passed};
use super::grammar::{Strictness, breach};
use super::random::Random;
use super::rule::Rule;
use super::watch::Progress;
use crate::limits::Limits;
use crate::wire::{ResponseHead, Wire};

pub(super) fn damaged_bytes(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    /// Larger bodies take too long for the little that they add.
    const BODY_MAX: usize = 64 << 10;
    let wire = subject.wire();
    let cases: Vec<&Case> = subject
        .cases_for(Rule::DamagedBytes)
        .filter(|case| (1..=BODY_MAX).contains(&case.body.len()))
        .collect();
    if cases.is_empty() {
        return Ok(NO_CASES);
    }
    for n in 0..subject.mutations {
        let seed = subject.seed.wrapping_add(u64::try_from(n).unwrap_or(0));
        let mut random = Random::new(seed);
        let Some(case) = cases.get(n % cases.len()) else {
            continue;
        };
        progress.trying(&case.name, Some(seed));
        let body = damaged(&case.body, &mut random);
        let failure = |what: String| Failure::new(&case.name, what).with_seed(seed);
        let whole = decode(&*wire, &case.head, [body.as_slice()]);
        if let Some(what) = breach(&whole, Strictness::Damaged) {
            return Err(failure(format!("{what}; the body was {}", shown(&body))));
        }
        let cut = decode(&*wire, &case.head, random.pieces(&body, 100));
        if let Some(what) = breach(&cut, Strictness::Damaged) {
            return Err(failure(format!("{what}; the body was {}", shown(&body))));
        }
        if kind_of(&cut) != kind_of(&whole) {
            let what = format!(
                "whole it ends with {:?}, cut with {:?}; the body was {}",
                whole.error,
                cut.error,
                shown(&body)
            );
            return Err(failure(what));
        }
    }
    Ok(passed(progress))
}

fn kind_of(decoded: &Decoded) -> Option<ProviderErrorKind> {
    decoded.error.as_ref().map(|error| error.kind)
}

fn shown(body: &[u8]) -> String {
    const BYTES_MAX: usize = 600;
    let start = body.get(..BYTES_MAX).unwrap_or(body);
    String::from_utf8_lossy(start).into_owned()
}

/// Values that readers of numbers and of nesting trip over.
const ODD: &[&str] = &[
    "18446744073709551616",
    "-1",
    "1e999",
    "-0.0",
    "4294967296",
    "99999999999999999999999999999999999999",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":",
    "\\ud800",
    "\\u0000",
    "\u{feff}",
    "\n\n",
    "\r",
    "data: ",
    "\0",
];

/// Changes a body in one to four places.
fn damaged(body: &[u8], random: &mut Random) -> Vec<u8> {
    let mut body = body.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(body.len());
        match random.below(7) {
            0 => {
                let (bit, byte) = (random.below(8), body.get_mut(at));
                if let Some(byte) = byte {
                    *byte ^= 1 << bit;
                }
            }
            1 => {
                let end = (at + 1 + random.below(20)).min(body.len());
                body.drain(at.min(end)..end);
            }
            2 => {
                let end = (at + 1 + random.below(200)).min(body.len());
                let copy = body.get(at..end).unwrap_or_default().to_vec();
                insert(&mut body, at, &copy);
            }
            3 => {
                let bytes: Vec<u8> = (0..=random.below(8)).map(|_| random.byte()).collect();
                insert(&mut body, at, &bytes);
            }
            4 => {
                let odd = random.pick(ODD).map_or("", |odd| odd);
                insert(&mut body, at, odd.as_bytes());
            }
            5 => replace_value(&mut body, at, random),
            _ => body.truncate(at),
        }
    }
    body
}

fn insert(body: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let at = at.min(body.len());
    body.splice(at..at, bytes.iter().copied());
}

/// Puts an odd value in the place of the next value of a JSON text.
fn replace_value(body: &mut Vec<u8>, at: usize, random: &mut Random) {
    let rest = body.get(at..).unwrap_or_default();
    let Some(colon) = rest.iter().position(|byte| *byte == b':') else {
        return;
    };
    let start = at + colon + 1;
    let rest = body.get(start..).unwrap_or_default();
    let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b'\n');
    let length = rest.iter().position(is_end).unwrap_or(rest.len());
    let odd = random.pick(ODD).map_or("", |odd| odd);
    body.splice(start..start + length, odd.bytes());
}

pub(super) fn hostile_bytes(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    for (name, start, unit, times) in FLOODS {
        progress.trying(name, None);
        let body = flood(start, unit, *times);
        let decoded = decode(&*wire, &ResponseHead::new(200), body.chunks(64 << 10));
        is_harmless(name, &decoded)?;
    }
    for content_type in [
        "text/event-stream",
        "application/json",
        "application/x-ndjson",
        "application/vnd.amazon.eventstream",
    ] {
        let head = ResponseHead::new(200).with_header("content-type", content_type);
        for n in 0..200 {
            let seed = subject.seed.wrapping_add(n);
            let name = format!("noise as {content_type}");
            progress.trying(&name, Some(seed));
            let mut random = Random::new(seed);
            let length = random.below(400);
            let body: Vec<u8> = (0..length).map(|_| random.byte()).collect();
            let decoded = decode(&*wire, &head, [body.as_slice()]);
            is_harmless(&name, &decoded).map_err(|failure| failure.with_seed(seed))?;
        }
    }
    Ok(passed(progress))
}

fn is_harmless(name: &str, decoded: &Decoded) -> Result<(), Failure> {
    match breach(decoded, Strictness::Damaged) {
        Some(what) => Err(Failure::new(name, what)),
        None => Ok(()),
    }
}

/// A long body of little variety: its name, how it begins, and what repeats so many times.
type Flood = (&'static str, &'static str, &'static [u8], usize);

const FLOODS: &[Flood] = &[
    ("10 MB of a letter", "", b"x", 10 << 20),
    ("10 MB of line ends", "", b"\n", 10 << 20),
    ("10 MB of carriage returns", "", b"\r", 10 << 20),
    ("10 MB of spaces", "", b" ", 10 << 20),
    ("10 MB of colons", "", b":", 10 << 20),
    ("10 MB of nothing", "", b"\0", 10 << 20),
    ("10 MB of no UTF-8", "", b"\xff", 10 << 20),
    ("10 MB of data", "data: ", b"x", 10 << 20),
    ("10 MB of a text", "{\"a\":\"", b"x", 10 << 20),
    ("braces in braces", "", b"{", 200_000),
    ("a list that nests deeply", "", b"[", 200_000),
    ("objects that nest deeply", "", b"{\"a\":", 200_000),
    ("an event that nests deeply", "data: ", b"[", 200_000),
    ("an event of nested objects", "data: ", b"{\"a\":", 200_000),
    ("20,000 empty events", "", b"data:\n\n", 20_000),
    ("20,000 events without fields", "", b"data: {}\n\n", 20_000),
    ("20,000 lines without fields", "", b"{}\n", 20_000),
    ("a message longer than any", "", b"\x7f", 256),
];

fn flood(start: &str, unit: &[u8], times: usize) -> Vec<u8> {
    let mut body = start.as_bytes().to_vec();
    body.extend(unit.repeat(times));
    body.extend(b"\n\n");
    body
}

/// How much of a body that never ends is taken before it is refused.
pub(super) fn bounded_memory(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    const PIECE: usize = 4 << 10;
    const GIVEN_MAX: usize = 4 << 20;
    let limits = Limits {
        line_bytes_max: 16 << 10,
        event_bytes_max: 16 << 10,
        body_bytes_max: 16 << 10,
        error_bytes_max: 16 << 10,
    };
    let held_max = 16 << 10;
    let Some(make) = &subject.make_limited else {
        return Ok(Outcome::NotApplicable {
            reason: "the limits of the wire cannot be set: give `with_limits`",
        });
    };
    let wire = make(limits);
    for start in [
        "data: x",
        "data: {\"a\":\"",
        "{\"a\":\"",
        "[\"",
        "[{\"a\":\"",
        ": ",
        "x",
    ] {
        let name = format!("an endless {start:?}");
        progress.trying(&name, None);
        let mut decoder = wire.decoder(&ResponseHead::new(200));
        let mut deltas: Vec<Delta> = Vec::new();
        let mut given = start.len();
        let mut result = decoder.push(start.as_bytes(), &mut deltas);
        let piece = vec![b'x'; PIECE];
        while result.is_ok() && given < GIVEN_MAX {
            result = decoder.push(&piece, &mut deltas);
            given += PIECE;
        }
        // A comment is ignored byte by byte: nothing of it is held.
        let is_ignored = start.starts_with(':');
        match result {
            Err(error) if error.kind == ProviderErrorKind::Protocol => {
                let slack = 2 * PIECE + start.len();
                if given > held_max + slack {
                    let what = format!("{given} bytes were held, where {held_max} are allowed");
                    return Err(Failure::new(name, what));
                }
            }
            Err(error) => {
                let what = format!("it is refused with {error} and not as `Protocol`");
                return Err(Failure::new(name, what));
            }
            Ok(()) if is_ignored => {}
            Ok(()) => {
                let what = format!("{given} bytes without an end were taken");
                return Err(Failure::new(name, what));
            }
        }
    }
    Ok(passed(progress))
}

pub(super) fn sticky_errors(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    let nonsense = [
        Case::new("an empty body", ""),
        Case::new("a page", "<!doctype html><html><title>Hi</title>"),
        Case::new("a cut object", "{\"a\":"),
        Case::new("a status of failure", "{\"error\":{\"message\":\"no\"}}")
            .with_head(ResponseHead::new(500)),
    ];
    let cases = subject.cases_for(Rule::StickyErrors);
    for case in cases.chain(&nonsense) {
        progress.trying(&case.name, None);
        if let Some(what) = is_loose(&*wire, case) {
            return Err(Failure::new(&case.name, what));
        }
    }
    Ok(passed(progress))
}

/// Says how a decoder goes on after its error, if it does.
fn is_loose(wire: &dyn Wire, case: &Case) -> Option<String> {
    let mut decoder = wire.decoder(&case.head);
    let mut deltas = Vec::new();
    let pushed = decoder.push(&case.body, &mut deltas);
    let error = pushed.and_then(|()| decoder.end(&mut deltas)).err()?;
    let before = deltas.len();
    let later = [
        ("push", decoder.push(&case.body, &mut deltas)),
        ("end", decoder.end(&mut deltas)),
        ("push", decoder.push(b"\n\n", &mut deltas)),
    ];
    for (call, result) in later {
        if result.as_ref().err() != Some(&error) {
            return Some(format!("after {error:?} `{call}` returns {result:?}"));
        }
    }
    (deltas.len() > before).then(|| format!("after {error:?} came {:?}", deltas.get(before)))
}
