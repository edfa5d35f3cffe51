//! Frames the binary event stream of AWS: bytes cut anywhere become whole messages that were checked.

use phi_types::{ProviderError, ProviderErrorKind};
use serde_json::{Map, Value};

use crate::limits::{Capped, Limits, too_long};

/// The lengths and their checksum, with which every message begins.
const PRELUDE_BYTES: usize = 12;

/// The prelude and the checksum at the end.
const MESSAGE_BYTES_MIN: usize = PRELUDE_BYTES + CHECKSUM_BYTES;

const CHECKSUM_BYTES: usize = 4;

/// One message of the stream, which lives as long as the call that it is handed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// The headers, which were checked.
    headers: &'a [u8],
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Returns the name of the event: the header `:event-type`.
    pub(crate) fn event_type(&self) -> &'a str {
        self.text(":event-type").unwrap_or_default()
    }

    /// Returns the error that the message reports instead of an event, as a JSON object with the
    /// fields `type` and `message` and whatever else the payload states.
    ///
    /// An exception is one that the service declares: `:exception-type` names it and the payload is
    /// its JSON. Any other error has only the headers `:error-code` and `:error-message`.
    pub(crate) fn reported_error(&self) -> Option<Value> {
        let (kind, message) = match self.text(":message-type")? {
            "exception" => (":exception-type", None),
            "error" => (":error-code", self.text(":error-message")),
            _ => return None,
        };
        let mut fields = match serde_json::from_slice(self.payload) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) | Err(_) => {
                let text = String::from_utf8_lossy(self.payload);
                Map::from_iter([("message".to_owned(), text.into())])
            }
        };
        if let Some(message) = message {
            fields.insert("message".to_owned(), message.into());
        }
        let kind = self.text(kind).unwrap_or_default();
        fields.insert("type".to_owned(), kind.into());
        Some(Value::Object(fields))
    }

    /// Returns the text of the first header of a name.
    fn text(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.headers;
        while let Ok(Some(header)) = next_header(&mut rest) {
            if header.name == name {
                return header.text;
            }
        }
        None
    }
}

/// A header. Only text has a value here: no other type means anything to a reader of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header<'a> {
    name: &'a str,
    text: Option<&'a str>,
}

/// Frames messages whose bytes come in pieces.
///
/// The cost is linear in the bytes, wherever they are cut, and a message that arrives in one piece
/// is handed out without a copy. A message that is not whole when the stream ends is none.
#[derive(Debug)]
pub(crate) struct FrameDecoder {
    bytes_max: usize,
    /// The beginning of a message whose end did not come yet.
    partial: Capped,
    /// The length of that message, once its prelude was checked.
    total: Option<usize>,
    place: Place,
}

/// Where the next message begins, for errors.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    message: u64,
    byte: u64,
}

impl Place {
    fn wrong(self, what: &str) -> ProviderError {
        let Self { message, byte } = self;
        let text = format!("message {message} of the event stream, at byte {byte}: {what}");
        ProviderError::new(ProviderErrorKind::Protocol, text)
    }

    fn advance(&mut self, bytes: usize) {
        self.message += 1;
        self.byte = self.byte.saturating_add(bytes as u64);
    }
}

