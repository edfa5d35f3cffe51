//! Reads a response body as what it is: a stream of events, one JSON value, or an error.

use std::mem;

use phi_types::{Delta, ProviderError, ProviderErrorKind};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[cfg(feature = "bedrock")]
use crate::aws_event_stream::{Frame, FrameDecoder};
use crate::classify::{classify, classify_reported};
#[cfg(feature = "gemini")]
use crate::json_items::ItemDecoder;
use crate::limits::{Capped, Limits, too_long};
use crate::sse::{SseDecoder, StreamEvent};
use crate::wire::{Decoder, ResponseHead};

/// What one protocol makes of the pieces of an answer.
pub(crate) trait Protocol: Send {
    /// How the body of an answer is cut into events.
    const FRAMING: Framing = Framing::Events;

    /// Takes one event of a stream.
    fn event(&mut self, event: StreamEvent<'_>, deltas: &mut Vec<Delta>) -> Result<(), Fault>;

    /// Takes an answer that came as one JSON value.
    fn whole(&mut self, body: &str, deltas: &mut Vec<Delta>) -> Result<(), Fault>;

    /// Takes the end of the body. Says whether the answer is complete: its finish was seen.
    fn close(&mut self, deltas: &mut Vec<Delta>) -> bool;

    /// Says whether the service has said that nothing more comes.
    fn is_over(&self) -> bool;
}

/// How the body of an answer is cut into events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// As an event stream, or as one JSON value: the first byte tells.
    Events,
    /// As one JSON value per line, unless the first line is no whole value: then as one value.
    Lines,
    /// As the messages of a binary event stream of AWS, or as one JSON value: the first byte tells.
    #[cfg(feature = "bedrock")]
    Frames,
    /// As an event stream whose last event may lack the empty line after it, as an array of JSON
    /// objects each of which is an event, or as one JSON object: the first byte tells.
    #[cfg(feature = "gemini")]
    EventsOrItems,
}

/// Why a piece of an answer is none.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It reports an error: the JSON value in which it does.
    Reported(Value),
    /// It is not what the protocol allows.
    Protocol(String),
}

impl Fault {
    /// Says which part of an answer is not what it should be.
    pub(crate) fn json(what: &str, error: &serde_json::Error) -> Self {
        Self::Protocol(format!("{what} is not what the protocol allows: {error}"))
    }
}

/// The decoder of every protocol over HTTP.
pub(crate) struct BodyDecoder<P> {
    head: ResponseHead,
    limits: Limits,
    protocol: P,
    state: State,
}

enum State {
    /// Nothing but white space came yet.
    Opening,
    Events(Box<SseDecoder>),
    /// The first of what may be JSON lines.
    FirstLine(Capped),
    /// JSON values, one per line. It holds the line whose end did not come yet.
    Lines(Capped),
    /// The items of a JSON array.
    #[cfg(feature = "gemini")]
    Items(Box<ItemDecoder>),
    /// Binary messages.
    #[cfg(feature = "bedrock")]
    Frames(Box<FrameDecoder>),
    /// One JSON value.
    Whole(Capped),
    /// A body that is no answer. `refused` says that its nature and not its status tells.
    Failed {
        body: Vec<u8>,
        refused: bool,
    },
    Broken(ProviderError),
    Ended,
}

impl<P: Protocol> BodyDecoder<P> {
    pub(crate) fn new(head: &ResponseHead, limits: Limits, protocol: P) -> Self {
        let page = head.content_type().contains("html");
        let state = if head.is_success() && !page {
            State::Opening
        } else {
            State::Failed {
                body: Vec::new(),
                refused: head.is_success(),
            }
        };
        Self {
            head: head.clone(),
            limits,
            protocol,
            state,
        }
    }

