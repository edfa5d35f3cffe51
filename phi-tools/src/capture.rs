//! Keeps the first and the last part of a stream of any length.

use crate::text::{Origin, Shown, back, front};

/// How far a cut moves to fall on a line end.
const LINE_SEARCH_BYTES: usize = 512;

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
            return joined(&head, &on_line_start(rest, self.half), self.total);
        }
        let head = on_line_end(&self.head, front(&self.head, self.half, Origin::Terminal));
        joined(&head, &on_line_start(&self.tail, self.half), self.total)
    }
}

fn joined(head: &Shown, tail: &Shown, total_bytes: u64) -> Captured {
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
    }
}
