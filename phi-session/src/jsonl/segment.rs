//! Segments: their names, their headers, and where they are found.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use phi_types::{ForkedFrom, SessionId};
use serde::{Deserialize, Serialize};

use crate::chain::{check_line, split_line};
use crate::disk;
use crate::error::{BadLine, StoreError};
use crate::files::io_error;

/// The version of the log format that is written here, and the newest that is read.
pub const LOG_FORMAT: u32 = 2;

/// The last format in which a header is a link of the chain: its first event follows the header. From
/// the next one on, events follow events, so that lines do not depend on where segments begin.
const CHAINED_HEADERS: u32 = 1;

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
    /// Where a fork has the events before its first segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) forked_from: Option<SessionId>,
    /// What stands in the file; the line is checked as a whole.
    #[serde(rename = "crc", default, skip_serializing)]
    pub(super) stated: String,
}

/// What the header of a line that cannot be trusted may still tell.
#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// Says why a first line opens no segment.
pub(super) enum HeaderFault {
    Newer(u32),
    OtherSession(SessionId),
    Bad(BadLine),
}

/// Reads the first line of a segment; returns the header and the checksum that its first event
/// follows.
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
    let header: Header = serde_json::from_slice(line).map_err(not_readable)?;
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
    let followed = if header.format <= CHAINED_HEADERS {
        checksum
    } else {
        before
    };
    Ok((header, followed))
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

    /// Returns where the session was forked from; only the first segment of a fork says so.
    pub(super) fn origin(&self) -> Option<ForkedFrom> {
        Some(ForkedFrom {
            session: self.forked_from.clone()?,
            position: self.first.checked_sub(1)?,
            checksum: self.previous_checksum()?,
        })
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
    match disk::list(folder) {
        Ok(entries) => Ok(Some(entries)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("list", folder)(error)),
    }
}

/// Names the file that stands for the lock of the session in a folder.
pub(super) fn lock_path(folder: &Path) -> PathBuf {
    folder.join("lock")
}
