//! Frames an event stream: bytes cut anywhere become whole events.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use eventsource_stream::EventStream;
use futures_core::Stream;
use phi_types::{ProviderError, ProviderErrorKind};

use crate::limits::{Capped, Limits, too_long};

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// The field `event`, or `message` where the stream names none.
    pub name: String,
    /// The lines of the field `data`, joined by line feeds.
    pub data: String,
}

/// Frames the bytes of an event stream, whose pieces may be cut anywhere.
///
/// The parser is `eventsource-stream`. This guard stands before it: it strips a leading byte order
/// mark (the parser panics on one), replaces invalid UTF-8, caps lines and events, and hands over
/// exactly one whole line at a time, because the parser scans its buffer again with every piece.
/// The cost is linear in the bytes, whatever their shape.
///
/// An event that is not closed by an empty line when the stream ends is no event.
pub struct SseDecoder {
    limits: Limits,
    parser: EventStream<Lines>,
    slot: Arc<Mutex<Slot>>,
    /// The beginning of a line whose end did not come yet.
    partial: Capped,
    /// Bytes of the lines since the last empty line.
    event_bytes: usize,
    /// The last line ended with a carriage return: a line feed right after it belongs to it.
    after_return: bool,
    before_first_line: bool,
}

/// The line on its way to the parser, and the memory of the one before it.
#[derive(Debug, Default)]
struct Slot {
    line: Option<Vec<u8>>,
    spare: Vec<u8>,
    #[cfg(test)]
    handed_over: Vec<usize>,
}

/// The source of the parser: the line in the slot, then nothing for now.
struct Lines(Arc<Mutex<Slot>>);

impl Stream for Lines {
    type Item = Result<Line, Infallible>;

    fn poll_next(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match lock(&self.0).line.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Line {
                bytes,
                slot: Arc::clone(&self.0),
            }))),
            None => Poll::Pending,
        }
    }
}

/// A line in the hands of the parser, which copies it; its memory goes back to the slot.
struct Line {
    bytes: Vec<u8>,
    slot: Arc<Mutex<Slot>>,
}

impl AsRef<[u8]> for Line {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        const SPARE_BYTES_MAX: usize = 64 << 10;
        if self.bytes.capacity() <= SPARE_BYTES_MAX {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            lock(&self.slot).spare = bytes;
        }
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SseDecoder {
    /// Makes a decoder at the beginning of a stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let slot = Arc::default();
        let mut decoder = Self {
            limits,
            parser: EventStream::new(Lines(Arc::clone(&slot))),
            slot,
            partial: Capped::default(),
            event_bytes: 0,
            after_return: false,
            before_first_line: true,
        };
        // The parser looks for a byte order mark in the first piece, and panics where it finds
        // one: a comment in that place lets nothing from outside come first.
        let nothing = decoder.parse(b":");
        debug_assert!(matches!(nothing, Ok(None)), "a comment is no event");
        decoder
    }

    /// Takes the next bytes and hands every event that they complete to `each`.
    ///
    /// # Errors
    /// A line or an event beyond its limit, and the first error of `each`: the rest of the bytes
    /// is then not read, and the decoder is of no further use.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(SseEvent) -> Result<(), ProviderError>,
    ) -> Result<(), ProviderError> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_return)
                && let Some(rest) = bytes.strip_prefix(b"\n")
            {
                bytes = rest;
                continue;
            }
            let line_bytes_max = self.limits.line_bytes_max;
            let Some((line, end, rest)) = split_line(bytes) else {
                return self.partial.extend(bytes, line_bytes_max, "a line");
            };
            self.after_return = end == b'\r';
            bytes = rest;
            let event = if self.partial.is_empty() {
                if line.len() > line_bytes_max {
                    return Err(too_long("a line", line_bytes_max));
                }
                self.line(line)?
            } else {
                self.partial.extend(line, line_bytes_max, "a line")?;
                let mut whole = std::mem::take(&mut self.partial);
                let event = self.line(whole.as_slice())?;
                whole.clear();
                self.partial = whole;
                event
            };
            if let Some(event) = event {
                each(event)?;
            }
        }
        Ok(())
    }

    /// Takes one whole line without its end.
    fn line(&mut self, mut line: &[u8]) -> Result<Option<SseEvent>, ProviderError> {
        if std::mem::take(&mut self.before_first_line) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            self.event_bytes = 0;
        } else if line.starts_with(b":") {
            return Ok(None);
        }
        self.event_bytes += line.len();
        if self.event_bytes > self.limits.event_bytes_max {
            return Err(too_long("an event", self.limits.event_bytes_max));
        }
        self.parse(line)
    }

    /// Hands one line over and takes the event that it may complete.
    fn parse(&mut self, line: &[u8]) -> Result<Option<SseEvent>, ProviderError> {
        let text = String::from_utf8_lossy(line);
        {
            let mut slot = lock(&self.slot);
            let mut owned = std::mem::take(&mut slot.spare);
            owned.extend_from_slice(text.as_bytes());
            owned.push(b'\n');
            #[cfg(test)]
            slot.handed_over.push(owned.len());
            slot.line = Some(owned);
        }
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.parser).poll_next(&mut context) {
            Poll::Pending | Poll::Ready(None) => Ok(None),
            Poll::Ready(Some(Ok(event))) => Ok(Some(SseEvent {
                name: event.event,
                data: event.data,
            })),
            Poll::Ready(Some(Err(error))) => {
                let message = format!("a line is not of an event stream: {error}");
                Err(ProviderError::new(ProviderErrorKind::Protocol, message))
            }
        }
    }
}

