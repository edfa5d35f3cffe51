//! Opening a log for writing: what is checked, what is moved aside, what is made anew.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use phi_types::{Event, EventKind, ForkedFrom, Recovered, SessionId, SessionStarted};

use super::Settings;
use super::blobs;
use super::lines::{Found, Lines};
use super::segment::{
    Header, HeaderFault, LOG_FORMAT, lock_path, read_header, segment_path, segments,
};
use super::writer::{JsonlWriter, State, Tip};
use crate::chain::{Chain, LINE_BYTES_MAX};
use crate::disk::{self, Input};
use crate::error::{BadLine, StoreError};
use crate::files::{create_file, io_error, is_folder, make_folder, open_to_append, open_to_read};
use crate::fork::ForkPoint;
use crate::lock::Lock;
use crate::sync::OpenCalls;

/// How much of a torn end is copied at once, in bytes.
const COPIED_AT_ONCE: usize = 1 << 16;

/// A segment of which the header was read.
pub(super) struct Segment {
    pub(super) lines: Lines,
    /// The chain before the first event.
    pub(super) chain: Chain,
    /// The checksum that the header follows.
    pub(super) previous: u32,
    pub(super) header: Header,
}

/// How a segment begins.
pub(super) enum Start {
    /// With a header.
    Whole(Box<Segment>),
    /// Its first writer never came to a whole line.
    Torn,
}

/// Reads the header of a segment.
pub(super) fn open_segment(
    file: File,
    path: &Path,
    session: &SessionId,
    first: u64,
) -> Result<Start, StoreError> {
    let mut lines = Lines::new(Input::new(file, path));
    let found = lines.next().map_err(io_error("read", path))?;
    let fault = match found {
        Found::Line => match read_header(lines.line(), session, first) {
            Ok((header, checksum)) => return whole(lines, header, checksum, path),
            Err(fault) => fault,
        },
        Found::Long => HeaderFault::Bad(BadLine::TooLong {
            max: LINE_BYTES_MAX,
        }),
        Found::Fragment | Found::End => HeaderFault::Bad(BadLine::NotWhole),
    };
    let session = session.clone();
    match fault {
        HeaderFault::Newer(found) => Err(StoreError::NewerFormat {
            session,
            found,
            known: LOG_FORMAT,
        }),
        HeaderFault::OtherSession(found) => Err(StoreError::OtherSession {
            expected: session,
            found,
        }),
        HeaderFault::Bad(_) if !lines.any_whole().map_err(io_error("read", path))? => {
            Ok(Start::Torn)
        }
        HeaderFault::Bad(reason) => Err(StoreError::Corrupt {
            session,
            position: first,
            place: place(path, 0),
            reason,
        }),
    }
}

fn whole(
    mut lines: Lines,
    header: Header,
    checksum: u32,
    path: &Path,
) -> Result<Start, StoreError> {
    let previous = header.previous_checksum().unwrap_or(0);
    let chain = match header.first.checked_sub(1) {
        None | Some(0) => Chain::new(header.session.clone(), checksum),
        Some(before) => Chain::after(header.session.clone(), before, checksum, header.session_seq),
    };
    if chain.position() == 0 || header.forked_from.is_some() {
        // A session without a whole event is one that was never quite created.
        let found = lines.next().map_err(io_error("read", path))?;
        if found != Found::Line && !lines.any_whole().map_err(io_error("read", path))? {
            return Ok(Start::Torn);
        }
        lines.step_back().map_err(io_error("read", path))?;
    }
    Ok(Start::Whole(Box::new(Segment {
        lines,
        chain,
        previous,
        header,
    })))
}

/// Names a place in a file for a person.
pub(super) fn place(path: &Path, start: u64) -> String {
    format!("{}, byte {start}", path.display())
}

/// What was moved out of the way.
struct Moved {
    bytes: u64,
    to: String,
}

impl Moved {
    fn into_kind(self) -> EventKind {
        EventKind::Recovered(Recovered::TornTail {
            bytes: self.bytes,
            moved_to: self.to,
        })
    }
}

/// Opens a session for writing.
pub(super) fn open(
    folder: &Path,
    session: &SessionId,
    now: DateTime<Utc>,
    settings: Settings,
) -> Result<JsonlWriter, StoreError> {
    let unknown = || StoreError::Unknown {
        session: session.clone(),
    };
    if !is_folder(folder)? || segments(folder)?.is_empty() {
        return Err(unknown());
    }
    let lock = Lock::take(&lock_path(folder), session)?;
    let mut moved = Vec::new();
    // Each round moves one segment aside, so the number of segments bounds the rounds.
    loop {
        let firsts = segments(folder)?;
        let first = *firsts.last().ok_or_else(unknown)?;
        let path = segment_path(folder, first);
        let file = open_to_append(&path)?;
        match open_segment(file, &path, session, first)? {
            Start::Torn if firsts.len() == 1 => {
                return Err(StoreError::Empty {
                    session: session.clone(),
                });
            }
            Start::Torn => moved.push(move_segment(folder, &path, &settings)?),
            Start::Whole(segment) => {
                let checked = check(*segment, &path, first, &settings)?;
                moved.extend(checked.moved);
                let mut state = State::new(checked.tip, checked.chain, checked.calls, settings);
                let mut recovered = Vec::new();
                for moved in moved {
                    recovered.push(state.append_fact(now, moved.into_kind())?);
                }
                return Ok(JsonlWriter::new(session.clone(), state, recovered, lock));
            }
        }
    }
}

