//! The chain of stored lines: JSON, one event each, that ends in a checksum over the line before.

use std::collections::HashMap;
use std::sync::Arc;

use phi_types::{Event, LoopId, SessionId};
use serde::Serialize;

use crate::blob::{self, BLOB_BYTES_MIN, Blob, BlobSource};
use crate::envelope::{push_event, read_event};
use crate::error::{BadLine, SeqGap, StoreError};
use crate::redact::Redactor;

/// The longest line that is written or read, in bytes.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// `,"crc":"` before the eight digits.
const MARK: &[u8] = br#","crc":""#;
/// What follows them.
const END: &[u8] = br#""}"#;
const SUFFIX_LEN: usize = MARK.len() + 8 + END.len();

/// What is done to an event on its way into a line.
#[derive(Debug, Clone)]
pub struct LineRules {
    /// How long a string is, as JSON and in bytes, to be kept beside the log.
    pub blob_bytes_min: usize,
    /// What keeps secrets out.
    pub redactor: Arc<Redactor>,
}

impl Default for LineRules {
    fn default() -> Self {
        Self {
            blob_bytes_min: BLOB_BYTES_MIN,
            redactor: Arc::new(Redactor::new()),
        }
    }
}

/// Lines that were encoded and wait to be written.
#[derive(Debug, Default)]
pub struct Encoded {
    /// The lines, each with its line end.
    pub lines: Vec<u8>,
    /// What was taken out of them, to be kept before they are.
    pub blobs: Vec<Blob>,
}

/// Where a log stands: the newest position, its checksum, and the newest `seq` of each stream.
///
/// Every store of this crate writes and reads its lines through one, so that a session has the same
/// lines wherever it is kept. Memory grows with the number of loops, not of events.
#[derive(Debug, Clone)]
pub struct Chain {
    session: SessionId,
    position: u64,
    checksum: u32,
    streams: Streams,
}

impl Chain {
    /// Makes the chain of a session without events; `checksum` is what its first line follows.
    #[must_use]
    pub fn new(session: SessionId, checksum: u32) -> Self {
        Self {
            session,
            position: 0,
            checksum,
            streams: Streams::default(),
        }
    }

    /// Makes the chain of a session of which the events up to `position` are not read.
    ///
    /// A loop that is first seen after it may be anywhere in its count.
    #[must_use]
    pub fn after(session: SessionId, position: u64, checksum: u32, session_seq: u64) -> Self {
        let streams = Streams {
            partial: position > 0,
            session: session_seq,
            ..Streams::default()
        };
        Self {
            session,
            position,
            checksum,
            streams,
        }
    }

    /// Encodes a batch as further lines, whole or not at all.
    ///
    /// # Errors
    /// [`StoreError::OtherSession`], [`StoreError::Sequence`], [`StoreError::TooLarge`] or
    /// [`StoreError::Encode`]; lines, blobs and chain stay as they were.
    pub fn encode(
        &mut self,
        events: &[Event],
        rules: &LineRules,
        encoded: &mut Encoded,
    ) -> Result<(), StoreError> {
        let (start, checksum) = (encoded.lines.len(), self.checksum);
        let (blobs, known) = (encoded.blobs.len(), self.streams.loops.len());
        for (done, event) in events.iter().enumerate() {
            if let Err(error) = self.encode_one(event, rules, encoded) {
                encoded.lines.truncate(start);
                encoded.blobs.truncate(blobs);
                self.checksum = checksum;
                let accepted = events.get(..done).unwrap_or_default();
                self.streams.take_back(accepted, known);
                self.position -= done as u64;
                return Err(error);
            }
        }
        Ok(())
    }

