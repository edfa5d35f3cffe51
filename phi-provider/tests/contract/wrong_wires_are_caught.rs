//! Wires with one fault each: the row of that fault fails, and says where and what to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use phi_provider::contract::{Case, Expected, Outcome, Rule, SECRET, ScoreCard, WireContract};
use phi_provider::openai_chat::OpenAiChat;
use phi_provider::{
    CredentialError, Decoder, EncodeError, Encoded, HttpRequest, Limits, ResponseHead, Secret,
    SecretHeader, Wire,
};
use phi_types::{
    AssistantPart, Delta, Entry, History, Identity, ProviderError, ProviderErrorKind, Request,
    StopReason, Usage,
};
use serde_json::json;

/// What is wrong with a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    Nameless,
    PiecesAreLines,
    ShortAnswer,
    PartsEndTwice,
    PartsTakeMore,
    OverTooEarly,
    PanicsOnGarbage,
    NeverEnds,
    TakesEverything,
    ForgetsErrors,
    EveryStatusIsServer,
    NoWait,
    UnstableOrder,
    NewestFirst,
    KeepsTheFirstBody,
    NoHeader,
    KeyInUrl,
    ForgetsCallsDecoded,
    ForgetsCallsEncoded,
    RefusesBlankText,
}

/// The wire of Chat Completions with one fault.
struct Wrong {
    inner: OpenAiChat,
    fault: Fault,
    encoded: AtomicUsize,
    first: std::sync::Mutex<Option<Vec<Bytes>>>,
}

impl Wrong {
    fn new(fault: Fault, limits: Limits) -> Self {
        let limits = match fault {
            Fault::TakesEverything => Limits::default(),
            _ => limits,
        };
        Self {
            inner: OpenAiChat::new("https://api.example.com/v1").with_limits(limits),
            fault,
            encoded: AtomicUsize::new(0),
            first: std::sync::Mutex::new(None),
        }
    }
}

impl Wire for Wrong {
    fn identity(&self) -> Identity<'_> {
        Identity {
            provider: match self.fault {
                Fault::Nameless => "",
                _ => "openai",
            },
            ..self.inner.identity()
        }
    }

    fn encode(&self, request: &Request) -> Result<Encoded, EncodeError> {
        let mut request = request.clone();
        let is_blank = |entry: &Entry| match entry {
            Entry::User(message) => format!("{message:?}").contains("\"\\n\\t\""),
            Entry::Assistant(_) | Entry::Results(_) | Entry::Extension(_) => false,
        };
        match self.fault {
            Fault::ForgetsCallsEncoded => request.view = without_calls(&request.view),
            Fault::RefusesBlankText if request.view.newest_first().any(is_blank) => {
                return Err(EncodeError::Unwritable {
                    index: 0,
                    reason: "blank".to_owned(),
                });
            }
            _ => {}
        }
        let mut encoded = self.inner.encode(&request)?;
        let count = self.encoded.fetch_add(1, Ordering::Relaxed);
        let body = &mut encoded.request.body;
        match self.fault {
            Fault::UnstableOrder => body.push(Bytes::from(" ".repeat(count % 3))),
            Fault::NewestFirst => {
                let len = request.view.len();
                body.insert(0, Bytes::from(" ".repeat(len)));
            }
            Fault::KeepsTheFirstBody => {
                *body = self
                    .first
                    .lock()
                    .unwrap()
                    .get_or_insert(body.clone())
                    .clone();
            }
            Fault::KeyInUrl => encoded.request.url.push_str(&format!("?key={SECRET}")),
            _ => {}
        }
        Ok(encoded)
    }

    fn decoder(&self, head: &ResponseHead) -> Box<dyn Decoder> {
        Box::new(WrongDecoder {
            inner: self.inner.decoder(head),
            fault: self.fault,
            error: None,
            calls: Vec::new(),
            pushed: 0,
        })
    }

    fn authorize(
        &self,
        request: &HttpRequest,
        secret: &Secret,
        at: SystemTime,
    ) -> Result<Vec<SecretHeader>, CredentialError> {
        match self.fault {
            Fault::NoHeader => Ok(Vec::new()),
            _ => self.inner.authorize(request, secret, at),
        }
    }
}

fn without_calls(view: &History) -> History {
    let mut without = History::new();
    for entry in view.entries() {
        match entry {
            Entry::Assistant(message) => {
                let mut message = (**message).clone();
                let is_call = |part: &AssistantPart| matches!(part, AssistantPart::ToolCall(_));
                message.parts.retain(|part| !is_call(part));
                without.push(Entry::Assistant(Arc::new(message)));
            }
            Entry::Results(_) => {}
            other => without.push(other.clone()),
        }
    }
    without
}

struct WrongDecoder {
    inner: Box<dyn Decoder>,
    fault: Fault,
    error: Option<ProviderError>,
    calls: Vec<u32>,
    pushed: usize,
}

