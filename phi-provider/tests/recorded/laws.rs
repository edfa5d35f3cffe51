//! What is true of every recorded turn, whatever its protocol.

use phi_provider::{ResponseHead, Wire};
use phi_types::{
    Assembler, AssistantMessage, Delta, Identity, Origin, ProviderError, ProviderErrorKind,
    StopReason,
};
use serde_json::Value;

use crate::cases::{Framing, Turn, turns_of};
use crate::exceptions::{Difference, Exception, settle};
use crate::fields::{Fields, differences, fields_of};

/// What the laws must know about a protocol.
pub(crate) trait Subject {
    /// The name of the protocol in the recordings.
    const PROTOCOL: &'static str;
    /// How its streams are framed.
    const FRAMING: Framing;
    /// Whether an event is a line.
    const LINES: bool = false;

    /// Makes the wire.
    fn wire() -> Box<dyn Wire>;

    /// Says whether the data of an event hold the finish reason.
    fn is_finish(data: &str) -> bool;

    /// Maps what the official SDK made of a stream; `None` where it raised.
    fn expected(oracle: &Value) -> Option<Fields>;

    /// Reads a whole answer without the code of the decoder; `None` where it is none.
    fn read_whole(body: &Value) -> Option<Fields>;

    /// Lists where the events of a stream end, and whether each holds the finish reason.
    fn events(body: &[u8]) -> Vec<(usize, bool)> {
        let mut start = 0;
        let ends = boundaries(body, Self::LINES).into_iter();
        ends.map(|end| {
            let event = String::from_utf8_lossy(&body[start..end]);
            start = end;
            let holds = if Self::LINES {
                Self::is_finish(&event)
            } else {
                data_of(&event).any(|data| Self::is_finish(&data))
            };
            (end, holds)
        })
        .collect()
    }

    /// Reads a stream without the code of the decoder, where no SDK has read it.
    fn read_stream(_body: &str) -> Option<Fields> {
        None
    }
}

/// What came out of a body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decoded {
    pub(crate) deltas: Vec<Delta>,
    pub(crate) error: Option<ProviderError>,
}

impl Decoded {
    fn assembler(&self) -> Assembler {
        let mut assembler = Assembler::new();
        for delta in &self.deltas {
            assembler.push(delta).unwrap();
        }
        assembler
    }

    /// The message, if the stream finished without an error.
    pub(crate) fn message(&self, identity: Identity<'_>, model: &str) -> Option<AssistantMessage> {
        self.assembler().into_message(origin(identity, model))
    }

    /// What was said, also without a finish.
    fn fragment(&self) -> AssistantMessage {
        let mut assembler = self.assembler();
        if assembler.finish().is_none() {
            assembler.push(&Delta::finish(StopReason::Other)).unwrap();
        }
        assembler.into_message(Origin::default()).unwrap()
    }
}

/// The origin of messages of a wire.
pub(crate) fn origin(identity: Identity<'_>, model: &str) -> Origin {
    Origin {
        protocol: identity.protocol.into(),
        provider: identity.provider.into(),
        model: model.into(),
        ..Origin::default()
    }
}

/// Decodes a body that comes in pieces.
pub(crate) fn decode<'a>(
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

/// Runs all laws on one protocol.
pub(crate) struct Laws<S: Subject> {
    pub(crate) turns: Vec<Turn>,
    wire: Box<dyn Wire>,
    subject: std::marker::PhantomData<S>,
}

impl<S: Subject> Laws<S> {
    pub(crate) fn new() -> Self {
        Self {
            turns: turns_of(S::PROTOCOL, &S::FRAMING),
            wire: S::wire(),
            subject: std::marker::PhantomData,
        }
    }

    fn whole(&self, turn: &Turn) -> Decoded {
        decode(&*self.wire, &turn.head, [turn.body.as_slice()])
    }

