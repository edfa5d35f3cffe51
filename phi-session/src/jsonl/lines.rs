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
    /// Whether a read failed, so that the reader stands nobody knows where.
    is_lost: bool,
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
            is_lost: false,
        }
    }

    /// Reads the next line. After a fragment, the end or an error it looks again at the same place.
    pub(super) fn next(&mut self) -> io::Result<Found> {
        if self.is_lost {
            self.reader.seek(SeekFrom::Start(self.next))?;
        }
        self.is_lost = true;
        let found = self.read()?;
        self.is_lost = false;
        Ok(found)
    }

    fn read(&mut self) -> io::Result<Found> {
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
        self.is_lost = true;
        self.reader.seek(SeekFrom::Start(self.start))?;
        self.is_lost = false;
        Ok(())
    }

    /// Says whether, from the line that was read last on, any line is whole in shape: what begins
    /// there is then no torn end but damage. It leaves the place as it was.
    pub(super) fn any_whole(&mut self) -> io::Result<bool> {
        let at = self.start;
        self.step_back()?;
        let whole = self.find_whole();
        self.start = at;
        self.step_back()?;
        whole
    }

    fn find_whole(&mut self) -> io::Result<bool> {
        loop {
            match self.next()? {
                Found::Line if split_line(&self.line).is_some() => return Ok(true),
                Found::Line | Found::Long => {}
                Found::Fragment | Found::End => return Ok(false),
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Fault, Faults, scratch};
    use crate::files::open_to_read;

    #[test]
    fn a_read_that_failed_is_made_again_at_the_same_place() {
        let folder = scratch();
        let path = folder.path().join("lines");
        let long = format!("first\n{}\nlast\n", "x".repeat(300_000));
        std::fs::write(&path, &long).unwrap();
        let faults = Faults::install(folder.path());
        let reads = 8;
        for at in 0..reads {
            faults.heal();
            let file = open_to_read(&path).unwrap();
            let mut lines = Lines::new(Input::new(file, &path));
            faults.fail_at(at, Fault::Error(rustix::io::Errno::IO));
            let (mut read, mut failed) = (String::new(), 0);
            loop {
                match lines.next() {
                    Ok(Found::End) => break,
                    Ok(_) => {
                        read.push_str(std::str::from_utf8(lines.line()).unwrap());
                        read.push('\n');
                    }
                    Err(_) => failed += 1,
                }
            }
            assert!(read == long, "read {at} failed");
            assert_eq!(failed, usize::from(at < 6), "read {at}");
        }
    }
}