    fn encode_one(
        &mut self,
        event: &Event,
        rules: &LineRules,
        encoded: &mut Encoded,
    ) -> Result<(), StoreError> {
        if event.session != self.session {
            let (expected, found) = (self.session.clone(), event.session.clone());
            return Err(StoreError::OtherSession { expected, found });
        }
        let gap = |source| StoreError::Sequence {
            session: event.session.clone(),
            source,
        };
        let known = self.streams.loops.len();
        self.streams.accept(event).map_err(gap)?;
        let Encoded { lines, blobs } = encoded;
        let shape = |lines: &mut Vec<u8>, start| {
            blob::cut(lines, start, rules.blob_bytes_min, blobs);
        };
        let write = |lines: &mut Vec<u8>| {
            // What is before the kind names the line and is no text.
            let kind = push_event(event, lines)?;
            rules.redactor.redact(lines, kind);
            Ok(())
        };
        match push_shaped(write, self.checksum, lines, shape) {
            Ok(checksum) => {
                self.checksum = checksum;
                self.position += 1;
                Ok(())
            }
            Err(fault) => {
                self.streams.take_back(std::slice::from_ref(event), known);
                Err(fault.into_error(&self.session))
            }
        }
    }

    /// Takes the next line, without its line end, and reads its event with its blobs.
    ///
    /// # Errors
    /// [`BadLine`]; the chain stays as it was.
    pub fn read(&mut self, line: &[u8], blobs: &dyn BlobSource) -> Result<Event, BadLine> {
        let (content, checksum) = checked(line, self.checksum)?;
        let event = match blob::join(content, blobs)? {
            Some(whole) => self.parse(&whole, 1),
            None => self.parse(line, SUFFIX_LEN),
        };
        self.take(event?, checksum)
    }

    /// Reads the event of a line that is whole and ends in so many bytes after its content.
    fn parse(&self, line: &[u8], end: usize) -> Result<Event, BadLine> {
        let fault = |reason: String| BadLine::NotReadable {
            expected: "event",
            reason,
        };
        // To check a line at once is faster than to check each of its strings.
        let text = std::str::from_utf8(line).map_err(|error| fault(error.to_string()))?;
        let content = text.get(..text.len().saturating_sub(end));
        let usual = content
            .and_then(|content| read_event(content, &self.session, self.streams.newest_loop()));
        match usual {
            Some(event) => Ok(event),
            None => serde_json::from_str(text).map_err(|error| fault(error.to_string())),
        }
    }

    /// Takes the next line, without its line end, and reads its event with empty strings in the
    /// place of its blobs.
    ///
    /// # Errors
    /// [`BadLine`]; the chain stays as it was.
    pub fn read_outline(&mut self, line: &[u8]) -> Result<Event, BadLine> {
        let checksum = check_line(line, self.checksum)?;
        self.take(self.parse(line, SUFFIX_LEN)?, checksum)
    }

    fn take(&mut self, event: Event, checksum: u32) -> Result<Event, BadLine> {
        if event.session != self.session {
            return Err(BadLine::OtherSession {
                found: event.session,
            });
        }
        self.streams.accept(&event).map_err(BadLine::Sequence)?;
        self.checksum = checksum;
        self.position += 1;
        Ok(event)
    }

    /// Takes the next line, without its line end, and checks nothing but its checksum.
    ///
    /// # Errors
    /// [`BadLine`]; the chain stays as it was.
    pub fn skip(&mut self, line: &[u8]) -> Result<(), BadLine> {
        self.checksum = check_line(line, self.checksum)?;
        self.position += 1;
        self.streams = Streams {
            partial: true,
            ..Streams::default()
        };
        Ok(())
    }

    /// Takes the content of the next line as another store has it and writes the line anew; it is
    /// the same one where the line before it is.
    pub(crate) fn adopt(&mut self, line: &[u8], lines: &mut Vec<u8>) -> Result<Event, BadLine> {
        let content = content_of(line);
        let checksum = checksum_of(self.checksum, content);
        let event = self.take(self.parse(line, SUFFIX_LEN)?, checksum)?;
        lines.extend_from_slice(content);
        push_end(checksum, lines);
        Ok(event)
    }

    /// Sets the checksum that the next line follows.
    pub(crate) fn set_checksum(&mut self, checksum: u32) {
        self.checksum = checksum;
    }

    /// Returns the session.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// Returns the position of the newest event; 0 if there is none.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the checksum of the newest line.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Returns the newest `seq` of the events that belong to no loop; 0 if there is none.
    #[must_use]
    pub fn session_seq(&self) -> u64 {
        self.streams.session
    }
}

/// The newest `seq` of each stream.
#[derive(Debug, Clone, Default)]
struct Streams {
    session: u64,
    loops: Vec<(LoopId, u64)>,
    index: HashMap<LoopId, usize>,
    /// The loop of the newest event of a loop, which is most often that of the next one.
    newest: usize,
    /// Whether events before the first one that was seen are unknown.
    partial: bool,
}

