//! Frames an event stream: bytes cut anywhere become whole events.

use std::borrow::Cow;
use std::fmt;

use phi_types::ProviderError;

use crate::limits::{Capped, Limits, too_long};

/// One event of a streamed body, which lives as long as the call that it is handed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamEvent<'a> {
    /// The field `event`, or `message` where the stream names none.
    pub name: &'a str,
    /// The lines of the field `data`, joined by line feeds.
    pub data: &'a str,
}

/// Frames the bytes of an event stream, whose pieces may be cut anywhere.
///
/// It follows the chapter on interpreting an event stream of the WHATWG standard for server-sent
/// events, without reconnection: `id` and `retry` are read over. Invalid UTF-8 is replaced, and
/// lines and events have a limit. The cost is linear in the bytes, whatever their shape. An event
/// whose lines arrived in one piece is handed out without a copy.
///
/// An event that is not closed by an empty line when the stream ends is no event.
pub struct SseDecoder {
    limits: Limits,
    /// The beginning of a line whose end did not come yet.
    partial: Capped,
    /// The fields of the event whose end did not come yet, as far as earlier pieces held them.
    kept: Fields,
    /// Bytes of the lines since the last empty line.
    event_bytes: usize,
    /// The last line ended with a carriage return: a line feed right after it belongs to it.
    after_return: bool,
    before_first_line: bool,
}

/// The fields of one event, in memory of their own.
#[derive(Debug, Default)]
struct Fields {
    name: Vec<u8>,
    data: Vec<u8>,
    /// A field `data` was there, perhaps an empty one.
    has_data: bool,
}

/// The fields of one event that stand in the piece at hand.
#[derive(Debug, Default, Clone, Copy)]
struct Borrowed<'b> {
    name: Option<&'b [u8]>,
    data: Option<&'b [u8]>,
}

impl SseDecoder {
    /// Makes a decoder at the beginning of a stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            partial: Capped::default(),
            kept: Fields::default(),
            event_bytes: 0,
            after_return: false,
            before_first_line: true,
        }
    }

    /// Takes the next bytes and hands every event that they complete to `each`.
    ///
    /// # Errors
    /// A line or an event beyond its limit, and the first error of `each`: the rest of the bytes
    /// is then not read, and the decoder is of no further use.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(StreamEvent<'_>) -> Result<(), ProviderError>,
    ) -> Result<(), ProviderError> {
        let line_bytes_max = self.limits.line_bytes_max;
        let mut borrowed = Borrowed::default();
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_return)
                && let Some(rest) = bytes.strip_prefix(b"\n")
            {
                bytes = rest;
                continue;
            }
            let Some((line, end, rest)) = split_line(bytes) else {
                self.partial.extend(bytes, line_bytes_max, "a line")?;
                break;
            };
            self.after_return = end == b'\r';
            bytes = rest;
            if self.partial.is_empty() {
                if line.len() > line_bytes_max {
                    return Err(too_long("a line", line_bytes_max));
                }
                self.line(line, &mut borrowed, &mut each)?;
            } else {
                self.partial.extend(line, line_bytes_max, "a line")?;
                self.kept.keep(&mut borrowed);
                let mut whole = std::mem::take(&mut self.partial);
                let mut from_whole = Borrowed::default();
                self.line(whole.as_slice(), &mut from_whole, &mut each)?;
                self.kept.keep(&mut from_whole);
                whole.clear();
                self.partial = whole;
            }
        }
        self.kept.keep(&mut borrowed);
        Ok(())
    }

    /// Takes the end of the bytes and hands out the event that it leaves open, which is none by the
    /// standard.
    #[cfg(feature = "gemini")]
    pub(crate) fn close(
        &mut self,
        mut each: impl FnMut(StreamEvent<'_>) -> Result<(), ProviderError>,
    ) -> Result<(), ProviderError> {
        let last = std::mem::take(&mut self.partial);
        let mut borrowed = Borrowed::default();
        if !last.is_empty() {
            self.line(last.as_slice(), &mut borrowed, &mut each)?;
        }
        self.kept.hand_out(borrowed, &mut each)
    }

    /// Takes one whole line without its end.
    fn line<'b>(
        &mut self,
        mut line: &'b [u8],
        borrowed: &mut Borrowed<'b>,
        each: &mut impl FnMut(StreamEvent<'_>) -> Result<(), ProviderError>,
    ) -> Result<(), ProviderError> {
        if std::mem::take(&mut self.before_first_line) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            self.event_bytes = 0;
            return self.kept.hand_out(std::mem::take(borrowed), each);
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(0) => return Ok(()),
            Some(at) => {
                let (field, value) = line.split_at(at);
                let value = value.strip_prefix(b":").unwrap_or(value);
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, [].as_slice()),
        };
        self.event_bytes += line.len();
        if self.event_bytes > self.limits.event_bytes_max {
            return Err(too_long("an event", self.limits.event_bytes_max));
        }
        match field {
            b"data" if borrowed.data.is_none() && !self.kept.has_data => {
                borrowed.data = Some(value);
            }
            b"data" => {
                self.kept.keep(borrowed);
                self.kept.add_data(value);
            }
            b"event" => borrowed.name = Some(value),
            _ => {}
        }
        Ok(())
    }
}

impl Fields {
    /// Copies what stands in a piece that is about to go.
    fn keep(&mut self, borrowed: &mut Borrowed<'_>) {
        if let Some(name) = borrowed.name.take() {
            self.name.clear();
            self.name.extend_from_slice(name);
        }
        if let Some(data) = borrowed.data.take() {
            self.add_data(data);
        }
    }

    fn add_data(&mut self, data: &[u8]) {
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(data);
    }

    /// Ends the event. One without data is none.
    fn hand_out(
        &mut self,
        borrowed: Borrowed<'_>,
        each: &mut impl FnMut(StreamEvent<'_>) -> Result<(), ProviderError>,
    ) -> Result<(), ProviderError> {
        const KEPT_BYTES_MAX: usize = 64 << 10;
        let handed = if self.has_data || borrowed.data.is_some() {
            let name = borrowed.name.unwrap_or(&self.name);
            let name = match name {
                b"" => Cow::Borrowed("message"),
                name => String::from_utf8_lossy(name),
            };
            let data = String::from_utf8_lossy(borrowed.data.unwrap_or(&self.data));
            each(StreamEvent {
                name: &name,
                data: &data,
            })
        } else {
            Ok(())
        };
        self.name.clear();
        self.data.clear();
        self.data.shrink_to(KEPT_BYTES_MAX);
        self.has_data = false;
        handed
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
                    events.push((event.name.to_owned(), event.data.to_owned()));
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
}
