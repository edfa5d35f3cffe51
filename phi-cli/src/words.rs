//! Text that a terminal can show: nothing in it moves the cursor or hides what follows.

use std::borrow::Cow;

/// Replaces characters that a terminal would obey: control characters but line end and tab, and
/// those that turn the direction of text.
pub(crate) fn tame(text: &str) -> Cow<'_, str> {
    if !text.contains(is_wild) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace("\r\n", "\n").chars().map(tamed).collect())
}

/// Makes one line of a text: line ends and runs of white space become one space.
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    tame(&words.join(" ")).into_owned()
}

/// Makes one line of at most so many characters.
pub(crate) fn excerpt(text: &str, max: usize) -> String {
    // White space shrinks, so this much is enough, and a long text is not walked to its end.
    let start: String = text.chars().take(max.saturating_mul(4)).collect();
    let line = one_line(&start);
    if start.len() == text.len() && line.chars().count() <= max {
        return line;
    }
    let mut cut: String = line.chars().take(max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Escapes what a terminal would obey in a line of JSON; the JSON means the same.
pub(crate) fn tame_json(line: &str) -> Cow<'_, str> {
    if !line.contains(is_wild) {
        return Cow::Borrowed(line);
    }
    let mut tame = String::with_capacity(line.len());
    for c in line.chars() {
        if is_wild(c) {
            tame.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            tame.push(c);
        }
    }
    Cow::Owned(tame)
}

/// Quotes a word for a shell where it needs that.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn is_wild(c: char) -> bool {
    let is_turn = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    is_turn || (c.is_control() && c != '\n' && c != '\t')
}

fn tamed(c: char) -> char {
    if !is_wild(c) {
        return c;
    }
    match u32::from(c) {
        code @ 0..0x20 => char::from_u32(0x2400 + code).unwrap_or('\u{fffd}'),
        0x7f => '\u{2421}',
        _ => '\u{fffd}',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(tame("a\tb\nc"), "a\tb\nc");
        assert_eq!(
            tame("\u{1b}[2Jx\r\ny\u{7f}\u{9b}1m\u{202e}"),
            "␛[2Jx\ny␡\u{fffd}1m\u{fffd}"
        );
        assert_eq!(one_line("a\n  b\u{1b}c "), "a b␛c");
        assert_eq!(tame_json("{\"a\":\"\u{9b}\"}"), "{\"a\":\"\\u009b\"}");
    }

    #[test]
    fn an_excerpt_says_that_it_is_cut() {
        assert_eq!(excerpt("one  two", 8), "one two");
        assert_eq!(excerpt("one two three", 8), "one two…");
        assert_eq!(excerpt(&"x".repeat(1000), 4), "xxx…");
    }

    #[test]
    fn a_word_is_quoted_only_where_a_shell_needs_it() {
        assert_eq!(quoted("/tmp/a-b.c"), "/tmp/a-b.c");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
