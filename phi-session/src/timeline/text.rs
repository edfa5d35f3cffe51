//! Text of a log as text of a page: nothing in it is markup, turns the direction of text, or hides.

use std::fmt::Write as _;

/// How much of a text is looked at for an excerpt of so many characters: white space shrinks.
const LOOK: usize = 4;

/// Adds text to a page.
pub(super) fn escape(to: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&#39;"),
            '\n' | '\t' => to.push(c),
            c if is_wild(c) => tame(to, c),
            c => to.push(c),
        }
    }
}

/// Returns text as a page has it.
pub(super) fn escaped(text: &str) -> String {
    let mut to = String::with_capacity(text.len());
    escape(&mut to, text);
    to
}

/// Makes one line of at most so many characters, not escaped yet.
pub(super) fn excerpt(text: &str, max: usize) -> String {
    let end = text.char_indices().nth(max * LOOK).map(|(at, _)| at);
    let start = end.and_then(|end| text.get(..end)).unwrap_or(text);
    let words: Vec<&str> = start.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(max) {
        None if start.len() == text.len() => line,
        None => line + "…",
        Some((at, _)) => line.get(..at).unwrap_or_default().to_owned() + "…",
    }
}

/// Says whether a character does something instead of being seen: controls, what turns the direction
/// of text, what has no width, and line ends that are none in a page.
fn is_wild(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

fn tame(to: &mut String, c: char) {
    let code = u32::from(c);
    match code {
        0..0x20 => to.push(char::from_u32(0x2400 + code).unwrap_or('\u{fffd}')),
        0x7f => to.push('\u{2421}'),
        // Writing to a string cannot fail.
        _ => if write!(to, "[U+{code:04X}]").is_err() {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_markup_and_everything_is_seen() {
        assert_eq!(
            escaped("</script><!-- & \"'\u{0}\u{202e}\r\n\t\u{e0041}ü"),
            "&lt;/script&gt;&lt;!-- &amp; &quot;&#39;␀[U+202E]␍\n\t[U+E0041]ü"
        );
    }

    #[test]
    fn an_excerpt_is_one_line_and_says_that_it_is_cut() {
        assert_eq!(excerpt(" a\n  b ", 9), "a b");
        assert_eq!(excerpt("aé  bc", 4), "aé b…");
        assert_eq!(excerpt(&" ".repeat(99), 4), "…");
        assert_eq!(excerpt("", 4), "");
    }
}
