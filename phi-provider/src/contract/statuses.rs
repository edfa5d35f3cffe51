//! The rules of errors: which status is which kind, and how long to wait.

use phi_types::{ProviderError, ProviderErrorKind as Kind};

use super::Subject;
use super::card::{Failure, Outcome};
use super::decoding::{decode, passed};
use super::watch::Progress;
use crate::wire::{ResponseHead, Wire};

/// The kinds that a status without a telling body may have, the best one first.
const STATUSES: &[(u16, &[Kind])] = &[
    (400, &[Kind::InvalidRequest]),
    (401, &[Kind::Auth]),
    (403, &[Kind::Auth]),
    (404, &[Kind::InvalidRequest]),
    (429, &[Kind::RateLimited]),
    (500, &[Kind::Server]),
    (502, &[Kind::Server, Kind::Overloaded]),
    (503, &[Kind::Overloaded, Kind::Server]),
    (529, &[Kind::Overloaded]),
];

const BODIES: &[(&str, &str)] = &[
    (
        "text/html",
        "<html><head><title>Not now</title></head></html>",
    ),
    ("text/plain", ""),
    ("application/json", "{\"error\":{\"message\":\"not now\"}}"),
    ("application/json", "{\"message\":\"not now\"}"),
    ("application/json", "[]"),
    ("application/json", "null"),
    (
        "text/event-stream",
        "event: error\ndata: {\"message\":\"not now\"}\n\n",
    ),
    ("application/octet-stream", "\0\0\0\u{1}"),
];

pub(super) fn statuses(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    for (status, kinds) in STATUSES {
        for (content_type, body) in BODIES {
            let name = format!("status {status} with {content_type} {body:?}");
            progress.trying(&name, None);
            let head = ResponseHead::new(*status).with_header("content-type", *content_type);
            let error = error_of(&*wire, &head, body, &name)?;
            if !kinds.contains(&error.kind) {
                let what = format!("it is {error}, where one of {kinds:?} is right");
                return Err(Failure::new(name, what));
            }
            if error.status != Some(*status) || error.message.is_empty() {
                let what = format!("the error has no status or no message: {error:?}");
                return Err(Failure::new(name, what));
            }
        }
    }
    let page = "<!doctype html><html><title>Log in</title></html>";
    for (content_type, body, kind) in [
        ("text/html", page, Kind::Protocol),
        ("text/event-stream", page, Kind::Protocol),
        ("application/json", "", Kind::Incomplete),
        ("text/event-stream", "", Kind::Incomplete),
    ] {
        let name = format!("status 200 with {content_type} {body:?}");
        progress.trying(&name, None);
        let head = ResponseHead::new(200).with_header("content-type", content_type);
        let error = error_of(&*wire, &head, body, &name)?;
        if error.kind != kind {
            let what = format!("it is {error}, where the kind {kind} is right");
            return Err(Failure::new(name, what));
        }
    }
    Ok(passed(progress))
}

fn error_of(
    wire: &dyn Wire,
    head: &ResponseHead,
    body: &str,
    name: &str,
) -> Result<ProviderError, Failure> {
    let decoded = decode(wire, head, [body.as_bytes()]);
    let error = decoded.error;
    error.ok_or_else(|| Failure::new(name, "it is an answer, where it is an error"))
}

/// Headers, and the wait in milliseconds that they ask for.
type Wait<'a> = (&'a [(&'a str, &'a str)], Option<u64>);

pub(super) fn retry_after(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
    let headers: &[Wait] = &[
        (&[("retry-after", "7")], Some(7_000)),
        (&[("Retry-After", " 7 ")], Some(7_000)),
        (&[("retry-after-ms", "1500")], Some(1_500)),
        (
            &[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"), date],
            Some(30_000),
        ),
        (
            &[("retry-after", "Wed, 21 Oct 2015 07:27:30 GMT"), date],
            Some(0),
        ),
        (&[("retry-after", "soon")], None),
        (&[], None),
    ];
    for status in [429, 503] {
        for (headers, wait_ms) in headers {
            let name = format!("status {status} with {headers:?}");
            progress.trying(&name, None);
            let mut head = ResponseHead::new(status);
            for (header, value) in *headers {
                head = head.with_header(*header, *value);
            }
            let error = error_of(
                &*wire,
                &head,
                "{\"error\":{\"message\":\"not now\"}}",
                &name,
            )?;
            if error.retry_after_ms != *wait_ms {
                let found = error.retry_after_ms;
                let what = format!("the wait is {found:?} ms, where {wait_ms:?} is right");
                return Err(Failure::new(name, what));
            }
        }
    }
    Ok(passed(progress))
}