impl fmt::Debug for SseDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseDecoder")
            .field("limits", &self.limits)
            .field("event_bytes", &self.event_bytes)
            .finish_non_exhaustive()
    }
}

/// Splits off the first line: the line, the byte that ended it, and the rest.
fn split_line(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let at = memchr::memchr2(b'\n', b'\r', bytes)?;
    let (line, rest) = bytes.split_at(at);
    let (end, rest) = rest.split_first()?;
    Some((line, *end, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(String, String)> {
        let mut decoder = SseDecoder::new(Limits::default());
        let mut events = Vec::new();
        for piece in pieces {
            decoder
                .push(piece, |event| {
                    events.push((event.name, event.data));
                    Ok(())
                })
                .unwrap();
        }
        events
    }

    fn event(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    #[test]
    fn every_line_end_ends_a_line_also_where_a_chunk_ends_inside_it() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["event: a", "data: x", "", "data: y", "data:z", "", ""].join(end);
            let expected = [event("a", "x"), event("message", "y\nz")];
            assert_eq!(events_of([text.as_bytes()]), expected, "{end:?} whole");
            let bytewise = events_of(text.as_bytes().chunks(1));
            assert_eq!(bytewise, expected, "{end:?} byte by byte");
        }
    }

    #[test]
    fn one_leading_byte_order_mark_is_stripped_and_a_second_one_is_text() {
        let text = "\u{feff}data: a\n\n\u{feff}data: b\n\n";
        assert_eq!(events_of([text.as_bytes()]), [event("message", "a")]);
        assert_eq!(
            events_of(text.as_bytes().chunks(1)),
            [event("message", "a")]
        );
        let twice = "\u{feff}\u{feff}data: a\n\ndata: b\n\n";
        assert_eq!(
            events_of(twice.as_bytes().chunks(1)),
            [event("message", "b")]
        );
    }

    #[test]
    fn invalid_utf_8_is_replaced() {
        let events = events_of([b"data: a\xff\xf0\x9f".as_slice(), b"\n\n"]);
        assert_eq!(events, [event("message", "a\u{fffd}\u{fffd}")]);
    }

    #[test]
    fn comments_and_an_unfinished_event_are_no_events() {
        let text = ": keep-alive\n\n:\n\ndata: a\n: inside\n\ndata: unfinished\n";
        assert_eq!(events_of([text.as_bytes()]), [event("message", "a")]);
    }

    #[test]
    fn lines_and_events_beyond_their_limit_are_errors() {
        let limits = Limits {
            line_bytes_max: 16,
            event_bytes_max: 24,
            ..Limits::default()
        };
        let run = |text: &str, size: usize| {
            let mut decoder = SseDecoder::new(limits);
            text.as_bytes()
                .chunks(size)
                .try_for_each(|piece| decoder.push(piece, |_| Ok(())))
        };
        for size in [1, 7, 1000] {
            assert_eq!(run("data: 0123456789\n\n", size), Ok(()));
            let error = run("data: 0123456789a\n\n", size).unwrap_err();
            assert!(error.message.starts_with("a line is longer"), "{error}");
            let error = run("data: 0123456789\ndata: abcd\n\n", size).unwrap_err();
            assert!(error.message.starts_with("an event is longer"), "{error}");
        }
    }

    /// Runs pieces and returns the lengths of what the parser was handed, without the first.
    fn handed_over(pieces: &mut dyn Iterator<Item = &[u8]>) -> (usize, Vec<usize>) {
        let mut decoder = SseDecoder::new(Limits::default());
        let mut events = 0;
        for piece in pieces {
            decoder
                .push(piece, |_| {
                    events += 1;
                    Ok(())
                })
                .unwrap();
        }
        let mut slot = decoder.slot.lock().unwrap();
        (events, slot.handed_over.split_off(1))
    }

    #[test]
    fn the_parser_is_handed_each_line_once_and_whole() {
        let long = format!("data: {}\n\n", "x".repeat(8 << 20));
        let (events, lines) = handed_over(&mut long.as_bytes().chunks(1 << 10));
        assert_eq!((events, lines), (1, vec![(8 << 20) + 7, 1]));

        let many = "data: x\n\n".repeat(100_000);
        let (events, lines) = handed_over(&mut std::iter::once(many.as_bytes()));
        assert_eq!((events, lines.len()), (100_000, 200_000));
        assert_eq!(lines.iter().sum::<usize>(), many.len());

        let lines_of_one = format!("{}\n", "data: x\n".repeat(100_000));
        let (events, lines) = handed_over(&mut std::iter::once(lines_of_one.as_bytes()));
        assert_eq!((events, lines.len()), (1, 100_001));
        assert_eq!(lines.iter().sum::<usize>(), lines_of_one.len());
    }
}
