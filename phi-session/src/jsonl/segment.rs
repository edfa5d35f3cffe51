//! Files and folders of a store: names, modes, headers, and what may stand where.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use phi_types::SessionId;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::chain::{check_line, split_line};
use crate::error::{BadLine, StoreError};

/// The version of the log format that is written here, and the newest that is read.
pub const LOG_FORMAT: u32 = 1;

const SUFFIX: &str = ".jsonl";

/// The first line of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// The version of the log format.
    pub(super) format: u32,
    pub(super) session: SessionId,
    /// The position of the first event in this segment.
    pub(super) first: u64,
    /// The checksum of the line before, in the segment before; eight zeros in the first segment.
    pub(super) previous: String,
    /// The newest `seq` of the session's own events before this segment.
    pub(super) session_seq: u64,
}

/// What the header of a line that cannot be trusted may still tell.
#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// The header with its checksum, as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredHeader {
    format: u32,
    session: SessionId,
    first: u64,
    previous: String,
    session_seq: u64,
    #[serde(rename = "crc")]
    _crc: String,
}

/// Says why a first line opens no segment.
pub(super) enum HeaderFault {
    Newer(u32),
    OtherSession(SessionId),
    Bad(BadLine),
}

/// Reads the first line of a segment; returns the header and the checksum of its line.
pub(super) fn read_header(
    line: &[u8],
    session: &SessionId,
    first: u64,
) -> Result<(Header, u32), HeaderFault> {
    match serde_json::from_slice::<FormatOnly>(line) {
        Ok(newer) if newer.format > LOG_FORMAT => return Err(HeaderFault::Newer(newer.format)),
        Ok(_) | Err(_) => {}
    }
    if split_line(line).is_none() {
        return Err(HeaderFault::Bad(BadLine::NotWhole));
    }
    let not_readable = |error: serde_json::Error| {
        let reason = error.to_string();
        HeaderFault::Bad(BadLine::NotReadable {
            expected: "header",
            reason,
        })
    };
    let stored: StoredHeader = serde_json::from_slice(line).map_err(not_readable)?;
    let StoredHeader {
        format,
        session: found,
        first: starts,
        previous,
        session_seq,
        ..
    } = stored;
    let header = Header {
        format,
        session: found,
        first: starts,
        previous,
        session_seq,
    };
    let before = header
        .previous_checksum()
        .ok_or_else(|| mismatch("8 hex digits", &header.previous))?;
    let checksum = check_line(line, before).map_err(HeaderFault::Bad)?;
    if header.session != *session {
        return Err(HeaderFault::OtherSession(header.session));
    }
    if header.first != first {
        return Err(mismatch(&first.to_string(), &header.first.to_string()));
    }
    Ok((header, checksum))
}

pub(super) fn mismatch(expected: &str, found: &str) -> HeaderFault {
    let (expected, found) = (expected.to_owned(), found.to_owned());
    HeaderFault::Bad(BadLine::Header { expected, found })
}

impl Header {
    pub(super) fn previous_checksum(&self) -> Option<u32> {
        let digits = self.previous.len() == 8 && self.previous.bytes().all(is_hex_digit);
        digits.then(|| u32::from_str_radix(&self.previous, 16).ok())?
    }
}

fn is_hex_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Names the file of the segment that begins with a position.
pub(super) fn segment_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}{SUFFIX}"))
}

/// Lists the first positions of the segments in a folder, in order; none where there is no folder.
pub(super) fn segments(folder: &Path) -> Result<Vec<u64>, StoreError> {
    let Some(entries) = entries(folder)? else {
        return Ok(Vec::new());
    };
    let mut firsts = Vec::new();
    for entry in entries {
        let name = entry.map_err(io_error("list", folder))?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        let digits = digits.filter(|it| it.len() == 20 && it.bytes().all(|c| c.is_ascii_digit()));
        firsts.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Lists the sessions in a store in the order of their ids; none where there is no store.
pub(super) fn sessions(root: &Path) -> Result<Vec<SessionId>, StoreError> {
    let Some(entries) = entries(root)? else {
        return Ok(Vec::new());
    };
    let mut sessions = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error("list", root))?;
        let id = entry
            .file_name()
            .to_str()
            .and_then(|name| SessionId::new(name).ok());
        let is_folder = entry.file_type().map_err(io_error("list", root))?.is_dir();
        sessions.extend(id.filter(|_| is_folder));
    }
    sessions.sort_unstable();
    Ok(sessions)
}

fn entries(folder: &Path) -> Result<Option<fs::ReadDir>, StoreError> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("list", folder)(error)),
    }
}

/// Says whether a folder is there; anything else in its place is an error.
pub(super) fn is_folder(folder: &Path) -> Result<bool, StoreError> {
    match fs::symlink_metadata(folder) {
        Ok(there) if there.is_dir() => Ok(true),
        Ok(_) => Err(StoreError::WrongKind {
            expected: "folder",
            path: folder.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("open", folder)(error)),
    }
}

/// Makes a folder, and those above it, for its owner alone.
pub(super) fn make_folder(folder: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(io_error("create", folder))
}

/// Opens a segment for reading.
pub(super) fn open_to_read(path: &Path) -> Result<File, StoreError> {
    open_regular(path, OpenOptions::new().read(true))
}

/// Opens a segment for appending and reading.
pub(super) fn open_to_append(path: &Path) -> Result<File, StoreError> {
    open_regular(path, OpenOptions::new().read(true).append(true))
}

/// Creates a file that must not be there yet.
pub(super) fn create_file(path: &Path) -> Result<File, StoreError> {
    open_regular(
        path,
        OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .mode(0o600),
    )
}

/// Opens the lock file, and creates it where it is not there.
pub(super) fn open_lock(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    open_regular(path, options.mode(0o600))
}

/// Opens a regular file. A link, a pipe or a folder in its place is an error and never blocks.
fn open_regular(path: &Path, options: &mut OpenOptions) -> Result<File, StoreError> {
    let wrong_kind = || StoreError::WrongKind {
        expected: "file",
        path: path.to_owned(),
    };
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = options.custom_flags(flags.bits().cast_signed()).open(path);
    let file = opened.map_err(|error| {
        match error
            .raw_os_error()
            .map(rustix::io::Errno::from_raw_os_error)
        {
            Some(rustix::io::Errno::LOOP | rustix::io::Errno::ISDIR | rustix::io::Errno::NXIO) => {
                wrong_kind()
            }
            Some(_) | None => io_error("open", path)(error),
        }
    })?;
    let there = file.metadata().map_err(io_error("open", path))?;
    if !there.is_file() {
        return Err(wrong_kind());
    }
    Ok(file)
}

/// Makes names in a folder survive a loss of power.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(io_error("sync", folder))
}

/// Makes an error of what was tried with which path.
pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io {
        action,
        path,
        source,
    }
}
