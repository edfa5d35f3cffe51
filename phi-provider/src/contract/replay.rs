//! The rules of what goes back: an answer to its author, and every conversation to everybody.

use std::sync::Arc;

use phi_types::{AssistantMessage, AssistantPart, CallResult, Entry, History, Request, ToolResult};
use serde_json::Value;

use super::Subject;
use super::card::{Failure, Outcome};
use super::conversation::{Conversation, says_something, user};
use super::decoding::{decode, origin_of, passed};
use super::random::Random;
use super::rule::Rule;
use super::watch::Progress;
use crate::translate::{Loss, LossKind};
use crate::wire::EncodeError;

const RESULT: &str = "what the tool said";

pub(super) fn replay(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    let conversation = Conversation::of(&*wire, &subject.model);
    for case in subject.cases_for(Rule::Replay) {
        let decoded = decode(&*wire, &case.head, [case.body.as_slice()]);
        let Some(message) = decoded.message(origin_of(wire.identity(), &subject.model)) else {
            continue;
        };
        progress.trying(&case.name, None);
        let message = Arc::new(message);
        let request = conversation.request(continued(&message));
        let failure = |what: String| Failure::new(&case.name, what);
        let encoded = wire.encode(&request);
        let encoded = encoded.map_err(|error| failure(format!("it is not encoded: {error}")))?;
        let lost = encoded.losses.iter().find(|loss| !is_due(loss, &message));
        if let Some(loss) = lost {
            return Err(failure(format!("its author loses something: {loss}")));
        }
        let body = encoded.request.body_bytes();
        let body: Value = serde_json::from_slice(&body)
            .map_err(|error| failure(format!("the body is no JSON: {error}")))?;
        let mut strings = Vec::new();
        collect(&body, &mut strings);
        if let Some(what) = forgotten(&message, &request, &strings) {
            return Err(failure(what));
        }
    }
    Ok(passed(progress))
}

/// The conversation in which the message stands, and every call of it is answered.
fn continued(message: &Arc<AssistantMessage>) -> History {
    let mut view = History::new();
    view.push(user("begin"));
    view.push(Entry::Assistant(Arc::clone(message)));
    let results: Vec<CallResult> = message
        .tool_calls()
        .map(|call| CallResult {
            call: Arc::clone(call),
            result: Arc::new(ToolResult::text(RESULT)),
        })
        .collect();
    if results.is_empty() {
        view.push(user("go on"));
    } else {
        view.push(Entry::Results(results.into()));
    }
    view
}

/// Says whether the message itself is to blame for a loss.
fn is_due(loss: &Loss, message: &AssistantMessage) -> bool {
    match &loss.kind {
        LossKind::ArgumentsWrapped => {
            let mut calls = message.tool_calls();
            calls.any(|call| call.arguments.object().is_none())
        }
        // What has no signature may not go back as thinking.
        LossKind::ThinkingDropped | LossKind::ThinkingBecameText => {
            message.parts.iter().any(|part| match part {
                AssistantPart::Thinking(part) => part.facts.signature.is_none(),
                AssistantPart::Text(_) | AssistantPart::ToolCall(_) | AssistantPart::Opaque(_) => {
                    false
                }
            })
        }
        // Some services give out ids that they do not take back.
        LossKind::CallIdChanged => message.tool_calls().any(|call| !is_plain(&call.id)),
        LossKind::MessageDropped => message.tool_calls().next().is_none(),
        _ => false,
    }
}

/// Says whether every protocol takes an id.
fn is_plain(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    id.len() <= 40 && id.bytes().all(is_plain)
}

fn collect<'a>(value: &'a Value, strings: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => strings.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, strings)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, strings)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Names what of the message is nowhere in the next request.
fn forgotten(message: &AssistantMessage, request: &Request, strings: &[&str]) -> Option<String> {
    let is_sent = |text: &str| strings.iter().any(|string| string.contains(text));
    let mut calls = 0;
    for part in &message.parts {
        match part {
            AssistantPart::Text(part) if !is_sent(part.text.trim()) => {
                return Some(format!("the next request lacks the text {:?}", part.text));
            }
            AssistantPart::ToolCall(call) => {
                calls += 1;
                let named = strings.iter().filter(|string| ***string == *call.name);
                let listed = request.tools.iter().filter(|tool| tool.name == call.name);
                if named.count() <= listed.count() {
                    return Some(format!(
                        "the next request lacks the call of {:?}",
                        call.name
                    ));
                }
            }
            AssistantPart::Text(_) | AssistantPart::Thinking(_) | AssistantPart::Opaque(_) => {}
        }
    }
    let results = strings.iter().filter(|string| string.contains(RESULT));
    let results = results.count();
    (results != calls)
        .then(|| format!("the next request holds {results} results for {calls} calls"))
}

pub(super) fn any_history(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    let conversation = Conversation::of(&*wire, &subject.model);
    progress.trying("an empty conversation", None);
    let empty = wire.encode(&conversation.request(History::new()));
    if !matches!(empty, Err(EncodeError::NothingToSend)) {
        let what = format!("it is not `NothingToSend` but {empty:?}");
        return Err(Failure::new("an empty conversation", what));
    }
    for n in 0..400 {
        let seed = subject.seed.wrapping_add(n);
        progress.trying("an odd conversation", Some(seed));
        let view = conversation.odd(&mut Random::new(seed));
        let failure = |what: String| Failure::new(format!("{view:?}"), what).with_seed(seed);
        match wire.encode(&conversation.request(view.clone())) {
            Ok(encoded) => {
                let body = encoded.request.body_bytes();
                if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&body) {
                    return Err(failure(format!("the body is no JSON: {error}")));
                }
            }
            Err(EncodeError::NothingToSend) if !says_something(&view) => {}
            Err(error) => return Err(failure(format!("it is not encoded: {error}"))),
        }
    }
    Ok(passed(progress))
}
