//! Long strings of events, kept once each beside the log.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::chain::LINE_BYTES_MAX;
use crate::error::BadLine;

/// How long a string is, as JSON and in bytes, to be kept beside the log, unless said otherwise.
pub const BLOB_BYTES_MIN: usize = 64 << 10;

/// What a long string leaves in its line.
const HOLE: &[u8] = br#""""#;
/// The key that names the blobs of a line: the last one before its checksum.
const KEY: &[u8] = br#","blobs":["#;

/// The name of a blob: the SHA-256 of its bytes, as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// Returns the name of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Says that a text is no name of a blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no blob: 64 lower-case hexadecimal digits do")]
pub struct NoBlobId(String);

impl FromStr for BlobId {
    type Err = NoBlobId;

    fn from_str(text: &str) -> Result<Self, NoBlobId> {
        let fault = || NoBlobId(text.to_owned());
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 64 || !text.bytes().all(is_digit) {
            return Err(fault());
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            let digits = text.get(at..at + 2).ok_or_else(fault)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| fault())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for BlobId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlobId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A long string that was taken out of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its name.
    pub id: BlobId,
    /// The string as JSON, as it stood in the line: with its quotes and escapes.
    pub json: Vec<u8>,
}

/// Where the blobs of a session are found again.
pub trait BlobSource {
    /// Returns the bytes of a blob; `None` where there is none of that name.
    ///
    /// # Errors
    /// Why they cannot be read, for a person.
    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, String>;
}

/// No blobs at all.
impl BlobSource for () {
    fn blob(&self, _id: &BlobId) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
}

/// Blobs in memory.
impl BlobSource for HashMap<BlobId, Vec<u8>> {
    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, String> {
        Ok(self.get(id).cloned())
    }
}

/// Where a blob belongs: at the byte `at` of its line stand two quotes in its place.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    at: usize,
    sha256: BlobId,
}

/// A line without its list of blobs, and the list.
type Outline<'a> = (&'a [u8], Vec<Place>);