impl FrameDecoder {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            bytes_max: limits.event_bytes_max,
            partial: Capped::default(),
            total: None,
            place: Place::default(),
        }
    }

    /// Takes the next bytes and hands every message that they complete to `each`.
    ///
    /// After an error the decoder is of no further use: nothing says where the next message begins.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Frame<'_>) -> Result<(), ProviderError>,
    ) -> Result<(), ProviderError> {
        while !bytes.is_empty() {
            if self.partial.is_empty()
                && let Some(total) = self.length_of(bytes)?
                && let Some((message, rest)) = bytes.split_at_checked(total)
            {
                each(check(message, self.place)?)?;
                self.place.advance(total);
                bytes = rest;
                continue;
            }
            let wanted = self.total.unwrap_or(PRELUDE_BYTES);
            let missing = wanted.saturating_sub(self.partial.as_slice().len());
            let (more, rest) = bytes.split_at(missing.min(bytes.len()));
            self.partial.extend(more, self.bytes_max, "an event")?;
            bytes = rest;
            match self.total {
                None => self.total = self.length_of(self.partial.as_slice())?,
                Some(total) if self.partial.as_slice().len() == total => {
                    each(check(self.partial.as_slice(), self.place)?)?;
                    self.place.advance(total);
                    self.partial.clear();
                    self.total = None;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Checks the prelude, if it is there, and returns the length of the whole message.
    fn length_of(&self, message: &[u8]) -> Result<Option<usize>, ProviderError> {
        let Some((prelude, _)) = message.split_first_chunk::<PRELUDE_BYTES>() else {
            return Ok(None);
        };
        let [t0, t1, t2, t3, h0, h1, h2, h3, c0, c1, c2, c3] = *prelude;
        let stated = u32::from_be_bytes([c0, c1, c2, c3]);
        let actual = crc32fast::hash(&[t0, t1, t2, t3, h0, h1, h2, h3]);
        if stated != actual {
            let what = format!("its prelude has the checksum {actual:08x}, stated is {stated:08x}");
            return Err(self.place.wrong(&what));
        }
        let total = u32::from_be_bytes([t0, t1, t2, t3]) as usize;
        let headers = u32::from_be_bytes([h0, h1, h2, h3]) as usize;
        if total < MESSAGE_BYTES_MIN || headers > total - MESSAGE_BYTES_MIN {
            let what = format!("{headers} bytes of headers do not fit a length of {total} bytes");
            return Err(self.place.wrong(&what));
        }
        if total > self.bytes_max {
            return Err(too_long("an event", self.bytes_max));
        }
        Ok(Some(total))
    }
}

/// Checks a whole message, whose prelude was checked.
fn check(message: &[u8], place: Place) -> Result<Frame<'_>, ProviderError> {
    let cut_short = || place.wrong("its lengths do not fit its bytes");
    let (checked, stated) = message
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or_else(cut_short)?;
    let stated = u32::from_be_bytes(*stated);
    let actual = crc32fast::hash(checked);
    if stated != actual {
        let what = format!("it has the checksum {actual:08x}, stated is {stated:08x}");
        return Err(place.wrong(&what));
    }
    let (prelude, content) = checked
        .split_first_chunk::<PRELUDE_BYTES>()
        .ok_or_else(cut_short)?;
    let [_, _, _, _, h0, h1, h2, h3, ..] = *prelude;
    let headers = u32::from_be_bytes([h0, h1, h2, h3]) as usize;
    let (headers, payload) = content.split_at_checked(headers).ok_or_else(cut_short)?;
    let mut rest = headers;
    while next_header(&mut rest)
        .map_err(|what| place.wrong(what))?
        .is_some()
    {}
    Ok(Frame { headers, payload })
}

/// Reads the next header, whose value has one of ten types; `None` at the end.
fn next_header<'a>(rest: &mut &'a [u8]) -> Result<Option<Header<'a>>, &'static str> {
    const CUT: &str = "a header is longer than the headers";
    let Some((name_len, after)) = rest.split_first() else {
        return Ok(None);
    };
    let (name, after) = after.split_at_checked(usize::from(*name_len)).ok_or(CUT)?;
    let name = std::str::from_utf8(name).map_err(|_| "the name of a header is not UTF-8")?;
    let (kind, after) = after.split_first().ok_or(CUT)?;
    let (len, after) = match kind {
        // A boolean is its type.
        0 | 1 => (0, after),
        2 => (1, after),
        3 => (2, after),
        4 => (4, after),
        // A long integer, and a point in time.
        5 | 8 => (8, after),
        // Bytes, and text.
        6 | 7 => {
            let (len, after) = after.split_first_chunk::<2>().ok_or(CUT)?;
            (usize::from(u16::from_be_bytes(*len)), after)
        }
        // A UUID.
        9 => (16, after),
        _ => return Err("a header has a type that is not known"),
    };
    let (value, after) = after.split_at_checked(len).ok_or(CUT)?;
    let text = match kind {
        7 => Some(std::str::from_utf8(value).map_err(|_| "the text of a header is not UTF-8")?),
        _ => None,
    };
    *rest = after;
    Ok(Some(Header { name, text }))
}

#[cfg(test)]
#[path = "../tests/frames/mod.rs"]
mod frames;

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

    use super::frames::{crc32, event, exception, message, text_header};
    use super::*;

    type Decoded = (Vec<(String, Vec<u8>)>, Option<String>);

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
        let mut decoder = FrameDecoder::new(Limits::default());
        let mut frames = Vec::new();
        for piece in pieces {
            let taken = decoder.push(piece, |frame| {
                frames.push((frame.event_type().to_owned(), frame.payload.to_vec()));
                Ok(())
            });
            if let Err(error) = taken {
                return (frames, Some(error.to_string()));
            }
        }
        (frames, None)
    }

    /// Any header of any of the ten types.
    fn any_header() -> impl Strategy<Value = Vec<u8>> {
        let sized = prop::collection::vec(any::<u8>(), 0..9);
        let value = prop_oneof![
            Just(vec![0]),
            Just(vec![1]),
            any::<u8>().prop_map(|byte| vec![2, byte]),
            any::<[u8; 2]>().prop_map(|bytes| [&[3], &bytes[..]].concat()),
            any::<[u8; 4]>().prop_map(|bytes| [&[4], &bytes[..]].concat()),
            any::<[u8; 8]>().prop_map(|bytes| [&[5], &bytes[..]].concat()),
            sized.prop_map(|bytes| {
                let len = u8::try_from(bytes.len()).unwrap();
                [&[6, 0, len], &bytes[..]].concat()
            }),
            any::<[u8; 8]>().prop_map(|bytes| [&[8], &bytes[..]].concat()),
            any::<[u8; 16]>().prop_map(|bytes| [&[9], &bytes[..]].concat()),
        ];
        let named = ("[a-z]{1,9}", value).prop_map(|(name, value)| {
            let len = u8::try_from(name.len()).unwrap();
            [&[len], name.as_bytes(), &value].concat()
        });
        let text = ("[a-z]{1,9}", ".{0,9}");
        prop_oneof![
            named,
            text.prop_map(|(name, text)| text_header(&name, &text))
        ]
    }

    fn any_message() -> impl Strategy<Value = (String, Vec<u8>, Vec<u8>)> {
        let others = prop::collection::vec(any_header(), 0..4);
        let payload = prop::collection::vec(any::<u8>(), 0..40);
        (others, "[a-z]{0,9}", payload).prop_map(|(others, name, payload)| {
            let headers = [others.concat(), text_header(":event-type", &name)].concat();
            let bytes = message(&headers, &payload);
            (name, payload, bytes)
        })
    }

    proptest! {
        #[test]
        fn b1_any_frames_cut_anywhere_decode_to_the_same_events(
            messages in prop::collection::vec(any_message(), 0..5),
            size in 1_usize..60,
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|(_, _, bytes)| bytes.clone()).collect();
            let expected: Vec<_> = messages.into_iter().map(|(name, load, _)| (name, load)).collect();
            prop_assert_eq!(decode([bytes.as_slice()]), (expected.clone(), None));
            prop_assert_eq!(decode(bytes.chunks(1)), (expected.clone(), None));
            prop_assert_eq!(decode(bytes.chunks(size)), (expected, None));
        }

        #[test]
        fn b1_any_bytes_are_framed_alike_wherever_they_are_cut(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            size in 1_usize..20,
        ) {
            prop_assert_eq!(decode(bytes.chunks(size)), decode([bytes.as_slice()]));
        }
    }

    #[test]
    fn b1_every_flipped_bit_is_found() {
        let first = event("messageStart", br#"{"role":"assistant"}"#);
        let bytes = [first.clone(), event("metadata", b"{}"), event("x", b"")].concat();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (frames, error) = decode([flipped.as_slice()]);
            let intact = if bit / 8 < first.len() { 0 } else { 1 };
            assert!(frames.len() >= intact && frames.len() < 3, "bit {bit}");
            let error = error.unwrap_or_else(|| panic!("bit {bit} was not found"));
            assert!(error.starts_with("protocol: message "), "{error}");
            assert_eq!(decode(flipped.chunks(5)), (frames, Some(error)));
        }
    }

    #[test]
    fn b1_an_error_says_what_is_wrong_and_where() {
        let good = event("a", b"{}");
        let mut lengths = message(b"", b"");
        lengths[4..8].copy_from_slice(&1_u32.to_be_bytes());
        let sum = crc32(&lengths[..8]);
        lengths[8..12].copy_from_slice(&sum.to_be_bytes());
        let of = |bytes: &[u8]| {
            decode([[good.as_slice(), bytes].concat().as_slice()])
                .1
                .unwrap()
        };
        insta::assert_snapshot!(of(&[0; 12]), @"protocol: message 1 of the event stream, at byte 89: its prelude has the checksum 6522df69, stated is 00000000");
        insta::assert_snapshot!(of(&lengths), @"protocol: message 1 of the event stream, at byte 89: 1 bytes of headers do not fit a length of 16 bytes");
        let mut payload = event("a", b"{}");
        let at = payload.len() - 5;
        payload[at] = b'!';
        insta::assert_snapshot!(of(&payload), @"protocol: message 1 of the event stream, at byte 89: it has the checksum d9c58e68, stated is bb1893b7");
        let kind = message(b"\x01a\x0a", b"");
        insta::assert_snapshot!(of(&kind), @"protocol: message 1 of the event stream, at byte 89: a header has a type that is not known");
        let cut = message(b"\x01a\x07\x00\x09b", b"");
        insta::assert_snapshot!(of(&cut), @"protocol: message 1 of the event stream, at byte 89: a header is longer than the headers");
        let latin = message(b"\x01\xff\x00", b"");
        insta::assert_snapshot!(of(&latin), @"protocol: message 1 of the event stream, at byte 89: the name of a header is not UTF-8");
    }

    #[test]
    fn b1_a_message_beyond_the_limit_is_refused_by_its_prelude() {
        let limits = Limits {
            event_bytes_max: 100,
            ..Limits::default()
        };
        let bytes = event("a", &[b' '; 100]);
        let mut decoder = FrameDecoder::new(limits);
        decoder.push(&bytes[..11], |_| Ok(())).unwrap();
        let error = decoder.push(&bytes[11..12], |_| Ok(())).unwrap_err();
        insta::assert_snapshot!(error, @"protocol: an event is longer than 100 bytes: raise the limit to accept it");
        let mut decoder = FrameDecoder::new(limits);
        decoder.push(&event("a", b"{}"), |_| Ok(())).unwrap();
    }

    #[test]
    fn b1_exceptions_and_errors_are_read_with_their_kind() {
        let reported = |bytes: Vec<u8>| {
            let mut found = None;
            let mut decoder = FrameDecoder::new(Limits::default());
            let taken = decoder.push(&bytes, |frame| {
                found = frame.reported_error();
                Ok(())
            });
            taken.unwrap();
            found.map(|value| value.to_string())
        };
        let thrown = exception("throttlingException", br#"{"message":"slow down","n":1}"#);
        insta::assert_snapshot!(reported(thrown).unwrap(), @r#"{"message":"slow down","n":1,"type":"throttlingException"}"#);
        insta::assert_snapshot!(reported(exception("x", b"no JSON")).unwrap(), @r#"{"message":"no JSON","type":"x"}"#);
        let headers = [
            text_header(":message-type", "error"),
            text_header(":error-code", "InternalError"),
            text_header(":error-message", "it broke"),
        ];
        let headers = headers.concat();
        insta::assert_snapshot!(reported(message(&headers, b"")).unwrap(), @r#"{"message":"it broke","type":"InternalError"}"#);
        assert_eq!(reported(event("a", b"{}")), None);
        assert_eq!(reported(message(b"", b"")), None);
    }
}
