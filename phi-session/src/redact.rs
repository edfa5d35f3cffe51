//! Secrets kept out of logs: those that were registered, and what looks like a key.

use std::fmt;
use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

/// What stands where a secret was.
const REDACTED: &[u8] = b"[redacted]";
/// The shortest secret that can be registered: a shorter one is part of ordinary words.
const SECRET_BYTES_MIN: usize = 8;
/// How often a text may have been written as JSON inside JSON and is still searched.
const ESCAPES_MAX: usize = 3;

/// How a kind of key reads: how it begins, and how many bytes of its own alphabet follow.
struct Pattern {
    prefix: &'static str,
    tail_min: usize,
    alphabet: fn(u8) -> bool,
}

const fn key(prefix: &'static str, tail_min: usize, alphabet: fn(u8) -> bool) -> Pattern {
    Pattern {
        prefix,
        tail_min,
        alphabet,
    }
}

// The keys of services that agents meet, as these services publish their form.
const PATTERNS: &[Pattern] = &[
    key("sk-", 20, is_word),
    key("sk_live_", 16, is_word),
    key("rk_live_", 16, is_word),
    key("gsk_", 20, is_word),
    key("xai-", 20, is_word),
    key("pplx-", 20, is_word),
    key("nvapi-", 20, is_word),
    key("hf_", 30, is_word),
    key("r8_", 30, is_word),
    key("AIza", 35, is_word),
    key("ya29.", 20, is_word),
    key("AKIA", 16, is_upper),
    key("ASIA", 16, is_upper),
    key("ABSK", 40, is_base64),
    key("ghp_", 36, is_word),
    key("gho_", 36, is_word),
    key("ghu_", 36, is_word),
    key("ghs_", 36, is_word),
    key("ghr_", 36, is_word),
    key("github_pat_", 22, is_word),
    key("glpat-", 20, is_word),
    key("xoxb-", 10, is_word),
    key("xoxp-", 10, is_word),
    key("xoxa-", 10, is_word),
    key("xoxs-", 10, is_word),
    key("npm_", 36, is_word),
    key("pypi-", 40, is_word),
    key("eyJhbGciOi", 40, is_token),
];

const KEY_BEGIN: &[u8] = b"-----BEGIN ";
const PRIVATE: &[u8] = b"PRIVATE KEY-----";
const KEY_END: &[u8] = b"-----END ";

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

fn is_token(byte: u8) -> bool {
    is_word(byte) || byte == b'.'
}

/// Says that a secret is too short to be told from ordinary words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("register a secret of {bytes} bytes: it has to have {SECRET_BYTES_MIN} or more")]
pub struct ShortSecret {
    /// How long it is.
    pub bytes: usize,
}

/// Replaces secrets in the lines of a log by `[redacted]`, before they are written.
///
/// It knows the form of many services' keys and of private keys in PEM, and takes secrets of your
/// own. It works on whole events; what a run hands out live is not changed. A loop whose input held
/// a secret does not replay: the log holds less than the model was shown.
#[derive(Clone)]
pub struct Redactor {
    /// As they read in JSON, the longest first.
    secrets: Vec<Finder<'static>>,
    forms: Forms,
}

/// Whether keys are told by their form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forms {
    Known,
    None,
}

/// The shortest key, in bytes.
const KEY_BYTES_MIN: usize = {
    let (mut min, mut left) = (usize::MAX, PATTERNS);
    while let [pattern, rest @ ..] = left {
        let bytes = pattern.prefix.len() + pattern.tail_min;
        min = if bytes < min { bytes } else { min };
        left = rest;
    }
    min
};

/// The bytes that begin a key.
static BEGINS_KEY: LazyLock<[bool; 256]> = LazyLock::new(|| {
    let firsts = PATTERNS.iter().filter_map(|it| it.prefix.bytes().next());
    table_of(|byte| firsts.clone().any(|first| first == byte))
});