impl Streams {
    fn accept(&mut self, event: &Event) -> Result<(), SeqGap> {
        let gap = |newest: u64| SeqGap {
            loop_id: event.loop_id.clone(),
            expected: newest.saturating_add(1),
            found: event.seq,
        };
        let follows = |newest: u64| newest.checked_add(1) == Some(event.seq);
        let Some(loop_id) = &event.loop_id else {
            let unknown = self.partial && self.session == 0 && event.seq > 0;
            if !follows(self.session) && !unknown {
                return Err(gap(self.session));
            }
            self.session = event.seq;
            return Ok(());
        };
        if let Some(at) = self.find(loop_id) {
            self.newest = at;
            if let Some((_, newest)) = self.loops.get_mut(at) {
                if !follows(*newest) {
                    return Err(gap(*newest));
                }
                *newest = event.seq;
            }
            return Ok(());
        }
        if event.seq != 1 && !(self.partial && event.seq > 0) {
            return Err(gap(0));
        }
        self.newest = self.loops.len();
        self.index.insert(loop_id.clone(), self.newest);
        self.loops.push((loop_id.clone(), event.seq));
        Ok(())
    }

    fn find(&self, loop_id: &LoopId) -> Option<usize> {
        if self.newest_loop() == Some(loop_id) {
            return Some(self.newest);
        }
        self.index.get(loop_id).copied()
    }

    fn newest_loop(&self) -> Option<&LoopId> {
        self.loops.get(self.newest).map(|(loop_id, _)| loop_id)
    }

    /// Undoes the newest [`Streams::accept`]s, of these events in order, since so many loops were
    /// known.
    fn take_back(&mut self, events: &[Event], known: usize) {
        for event in events.iter().rev() {
            let before = event.seq.saturating_sub(1);
            match event.loop_id.as_ref().map(|loop_id| self.find(loop_id)) {
                None => self.session = before,
                Some(at) => {
                    if let Some((_, newest)) = at.and_then(|at| self.loops.get_mut(at)) {
                        *newest = before;
                    }
                }
            }
        }
        for (loop_id, _) in self.loops.drain(known..) {
            self.index.remove(&loop_id);
        }
    }
}

/// Says why a value became no line.
#[derive(Debug)]
pub(crate) enum LineFault {
    Encode(serde_json::Error),
    TooLarge(usize),
}

impl LineFault {
    pub(crate) fn into_error(self, session: &SessionId) -> StoreError {
        let session = session.clone();
        match self {
            Self::Encode(source) => StoreError::Encode { session, source },
            Self::TooLarge(bytes) => StoreError::TooLarge {
                session,
                bytes,
                max: LINE_BYTES_MAX,
            },
        }
    }
}

/// Returns what the checksum of a line covers.
pub(crate) fn content_of(line: &[u8]) -> &[u8] {
    split_line(line).map_or(&[], |(content, _)| content)
}

/// Writes a value, which must encode as an object with a key, as one line; returns its checksum.
/// On a fault the buffer is as it was.
pub(crate) fn push_line<T: Serialize>(
    value: &T,
    previous: u32,
    buffer: &mut Vec<u8>,
) -> Result<u32, LineFault> {
    let write = |buffer: &mut Vec<u8>| serde_json::to_writer(buffer, value);
    push_shaped(write, previous, buffer, |_, _| {})
}

/// Writes a line like [`push_line`]; `shape` may change the object, which begins where it is told.
fn push_shaped(
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), serde_json::Error>,
    previous: u32,
    buffer: &mut Vec<u8>,
    shape: impl FnOnce(&mut Vec<u8>, usize),
) -> Result<u32, LineFault> {
    let start = buffer.len();
    let fault = |buffer: &mut Vec<u8>, fault| {
        buffer.truncate(start);
        Err(fault)
    };
    if let Err(error) = write(buffer) {
        return fault(buffer, LineFault::Encode(error));
    }
    let written = buffer.get(start..).unwrap_or_default();
    let (bytes, is_line) = (
        written.len(),
        memchr::memchr(b'\n', written).is_none() && written.ends_with(b"}"),
    );
    if !is_line {
        use serde::ser::Error as _;
        let error = serde_json::Error::custom("it is not an object on one line");
        return fault(buffer, LineFault::Encode(error));
    }
    if bytes + SUFFIX_LEN > LINE_BYTES_MAX {
        return fault(buffer, LineFault::TooLarge(bytes + SUFFIX_LEN));
    }
    shape(buffer, start);
    buffer.pop();
    let checksum = checksum_of(previous, buffer.get(start..).unwrap_or_default());
    push_end(checksum, buffer);
    Ok(checksum)
}