/// Takes the long strings out of the JSON object that begins at `start` and ends the buffer.
pub(crate) fn cut(buffer: &mut Vec<u8>, start: usize, bytes_min: usize, blobs: &mut Vec<Blob>) {
    let written = buffer.get(start..).unwrap_or_default();
    if written.len() < bytes_min {
        return;
    }
    let (mut kept, mut copied, mut places) = (Vec::new(), 0, Vec::new());
    let mut at = 0;
    while let Some((from, to)) = next_string(written, at) {
        at = to;
        let after = written.get(to..).unwrap_or_default();
        let is_key = after.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
        if to - from < bytes_min.max(HOLE.len() + 1) || is_key {
            continue;
        }
        let json = written.get(from..to).unwrap_or_default().to_vec();
        kept.extend_from_slice(written.get(copied..from).unwrap_or_default());
        let sha256 = BlobId::of(&json);
        places.push(Place {
            at: kept.len(),
            sha256,
        });
        kept.extend_from_slice(HOLE);
        copied = to;
        blobs.push(Blob { id: sha256, json });
    }
    if places.is_empty() {
        return;
    }
    kept.extend_from_slice(written.get(copied..).unwrap_or_default());
    kept.pop();
    kept.extend_from_slice(KEY);
    let listed: Vec<String> = places
        .iter()
        .map(|place| format!(r#"{{"at":{},"sha256":"{}"}}"#, place.at, place.sha256))
        .collect();
    kept.extend_from_slice(listed.join(",").as_bytes());
    kept.extend_from_slice(b"]}");
    buffer.truncate(start);
    buffer.append(&mut kept);
}

/// Finds the next string at or after a place that is in none: where it begins and ends, quotes
/// included.
fn next_string(json: &[u8], at: usize) -> Option<(usize, usize)> {
    let from = at + memchr::memchr(b'"', json.get(at..)?)?;
    let mut to = from + 1;
    loop {
        to += memchr::memchr2(b'"', b'\\', json.get(to..)?)?;
        if json.get(to) == Some(&b'"') {
            return Some((from, to + 1));
        }
        to += 2;
    }
}

/// Returns the places and the rest of a line, which is given without its checksum; `None` where it
/// names no blobs.
fn places_of(content: &[u8]) -> Option<Result<Outline<'_>, BadLine>> {
    // The value before is the kind of the event, an object: a line without blobs ends in a brace.
    if !content.ends_with(b"}]") {
        return None;
    }
    let at = memchr::memmem::rfind(content, KEY)?;
    let (rest, listed) = content.split_at_checked(at)?;
    let listed = listed.get(KEY.len() - 1..)?;
    let places = serde_json::from_slice(listed).map_err(|error| BadLine::NotReadable {
        expected: "list of blobs",
        reason: error.to_string(),
    });
    Some(places.map(|places| (rest, places)))
}

/// Returns the names of the blobs that a line refers to, without its checksum.
pub(crate) fn names(content: &[u8]) -> Result<Vec<BlobId>, BadLine> {
    let places = places_of(content).transpose()?;
    let places = places.into_iter().flat_map(|(_, places)| places);
    Ok(places.map(|place| place.sha256).collect())
}

/// Puts the blobs of a line, which is given without its checksum, back into it; `None` where it
/// names none.
pub(crate) fn join(content: &[u8], blobs: &dyn BlobSource) -> Result<Option<Vec<u8>>, BadLine> {
    let Some((rest, places)) = places_of(content).transpose()? else {
        return Ok(None);
    };
    let misplaced = || BadLine::NotReadable {
        expected: "list of blobs",
        reason: "a blob has no place in the line".to_owned(),
    };
    let (mut whole, mut copied) = (Vec::with_capacity(rest.len()), 0);
    for Place { at, sha256: id } in places {
        let end = at.checked_add(HOLE.len()).ok_or_else(misplaced)?;
        if rest.get(at..end) != Some(HOLE) {
            return Err(misplaced());
        }
        whole.extend_from_slice(rest.get(copied..at).ok_or_else(misplaced)?);
        whole.append(&mut checked(blobs, &id)?);
        copied = end;
        if whole.len() > LINE_BYTES_MAX {
            return Err(BadLine::TooLong {
                max: LINE_BYTES_MAX,
            });
        }
    }
    whole.extend_from_slice(rest.get(copied..).ok_or_else(misplaced)?);
    whole.push(b'}');
    Ok(Some(whole))
}

/// Returns the bytes of a blob, which are those that its name stands for.
pub(crate) fn checked(blobs: &dyn BlobSource, id: &BlobId) -> Result<Vec<u8>, BadLine> {
    let read = blobs
        .blob(id)
        .map_err(|reason| BadLine::UnreadableBlob { id: *id, reason })?;
    let bytes = read.ok_or(BadLine::MissingBlob { id: *id })?;
    if BlobId::of(&bytes) == *id {
        Ok(bytes)
    } else {
        Err(BadLine::AlteredBlob { id: *id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts and joins again; returns the line in between and how many blobs it named.
    fn round_trip(json: &str, bytes_min: usize) -> (String, usize) {
        let (mut buffer, mut cut_out) = (b"before".to_vec(), Vec::new());
        buffer.extend_from_slice(json.as_bytes());
        cut(&mut buffer, 6, bytes_min, &mut cut_out);
        assert!(buffer.starts_with(b"before"));
        let line = String::from_utf8(buffer.split_off(6)).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
        let source: HashMap<_, _> = cut_out.iter().map(|it| (it.id, it.json.clone())).collect();
        let content = line.strip_suffix('}').unwrap().as_bytes();
        assert_eq!(names(content).unwrap().len(), cut_out.len());
        let whole = join(content, &source).unwrap();
        let whole = whole.map_or_else(|| line.clone(), |it| String::from_utf8(it).unwrap());
        assert_eq!(whole, json);
        if !cut_out.is_empty() {
            let fault = join(content, &()).unwrap_err();
            assert!(matches!(fault, BadLine::MissingBlob { .. }), "{fault}");
            let altered = source
                .keys()
                .map(|id| (*id, b"\"other\"".to_vec()))
                .collect();
            let fault = join(content, &altered as &HashMap<_, _>).unwrap_err();
            assert!(matches!(fault, BadLine::AlteredBlob { .. }), "{fault}");
        }
        (line, cut_out.len())
    }

    #[test]
    fn long_strings_leave_the_line_and_come_back_byte_for_byte() {
        let (line, count) = round_trip(r#"{"a":"0123456789","b":{"c":"x\"\\"}}"#, 10);
        assert_eq!(count, 1);
        assert!(line.starts_with(r#"{"a":"","b":{"c":"x\"\\"},"blobs":[{"at":5,"sha256":""#));
        for min in 0..40 {
            let text =
                r#"{"a":"\\\\\\","k\"ey is long" : {"b":["","é\u00e9\n",1, "01234567890123"]}}"#;
            round_trip(text, min);
            round_trip(r#"{"a":{"blobs":[{"at":1}]}}"#, min);
            round_trip(r#"{"a":{"b":",\"blobs\":[{}]"}}"#, min);
        }
    }

    #[test]
    fn a_list_of_blobs_that_fits_no_line_is_an_error() {
        let id = BlobId::of(b"\"x\"");
        let source: HashMap<_, _> = [(id, b"\"x\"".to_vec())].into();
        for places in [
            "{}".to_owned(),
            format!(r#"{{"at":4,"sha256":"{id}"}}"#),
            format!(r#"{{"at":18446744073709551615,"sha256":"{id}"}}"#),
            format!(r#"{{"at":5,"sha256":"{id}"}},{{"at":5,"sha256":"{id}"}}"#),
        ] {
            let line = format!(r#"{{"a":"","b":{{}},"blobs":[{places}]"#);
            let fault = join(line.as_bytes(), &source).unwrap_err();
            assert!(
                matches!(fault, BadLine::NotReadable { .. }),
                "{places}: {fault}"
            );
        }
        let line = format!(r#"{{"a":"","b":{{}},"blobs":[{{"at":5,"sha256":"{id}"}}]"#);
        let whole = join(line.as_bytes(), &source).unwrap().unwrap();
        assert_eq!(whole, br#"{"a":"x","b":{}}"#);
    }
}