/// The bytes that are in any alphabet of keys.
static IS_OF_KEY: LazyLock<[bool; 256]> = LazyLock::new(|| {
    let prefixes = PATTERNS.iter().flat_map(|it| it.prefix.bytes());
    table_of(|byte| {
        let is_in_prefix = prefixes.clone().any(|it| it == byte);
        is_in_prefix || PATTERNS.iter().any(|it| (it.alphabet)(byte))
    })
});

fn table_of(is_in: impl Fn(u8) -> bool) -> [bool; 256] {
    let mut table = [false; 256];
    for (place, byte) in table.iter_mut().zip(0..=u8::MAX) {
        *place = is_in(byte);
    }
    table
}

/// Finds where a private key may begin.
static KEY_BEGINS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY_BEGIN));

impl Default for Redactor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("secrets", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

impl Redactor {
    /// Makes a redactor of keys that can be told by their form.
    #[must_use]
    pub fn new() -> Self {
        Self {
            secrets: Vec::new(),
            forms: Forms::Known,
        }
    }

    /// Makes a redactor that replaces nothing until a secret is registered.
    #[must_use]
    pub fn none() -> Self {
        Self {
            secrets: Vec::new(),
            forms: Forms::None,
        }
    }

    /// Registers a secret.
    ///
    /// # Errors
    /// [`ShortSecret`].
    pub fn with_secret(mut self, secret: &str) -> Result<Self, ShortSecret> {
        let bytes = secret.len();
        if bytes < SECRET_BYTES_MIN {
            return Err(ShortSecret { bytes });
        }
        let mut form = secret.to_owned();
        for _ in 0..ESCAPES_MAX {
            let quoted = serde_json::Value::from(form.as_str()).to_string();
            let escaped = quoted
                .get(1..quoted.len() - 1)
                .unwrap_or_default()
                .to_owned();
            let is_new =
                escaped != form || self.secrets.iter().all(|it| it.needle() != form.as_bytes());
            if is_new {
                self.secrets
                    .push(Finder::new(escaped.as_bytes()).into_owned());
            }
            if escaped == form {
                break;
            }
            form = escaped;
        }
        self.secrets
            .sort_by_key(|it| std::cmp::Reverse(it.needle().len()));
        Ok(self)
    }

    /// Replaces what is secret in the JSON that begins at `start` and ends the buffer.
    pub(crate) fn redact(&self, buffer: &mut Vec<u8>, start: usize) {
        let found = self.find(buffer.get(start..).unwrap_or_default());
        if found.is_empty() {
            return;
        }
        let written = buffer.split_off(start);
        let mut copied = 0;
        for (from, to) in found {
            if from < copied {
                copied = copied.max(to);
                continue;
            }
            buffer.extend_from_slice(written.get(copied..from).unwrap_or_default());
            buffer.extend_from_slice(REDACTED);
            copied = to;
        }
        buffer.extend_from_slice(written.get(copied..).unwrap_or_default());
    }

    /// Finds where secrets begin and end, in order.
    fn find(&self, json: &[u8]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for secret in &self.secrets {
            let length = secret.needle().len();
            let whole = secret.find_iter(json).filter(|at| !is_in_escape(json, *at));
            found.extend(whole.map(|at| (at, at + length)));
        }
        if self.forms == Forms::Known {
            find_keys(json, &mut found);
            find_private_keys(json, &mut found);
        }
        found.sort_unstable();
        found
    }
}

/// How long an escape of JSON is at most.
const ESCAPE_BYTES_MAX: usize = 6;

/// Says whether what is before is no part of a word.
fn ends_word(json: &[u8], at: usize) -> bool {
    let last = at.checked_sub(1).and_then(|at| json.get(at));
    last.is_none_or(|last| !is_word(*last) && *last != b'+')
}

/// Says whether a word can begin here: what is before is no part of one, or an escape of JSON.
fn is_boundary(json: &[u8], at: usize) -> bool {
    if ends_word(json, at) {
        return true;
    }
    let before = |n: usize| at.checked_sub(n).and_then(|at| json.get(at)).copied();
    let Some(last) = before(1) else {
        return true;
    };
    let escape = matches!(last, b'n' | b't' | b'r' | b'b' | b'f') && before(2) == Some(b'\\');
    let unicode = before(6) == Some(b'\\')
        && before(5) == Some(b'u')
        && (1..=4).all(|n| before(n).is_some_and(|byte| byte.is_ascii_hexdigit()));
    escape || unicode
}

/// Says whether a place is in the middle of an escape of JSON, which stays whole.
fn is_in_escape(json: &[u8], at: usize) -> bool {
    let before = json.get(..at).unwrap_or_default();
    (1..=5.min(at)).any(|back| {
        let (head, tail) = before.split_at(at - back);
        let run = head.iter().rev().take_while(|byte| **byte == b'\\').count();
        let is_escape = tail.first() == Some(&b'\\') && run % 2 == 0;
        is_escape && (back == 1 || tail.get(1) == Some(&b'u'))
    })
}

/// Finds where keys begin and end that are told by their form.
///
/// Most text has no word as long as a key, so that only a part of its bytes is looked at.
fn find_keys(json: &[u8], found: &mut Vec<(usize, usize)>) {
    let (begins_key, mut from) = (&*BEGINS_KEY, 0);
    while let Some((start, end)) = next_run(json, from) {
        let mut at = start;
        while let Some(run) = json.get(at..end).filter(|run| !run.is_empty()) {
            let Some(first) = run.iter().position(|byte| is_in(begins_key, *byte)) else {
                break;
            };
            at += first;
            if at >= start + ESCAPE_BYTES_MAX && !ends_word(json, at) {
                at += 1;
                continue;
            }
            let key_end = key_end(json, at);
            found.extend(key_end.map(|end| (at, end)));
            at = key_end.unwrap_or(at + 1);
        }
        from = end;
    }
}

/// Finds the next run of bytes of which keys are made that is as long as a key.
///
/// Such a run has all of one of the groups of eight bytes into which the text is divided, and few
/// other words have that.
fn next_run(json: &[u8], mut from: usize) -> Option<(usize, usize)> {
    const { assert!(KEY_BYTES_MIN >= 2 * GROUP - 1, "a run has a whole group") };
    let table = &*IS_OF_KEY;
    let is_of_key = |byte: &&u8| is_in(table, **byte);
    loop {
        let (groups, _) = json.get(from..)?.as_chunks::<GROUP>();
        let group = groups.iter().position(|group| may_be_of_key(*group))?;
        let inside = from + group * GROUP;
        let before = json.get(from..inside)?.iter().rev();
        let start = inside - before.take_while(is_of_key).count();
        let end = inside + json.get(inside..)?.iter().take_while(is_of_key).count();
        if end - start >= KEY_BYTES_MIN {
            return Some((start, end));
        }
        from = end.max(inside + 1);
    }
}

/// How many bytes are looked at together.
const GROUP: usize = 8;

/// Says whether eight bytes may be in a key: none is a sign before `+` in ASCII, as quotes, spaces
/// and line ends are, or of another script.
fn may_be_of_key(group: [u8; GROUP]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; GROUP]);
    let bytes = u64::from_le_bytes(group);
    let below = bytes.wrapping_sub(ONES * b'+' as u64);
    (bytes | below) & (ONES << 7) == 0
}

