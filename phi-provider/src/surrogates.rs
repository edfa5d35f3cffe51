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
}
