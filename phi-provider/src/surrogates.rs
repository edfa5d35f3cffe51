//! Replaces lone surrogates in the text of JSON.

use std::borrow::Cow;

/// Replaces each escaped surrogate that has no partner by `\ufffd`.
///
/// JSON can spell half of a character as `\ud83d`, and models cut one in two between deltas. No
/// Rust string can hold it and services refuse it, but text that is passed on unread may.
pub(crate) fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(escape) = next_escape(json, at) {
        let partner = unit(json, escape + 6);
        match (unit(json, escape), partner) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at = escape + 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push_str(json.get(copied..escape).unwrap_or_default());
                out.push_str("\\ufffd");
                at = escape + 6;
                copied = at;
            }
            _ => at = escape + 2,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(json.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// Returns the text of a JSON string, with at most one allocation.
///
/// Half of a surrogate pair becomes U+FFFD. The string is one that a JSON parser took.
#[cfg(feature = "wires")]
pub(crate) fn unescaped(json: &str) -> Cow<'_, str> {
    let inner = json.strip_prefix('"').unwrap_or(json);
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let Some(mut escape) = next_escape(inner, 0) else {
        return Cow::Borrowed(inner);
    };
    let mut text = String::with_capacity(inner.len());
    let mut copied = 0;
    loop {
        text.push_str(inner.get(copied..escape).unwrap_or_default());
        let (c, length) = escaped_char(inner, escape);
        text.push(c);
        copied = escape + length;
        match next_escape(inner, copied) {
            Some(next) => escape = next,
            None => break,
        }
    }
    text.push_str(inner.get(copied..).unwrap_or_default());
    Cow::Owned(text)
}

/// Reads one escape: its character, and how many bytes it takes.
#[cfg(feature = "wires")]
fn escaped_char(json: &str, at: usize) -> (char, usize) {
    let simple = match json.as_bytes().get(at + 1) {
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => {
            let first = unit(json, at).unwrap_or(0xfffd);
            let second = unit(json, at + 6);
            let pair = second.map(|second| char::decode_utf16([first, second]).next());
            return match (char::from_u32(first.into()), pair) {
                (Some(c), _) => (c, 6),
                (None, Some(Some(Ok(c)))) => (c, 12),
                (None, _) => (char::REPLACEMENT_CHARACTER, 6),
            };
        }
        Some(escaped) => char::from(*escaped),
        None => char::REPLACEMENT_CHARACTER,
    };
    (simple, 2)
}

/// Finds the next backslash that begins an escape; the one after a backslash does not.
fn next_escape(json: &str, from: usize) -> Option<usize> {
    let rest = json.as_bytes().get(from..)?;
    memchr::memchr(b'\\', rest).map(|at| from + at)
}

/// Reads `\uXXXX` at a place.
fn unit(json: &str, at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then(|| u16::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t14_lone_surrogates_are_replaced_and_pairs_stay() {
        for (json, expected) in [
            (r#""plain""#, r#""plain""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\ude00x\ud83d""#, r#""\ufffdx\ufffd""#),
            (r#""\uD83D\uD83D\uDE00""#, r#""\ufffd\uD83D\uDE00""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d\n""#, r#""\\\ufffd\n""#),
            (r#""\ud83"#, r#""\ud83"#),
            (r#""\ud83é""#, r#""\ud83é""#),
        ] {
            assert_eq!(without_lone_surrogates(json), expected, "{json}");
        }
        assert!(matches!(
            without_lone_surrogates("\"x\\n\""),
            Cow::Borrowed(_)
        ));
    }

    #[cfg(feature = "wires")]
    #[test]
    fn a_json_string_is_unescaped_as_the_parser_does_it() {
        for text in [
            "",
            "plain",
            "a\nb",
            "\"\\/",
            "\u{8}\u{c}\r\t\u{1}\u{7f}",
            "é😀\u{ffff}",
            "\\u0041",
            "\\\\n",
        ] {
            let json = serde_json::to_string(text).unwrap();
            assert_eq!(unescaped(&json), text);
        }
        for json in [
            r#""\u0041\u00e9\ud83d\ude00\/""#,
            r#""\uD83D\uDE00x\u20ac""#,
            r#""\\u0041\b\f""#,
        ] {
            let parsed: String = serde_json::from_str(json).unwrap();
            assert_eq!(unescaped(json), parsed, "{json}");
        }
        assert_eq!(unescaped(r#""a\ud83d""#), "a\u{fffd}");
        assert_eq!(unescaped(r#""\ude00\ud83d\ude00""#), "\u{fffd}\u{1f600}");
        assert_eq!(unescaped(r#""\ud83d\ud83d\ude00""#), "\u{fffd}\u{1f600}");
        assert!(matches!(unescaped(r#""plain""#), Cow::Borrowed("plain")));
    }
}