fn is_in(table: &[bool; 256], byte: u8) -> bool {
    table.get(usize::from(byte)).is_some_and(|it| *it)
}

/// Returns where the key ends that may begin here.
fn key_end(json: &[u8], at: usize) -> Option<usize> {
    if !is_boundary(json, at) {
        return None;
    }
    let rest = json.get(at..)?;
    let begins = |pattern: &&Pattern| {
        let prefix = pattern.prefix.as_bytes();
        prefix.first() == rest.first() && rest.starts_with(prefix)
    };
    let Pattern {
        prefix,
        tail_min,
        alphabet,
    } = PATTERNS.iter().find(begins)?;
    let tail = rest.get(prefix.len()..)?.iter();
    let length = tail.take_while(|byte| alphabet(**byte)).count();
    let is_key = length >= *tail_min && !is_in_escape(json, at);
    is_key.then_some(at + prefix.len() + length)
}

/// Finds where private keys begin and end.
fn find_private_keys(json: &[u8], found: &mut Vec<(usize, usize)>) {
    let mut from = 0;
    while let Some(at) = json.get(from..).and_then(|rest| KEY_BEGINS.find(rest)) {
        let at = from + at;
        let end = private_key_end(json, at);
        found.extend(end.map(|end| (at, end)));
        from = end.unwrap_or(at + 1);
    }
}