impl WrongDecoder {
    fn bend(
        &mut self,
        result: Result<(), ProviderError>,
        from: usize,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), ProviderError> {
        let new = deltas.split_off(from);
        for delta in new {
            let extra = match (&delta, self.fault) {
                (Delta::PartEnded(_), Fault::PartsEndTwice) => Some(delta.clone()),
                (Delta::PartEnded(it), Fault::PartsTakeMore) => {
                    deltas.push(delta.clone());
                    deltas.push(Delta::text(it.part, ""));
                    continue;
                }
                (Delta::ToolCall(it), Fault::ForgetsCallsDecoded) => {
                    self.calls.push(it.part);
                    continue;
                }
                (Delta::Arguments(it), Fault::ForgetsCallsDecoded)
                    if self.calls.contains(&it.part) =>
                {
                    continue;
                }
                _ => None,
            };
            deltas.push(delta);
            deltas.extend(extra);
        }
        let mut result = result;
        if let Err(error) = &mut result {
            match self.fault {
                Fault::EveryStatusIsServer => error.kind = ProviderErrorKind::Server,
                Fault::NoWait => error.retry_after_ms = None,
                Fault::ForgetsErrors if self.error.replace(error.clone()).is_some() => {
                    return Ok(());
                }
                _ => {}
            }
        }
        result
    }
}

impl Decoder for WrongDecoder {
    fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        self.pushed += bytes.len();
        if self.fault == Fault::PanicsOnGarbage {
            let is_garbage = bytes.iter().any(|byte| *byte >= 0xf8);
            assert!(!is_garbage, "a byte that is never in UTF-8");
        }
        while self.fault == Fault::NeverEnds && bytes.contains(&0xff) {
            std::thread::park_timeout(Duration::from_secs(1));
        }
        let from = deltas.len();
        let lines: &[u8] = b"\n\n";
        let result = match self.fault {
            // Whoever takes each piece for whole events loses what is cut.
            Fault::PiecesAreLines if !bytes.ends_with(b"\n") => self
                .inner
                .push(bytes, deltas)
                .and_then(|()| self.inner.push(lines, deltas)),
            _ => self.inner.push(bytes, deltas),
        };
        self.bend(result, from, deltas)
    }

    fn end(&mut self, deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        let from = deltas.len();
        let result = self.inner.end(deltas);
        let result = match result {
            Err(error)
                if self.fault == Fault::ShortAnswer
                    && error.kind == ProviderErrorKind::Incomplete =>
            {
                deltas.push(Delta::finish(StopReason::EndTurn));
                Ok(())
            }
            other => other,
        };
        self.bend(result, from, deltas)
    }

    fn is_over(&self) -> bool {
        self.inner.is_over() || self.fault == Fault::OverTooEarly && self.pushed > 100
    }
}

fn event(value: &serde_json::Value) -> String {
    format!("data: {value}\n\n")
}

/// A case of text, two calls and usage.
fn case() -> Case {
    let call = |index: usize, id: &str, arguments: &str| json!({"index": index, "id": id, "function": {"name": "lookup", "arguments": arguments}});
    let choice = |delta: serde_json::Value, finish: serde_json::Value| json!({"id": "r", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    let body = [
        event(&choice(json!({"content": "Let me "}), json!(null))),
        event(&choice(json!({"content": "look. \u{1f600}"}), json!(null))),
        event(&choice(
            json!({"tool_calls": [call(0, "call_a", "{\"q\":")]}),
            json!(null),
        )),
        event(&choice(
            json!({"tool_calls": [call(0, "", "1}")]}),
            json!(null),
        )),
        event(&choice(
            json!({"tool_calls": [call(1, "call_b", "{}")]}),
            json!(null),
        )),
        event(&choice(json!({}), json!("tool_calls"))),
        event(&json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})),
        "data: [DONE]\n\n".to_owned(),
    ];
    let expected = Expected::text("Let me look. \u{1f600}")
        .with_call("call_a", "lookup", json!({"q": 1}))
        .with_call("call_b", "lookup", json!({}))
        .with_stop_reason(StopReason::ToolUse)
        .with_usage(Usage {
            input_tokens: Some(3),
            output_tokens: Some(2),
            ..Usage::default()
        });
    Case::new("two calls", body.concat()).with_expected(expected)
}

fn contract(fault: Fault) -> WireContract {
    WireContract::new(move || Wrong::new(fault, Limits::default()))
        .with_limits(move |limits| Wrong::new(fault, limits))
        .with_case(case())
        .with_mutations(200)
        .with_patience(Duration::from_secs(10))
}

