//! What a list shows of a session, kept beside its log and brought up to date.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use phi_types::{Event, ForkedFrom, SessionId};
use serde::{Deserialize, Serialize};

use super::JsonlStore;
use super::reader::{JsonlReader, Place};
use super::segment::{segment_path, segments};
use crate::chain::{check_line, content_of, push_line, split_line};
use crate::disk::{self, Action};
use crate::error::StoreError;
use crate::files::open_to_read;
use crate::store::Store as _;
use crate::summary::SessionSummary;
use crate::summary_fold::SummaryFold;

/// The name of the file.
const FILE: &str = "summary";
/// The largest one that is read, in bytes.
const BYTES_MAX: u64 = 16 << 20;
/// The version of what is kept; another one is made anew.
const VERSION: u32 = 2;

/// What is kept: a fold, and the place in the log up to which it was folded.
#[derive(Debug, Serialize, Deserialize)]
struct Cached {
    version: u32,
    place: Place,
    fold: SummaryFold,
}

/// Returns what a list shows, from what was kept and the events since.
pub(super) async fn summary(
    store: &JsonlStore,
    session: &SessionId,
    origin: Option<ForkedFrom>,
) -> Result<SessionSummary, StoreError> {
    let folder = store.folder(session);
    let kept = read(&folder).filter(|kept| is_of_log(&folder, &kept.place));
    if let Some(kept) = &kept
        && is_newest(&folder, &kept.place)?
    {
        return Ok(kept.fold.summary(session.clone()));
    }
    let (mut fold, from) = match kept {
        Some(kept) => (kept.fold, kept.place.position + 1),
        None => (shared(store, session, origin.as_ref()).await?, 1),
    };
    let first = origin.map_or(1, |origin| origin.position + 1);
    let mut reader = JsonlReader::open(folder.clone(), session, from.max(first))?;
    loop {
        let (events, place) = reader.outline()?;
        events.iter().for_each(|event: &Event| fold.follow(event));
        if events.is_empty() {
            let cached = Cached {
                version: VERSION,
                place,
                fold,
            };
            write(&folder, &cached);
            return Ok(cached.fold.summary(session.clone()));
        }
    }
}

/// Folds what a fork shares with its parent.
async fn shared(
    store: &JsonlStore,
    session: &SessionId,
    origin: Option<&ForkedFrom>,
) -> Result<SummaryFold, StoreError> {
    let mut fold = SummaryFold::default();
    let Some(origin) = origin else {
        return Ok(fold);
    };
    let mut reader = store.reader(session, 1).await?;
    loop {
        let chunk = reader.events(1024).await?;
        for stored in &chunk {
            if stored.position > origin.position {
                return Ok(fold);
            }
            fold.follow(&stored.event);
        }
        if chunk.is_empty() {
            return Ok(fold);
        }
    }
}

/// Reads what was kept; whatever is wrong with it, it is as if there were none.
fn read(folder: &Path) -> Option<Cached> {
    let path = folder.join(FILE);
    let file = open_to_read(&path).ok()?;
    let size = disk::look_at(&file, &path).ok()?.len();
    let mut line = vec![0; usize::try_from(size.min(BYTES_MAX)).ok()?];
    disk::read_at(&file, &path, &mut line, 0).ok()?;
    let line = line.strip_suffix(b"\n")?;
    check_line(line, 0).ok()?;
    let mut content = content_of(line).to_vec();
    content.push(b'}');
    let cached: Cached = serde_json::from_slice(&content).ok()?;
    (cached.version == VERSION).then_some(cached)
}

/// Says whether the line that ends at a place is the one that was folded last. Its checksum stands
/// for all lines before it.
fn is_of_log(folder: &Path, place: &Place) -> bool {
    let checksum_at = || {
        let path = segment_path(folder, place.first);
        let file = open_to_read(&path).ok()?;
        let mut end = [0; 19];
        let at = place.bytes.checked_sub(19)?;
        disk::read_at(&file, &path, &mut end, at).ok()?;
        let (_, checksum) = split_line(end.strip_suffix(b"\n")?)?;
        Some(checksum)
    };
    checksum_at() == Some(place.checksum)
}

/// Says whether nothing follows a place.
fn is_newest(folder: &Path, place: &Place) -> Result<bool, StoreError> {
    if segments(folder)?.last() != Some(&place.first) {
        return Ok(false);
    }
    let there = disk::look(&segment_path(folder, place.first));
    Ok(there.is_ok_and(|there| there.len() == place.bytes))
}

/// Keeps it for the next list. Where that fails, the next list reads the log again.
fn write(folder: &Path, cached: &Cached) {
    let written = || {
        let mut line = Vec::new();
        push_line(cached, 0, &mut line).map_err(|_| std::io::ErrorKind::InvalidData)?;
        let draft = folder.join("summary.new");
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let file = disk::open(&draft, options, Action::Create)?;
        disk::write(&file, &draft, &line)?;
        disk::rename(&draft, &folder.join(FILE))
    };
    written().unwrap_or_default();
}
