//! Turns bytes from outside into text that is safe to show and no longer than asked for.

/// Where bytes come from, which decides what control characters mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// What a program wrote: colours and cursor moves go, a carriage return ends a line.
    Terminal,
    /// What a file holds: every control character is shown as a symbol.
    File,
}

/// The longest control sequence that is taken as a whole.
const SEQUENCE_BYTES_MAX: usize = 64;

/// Reads one piece off the front: how many bytes it takes, and what is shown for it.
///
/// Nothing that is shown is a control character, but for the line end and the tab.
fn piece(bytes: &[u8], origin: Origin) -> Option<(usize, Option<char>)> {
    let first = *bytes.first()?;
    let shown = match (first, origin) {
        (b'\n' | b'\t', _) => char::from(first),
        (b'\r', _) if bytes.get(1) == Some(&b'\n') => return Some((2, Some('\n'))),
        (b'\r', Origin::Terminal) => '\n',
        (0x1b, Origin::Terminal) => match control_sequence(bytes) {
            Some(taken) => return Some((taken, None)),
            None => symbol(first),
        },
        (0..=0x1f | 0x7f, _) => symbol(first),
        (0x20..=0x7e, _) => char::from(first),
        (0x80.., _) => return Some(multi_byte(bytes)),
    };
    Some((1, Some(shown)))
}

/// Measures `ESC [ parameters intermediates final`, which moves the cursor or colours text.
fn control_sequence(bytes: &[u8]) -> Option<usize> {
    let body = bytes.strip_prefix(b"\x1b[")?;
    let at = body
        .iter()
        .take(SEQUENCE_BYTES_MAX)
        .position(|byte| !(0x20..=0x3f).contains(byte))?;
    let last = body.get(at)?;
    (0x40..=0x7e).contains(last).then_some(at + 3)
}

/// The Unicode picture of an ASCII control character.
fn symbol(control: u8) -> char {
    let code = match control {
        0x7f => 0x2421,
        other => 0x2400 + u32::from(other),
    };
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn multi_byte(bytes: &[u8]) -> (usize, Option<char>) {
    let window = bytes.get(..4).unwrap_or(bytes);
    let valid = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(error) => {
            let valid = window.get(..error.valid_up_to()).unwrap_or_default();
            match std::str::from_utf8(valid) {
                Ok(text) if !text.is_empty() => text,
                _ => {
                    let taken = error.error_len().unwrap_or(window.len());
                    return (taken, Some(char::REPLACEMENT_CHARACTER));
                }
            }
        }
    };
    match valid.chars().next() {
        Some(control @ '\u{80}'..='\u{9f}') => {
            (control.len_utf8(), Some(char::REPLACEMENT_CHARACTER))
        }
        Some(shown) => (shown.len_utf8(), Some(shown)),
        None => (1, Some(char::REPLACEMENT_CHARACTER)),
    }
}

struct Pieces<'a> {
    rest: &'a [u8],
    origin: Origin,
}

impl Iterator for Pieces<'_> {
    type Item = (usize, Option<char>);
    fn next(&mut self) -> Option<Self::Item> {
        let (taken, shown) = piece(self.rest, self.origin)?;
        self.rest = self.rest.get(taken..).unwrap_or_default();
        Some((taken, shown))
    }
}

fn pieces(bytes: &[u8], origin: Origin) -> Pieces<'_> {
    Pieces {
        rest: bytes,
        origin,
    }
}

fn shown_bytes(shown: Option<char>) -> usize {
    shown.map_or(0, char::len_utf8)
}

/// Text, and how many of the bytes it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The text.
    pub(crate) text: String,
    /// The bytes that the text stands for.
    pub(crate) taken: usize,
}

/// Shows the front of some bytes in at most `max` bytes of text.
pub(crate) fn front(bytes: &[u8], max: usize, origin: Origin) -> Shown {
    let mut shown = Shown {
        text: String::new(),
        taken: 0,
    };
    for (taken, character) in pieces(bytes, origin) {
        if shown.text.len() + shown_bytes(character) > max {
            break;
        }
        shown.taken += taken;
        shown.text.extend(character);
    }
    shown
}

/// Shows the back of some bytes in at most `max` bytes of text.
pub(crate) fn back(bytes: &[u8], max: usize, origin: Origin) -> Shown {
    let whole: usize = pieces(bytes, origin)
        .map(|(_, character)| shown_bytes(character))
        .sum();
    let mut excess = whole.saturating_sub(max);
    let mut shown = Shown {
        text: String::new(),
        taken: 0,
    };
    for (taken, character) in pieces(bytes, origin) {
        if excess > 0 {
            excess = excess.saturating_sub(shown_bytes(character));
            continue;
        }
        shown.taken += taken;
        shown.text.extend(character);
    }
    shown
}

/// Shows all of some bytes; the caller bounds their number.
pub(crate) fn all(bytes: &[u8], origin: Origin) -> String {
    front(bytes, usize::MAX, origin).text
}

/// Shows a name from a file system on one line.
pub(crate) fn name(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    all(path.as_os_str().as_bytes(), Origin::File)
        .replace('\n', "\u{240a}")
        .replace('\t', "\u{2409}")
}

/// Cuts a text to at most `max` bytes at a character boundary.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_go_and_every_other_escape_is_shown() {
        let bytes = b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07 a\x08b\rnext\r\n\x9b\xc2\x9b";
        assert_eq!(
            all(bytes, Origin::Terminal),
            "red \u{241b}]0;title\u{2407} a\u{2408}b\nnext\n\u{fffd}\u{fffd}"
        );
        assert_eq!(
            all(b"\x1b[1mx\ry\r\n", Origin::File),
            "\u{241b}[1mx\u{240d}y\n"
        );
        assert_eq!(all(b"\x1b[12", Origin::Terminal), "\u{241b}[12");
    }

    #[test]
    fn a_cut_falls_between_characters() {
        let text = "aé€😀".repeat(10);
        for max in 0..text.len() {
            let shown = front(text.as_bytes(), max, Origin::File);
            assert!(text.starts_with(&shown.text));
            assert!(shown.text.len() <= max && shown.text.len() + 4 > max);
            let shown = back(text.as_bytes(), max, Origin::File);
            assert!(text.ends_with(&shown.text));
            assert!(shown.text.len() <= max && shown.text.len() + 4 > max);
        }
    }

    proptest! {
        #[test]
        fn front_and_back_are_one_when_all_fits(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let front = front(&bytes, usize::MAX, Origin::Terminal);
            prop_assert_eq!(&front, &back(&bytes, usize::MAX, Origin::Terminal));
            prop_assert_eq!(front.taken, bytes.len());
        }
    }
}
