//! The JSON of an event, written and read at the speed of what is inside its envelope.
//!
//! Session, loop and time take a generic encoder longer than most of what an event says. The bytes
//! are those that serde writes, and what is in another form is read by serde.

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use phi_types::{Event, EventKind, LoopId, SessionId};

use crate::encode::push_json;

const SESSION: &str = r#"{"session":""#;
const LOOP: &str = r#"","loop_id":"#;
const SEQ: &str = r#","seq":"#;
const AT: &str = r#","at":"#;
const KIND: &str = r#","kind":"#;

/// Writes an event as JSON; returns where its kind begins.
pub(crate) fn push_event(event: &Event, buffer: &mut Vec<u8>) -> Result<usize, serde_json::Error> {
    // No id has a character that JSON escapes.
    buffer.extend_from_slice(SESSION.as_bytes());
    buffer.extend_from_slice(event.session.as_str().as_bytes());
    buffer.extend_from_slice(LOOP.as_bytes());
    match &event.loop_id {
        None => buffer.extend_from_slice(b"null"),
        Some(loop_id) => {
            buffer.push(b'"');
            buffer.extend_from_slice(loop_id.as_str().as_bytes());
            buffer.push(b'"');
        }
    }
    buffer.extend_from_slice(SEQ.as_bytes());
    serde_json::to_writer(&mut *buffer, &event.seq)?;
    buffer.extend_from_slice(AT.as_bytes());
    push_time(event.at, buffer)?;
    buffer.extend_from_slice(KIND.as_bytes());
    let kind = buffer.len();
    push_json(&event.kind, buffer)?;
    buffer.push(b'}');
    Ok(kind)
}

/// Writes a time as chrono does: with no, three, six or nine digits after the second.
fn push_time(at: DateTime<Utc>, buffer: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let (date, time) = (at.date_naive(), at.time());
    let year = u32::try_from(date.year()).ok().filter(|it| *it <= 9_999);
    let (Some(year), nanos @ 0..1_000_000_000) = (year, time.nanosecond()) else {
        return serde_json::to_writer(buffer, &at);
    };
    let ([y0, y1], [y2, y3]) = (two_digits(year / 100), two_digits(year % 100));
    let ([m0, m1], [d0, d1]) = (two_digits(date.month()), two_digits(date.day()));
    let [h0, h1] = two_digits(time.hour());
    let ([n0, n1], [s0, s1]) = (two_digits(time.minute()), two_digits(time.second()));
    buffer.extend_from_slice(&[
        b'"', y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1,
    ]);
    let (fraction, length) = match nanos {
        0 => (0, 0),
        _ if nanos % 1_000_000 == 0 => (nanos / 1_000_000, 3),
        _ if nanos % 1_000 == 0 => (nanos / 1_000, 6),
        _ => (nanos, 9),
    };
    if length > 0 {
        let mut digits = *b".000000000";
        let (digits, _) = digits.split_at_mut(1 + length);
        write_digits(fraction, digits.get_mut(1..).unwrap_or_default());
        buffer.extend_from_slice(digits);
    }
    buffer.extend_from_slice(b"Z\"");
    Ok(())
}

/// Writes the last digits of a number over those that are there.
fn write_digits(mut number: u32, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// Returns the digits of a number below 100.
fn two_digits(number: u32) -> [u8; 2] {
    let digit = |digit: u32| b'0' + u8::try_from(digit % 10).unwrap_or(0);
    [digit(number / 10), digit(number)]
}

/// Reads an event from the content of a line, which lacks its last brace, where it has the form that
/// is written here; `None` where it has not, or is wrong in any way.
///
/// The session and the newest loop are shared where the line names them again.
pub(crate) fn read_event(
    content: &str,
    session: &SessionId,
    newest: Option<&LoopId>,
) -> Option<Event> {
    let rest = content.strip_prefix(SESSION)?;
    let rest = rest.strip_prefix(session.as_str())?.strip_prefix(LOOP)?;
    let (loop_id, rest) = match rest.strip_prefix('"') {
        None => (None, rest.strip_prefix("null")?),
        Some(rest) => {
            let (id, rest) = rest.split_once('"')?;
            let newest = newest.filter(|newest| newest.as_str() == id);
            let read = || LoopId::new(id).ok();
            (Some(newest.cloned().or_else(read)?), rest)
        }
    };
    let (seq, rest) = rest.strip_prefix(SEQ)?.split_once(',')?;
    let is_number = seq.bytes().all(|byte| byte.is_ascii_digit()) && !seq.starts_with('0');
    let rest = rest.strip_prefix(AT.strip_prefix(',')?)?;
    let (at, rest) = rest.strip_prefix('"')?.split_once('"')?;
    Some(Event {
        session: session.clone(),
        loop_id,
        seq: seq.parse().ok().filter(|_| is_number)?,
        at: read_time(at)?,
        kind: EventKind::from_json(rest.strip_prefix(KIND)?).ok()?,
    })
}

/// Reads a time in the form `2023-11-14T22:13:20.005Z`, with or without a fraction.
fn read_time(text: &str) -> Option<DateTime<Utc>> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = rest.strip_prefix('T')?.split_at_checked(8)?;
    let fraction = rest.strip_suffix('Z')?;
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(digits(date, 0, 4)?).ok()?,
        digits(date, 5, 2).filter(|_| date.get(4..5) == Some("-"))?,
        digits(date, 8, 2).filter(|_| date.get(7..8) == Some("-"))?,
    )?;
    let nanos = match fraction.strip_prefix('.') {
        None if fraction.is_empty() => 0,
        None => return None,
        Some(fraction) => {
            let shift = 9_u32.checked_sub(u32::try_from(fraction.len()).ok()?)?;
            digits(fraction, 0, fraction.len())? * 10_u32.pow(shift)
        }
    };
    let colons = (time.get(2..3), time.get(5..6)) == (Some(":"), Some(":"));
    let second = digits(time, 6, 2).filter(|second| colons && *second < 60)?;
    let at = date.and_hms_nano_opt(digits(time, 0, 2)?, digits(time, 3, 2)?, second, nanos)?;
    Some(at.and_utc())
}