/// Returns where the private key in PEM ends that may begin here: with its last line, or with the
/// string.
fn private_key_end(json: &[u8], at: usize) -> Option<usize> {
    let rest = json.get(at..)?;
    let quote = memchr::memchr(b'"', rest).unwrap_or(rest.len());
    let rest = rest.get(..quote)?;
    let named = memmem::find(rest.get(..64.min(rest.len()))?, PRIVATE)?;
    let body = rest.get(named..)?;
    let end = memmem::find(body, KEY_END).and_then(|at| {
        let last = memmem::find(body.get(at..)?, PRIVATE)?;
        Some(named + at + last + PRIVATE.len())
    });
    // A backslash before the quote is an escape and stays whole.
    let cut = rest.iter().rev().take_while(|byte| **byte == b'\\').count();
    Some(at + end.unwrap_or(rest.len() - cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(redactor: &Redactor, json: &str) -> String {
        let mut buffer = b"sk-0123456789012345678901234 ".to_vec();
        let start = buffer.len();
        buffer.extend_from_slice(json.as_bytes());
        redactor.redact(&mut buffer, start);
        assert!(buffer.starts_with(b"sk-01"), "what is before stays");
        let text = String::from_utf8(buffer.split_off(start)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        text
    }

    #[test]
    fn keys_are_known_by_their_form_wherever_they_stand() {
        let redactor = Redactor::new();
        for key in [
            "sk-ant-api03-0123456789_abcdefghij-KLMN",
            "sk-proj-0123456789abcdefghijABCDEFGHIJ",
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "AIzaSyA0123456789abcdefghijABCDEFGHIJ01",
        ] {
            for text in [
                key.to_owned(),
                format!("KEY={key}\nnext"),
                format!("first\n{key}"),
                format!("\u{1}{key} and {key}"),
                format!("https://host/?key={key}&x"),
                serde_json::json!({ "command": format!("export A=\"{key}\"\t") }).to_string(),
            ] {
                let json = serde_json::json!({ "text": text }).to_string();
                let cleaned = redacted(&redactor, &json);
                assert!(!cleaned.contains(key), "{cleaned}");
                assert!(cleaned.contains("[redacted]"), "{cleaned}");
            }
        }
    }

    #[test]
    fn every_byte_of_a_key_is_seen_among_eight() {
        for byte in (0..=u8::MAX).filter(|byte| is_in(&IS_OF_KEY, *byte)) {
            for at in 0..GROUP {
                let mut group = *b"+zzzzzz+";
                group[at] = byte;
                assert!(may_be_of_key(group), "{byte}");
            }
        }
        for other in [b"1234567 ", b"\"1234567", b"123\xc34567"] {
            assert!(!may_be_of_key(*other));
        }
    }

    #[test]
    fn no_key_begins_with_another_so_that_the_first_that_fits_is_the_one() {
        for (at, pattern) in PATTERNS.iter().enumerate() {
            let fits = |it: &&Pattern| pattern.prefix.starts_with(it.prefix);
            assert_eq!(PATTERNS.iter().filter(fits).count(), 1, "{at}");
        }
    }

    /// Looks for a key of every form at every place.
    fn keys_one_by_one(json: &[u8]) -> Vec<(usize, usize)> {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < json.len() {
            let ends = PATTERNS.iter().filter_map(|pattern| {
                let tail = json[at..].strip_prefix(pattern.prefix.as_bytes())?;
                let part = tail.iter().take_while(|byte| (pattern.alphabet)(**byte));
                let length = part.count();
                let is_key =
                    length >= pattern.tail_min && is_boundary(json, at) && !is_in_escape(json, at);
                is_key.then_some(at + pattern.prefix.len() + length)
            });
            let end = ends.max();
            found.extend(end.map(|end| (at, end)));
            at = end.unwrap_or(at + 1);
        }
        found
    }

    proptest::proptest! {
        #[test]
        fn no_key_is_missed_where_only_long_words_are_looked_at(
            pieces in proptest::collection::vec(0..PATTERNS.len() + 12, 0..40),
            lengths in proptest::collection::vec(0..44_usize, 40),
        ) {
            let mut json = Vec::new();
            for (piece, length) in pieces.into_iter().zip(lengths) {
                let text = match piece.checked_sub(PATTERNS.len()) {
                    None => PATTERNS[piece].prefix.to_owned(),
                    Some(0) => "A".repeat(length),
                    Some(1) => "x9".repeat(length / 2),
                    Some(2) => " ".to_owned(),
                    Some(3) => "\\n".to_owned(),
                    Some(4) => "\\u001f".to_owned(),
                    Some(5) => "/".to_owned(),
                    Some(6) => "=".to_owned(),
                    Some(7) => "\"".to_owned(),
                    Some(8) => ".".to_owned(),
                    Some(9) => "-".to_owned(),
                    Some(10) => "ß".to_owned(),
                    Some(_) => "word ".repeat(length / 5),
                };
                json.extend_from_slice(text.as_bytes());
            }
            let mut found = Vec::new();
            find_keys(&json, &mut found);
            proptest::prop_assert_eq!(found, keys_one_by_one(&json));
        }
    }

    #[test]
    fn words_and_encoded_data_stay() {
        let redactor = Redactor::new();
        for text in [
            "task-0123456789012345678901234567",
            "desk-lamp, ask-me-anything, sk-short",
            "\npm_0123456789abcdefghijABCDEFGHIJ012345",
            "abcAKIAIOSFODNN7EXAMPLE+AIzaSyA0123456789abcdefghijABCDEFGHIJ01",
            "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----",
        ] {
            let json = serde_json::json!({ "text": text }).to_string();
            assert_eq!(redacted(&redactor, &json), json);
        }
    }

    #[test]
    fn a_private_key_goes_from_its_first_line_to_its_last() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----";
        let json = serde_json::json!({ "text": format!("a {key} z"), "b": 1 }).to_string();
        assert_eq!(
            redacted(&Redactor::new(), &json),
            r#"{"b":1,"text":"a [redacted] z"}"#
        );
        let json = serde_json::json!({ "text": &key[..40], "b": 1 }).to_string();
        assert_eq!(
            redacted(&Redactor::new(), &json),
            r#"{"b":1,"text":"[redacted]"}"#
        );
    }

    #[test]
    fn a_registered_secret_goes_in_every_escaping() {
        let secret = "p\"ss\\w\nörd";
        let redactor = Redactor::none().with_secret(secret).unwrap();
        let inner = serde_json::json!({ "x": secret }).to_string();
        let json = serde_json::json!({ "a": secret, "b": inner, "c": format!("<{secret}>") });
        let json = serde_json::json!({ "a": json.to_string(), "b": json }).to_string();
        let cleaned = redacted(&redactor, &json);
        assert_eq!(cleaned.matches("[redacted]").count(), 6, "{cleaned}");
        assert!(!cleaned.contains("ss\\"), "{cleaned}");
        let error = Redactor::none().with_secret("short").unwrap_err();
        assert_eq!(error, ShortSecret { bytes: 5 });
        assert!(!format!("{redactor:?}").contains("rd"));
        let plain = Redactor::none().with_secret("plain-secret").unwrap();
        assert_eq!(
            redacted(&plain, r#"{"a":"plain-secret"}"#),
            r#"{"a":"[redacted]"}"#
        );
    }
}
