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
/// How far a cut moves to fall on a line end.
const LINE_SEARCH_BYTES: usize = 512;

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

/// The first bytes and the last bytes of a stream, in constant memory.
#[derive(Debug)]
pub(crate) struct Capture {
    head: Vec<u8>,
    tail: Vec<u8>,
    half: usize,
    total: u64,
}

/// What is shown of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Captured {
    /// Head, a notice of what is omitted, and tail.
    pub(crate) text: String,
    /// The bytes of the stream.
    pub(crate) total_bytes: u64,
    /// The bytes of the stream that are not shown.
    pub(crate) omitted_bytes: u64,
}

impl Capture {
    /// Makes a capture that shows at most `max` bytes of text, half of it from each end.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            head: Vec::new(),
            tail: Vec::new(),
            half: max / 2,
            total: 0,
        }
    }

    /// Takes more of the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let room = self.half.saturating_sub(self.head.len());
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        let last = rest.get(rest.len().saturating_sub(self.half)..);
        self.tail.extend_from_slice(last.unwrap_or_default());
        if self.tail.len() > self.half.saturating_mul(2) {
            self.tail.drain(..self.tail.len() - self.half);
        }
    }

    /// Shows the last lines so far, for somebody who watches.
    pub(crate) fn latest(&self, max: usize) -> String {
        let from = if self.tail.is_empty() {
            &self.head
        } else {
            &self.tail
        };
        let start = from.len().saturating_sub(max);
        let bytes = from.get(start..).unwrap_or_default();
        back(bytes, max, Origin::Terminal).text
    }

    /// Shows what was captured.
    pub(crate) fn finish(mut self) -> Captured {
        let excess = self.tail.len().saturating_sub(self.half);
        self.tail.drain(..excess);
        let kept = self.head.len() + self.tail.len();
        let gap = self.total - u64::try_from(kept).unwrap_or(self.total);
        if gap == 0 {
            let mut bytes = self.head;
            bytes.extend_from_slice(&self.tail);
            let whole = front(&bytes, self.half * 2, Origin::Terminal);
            if whole.taken == bytes.len() {
                return Captured {
                    text: whole.text,
                    total_bytes: self.total,
                    omitted_bytes: 0,
                };
            }
            let head = on_line_end(&bytes, front(&bytes, self.half, Origin::Terminal));
            let rest = bytes.get(head.taken..).unwrap_or_default();
            return joined(&head, on_line_start(rest, self.half), self.total);
        }
        let head = on_line_end(&self.head, front(&self.head, self.half, Origin::Terminal));
        joined(&head, on_line_start(&self.tail, self.half), self.total)
    }
}

fn joined(head: &Shown, tail: Shown, total_bytes: u64) -> Captured {
    let shown = u64::try_from(head.taken + tail.taken).unwrap_or(total_bytes);
    let omitted_bytes = total_bytes.saturating_sub(shown);
    let line_end = if head.text.is_empty() || head.text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    Captured {
        text: format!(
            "{}{line_end}[... {omitted_bytes} bytes omitted ...]\n{}",
            head.text, tail.text
        ),
        total_bytes,
        omitted_bytes,
    }
}

/// Moves the end of a head back to a line end, if one is near.
fn on_line_end(bytes: &[u8], shown: Shown) -> Shown {
    let near = shown.taken.saturating_sub(LINE_SEARCH_BYTES);
    let end = bytes
        .get(near..shown.taken)
        .and_then(|window| window.iter().rposition(|byte| *byte == b'\n'));
    match end {
        Some(at) => front(
            bytes.get(..=near + at).unwrap_or_default(),
            shown.text.len(),
            Origin::Terminal,
        ),
        None => shown,
    }
}

/// Shows the back of a stream from a line start, if one is near, else from a character boundary.
fn on_line_start(bytes: &[u8], max: usize) -> Shown {
    let continuation = bytes
        .iter()
        .take(3)
        .take_while(|byte| (0x80..0xc0).contains(*byte))
        .count();
    let bytes = bytes.get(continuation..).unwrap_or_default();
    let shown = back(bytes, max, Origin::Terminal);
    let start = bytes.len() - shown.taken;
    let window = bytes.get(start..).unwrap_or_default();
    let line = window
        .iter()
        .take(LINE_SEARCH_BYTES)
        .position(|byte| *byte == b'\n');
    match line.and_then(|at| window.get(at + 1..)) {
        Some(rest) if !rest.is_empty() => front(rest, max, Origin::Terminal),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn safe(text: &str) -> bool {
        text.chars()
            .all(|c| matches!(c, '\n' | '\t') || !c.is_control())
    }

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

    #[test]
    fn a_long_stream_shows_both_ends_and_counts_the_rest() {
        let mut capture = Capture::new(40);
        for line in 0..1000 {
            capture.push(format!("line {line}\n").as_bytes());
        }
        let captured = capture.finish();
        assert_eq!(
            captured.text,
            "line 0\nline 1\n[... 8858 bytes omitted ...]\nline 998\nline 999\n"
        );
        assert_eq!(captured.total_bytes, 8890);
    }

    proptest! {
        #[test]
        fn any_split_of_any_bytes_shows_the_same_safe_and_bounded_text(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            cuts in proptest::collection::vec(1_usize..50, 1..20),
            max in 2_usize..120,
        ) {
            let mut whole = Capture::new(max);
            whole.push(&bytes);
            let mut split = Capture::new(max);
            let mut rest: &[u8] = &bytes;
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                split.push(now);
                rest = later;
            }
            let whole = whole.finish();
            prop_assert!(safe(&whole.text));
            prop_assert!(whole.text.len() <= max + 50, "{} of {max}", whole.text.len());
            prop_assert_eq!(whole.total_bytes, bytes.len() as u64);
            let split = split.finish();
            prop_assert_eq!(whole.total_bytes, split.total_bytes);
            prop_assert_eq!(whole, split);
        }

        #[test]
        fn front_and_back_are_one_when_all_fits(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let front = front(&bytes, usize::MAX, Origin::Terminal);
            prop_assert_eq!(&front, &back(&bytes, usize::MAX, Origin::Terminal));
            prop_assert_eq!(front.taken, bytes.len());
        }
    }
}