/// What the last segment came to.
struct Checked {
    tip: Tip,
    chain: Chain,
    calls: OpenCalls,
    moved: Option<Moved>,
}

/// Checks every line of the last segment and moves a torn end aside.
fn check(
    segment: Segment,
    path: &Path,
    first: u64,
    settings: &Settings,
) -> Result<Checked, StoreError> {
    let Segment {
        mut lines,
        mut chain,
        header,
        ..
    } = segment;
    let mut calls = OpenCalls::default();
    let reason = loop {
        match lines.next().map_err(io_error("read", path))? {
            Found::End => break None,
            Found::Line => match chain.read_outline(lines.line()) {
                Ok(event) => drop(calls.follow(&event)),
                Err(reason) => break Some(reason),
            },
            Found::Long => {
                break Some(BadLine::TooLong {
                    max: LINE_BYTES_MAX,
                });
            }
            Found::Fragment => break Some(BadLine::NotWhole),
        }
    };
    let (folder, bytes) = (path.parent().unwrap_or(path), lines.start());
    let mut moved = None;
    if let Some(reason) = reason {
        if lines.any_whole().map_err(io_error("read", path))? {
            let (session, position) = (chain.session().clone(), chain.position() + 1);
            let place = place(path, bytes);
            return Err(StoreError::Corrupt {
                session,
                position,
                place,
                reason,
            });
        }
        moved = Some(move_tail(folder, path, bytes, settings)?);
    }
    let (folder, path, file) = (folder.to_owned(), path.to_owned(), open_to_append(path)?);
    Ok(Checked {
        tip: Tip {
            folder,
            path,
            file,
            first,
            bytes,
            is_outdated: header.format < LOG_FORMAT,
        },
        chain,
        calls,
        moved,
    })
}

/// Copies everything from a place on to a side file and cuts it off.
fn move_tail(
    folder: &Path,
    path: &Path,
    start: u64,
    settings: &Settings,
) -> Result<Moved, StoreError> {
    let from = open_to_append(path)?;
    let (side, to) = create_side(folder, path)?;
    let side_path = folder.join(&side);
    let bytes = copy(
        Input::new(open_to_read(path)?, path),
        start,
        &to,
        &side_path,
    )?;
    // The copy must be safe before the original goes.
    if settings.syncs_files() {
        disk::sync(&to, &side_path).map_err(io_error("sync", &side_path))?;
        disk::sync_folder(folder).map_err(io_error("sync", folder))?;
    }
    let cut = disk::set_length(&from, path, start);
    cut.map_err(io_error("cut", path))?;
    if settings.syncs_files() {
        disk::sync(&from, path).map_err(io_error("sync", path))?;
    }
    Ok(Moved { bytes, to: side })
}

/// Copies everything from a place on; returns how many bytes that are.
fn copy(mut from: Input, start: u64, to: &File, path: &Path) -> Result<u64, StoreError> {
    let failed = |error| io_error("copy to", path)(error);
    from.seek(SeekFrom::Start(start)).map_err(failed)?;
    let (mut copied, mut bytes) = (0, vec![0; COPIED_AT_ONCE]);
    loop {
        let read = from.read(&mut bytes).map_err(failed)?;
        let Some(read) = bytes.get(..read).filter(|read| !read.is_empty()) else {
            return Ok(copied);
        };
        disk::write(to, path, read).map_err(failed)?;
        copied += read.len() as u64;
    }
}

/// Moves a segment without a whole line aside.
fn move_segment(folder: &Path, path: &Path, settings: &Settings) -> Result<Moved, StoreError> {
    let bytes = disk::look(path).map_err(io_error("open", path))?.len();
    let (side, _) = create_side(folder, path)?;
    disk::rename(path, &folder.join(&side)).map_err(io_error("move", path))?;
    if settings.syncs_files() {
        disk::sync_folder(folder).map_err(io_error("sync", folder))?;
    }
    Ok(Moved { bytes, to: side })
}

