//! The rules of encoders: the same request is the same bytes, and a conversation keeps its beginning.

use phi_types::History;

use super::Subject;
use super::card::{Failure, Outcome};
use super::conversation::{Conversation, marker};
use super::decoding::passed;
use super::random::Random;
use super::watch::Progress;
use crate::wire::{EncodeError, Encoded, Wire};

pub(super) fn identity(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    progress.trying("identity", None);
    let (one, other) = (subject.wire(), subject.wire());
    let identity = one.identity();
    if identity.protocol.is_empty() || identity.provider.is_empty() {
        let what = "it names no protocol or no service, so messages cannot say who wrote them";
        return Err(Failure::new("identity", what));
    }
    if identity != other.identity() {
        let what = format!(
            "two wires that are made alike are {identity:?} and {:?}",
            other.identity()
        );
        return Err(Failure::new("identity", what));
    }
    Ok(passed(progress))
}

type Written = Result<Encoded, EncodeError>;

fn write(wire: &dyn Wire, conversation: &Conversation, view: &History) -> Written {
    wire.encode(&conversation.request(view.clone()))
}

/// The conversations that the rules of bytes are tried on.
fn views(subject: &Subject, conversation: &Conversation) -> Vec<(String, Option<u64>, History)> {
    let plain = [1, 3, 5, 7, 13].map(|len| {
        let view = conversation.plain(len);
        (format!("a plain conversation of {len} entries"), None, view)
    });
    let odd = (0..60).map(|n| {
        let seed = subject.seed.wrapping_add(n);
        let view = conversation.odd(&mut Random::new(seed));
        ("an odd conversation".to_owned(), Some(seed), view)
    });
    plain.into_iter().chain(odd).collect()
}

pub(super) fn equal_bytes(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    let conversation = Conversation::of(&*wire, &subject.model);
    for (name, seed, view) in views(subject, &conversation) {
        progress.trying(&name, seed);
        let first = write(&*wire, &conversation, &view);
        let again = [
            ("again", write(&*wire, &conversation, &view)),
            (
                "by another wire",
                write(&*subject.wire(), &conversation, &view),
            ),
        ];
        for (how, again) in again {
            if let Some(what) = differ(&first, &again) {
                let what = format!("encoded {how} it is other bytes: {what}");
                return Err(Failure {
                    seed,
                    ..Failure::new(name, what)
                });
            }
        }
    }
    Ok(passed(progress))
}

pub(super) fn used_wire(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    let conversation = Conversation::of(&*wire, &subject.model);
    let mut views = views(subject, &conversation);
    // Forks of one conversation, to and fro, and everything once more.
    let long = conversation.plain(13);
    for len in [13, 7, 9, 1, 11, 13] {
        let name = format!("a fork after {len} entries");
        views.push((name, None, long.prefix(len)));
    }
    let again = views.clone();
    for (name, seed, view) in views.into_iter().chain(again) {
        progress.trying(&name, seed);
        let used = write(&*wire, &conversation, &view);
        let fresh = write(&*subject.wire(), &conversation, &view);
        if let Some(what) = differ(&fresh, &used) {
            let what = format!("after other requests it is other bytes: {what}");
            return Err(Failure {
                seed,
                ..Failure::new(name, what)
            });
        }
    }
    Ok(passed(progress))
}

fn differ(one: &Written, other: &Written) -> Option<String> {
    let (a, b) = match (one, other) {
        (Ok(a), Ok(b)) => (a, b),
        (a, b) if a == b => return None,
        (a, b) => return Some(format!("{a:?}, then {b:?}")),
    };
    let (body_a, body_b) = (a.request.body_bytes(), b.request.body_bytes());
    if body_a != body_b {
        let at = common(&body_a, &body_b);
        return Some(format!(
            "{}, then {}",
            around(&body_a, at),
            around(&body_b, at)
        ));
    }
    let heads = |it: &Encoded| format!("{} {:?}", it.request.url, it.request.headers);
    if heads(a) != heads(b) {
        return Some(format!("{}, then {}", heads(a), heads(b)));
    }
    (a.losses != b.losses).then(|| format!("losses {:?}, then {:?}", a.losses, b.losses))
}

fn around(body: &[u8], at: usize) -> String {
    let start = at.saturating_sub(60);
    let end = (at + 60).min(body.len());
    let shown = body.get(start..end).unwrap_or_default();
    format!("{:?} at byte {at}", String::from_utf8_lossy(shown))
}

fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

pub(super) fn stable_prefix(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    let conversation = Conversation::of(&*wire, &subject.model);
    let long = conversation.plain(25);
    let mut before: Option<(usize, Vec<u8>)> = None;
    for len in (1..=25).step_by(2) {
        let name = format!("a conversation that grew to {len} entries");
        progress.trying(&name, None);
        let written = write(&*wire, &conversation, &long.prefix(len));
        let written = written.map_err(|error| Failure::new(&name, error.to_string()))?;
        let body = written.request.body_bytes();
        if let Some((len_before, body_before)) = before {
            let same = common(&body_before, &body);
            // The last message may change, because what follows joins it.
            for entry in 0..len_before.saturating_sub(subject.newest_entries) {
                let end = position_after(&body_before, &marker(entry));
                let end = end.ok_or_else(|| {
                    Failure::new(
                        &name,
                        format!("the text of entry {entry} is not in the body"),
                    )
                })?;
                if end > same {
                    let what = format!(
                        "entry {entry} of {len_before} is other bytes than before: {}, then {}",
                        around(&body_before, same),
                        around(&body, same)
                    );
                    return Err(Failure::new(&name, what));
                }
            }
        }
        before = Some((len, body));
    }
    Ok(passed(progress))
}

fn position_after(body: &[u8], text: &str) -> Option<usize> {
    let mut windows = body.windows(text.len());
    windows
        .position(|window| window == text.as_bytes())
        .map(|at| at + text.len())
}
