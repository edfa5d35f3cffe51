//! Reading a log from its segments, also while another process writes it.

use std::path::PathBuf;

use async_trait::async_trait;
use phi_types::{Event, SessionId};
use serde::{Deserialize, Serialize};

use super::blobs::Blobs;
use super::lines::{Found, Lines};
use super::open::{Segment, Start, open_segment, place};
use super::segment::{segment_path, segments};
use crate::chain::{Chain, LINE_BYTES_MAX};
use crate::disk;
use crate::error::{BadLine, StoreError};
use crate::files::{io_error, is_folder, open_to_read};
use crate::store::{SessionReader, StoredEvent, StoredLine};

/// How many bytes of lines one read returns at most, one line aside.
const CHUNK_BYTES_MAX: usize = 8 << 20;

/// How many events are read at once for a summary.
const OUTLINE_EVENTS: usize = 1024;

/// Where whole lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The first position of the segment.
    pub(super) first: u64,
    /// How many of its bytes they are.
    pub(super) bytes: u64,
    /// The position of the last event.
    pub(super) position: u64,
    /// The checksum of its line.
    pub(super) checksum: u32,
}

/// A place in a log on files.
#[derive(Debug)]
pub(super) struct JsonlReader {
    folder: PathBuf,
    /// The segment that is read.
    path: PathBuf,
    blobs: Blobs,
    /// The position from which on events are returned.
    from: u64,
    /// The first position of the segment that is read.
    first: u64,
    lines: Lines,
    chain: Chain,
    /// Whether a later segment was seen, so that this one grows no more.
    frozen: bool,
    tail_bytes: u64,
}

impl JsonlReader {
    pub(super) fn open(
        folder: PathBuf,
        session: &SessionId,
        from: u64,
    ) -> Result<Self, StoreError> {
        let unknown = || StoreError::Unknown {
            session: session.clone(),
        };
        if !is_folder(&folder)? {
            return Err(unknown());
        }
        let from = from.max(1);
        let firsts = segments(&folder)?;
        let smallest = *firsts.first().ok_or_else(unknown)?;
        // A segment whose header was torn holds nothing: the one before it is the last.
        for first in firsts.iter().rev().copied().filter(|first| *first <= from) {
            let path = segment_path(&folder, first);
            match open_segment(open_to_read(&path)?, &path, session, first)? {
                Start::Torn if first == smallest => {
                    return Err(StoreError::Empty {
                        session: session.clone(),
                    });
                }
                Start::Torn => {}
                Start::Whole(segment) => {
                    let Segment { lines, chain, .. } = *segment;
                    return Ok(Self {
                        blobs: Blobs::new(&folder),
                        folder,
                        path,
                        from,
                        first,
                        lines,
                        chain,
                        frozen: false,
                        tail_bytes: 0,
                    });
                }
            }
        }
        let session = session.clone();
        Err(StoreError::Missing {
            session,
            expected: 1,
            found: smallest,
        })
    }

    /// Takes the next line; `None` is the end for now.
    fn step<T>(
        &mut self,
        take: impl Fn(&mut Chain, &[u8], &Blobs) -> Result<T, BadLine>,
    ) -> Result<Option<T>, StoreError> {
        loop {
            let found = self.lines.next().map_err(io_error("read", &self.path))?;
            let reason = match found {
                Found::Line => match take(&mut self.chain, self.lines.line(), &self.blobs) {
                    Ok(taken) => return Ok(Some(taken)),
                    Err(reason) => reason,
                },
                Found::Long => BadLine::TooLong {
                    max: LINE_BYTES_MAX,
                },
                Found::Fragment => BadLine::NotWhole,
                Found::End => {
                    if self.enter_next_segment()? {
                        continue;
                    }
                    return Ok(None);
                }
            };
            if self.frozen
                || self
                    .lines
                    .any_whole()
                    .map_err(io_error("read", &self.path))?
            {
                self.lines
                    .step_back()
                    .map_err(io_error("read", &self.path))?;
                return Err(self.corrupt(reason));
            }
            if self.next_first()?.is_some() {
                // The writer has finished this segment in the meantime: look again.
                self.frozen = true;
                continue;
            }
            self.tail_bytes = self
                .lines
                .bytes_left()
                .map_err(io_error("read", &self.path))?;
            return Ok(None);
        }
    }