    /// Any cut of the bytes gives the same deltas and the same error.
    pub(crate) fn any_cut_decodes_alike(&self) {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for turn in &self.turns {
            let whole = self.whole(turn);
            let bytewise = decode(&*self.wire, &turn.head, turn.body.chunks(1));
            assert_eq!(bytewise, whole, "{} byte by byte", turn.name());
            for size_max in [4, 64, 4096] {
                let pieces = random.pieces(&turn.body, size_max);
                let cut = decode(&*self.wire, &turn.head, pieces);
                assert_eq!(cut, whole, "{} in pieces of up to {size_max}", turn.name());
            }
        }
    }

    /// A stream that is cut before its finish is incomplete; one cut after it is the same message.
    ///
    /// Returns how many cuts were tried before and after the finish.
    pub(crate) fn cut_short(&self, exceptions: &[Exception]) -> (usize, usize) {
        let mut found = Vec::new();
        let mut tried = (0, 0);
        for turn in self.turns.iter().filter(|turn| turn.is_stream) {
            let whole = self.whole(turn);
            if whole.error.is_some() {
                continue;
            }
            let whole = without_usage(whole.fragment());
            let mut finished = false;
            let ends = S::events(&turn.body);
            // A long stream is cut at some hundred places: its pieces are alike, but for the last.
            let step = ends.len() / 400 + 1;
            let last = ends.len().saturating_sub(40);
            for (nth, (end, holds_finish)) in ends.into_iter().enumerate() {
                finished |= holds_finish;
                if nth % step != 0 && nth < last {
                    continue;
                }
                let cut = decode(&*self.wire, &turn.head, [&turn.body[..end]]);
                let wrong = match (&cut.error, finished) {
                    (Some(error), false) if error.kind == ProviderErrorKind::Incomplete => None,
                    (None, true) => {
                        let cut = without_usage(cut.fragment());
                        (cut != whole).then(|| format!("cut at {end}: another message: {cut:?}"))
                    }
                    (error, _) => Some(format!("cut at {end}, finished {finished}: {error:?}")),
                };
                if finished {
                    tried.1 += 1;
                } else {
                    tried.0 += 1;
                }
                found.extend(wrong.map(|detail| difference(turn, "cut", detail)));
            }
        }
        settle("a cut stream is never a short answer", &found, exceptions);
        tried
    }

    /// Every stream means what the official SDK made of it. Returns how many were compared.
    pub(crate) fn streams_agree(&self, exceptions: &[Exception]) -> usize {
        let mut found = Vec::new();
        let mut compared = 0;
        for turn in self.turns.iter().filter(|turn| turn.is_stream) {
            let Some(oracle) = &turn.expected else {
                if let Some(oracle) = S::read_stream(&String::from_utf8_lossy(&turn.body)) {
                    compared += 1;
                    let decoded = self.whole(turn);
                    if let Some(error) = &decoded.error {
                        found.push(difference(turn, "error", error.to_string()));
                    }
                    self.compare(turn, &oracle, &decoded, &mut found);
                    continue;
                }
                found.push(difference(
                    turn,
                    "expected",
                    "there is no oracle".to_owned(),
                ));
                continue;
            };
            let decoded = self.whole(turn);
            match (S::expected(oracle), &decoded.error) {
                (None, None) => {
                    found.push(difference(
                        turn,
                        "error",
                        "the SDK raised, phi did not".to_owned(),
                    ));
                }
                (None, Some(_)) => compared += 1,
                (Some(oracle), error) => {
                    compared += 1;
                    if let Some(error) = error {
                        found.push(difference(turn, "error", error.to_string()));
                    }
                    self.compare(turn, &oracle, &decoded, &mut found);
                }
            }
        }
        settle("streams mean what the SDK made of them", &found, exceptions);
        compared
    }

