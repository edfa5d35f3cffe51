//! Lines of a file, one after the other, in bounded memory and also while the file grows.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use crate::chain::{LINE_BYTES_MAX, split_line};
use crate::disk::Input;

/// Reads the lines of a file in order and knows where each begins.
#[derive(Debug)]
pub(super) struct Lines {
    reader: BufReader<Input>,
    /// The line that was read last, without its line end.
    line: Vec<u8>,
    /// Where it begins.
    start: u64,
    /// Where the next one begins.
    next: u64,
}

/// What was found where a line is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A line with its line end.
    Line,
    /// A line with its line end, too long to be kept.
    Long,
    /// Bytes without a line end before the end of the file.
    Fragment,
    /// Nothing: the end of the file.
    End,
}

impl Lines {
    pub(super) fn new(file: Input) -> Self {
        Self {
            reader: BufReader::with_capacity(1 << 16, file),
            line: Vec::new(),
            start: 0,
            next: 0,
        }
    }

    /// Reads the next line. After a fragment or the end it looks again at the same place.
    pub(super) fn next(&mut self) -> io::Result<Found> {
        self.start = self.next;
        self.line.clear();
        let max = LINE_BYTES_MAX as u64 + 1;
        let mut read = (&mut self.reader)
            .take(max)
            .read_until(b'\n', &mut self.line)? as u64;
        let mut found = match self.line.last() {
            None => return Ok(Found::End),
            Some(b'\n') => Found::Line,
            Some(_) if read < max => Found::Fragment,
            Some(_) => {
                let (skipped, ended) = self.skip_line()?;
                read += skipped;
                if ended { Found::Long } else { Found::Fragment }
            }
        };
        match found {
            Found::Fragment => {
                self.reader.seek(SeekFrom::Start(self.start))?;
            }
            Found::Line | Found::Long | Found::End => self.next = self.start + read,
        }
        if found == Found::Line {
            self.line.pop();
        } else if self.line.len() > LINE_BYTES_MAX {
            self.line = Vec::new();
        }
        if found == Found::Fragment && read == 0 {
            found = Found::End;
        }
        Ok(found)
    }

    /// Goes back to the line that was read last.
    pub(super) fn step_back(&mut self) -> io::Result<()> {
        self.next = self.start;
        self.reader.seek(SeekFrom::Start(self.start)).map(drop)
    }

    /// Says whether, from the line that was read last on, any line is whole in shape: what begins
    /// there is then no torn end but damage. It leaves the place as it was.
    pub(super) fn any_whole(&mut self) -> io::Result<bool> {
        let at = self.start;
        self.step_back()?;
        let mut whole = false;
        loop {
            match self.next()? {
                Found::Line if split_line(&self.line).is_some() => {
                    whole = true;
                    break;
                }
                Found::Line | Found::Long => {}
                Found::Fragment | Found::End => break,
            }
        }
        self.start = at;
        self.step_back()?;
        Ok(whole)
    }

    /// Returns the line that was read last, without its line end.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Returns where the next line begins.
    pub(super) fn end(&self) -> u64 {
        self.next
    }

    /// Returns where the line that was read last begins.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Returns how many bytes follow the place where that line begins.
    pub(super) fn bytes_left(&self) -> io::Result<u64> {
        Ok(self.reader.get_ref().length()?.saturating_sub(self.start))
    }

    fn skip_line(&mut self) -> io::Result<(u64, bool)> {
        let mut skipped = 0;
        loop {
            let bytes = self.reader.fill_buf()?;
            if bytes.is_empty() {
                return Ok((skipped, false));
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let count = end.map_or(bytes.len(), |at| at + 1);
            self.reader.consume(count);
            skipped += count as u64;
            if end.is_some() {
                return Ok((skipped, true));
            }
        }
    }
}
