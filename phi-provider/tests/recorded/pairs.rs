//! Compares the request that phi would send for turn n+1 with the one that was recorded.

use phi_provider::Wire;
use phi_types::{AssistantMessage, Request};
use serde_json::Value;

use crate::cases::Turn;
use crate::exceptions::{Difference, Exception, settle};
use crate::laws::decode;

/// What the comparison of requests must know about a protocol.
pub(crate) trait Replay {
    /// Makes the wire that writes requests, with nothing on that recordings do not have.
    fn wire(turn: &Turn) -> Box<dyn Wire>;

    /// Says whether the second request continues the first with one more answer.
    fn continues(first: &Value, second: &Value) -> bool;

    /// Builds the request of turn n+1 without the code of the wire: what came before from the
    /// recorded requests, and the answer as phi decoded it.
    ///
    /// # Errors
    /// What the recorded request holds that the vocabulary of phi does not have.
    fn build(first: &Value, answer: AssistantMessage, second: &Value) -> Result<Request, String>;

    /// Brings both sides into one form; each step has its reason beside it.
    fn normalise(request: &mut Value);
}

/// Compares all pairs in the given folders and returns how many were compared.
pub(crate) fn requests_agree<R: Replay>(
    turns: &[Turn],
    folders: &[&str],
    exceptions: &[Exception],
) -> usize {
    let mut found = Vec::new();
    let mut compared = 0;
    for (turn, next) in turns.iter().zip(turns.iter().skip(1)) {
        let folder = turn.case.split('/').next().unwrap_or_default();
        if turn.case != next.case || turn.index + 1 != next.index || !folders.contains(&folder) {
            continue;
        }
        let (Some(first), Some(second)) = (&turn.request, &next.request) else {
            continue;
        };
        if !turn.head.is_success() || !R::continues(first, second) {
            continue;
        }
        let mut differ = |field: &str, detail: String| {
            found.push(Difference {
                case: turn.case.clone(),
                turn: next.index,
                field: field.to_owned(),
                detail,
            });
        };
        let wire = R::wire(turn);
        let decoded = decode(&*wire, &turn.head, [turn.body.as_slice()]);
        let model = first["model"].as_str().unwrap_or_default();
        let Some(answer) = decoded.message(wire.identity(), model) else {
            differ("answer", format!("{:?}", decoded.error));
            continue;
        };
        let request = match R::build(first, answer, second) {
            Ok(request) => request,
            Err(what) => {
                differ("vocabulary", what);
                continue;
            }
        };
        let encoded = wire.encode(&request).unwrap().request;
        let mut ours: Value = serde_json::from_slice(&encoded.body_bytes()).unwrap();
        let mut theirs = second.clone();
        R::normalise(&mut ours);
        R::normalise(&mut theirs);
        compared += 1;
        compare("", &theirs, &ours, &mut differ);
    }
    settle("the next request is the recorded one", &found, exceptions);
    compared
}

/// Walks both values and reports each place where they differ; a list counts as one place.
fn compare(path: &str, theirs: &Value, ours: &Value, differ: &mut dyn FnMut(&str, String)) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let (a, b) = (a.get(name), b.get(name));
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                match (a, b) {
                    (Some(a), Some(b)) => compare(&path, a, b, differ),
                    (a, b) => differ(&path, shown(a, b)),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                let mut differ_here = |field: &str, detail: String| {
                    differ(field, format!("at {index}: {detail}"));
                };
                compare(&format!("{path}[]"), a, b, &mut differ_here);
            }
        }
        (a, b) if a == b => {}
        (a, b) => differ(path, shown(Some(a), Some(b))),
    }
}

fn shown(theirs: Option<&Value>, ours: Option<&Value>) -> String {
    let short = |value: Option<&Value>| {
        let text = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        text.chars().take(300).collect::<String>()
    };
    format!("recorded {}, ours {}", short(theirs), short(ours))
}
