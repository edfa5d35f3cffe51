//! Says how a request differs from a recorded one.

use super::tape::Exchange;
use crate::wire::HttpRequest;

/// How many bytes are shown before and after the first difference.
const BEFORE: usize = 24;
const AFTER: usize = 48;

/// How like a recorded request is to one that is asked. A later one is more alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Likeness {
    Different,
    /// The address is the same, and so many bytes of the body.
    Address(usize),
    Same,
}

pub(super) fn likeness(recorded: &Exchange, asked: &HttpRequest) -> Likeness {
    let request = &recorded.request;
    if request.method != asked.method || request.url != asked.url {
        return Likeness::Different;
    }
    let body = asked.body_bytes();
    match first_difference(&request.body.0, &body) {
        None => Likeness::Same,
        Some(at) => Likeness::Address(at),
    }
}

/// Describes the first difference.
pub(super) fn difference(recorded: &Exchange, asked: &HttpRequest) -> String {
    let request = &recorded.request;
    if request.method != asked.method {
        let (recorded, asked) = (&request.method, asked.method);
        return format!("it was {recorded}, and {asked} is asked");
    }
    if request.url != asked.url {
        let (recorded, asked) = (&request.url, &asked.url);
        return format!("it went to {recorded}, and {asked} is asked");
    }
    let body = asked.body_bytes();
    let at = first_difference(&request.body.0, &body).unwrap_or_default();
    let (recorded, asked) = (shown(&request.body.0, at), shown(&body, at));
    format!("the body differs at byte {at}: recorded `{recorded}`, asked `{asked}`")
}

fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    let differs = one.iter().zip(other).position(|(a, b)| a != b);
    let shorter = one.len().min(other.len());
    differs.or_else(|| (one.len() != other.len()).then_some(shorter))
}

fn shown(bytes: &[u8], at: usize) -> String {
    let from = at.saturating_sub(BEFORE).min(bytes.len());
    let to = at.saturating_add(AFTER).min(bytes.len());
    let text = String::from_utf8_lossy(bytes.get(from..to).unwrap_or_default()).into_owned();
    let before = if from > 0 { "..." } else { "" };
    let after = if to < bytes.len() { "..." } else { "" };
    format!("{before}{text}{after}")
}