    /// Decides what the body is by its first byte that is neither white space nor of a byte order
    /// mark, and leaves out what stands before it.
    ///
    /// The byte tells more than the content type, which gateways get wrong: no line of an event
    /// stream that matters begins with a brace or a tag.
    fn open<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let is_content =
            |byte: &u8| !byte.is_ascii_whitespace() && !matches!(byte, 0xef | 0xbb | 0xbf);
        let before = bytes.iter().position(is_content).unwrap_or(bytes.len());
        let (_, content) = bytes.split_at(before);
        if let Some(first) = content.first() {
            self.state = match (first, P::FRAMING) {
                (b'{', Framing::Lines) => State::FirstLine(Capped::default()),
                #[cfg(feature = "gemini")]
                (b'[', Framing::EventsOrItems) => State::Items(Box::default()),
                (b'{' | b'[', _) => State::Whole(Capped::default()),
                (b'<', _) => State::Failed {
                    body: Vec::new(),
                    refused: true,
                },
                #[cfg(feature = "bedrock")]
                (_, Framing::Frames) => State::Frames(Box::new(FrameDecoder::new(self.limits))),
                _ => State::Events(Box::new(SseDecoder::new(self.limits))),
            };
        }
        content
    }

    fn take(&mut self, mut bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        if matches!(self.state, State::Opening) {
            bytes = self.open(bytes);
        }
        let Self {
            head,
            limits,
            protocol,
            state,
        } = self;
        match state {
            State::Opening | State::Ended => Ok(()),
            State::Events(events) => events.push(bytes, |event| {
                protocol
                    .event(event, deltas)
                    .map_err(|fault| error_of(head, fault))
            }),
            State::FirstLine(line) => {
                let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
                let (more, rest) = bytes.split_at(end);
                line.extend(more, limits.body_bytes_max, "the body")?;
                if !more.ends_with(b"\n") {
                    return Ok(());
                }
                let line = mem::take(line);
                let text = String::from_utf8_lossy(line.as_slice());
                if is_cut(&text) {
                    self.state = State::Whole(line);
                } else {
                    let taken = protocol.event(event_of_line(&text), deltas);
                    taken.map_err(|fault| error_of(head, fault))?;
                    self.state = State::Lines(Capped::default());
                }
                self.take(rest, deltas)
            }
            State::Lines(partial) => push_lines(partial, bytes, *limits, |line| {
                protocol
                    .event(event_of_line(line), deltas)
                    .map_err(|fault| error_of(head, fault))
            }),
            #[cfg(feature = "gemini")]
            State::Items(items) => items.push(bytes, *limits, |item| {
                protocol
                    .event(event_of_line(item), deltas)
                    .map_err(|fault| error_of(head, fault))
            }),
            #[cfg(feature = "bedrock")]
            State::Frames(frames) => {
                let taken = frames.push(bytes, |frame| {
                    take_frame(protocol, frame, deltas).map_err(|fault| error_of(head, fault))
                });
                // A service that fails after the finish does not unmake the answer.
                if taken.is_err() && protocol.close(deltas) {
                    self.state = State::Ended;
                    return Ok(());
                }
                taken
            }
            State::Whole(body) => body.extend(bytes, limits.body_bytes_max, "the body"),
            State::Failed { body, .. } => {
                let room = limits.error_bytes_max.saturating_sub(body.len());
                body.extend(bytes.iter().take(room));
                Ok(())
            }
            State::Broken(error) => Err(error.clone()),
        }
    }

    fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        match mem::replace(&mut self.state, State::Ended) {
            #[cfg(feature = "gemini")]
            State::Events(mut events) if P::FRAMING == Framing::EventsOrItems => {
                let (protocol, head) = (&mut self.protocol, &self.head);
                events.close(|event| {
                    if !is_object(event.data) {
                        return Ok(());
                    }
                    let taken = protocol.event(event, deltas);
                    taken.map_err(|fault| error_of(head, fault))
                })?;
                self.close(deltas)
            }
            #[cfg(feature = "gemini")]
            State::Items(_) => self.close(deltas),
            #[cfg(feature = "bedrock")]
            State::Frames(_) => self.close(deltas),
            State::Opening | State::Events(_) => self.close(deltas),
            State::FirstLine(last) | State::Lines(last) => {
                let line = String::from_utf8_lossy(last.as_slice());
                if !line.trim().is_empty() && !is_cut(&line) {
                    let taken = self.protocol.event(event_of_line(&line), deltas);
                    taken.map_err(|fault| error_of(&self.head, fault))?;
                }
                self.close(deltas)
            }
            State::Whole(body) => {
                let body = String::from_utf8_lossy(body.as_slice());
                let body = body.trim_start_matches('\u{feff}');
                if let Some(fault) = reported_error(body) {
                    return Err(error_of(&self.head, fault));
                }
                match self.protocol.whole(body, deltas) {
                    Ok(()) => self.close(deltas),
                    Err(_) if is_cut(body) => self.close(deltas),
                    Err(fault) => Err(error_of(&self.head, fault)),
                }
            }
            State::Failed { body, refused } => {
                let mut error = classify(&self.head, &body);
                if refused {
                    error.kind = ProviderErrorKind::Protocol;
                    error.status = Some(self.head.status);
                }
                Err(error)
            }
            State::Broken(error) => Err(error),
            State::Ended => Ok(()),
        }
    }

    /// Keeps an error, unless it says that something after the finish is garbled: that does not
    /// unmake the answer.
    fn settle(
        &mut self,
        taken: Result<(), ProviderError>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), ProviderError> {
        let Err(error) = taken else {
            return Ok(());
        };
        let is_broken = matches!(self.state, State::Broken(_));
        if error.kind == ProviderErrorKind::Protocol && !is_broken && self.protocol.close(deltas) {
            self.state = State::Ended;
            return Ok(());
        }
        self.state = State::Broken(error.clone());
        Err(error)
    }

    fn close(&mut self, deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        if self.protocol.close(deltas) {
            return Ok(());
        }
        let message = "the answer ended before its finish reason: send the request again";
        let error = ProviderError::new(ProviderErrorKind::Incomplete, message);
        Err(error.with_status(self.head.status))
    }
}