    /// Every whole answer means what a small reader finds in its JSON. Returns how many.
    pub(crate) fn whole_answers_agree(&self, exceptions: &[Exception]) -> usize {
        let mut found = Vec::new();
        let mut compared = 0;
        let whole = self
            .turns
            .iter()
            .filter(|turn| !turn.is_stream && turn.head.is_success());
        for turn in whole {
            let decoded = self.whole(turn);
            match (S::read_whole(&turn.json()), &decoded.error) {
                (None, Some(_)) => compared += 1,
                (None, None) => {
                    found.push(difference(
                        turn,
                        "error",
                        "no answer, yet no error".to_owned(),
                    ));
                }
                (Some(oracle), error) => {
                    compared += 1;
                    if let Some(error) = error {
                        found.push(difference(turn, "error", error.to_string()));
                    }
                    self.compare(turn, &oracle, &decoded, &mut found);
                }
            }
        }
        settle(
            "whole answers mean what their JSON says",
            &found,
            exceptions,
        );
        compared
    }

    /// Every error body is the error that the caller expects; `Ok` bodies are not asked.
    ///
    /// `expected` names the kind for a turn. Returns how many were compared.
    pub(crate) fn errors_are_classified(
        &self,
        expected: impl Fn(&Turn) -> Option<ProviderErrorKind>,
    ) -> usize {
        let mut compared = 0;
        for turn in self.turns.iter().filter(|turn| !turn.head.is_success()) {
            let decoded = self.whole(turn);
            let error = decoded
                .error
                .unwrap_or_else(|| panic!("{}: no error", turn.name()));
            assert_eq!(Some(error.kind), expected(turn), "{}: {error}", turn.name());
            assert_eq!(error.status, Some(turn.head.status), "{}", turn.name());
            let stated = message_in(&turn.json());
            let stated = stated.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(error.message.contains(&stated), "{}: {error}", turn.name());
            assert!(!stated.is_empty(), "{}", turn.name());
            compared += 1;
        }
        compared
    }

    fn compare(
        &self,
        turn: &Turn,
        oracle: &Fields,
        decoded: &Decoded,
        found: &mut Vec<Difference>,
    ) {
        let ours = fields_of(&decoded.fragment());
        let differing = differences(oracle, &ours).into_iter();
        found.extend(differing.map(|(field, detail)| difference(turn, field, detail)));
    }
}

fn difference(turn: &Turn, field: &str, detail: String) -> Difference {
    Difference {
        case: turn.case.clone(),
        turn: turn.index,
        field: field.to_owned(),
        detail,
    }
}

/// Finds the message of an error body: the first text under a telling name.
fn message_in(body: &Value) -> String {
    match body {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.first().map(message_in).unwrap_or_default(),
        Value::Object(fields) => ["error", "message", "detail"]
            .iter()
            .filter_map(|name| fields.get(*name))
            .map(message_in)
            .find(|text| !text.is_empty())
            .unwrap_or_default(),
        _ => String::new(),
    }
}

fn without_usage(message: AssistantMessage) -> AssistantMessage {
    AssistantMessage {
        usage: phi_types::Usage::default(),
        ..message
    }
}

/// Lists where events end: after every line, or after every empty line.
fn boundaries(body: &[u8], lines: bool) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut line_start = 0;
    let mut at = 0;
    while at < body.len() {
        let end = match body[at] {
            b'\r' if body.get(at + 1) == Some(&b'\n') => at + 2,
            b'\r' | b'\n' => at + 1,
            _ => {
                at += 1;
                continue;
            }
        };
        if lines || at == line_start {
            ends.push(end);
        }
        line_start = end;
        at = end;
    }
    ends
}

/// Returns the data lines of one event.
fn data_of(event: &str) -> impl Iterator<Item = String> {
    let data = event
        .split(['\n', '\r'])
        .filter_map(|line| line.strip_prefix("data:"));
    data.map(|data| data.trim_start().to_owned())
}

/// A small generator of pseudo-random numbers: the same seed gives the same cuts.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    fn pieces<'a>(&mut self, mut bytes: &'a [u8], size_max: usize) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let size = (1 + self.below(size_max)).min(bytes.len());
            let (piece, rest) = bytes.split_at(size);
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}
