//! Bytes in chunks: cheap to copy, to extend at the end, to cut there, and to insert into.

use bytes::{Bytes, BytesMut};

/// Bytes in chunks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rope {
    chunks: Vec<Bytes>,
    len: usize,
}

/// Chunks up to this size are joined with their neighbours, so that there are few.
const JOINED_BYTES_MAX: usize = 64 << 10;

impl Rope {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a chunk. A byte is copied a logarithmic number of times in all.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.len += chunk.len();
        self.chunks.push(chunk);
        while let [.., before, last] = self.chunks.as_slice()
            && before.len() + last.len() <= JOINED_BYTES_MAX
            && before.len() <= 2 * last.len()
        {
            let mut joined = BytesMut::with_capacity(before.len() + last.len());
            joined.extend_from_slice(before);
            joined.extend_from_slice(last);
            self.chunks.truncate(self.chunks.len() - 2);
            self.chunks.push(joined.freeze());
        }
    }

    /// Keeps the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        while self.len > len
            && let Some(mut last) = self.chunks.pop()
        {
            let before = self.len - last.len();
            if before < len {
                last.truncate(len - before);
                self.chunks.push(last);
                self.len = len;
            } else {
                self.len = before;
            }
        }
    }

    /// Inserts a chunk before the byte at `at`; beyond the end it is appended.
    pub(crate) fn insert(&mut self, at: usize, chunk: Bytes) {
        let mut before = 0;
        let mut index = 0;
        while let Some(here) = self.chunks.get(index) {
            if at < before + here.len() {
                let mut first = here.clone();
                let second = first.split_off(at - before);
                self.len += chunk.len();
                let parts = [first, chunk, second];
                let parts = parts.into_iter().filter(|part| !part.is_empty());
                self.chunks.splice(index..=index, parts);
                return;
            }
            before += here.len();
            index += 1;
        }
        self.len += chunk.len();
        self.chunks.push(chunk);
    }

    /// Returns the chunks in order.
    pub(crate) fn into_chunks(self) -> Vec<Bytes> {
        self.chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(parts: &[&str]) -> Rope {
        let mut rope = Rope::default();
        for part in parts {
            rope.push(Bytes::copy_from_slice(part.as_bytes()));
        }
        rope
    }

    fn text(rope: &Rope) -> String {
        String::from_utf8(rope.chunks.concat()).unwrap()
    }

    #[test]
    fn a_rope_is_cut_and_extended_at_every_place() {
        let all = "abcdefgh";
        for len in 0..=9 {
            let mut cut = rope(&["abc", "", "de", "fgh"]);
            cut.truncate(len);
            assert_eq!(text(&cut), all[..len.min(8)]);
            assert_eq!(cut.len(), len.min(8));
            cut.push(Bytes::from_static(b"xy"));
            assert_eq!(text(&cut), format!("{}xy", &all[..len.min(8)]));
        }
    }

    #[test]
    fn a_chunk_is_inserted_at_every_place() {
        for at in 0..=9 {
            let mut rope = rope(&["abc", "de", "fgh"]);
            rope.insert(at, Bytes::from_static(b"--"));
            let at = at.min(8);
            assert_eq!(
                text(&rope),
                format!("{}--{}", &"abcdefgh"[..at], &"abcdefgh"[at..])
            );
            assert_eq!(rope.len(), 10);
        }
    }

    #[test]
    fn many_small_chunks_become_few() {
        let mut rope = Rope::default();
        for _ in 0..100_000 {
            rope.push(Bytes::from_static(b"0123456789"));
        }
        assert_eq!(rope.len(), 1_000_000);
        assert!(rope.chunks.len() < 64, "{} chunks", rope.chunks.len());
    }
}