    /// At the end of a segment: enters the next one, or says that there is none.
    fn enter_next_segment(&mut self) -> Result<bool, StoreError> {
        self.tail_bytes = 0;
        let Some(next) = self.next_first()? else {
            return Ok(false);
        };
        if !self.frozen {
            self.frozen = true;
            return Ok(true);
        }
        let session = self.chain.session().clone();
        let expected = self.chain.position() + 1;
        if next != expected {
            return Err(StoreError::Missing {
                session,
                expected,
                found: next,
            });
        }
        let path = segment_path(&self.folder, next);
        match open_segment(open_to_read(&path)?, &path, &session, next)? {
            Start::Torn => {
                let there = disk::look(&path).map_err(io_error("open", &path))?;
                self.tail_bytes = there.len();
                Ok(false)
            }
            Start::Whole(segment) => {
                let Segment {
                    lines,
                    chain,
                    previous,
                    ..
                } = *segment;
                let before = self.chain.checksum();
                if previous != before {
                    let expected = format!("{before:08x} as the checksum before it");
                    let reason = BadLine::Header {
                        expected,
                        found: format!("{previous:08x}"),
                    };
                    let place = place(&path, 0);
                    return Err(StoreError::Corrupt {
                        session,
                        position: next,
                        place,
                        reason,
                    });
                }
                self.chain.set_checksum(chain.checksum());
                (self.lines, self.first, self.frozen) = (lines, next, false);
                self.path = path;
                Ok(true)
            }
        }
    }

    /// Takes lines until `max` events or the chunk's bytes are reached.
    fn chunk<T>(
        &mut self,
        max: usize,
        take: impl Fn(&mut Chain, &[u8], &Blobs) -> Result<T, BadLine>,
    ) -> Result<Vec<T>, StoreError> {
        while self.chain.position() + 1 < self.from {
            if self.step(|chain, line, _| chain.skip(line))?.is_none() {
                return Ok(Vec::new());
            }
        }
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < max.max(1) && bytes < CHUNK_BYTES_MAX {
            match self.step(&take) {
                Ok(Some(item)) => taken.push(item),
                Ok(None) => break,
                // The reader stays where it is: the next call meets the same error.
                Err(_) if !taken.is_empty() => break,
                Err(error) => return Err(error),
            }
            bytes += self.lines.line().len();
        }
        Ok(taken)
    }

    fn next_first(&self) -> Result<Option<u64>, StoreError> {
        Ok(segments(&self.folder)?
            .into_iter()
            .find(|first| *first > self.first))
    }

    fn corrupt(&self, reason: BadLine) -> StoreError {
        StoreError::Corrupt {
            session: self.chain.session().clone(),
            position: self.chain.position() + 1,
            place: place(&self.path, self.lines.start()),
            reason,
        }
    }
}

impl JsonlReader {
    /// Reads the next events without their blobs, and the place after them: a segment and a byte.
    pub(super) fn outline(&mut self) -> Result<(Vec<Event>, Place), StoreError> {
        let events = self.chunk(OUTLINE_EVENTS, |chain, line, _| chain.read_outline(line))?;
        let place = Place {
            first: self.first,
            bytes: self.lines.end(),
            position: self.chain.position(),
            checksum: self.chain.checksum(),
        };
        Ok((events, place))
    }
}

#[async_trait]
impl SessionReader for JsonlReader {
    async fn events(&mut self, max: usize) -> Result<Vec<StoredEvent>, StoreError> {
        self.chunk(max, |chain, line, blobs| {
            let event = chain.read(line, blobs)?;
            Ok(StoredEvent {
                position: chain.position(),
                checksum: chain.checksum(),
                event,
            })
        })
    }

    async fn lines(&mut self, max: usize) -> Result<Vec<StoredLine>, StoreError> {
        self.chunk(max, |chain, line, blobs| {
            chain.read(line, blobs)?;
            let text = String::from_utf8_lossy(line).into_owned();
            Ok(StoredLine {
                position: chain.position(),
                text,
            })
        })
    }

    fn tail_bytes(&self) -> u64 {
        self.tail_bytes
    }
}