impl<P: Protocol> Decoder for BodyDecoder<P> {
    fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        let taken = self.take(bytes, deltas);
        self.settle(taken, deltas)
    }

    fn end(&mut self, deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        let finished = self.finish(deltas);
        self.settle(finished, deltas)
    }

    fn is_over(&self) -> bool {
        let is_stream = matches!(self.state, State::Events(_) | State::Lines(_));
        #[cfg(feature = "bedrock")]
        let is_stream = is_stream || matches!(self.state, State::Frames(_));
        is_stream && self.protocol.is_over()
    }
}

/// Takes the next bytes of JSON lines and hands each value that they complete to `each`.
fn push_lines(
    partial: &mut Capped,
    bytes: &[u8],
    limits: Limits,
    mut each: impl FnMut(&str) -> Result<(), ProviderError>,
) -> Result<(), ProviderError> {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'\n', rest) {
        let (line, after) = rest.split_at(at);
        rest = after.strip_prefix(b"\n").unwrap_or(after);
        let held;
        let line = if partial.is_empty() {
            if line.len() > limits.line_bytes_max {
                return Err(too_long("a line", limits.line_bytes_max));
            }
            line
        } else {
            partial.extend(line, limits.line_bytes_max, "a line")?;
            held = mem::take(partial);
            held.as_slice()
        };
        let line = String::from_utf8_lossy(line);
        if !line.trim().is_empty() {
            each(&line)?;
        }
    }
    partial.extend(rest, limits.line_bytes_max, "a line")
}

/// Hands a binary message to a protocol, unless it reports an error.
#[cfg(feature = "bedrock")]
fn take_frame(
    protocol: &mut impl Protocol,
    frame: Frame<'_>,
    deltas: &mut Vec<Delta>,
) -> Result<(), Fault> {
    if let Some(error) = frame.reported_error() {
        return Err(Fault::Reported(error));
    }
    let event = StreamEvent {
        name: frame.event_type(),
        data: &String::from_utf8_lossy(frame.payload),
    };
    protocol.event(event, deltas)
}

/// A line has no name: what it is stands in its value.
fn event_of_line(data: &str) -> StreamEvent<'_> {
    StreamEvent {
        name: "message",
        data,
    }
}

fn error_of(head: &ResponseHead, fault: Fault) -> ProviderError {
    match fault {
        Fault::Reported(error) => classify_reported(head, error),
        Fault::Protocol(message) => {
            ProviderError::new(ProviderErrorKind::Protocol, message).with_status(head.status)
        }
    }
}

/// The marks of a JSON value that reports an error instead of an answer.
#[derive(Deserialize)]
struct Marks<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(default)]
    object: Option<Value>,
    #[serde(default, rename = "type")]
    kind: Option<Value>,
}

/// Finds an error that came with a status of success.
pub(crate) fn reported_error(body: &str) -> Option<Fault> {
    let of_object = serde_json::from_str::<Marks<'_>>(body).ok();
    let reports = |marks: &Marks<'_>| {
        let is_error = |word: &Option<Value>| word.as_ref().is_some_and(|word| word == "error");
        marks.error.is_some_and(is_stated) || is_error(&marks.object) || is_error(&marks.kind)
    };
    let reported = match of_object {
        Some(marks) => reports(&marks),
        None => serde_json::from_str::<Vec<Marks<'_>>>(body)
            .is_ok_and(|all| all.first().is_some_and(reports)),
    };
    reported
        .then(|| serde_json::from_str(body).ok())
        .flatten()
        .map(Fault::Reported)
}

/// Says whether a field `error` states one: some gateways fill it with nothing.
pub(crate) fn is_stated(error: &RawValue) -> bool {
    !matches!(error.get(), "null" | "false" | "\"\"")
}

/// Says whether a text is one whole JSON object.
#[cfg(feature = "gemini")]
fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Says whether a JSON value ends before its end.
fn is_cut(body: &str) -> bool {
    let ends_early = |body: &str| {
        let read = serde_json::from_str::<&RawValue>(body);
        read.is_err_and(|error| error.is_eof())
    };
    // Where a number breaks off, as in `1.`, the parser says that it is malformed.
    ends_early(body) || body.ends_with(['-', '+', '.', 'e', 'E']) && ends_early(&format!("{body}0"))
}