/// Creates the next free side file of a segment.
fn create_side(folder: &Path, path: &Path) -> Result<(String, File), StoreError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut number = 1_u64;
    loop {
        let name = format!("{stem}.torn-{number}");
        match create_file(&folder.join(&name)) {
            Ok(file) => return Ok((name, file)),
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            }
            Err(error) => return Err(error),
        }
        number += 1;
    }
}

/// The first events of a session, and what they follow.
pub(super) struct Begin {
    chain: Chain,
    parent: Option<SessionId>,
    started: Event,
}

impl Begin {
    /// Begins a session of its own.
    pub(super) fn new(session: &SessionId, started: SessionStarted, now: DateTime<Utc>) -> Self {
        Self {
            chain: Chain::new(session.clone(), 0),
            parent: None,
            started: Event {
                session: session.clone(),
                loop_id: None,
                seq: 1,
                at: now,
                kind: EventKind::SessionStarted(started),
            },
        }
    }

    /// Begins a fork.
    pub(super) fn fork(point: ForkPoint) -> Self {
        let (session, origin) = (point.started.session.clone(), point.origin);
        Self {
            chain: Chain::after(session, origin.position, origin.checksum, point.session_seq),
            parent: Some(origin.session),
            started: point.started,
        }
    }
}

/// Creates a session with its first event and opens it.
pub(super) fn create(
    folder: &Path,
    begin: Begin,
    settings: Settings,
) -> Result<JsonlWriter, StoreError> {
    let session = &begin.started.session.clone();
    let exists = || StoreError::Exists {
        session: session.clone(),
    };
    if is_folder(folder)? && segments(folder)?.len() > 1 {
        return Err(exists());
    }
    make_folder(folder)?;
    let lock = Lock::take(&lock_path(folder), session)?;
    let mut moved = None;
    if let Some(first) = segments(folder)?.first().copied() {
        let path = segment_path(folder, first);
        match open_segment(open_to_append(&path)?, &path, session, first)? {
            Start::Whole(_) => return Err(exists()),
            Start::Torn => moved = Some(move_segment(folder, &path, &settings)?),
        }
    }
    let mut events = vec![begin.started];
    if let (Some(moved), Some(started)) = (moved, events.first()) {
        let (seq, kind) = (started.seq + 1, moved.into_kind());
        let recovered = Event {
            seq,
            kind,
            ..started.clone()
        };
        events.push(recovered);
    }
    let root = folder.parent().filter(|_| settings.syncs_files());
    let state = State::create(folder, begin.chain, begin.parent, &events, settings)?;
    if let Some(root) = root {
        disk::sync_folder(root).map_err(io_error("sync", root))?;
    }
    let recovered = events.into_iter().skip(1).collect();
    Ok(JsonlWriter::new(session.clone(), state, recovered, lock))
}

/// Returns where a session was forked from: its log begins after its first position.
pub(super) fn forked_from(
    folder: &Path,
    session: &SessionId,
) -> Result<Option<ForkedFrom>, StoreError> {
    let unknown = || StoreError::Unknown {
        session: session.clone(),
    };
    if !is_folder(folder)? {
        return Err(unknown());
    }
    let first = *segments(folder)?.first().ok_or_else(unknown)?;
    if first == 1 {
        return Ok(None);
    }
    let path = segment_path(folder, first);
    match open_segment(open_to_read(&path)?, &path, session, first)? {
        Start::Torn => Err(StoreError::Empty {
            session: session.clone(),
        }),
        Start::Whole(segment) => match segment.header.origin() {
            Some(origin) => Ok(Some(origin)),
            None => Err(StoreError::Missing {
                session: session.clone(),
                expected: 1,
                found: first,
            }),
        },
    }
}

/// Forces the events of a session up to a position to the disk; what is in full segments is there.
pub(super) fn force(folder: &Path, position: u64) -> Result<(), StoreError> {
    let firsts = segments(folder)?;
    let Some(first) = firsts.into_iter().rfind(|first| *first <= position) else {
        return Ok(());
    };
    let path = segment_path(folder, first);
    disk::sync(&open_to_read(&path)?, &path).map_err(io_error("sync", &path))
}

/// Deletes a session. A crash in between leaves the start of its log, which can be deleted again.
pub(super) fn delete(folder: &Path, session: &SessionId) -> Result<(), StoreError> {
    let unknown = || StoreError::Unknown {
        session: session.clone(),
    };
    if !is_folder(folder)? {
        return Err(unknown());
    }
    let _lock = Lock::take(&lock_path(folder), session)?;
    let firsts = segments(folder)?;
    for first in firsts.iter().rev() {
        let path: PathBuf = segment_path(folder, *first);
        disk::remove(&path).map_err(io_error("delete", &path))?;
    }
    blobs::remove(folder)?;
    disk::remove_folder(folder).map_err(io_error("delete", folder))?;
    if firsts.is_empty() {
        Err(unknown())
    } else {
        Ok(())
    }
}