/// Ends a line after what its checksum covers.
fn push_end(checksum: u32, buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(MARK);
    buffer.extend_from_slice(&hex_of(checksum));
    buffer.extend_from_slice(END);
    buffer.push(b'\n');
}

/// Checks a line without its line end; returns its checksum.
pub(crate) fn check_line(line: &[u8], previous: u32) -> Result<u32, BadLine> {
    checked(line, previous).map(|(_, checksum)| checksum)
}

/// Checks a line like [`check_line`]; returns what its checksum covers too.
fn checked(line: &[u8], previous: u32) -> Result<(&[u8], u32), BadLine> {
    let (content, found) = split_line(line).ok_or(BadLine::NotWhole)?;
    let expected = checksum_of(previous, content);
    if expected != found {
        return Err(BadLine::Checksum { expected, found });
    }
    Ok((content, found))
}

/// Takes a line apart into what its checksum covers and the checksum that it states.
pub(crate) fn split_line(line: &[u8]) -> Option<(&[u8], u32)> {
    let (content, suffix) = line.split_at_checked(line.len().checked_sub(SUFFIX_LEN)?)?;
    let digits = suffix.strip_prefix(MARK)?.strip_suffix(END)?;
    let mut checksum = 0;
    for digit in digits {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        checksum = checksum << 4 | u32::from(value);
    }
    Some((content, checksum))
}

fn checksum_of(previous: u32, content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&hex_of(previous)), content)
}

fn hex_of(checksum: u32) -> [u8; 8] {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut digits = [0; 8];
    for (digit, shift) in digits.iter_mut().zip((0..32).step_by(4).rev()) {
        let value = (checksum >> shift & 0xf) as usize;
        *digit = DIGITS.get(value).copied().unwrap_or(b'0');
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use phi_types::{EventKind, SessionEnded};

    fn event(loop_id: Option<&str>, seq: u64) -> Event {
        Event {
            session: SessionId::new("s").unwrap(),
            loop_id: loop_id.map(|id| LoopId::new(id).unwrap()),
            seq,
            at: DateTime::UNIX_EPOCH,
            kind: EventKind::SessionEnded(SessionEnded {}),
        }
    }

    #[test]
    fn a_refused_batch_is_forgotten_whatever_loops_it_named() {
        let session = SessionId::new("s").unwrap();
        let mut chain = Chain::after(session, 9, 7, 4);
        let (rules, mut encoded) = (LineRules::default(), Encoded::default());
        let (known, new, middle) = (Some("known"), Some("new"), Some("middle"));
        let first = [event(known, 3)];
        chain.encode(&first, &rules, &mut encoded).unwrap();
        let before = (chain.position(), chain.checksum(), encoded.lines.clone());
        let batches = [
            vec![
                event(new, 1),
                event(middle, 5),
                event(middle, 6),
                event(new, 3),
            ],
            vec![
                event(middle, 5),
                event(new, 1),
                event(known, 4),
                event(None, 6),
            ],
            vec![event(None, 5), event(known, 4), event(known, 4)],
        ];
        for batch in batches {
            let refused = chain.encode(&batch, &rules, &mut encoded);
            assert!(matches!(refused, Err(StoreError::Sequence { .. })));
            let after = (chain.position(), chain.checksum(), encoded.lines.clone());
            assert_eq!(after, before);
            assert_eq!(chain.session_seq(), 4);
        }
        // A loop that only refused batches named may be anywhere in its count.
        let next = [
            event(new, 1),
            event(middle, 8),
            event(known, 4),
            event(None, 5),
        ];
        chain.encode(&next, &rules, &mut encoded).unwrap();
        assert_eq!(chain.position(), 14);
    }
}
