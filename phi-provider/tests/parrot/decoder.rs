//! The decoder of Parrot.

// region: decoder
use std::collections::HashSet;

use phi_provider::{
    Decoder, Limits, ResponseHead, SseDecoder, StreamEvent, classify, classify_reported,
};
use phi_types::{
    Delta, Facts, PartFacts, PartFactsDelta, ProviderError, ProviderErrorKind, Started, StopReason,
    Usage,
};
use serde::Deserialize;

/// What any event may hold; what is not there is the default.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Event {
    id: Option<String>,
    model: Option<String>,
    part: u32,
    text: String,
    seal: Option<String>,
    tool: String,
    input: String,
    why: Option<String>,
    tokens: Option<Tokens>,
}

/// A count that is not stated is unknown, which is not zero.
#[derive(Deserialize)]
struct Tokens {
    #[serde(rename = "in")]
    input: Option<u64>,
    out: Option<u64>,
}

/// What must be known of the events before.
#[derive(Default)]
struct Answer {
    calls: HashSet<u32>,
    finished: bool,
}

pub(crate) struct ParrotDecoder {
    head: ResponseHead,
    limits: Limits,
    events: SseDecoder,
    /// The body, where it is an error and no answer.
    error_body: Option<Vec<u8>>,
    begun: bool,
    answer: Answer,
    error: Option<ProviderError>,
}

impl ParrotDecoder {
    pub(crate) fn new(head: &ResponseHead, limits: Limits) -> Self {
        let is_answer = head.is_success() && !head.content_type().contains("html");
        Self {
            head: head.clone(),
            limits,
            events: SseDecoder::new(limits),
            error_body: (!is_answer).then(Vec::new),
            begun: false,
            answer: Answer::default(),
            error: None,
        }
    }

    fn take(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        // A page is no answer, whatever its content type says.
        if !self.begun && self.error_body.is_none() {
            match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
                Some(b'<') => self.error_body = Some(Vec::new()),
                Some(_) => self.begun = true,
                None => {}
            }
        }
        if let Some(body) = &mut self.error_body {
            let room = self.limits.error_bytes_max.saturating_sub(body.len());
            body.extend(bytes.iter().take(room));
            return Ok(());
        }
        let Self {
            events,
            head,
            answer,
            ..
        } = self;
        events.push(bytes, |event| read(event, head, answer, deltas))
    }

    fn close(&self) -> Result<(), ProviderError> {
        if let Some(body) = &self.error_body {
            let mut error = classify(&self.head, body);
            if self.head.is_success() {
                error.kind = ProviderErrorKind::Protocol;
            }
            return Err(error);
        }
        if self.answer.finished {
            return Ok(());
        }
        let message = "the answer ended before its finish: send the request again";
        Err(ProviderError::new(ProviderErrorKind::Incomplete, message))
    }

    /// Keeps the first error. After the finish nothing unmakes the answer.
    fn keep(&mut self, result: Result<(), ProviderError>) -> Result<(), ProviderError> {
        match result {
            Err(error) if !self.answer.finished => Err(self.error.insert(error).clone()),
            _ => Ok(()),
        }
    }
}

impl Decoder for ParrotDecoder {
    fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let taken = self.take(bytes, deltas);
        self.keep(taken)
    }

    fn end(&mut self, _deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let closed = self.close();
        self.keep(closed)
    }
}

fn read(
    event: StreamEvent<'_>,
    head: &ResponseHead,
    answer: &mut Answer,
    deltas: &mut Vec<Delta>,
) -> Result<(), ProviderError> {
    let garbled = |error: serde_json::Error| {
        let message = format!(
            "the event `{}` is not what Parrot sends: {error}",
            event.name
        );
        ProviderError::new(ProviderErrorKind::Protocol, message)
    };
    match event.name {
        _ if answer.finished => return Ok(()),
        "fail" => {
            let error = serde_json::from_str(event.data).map_err(garbled)?;
            return Err(classify_reported(head, error));
        }
        "start" | "say" | "think" | "call" | "stop" => {}
        // A kind of event that nobody knows yet.
        _ => return Ok(()),
    }
    let it: Event = serde_json::from_str(event.data).map_err(garbled)?;
    // Parrot counts the parts of each kind anew, so every kind has numbers of its own.
    let part = |kind: u32| it.part.saturating_mul(3).saturating_add(kind);
    match event.name {
        "start" => deltas.push(Delta::Started(Started {
            response_id: it.id,
            model: it.model,
        })),
        "say" => deltas.push(Delta::text(part(0), it.text)),
        "think" => {
            deltas.push(Delta::thinking(part(1), it.text));
            if it.seal.is_some() {
                let facts = PartFacts::from(Facts {
                    signature: it.seal,
                    ..Facts::default()
                });
                deltas.push(Delta::PartFacts(PartFactsDelta {
                    part: part(1),
                    facts,
                }));
            }
        }
        // A call that comes twice counts once.
        "call" if !answer.calls.insert(part(2)) => {}
        "call" => {
            deltas.push(Delta::tool_call(
                part(2),
                it.id.unwrap_or_default(),
                it.tool,
            ));
            deltas.push(Delta::arguments(part(2), it.input));
            deltas.push(Delta::part_ended(part(2)));
        }
        _ => {
            deltas.extend(it.tokens.map(|tokens| {
                Delta::Usage(Usage {
                    input_tokens: tokens.input,
                    output_tokens: tokens.out,
                    ..Usage::default()
                })
            }));
            deltas.push(Delta::finish(match it.why.as_deref() {
                Some("done") => StopReason::EndTurn,
                Some("calls") => StopReason::ToolUse,
                Some("length") => StopReason::MaxTokens,
                // A word that nobody knows is never taken for success.
                _ => StopReason::Other,
            }));
            answer.finished = true;
        }
    }
    Ok(())
}
// endregion: decoder
