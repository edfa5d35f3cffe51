//! Tells the bytes of an answer from those that only keep its connection alive.

/// Tells the bytes of an answer from those that only keep its connection alive: comment lines of
/// an event stream, and white space.
///
/// A comment in the body of a JSON answer cannot be: a line of JSON does not begin with a colon
/// unless the colon follows a line end, and then only that line is missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    line: Line,
}

/// What is known of the line that the next byte continues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Empty,
    Comment,
    Content,
}

impl KeepAlive {
    /// Takes the next bytes and says whether any of them is more than a keep-alive.
    pub(crate) fn has_content(&mut self, bytes: &[u8]) -> bool {
        let mut has_content = false;
        for byte in bytes {
            self.line = match (byte, self.line) {
                (b'\n' | b'\r', _) => Line::Empty,
                (b':', Line::Empty) => Line::Comment,
                (byte, Line::Empty) if byte.is_ascii_whitespace() => Line::Empty,
                (_, Line::Empty) => Line::Content,
                (_, line) => line,
            };
            has_content |= self.line == Line::Content;
        }
        has_content
    }

    /// Takes bytes that are known to hold content.
    pub(crate) fn skip(&mut self, bytes: &[u8]) {
        let last_line = bytes.rsplitn(2, |byte| matches!(byte, b'\n' | b'\r'));
        if let Some(line) = last_line.into_iter().next() {
            if line.len() < bytes.len() {
                self.line = Line::Empty;
            }
            self.has_content(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(pieces: &[&str]) -> Vec<bool> {
        let mut keep_alive = KeepAlive::default();
        let pieces = pieces.iter();
        pieces
            .map(|it| keep_alive.has_content(it.as_bytes()))
            .collect()
    }

    #[test]
    fn comments_and_empty_lines_are_no_content_however_they_are_cut() {
        let pieces = [": OPEN", "ROUTER: x\n\n:", "\r\n\r\n", "  \n", ":"];
        assert_eq!(contents(&pieces), [false; 5]);
        assert_eq!(
            contents(&["da", "ta", ": 1\n", ": x", "\ndata"]),
            [true, true, true, false, true]
        );
        assert_eq!(contents(&["event: ping\n"]), [true]);
        assert_eq!(contents(&["\n\n{\"a\"", "\n:1}"]), [true, false]);
    }

    #[test]
    fn skipping_leaves_the_state_that_reading_leaves() {
        for bytes in [
            "",
            "data",
            "data\n",
            "data\n: x",
            ": x",
            "\n  ",
            "data\r: x\rdata",
            "a\n\n",
        ] {
            let (mut read, mut skipped) = (KeepAlive::default(), KeepAlive::default());
            for piece in [bytes, bytes] {
                read.has_content(piece.as_bytes());
                skipped.skip(piece.as_bytes());
                assert_eq!(read, skipped, "{bytes:?}");
            }
        }
    }
}