/// Asserts that the row of a rule fails, and returns it as the score card shows it.
fn caught(fault: Fault, rule: Rule) -> String {
    let row = contract(fault).check(rule);
    let failed = matches!(row.outcome, Outcome::Failed(_));
    assert!(failed, "{fault:?} keeps {rule:?}: {row:?}");
    let rows = vec![row];
    let wire = String::new();
    let shown = ScoreCard { wire, rows }.to_string();
    assert!(shown.contains(rule.remedy()), "{shown}");
    shown
}

#[test]
fn a_wire_without_a_fault_passes() {
    let card = contract(Fault::Nothing).run();
    card.assert();
    let is_tried = |outcome: &Outcome| matches!(outcome, Outcome::Passed { tries } if *tries > 0);
    assert!(card.rows.iter().all(|row| is_tried(&row.outcome)), "{card}");
    assert_eq!(card.rows.len(), Rule::ALL.len());
}

#[test]
#[should_panic(expected = "the wire breaks its contract")]
fn a_card_with_a_failed_row_fails_its_test() {
    let contract = contract(Fault::Nameless);
    let wire = "nobody".to_owned();
    let rows = vec![contract.check(Rule::Identity)];
    ScoreCard { wire, rows }.assert();
}

#[test]
fn a_wire_without_a_name_is_caught() {
    caught(Fault::Nameless, Rule::Identity);
}

#[test]
fn another_meaning_is_caught() {
    let shown = caught(Fault::ForgetsCallsDecoded, Rule::Meaning);
    assert!(
        shown.contains("there are 0 calls where 2 are expected"),
        "{shown}"
    );
    assert!(shown.contains("case:   two calls"), "{shown}");
}

#[test]
fn splits_that_matter_are_caught() {
    caught(Fault::PiecesAreLines, Rule::AnyCut);
}

#[test]
fn a_short_answer_on_a_cut_is_caught() {
    let shown = caught(Fault::ShortAnswer, Rule::CutShort);
    assert!(shown.contains("it is another message"), "{shown}");
}

#[test]
fn a_part_that_ends_twice_is_caught() {
    caught(Fault::PartsEndTwice, Rule::Grammar);
}

#[test]
fn more_for_a_part_that_ended_is_caught() {
    caught(Fault::PartsTakeMore, Rule::Grammar);
}

#[test]
fn an_end_that_is_announced_too_early_is_caught() {
    caught(Fault::OverTooEarly, Rule::OverIsOver);
}

#[test]
fn a_panic_on_garbage_is_caught_with_its_words() {
    let shown = caught(Fault::PanicsOnGarbage, Rule::HostileBytes);
    assert!(
        shown.contains("it panicked: a byte that is never in UTF-8"),
        "{shown}"
    );
    caught(Fault::PanicsOnGarbage, Rule::DamagedBytes);
}

#[test]
fn a_try_without_an_end_is_caught() {
    let shown = caught(Fault::NeverEnds, Rule::HostileBytes);
    assert!(shown.contains("it did not end within 10s"), "{shown}");
}

#[test]
fn memory_without_a_limit_is_caught() {
    let shown = caught(Fault::TakesEverything, Rule::BoundedMemory);
    assert!(shown.contains("without an end were taken"), "{shown}");
}

#[test]
fn an_error_that_is_forgotten_is_caught() {
    caught(Fault::ForgetsErrors, Rule::StickyErrors);
}

#[test]
fn a_status_of_the_wrong_kind_is_caught() {
    let shown = caught(Fault::EveryStatusIsServer, Rule::Statuses);
    assert!(shown.contains("status 400"), "{shown}");
}

#[test]
fn a_wait_that_is_not_read_is_caught() {
    caught(Fault::NoWait, Rule::RetryAfter);
}

#[test]
fn an_unstable_order_is_caught() {
    caught(Fault::UnstableOrder, Rule::EqualBytes);
}

#[test]
fn a_prefix_that_changes_is_caught() {
    caught(Fault::NewestFirst, Rule::StablePrefix);
}

#[test]
fn a_wire_that_remembers_too_much_is_caught() {
    caught(Fault::KeepsTheFirstBody, Rule::UsedWire);
}

#[test]
fn a_credential_that_does_not_travel_is_caught() {
    caught(Fault::NoHeader, Rule::Credential);
}

#[test]
fn a_key_in_the_url_is_caught() {
    let shown = caught(Fault::KeyInUrl, Rule::NoLeak);
    assert!(shown.contains("case:   the URL"), "{shown}");
}

#[test]
fn a_forgotten_call_is_caught() {
    let shown = caught(Fault::ForgetsCallsEncoded, Rule::Replay);
    assert!(shown.contains("lacks the call of \"lookup\""), "{shown}");
}

#[test]
fn a_conversation_that_is_refused_is_caught() {
    let shown = caught(Fault::RefusesBlankText, Rule::AnyHistory);
    assert!(shown.contains("seed:"), "{shown}");
}