/// Reads a number of one to nine digits and nothing else.
fn digits(text: &str, from: usize, length: usize) -> Option<u32> {
    let digits = text.as_bytes().get(from..from.checked_add(length)?)?;
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0_u32, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        Some(number * 10 + digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use phi_types::SessionEnded;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn session() -> SessionId {
        SessionId::new("s1").unwrap()
    }

    fn event(loop_id: Option<&str>, seq: u64, at: DateTime<Utc>) -> Event {
        Event {
            session: session(),
            loop_id: loop_id.map(|id| LoopId::new(id).unwrap()),
            seq,
            at,
            kind: EventKind::SessionEnded(SessionEnded {}),
        }
    }

    fn written(event: &Event) -> String {
        let mut buffer = Vec::new();
        push_event(event, &mut buffer).unwrap();
        String::from_utf8(buffer).unwrap()
    }

    fn read(text: &str) -> Option<Event> {
        let newest = LoopId::new("s1.default.1").unwrap();
        read_event(text.strip_suffix('}').unwrap(), &session(), Some(&newest))
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_serde_and_read_back(
            seconds in -70_000_000_000_i64..300_000_000_000,
            nanos in 0..2_000_000_000_u32,
            shift in 0..10_u32,
            seq in any::<u64>(),
            n in 0..4_u32,
        ) {
            let nanos = nanos - nanos % 10_u32.pow(shift);
            let Some(at) = DateTime::from_timestamp(seconds, nanos) else {
                return Ok(());
            };
            let loop_id = (n > 0).then(|| format!("s1.default.{n}"));
            let event = event(loop_id.as_deref(), seq, at);
            let text = written(&event);
            prop_assert_eq!(&text, &serde_json::to_string(&event).unwrap());
            let is_plain = (0..=9_999).contains(&at.year()) && nanos < 1_000_000_000 && seq > 0;
            prop_assert_eq!(read(&text), is_plain.then_some(event));
        }

        #[test]
        fn what_is_read_is_what_serde_reads(at in 0..140_usize, byte in 32..127_u8) {
            let time = DateTime::from_timestamp(1_700_000_000, 5_000_000).unwrap();
            let mut bytes = written(&event(Some("s1.default.1"), 12, time)).into_bytes();
            let at = at % (bytes.len() - 1);
            bytes[at] = byte;
            let text = String::from_utf8(bytes).unwrap();
            if let Some(event) = read(&text) {
                prop_assert_eq!(event, serde_json::from_str::<Event>(&text).unwrap());
            }
        }
    }

    #[test]
    fn another_form_of_the_same_event_is_left_to_serde() {
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let text = written(&event(None, 1, at));
        assert!(read(&text).is_some());
        for (from, to) in [
            ("{\"session", "{ \"session"),
            ("\"seq\":1", "\"seq\":01"),
            ("\"seq\":1", "\"seq\":1.0"),
            ("\"s1\"", "\"s\\u0031\""),
            ("20Z", "20+00:00"),
            ("20Z", "20.Z"),
            ("20Z", "20.0000000001Z"),
            ("20Z", "60Z"),
            ("2023-", "+2023-"),
            ("{}", "{},\"more\":1"),
            ("}}", "},\"more\":1}"),
        ] {
            let other = text.replacen(from, to, 1);
            assert!(other != text || from == "{}", "{from}");
            assert_eq!(read(&other).filter(|_| other != text), None, "{other}");
        }
    }
}
