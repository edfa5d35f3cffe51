//! Appending to a log on files.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use phi_types::{Event, EventKind, SessionId};

use super::Settings;
use super::blobs;
use super::segment::{Header, LOG_FORMAT, segment_path};
use crate::chain::{Chain, Encoded, push_line};
use crate::disk;
use crate::error::StoreError;
use crate::files::{create_file, io_error};
use crate::lock::Lock;
use crate::store::SessionWriter;
use crate::sync::OpenCalls;

/// How much of the buffer is kept between appends, in bytes.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// A log that is open for writing.
#[derive(Debug)]
pub(super) struct JsonlWriter {
    session: SessionId,
    recovered: Vec<Event>,
    state: Mutex<State>,
    _lock: Lock,
}

/// What changes with every append.
#[derive(Debug)]
pub(super) struct State {
    tip: Tip,
    chain: Chain,
    calls: OpenCalls,
    settings: Settings,
    /// One write for each batch, one allocation for all of them.
    encoded: Encoded,
    /// What failed first; nothing is written after it.
    failed: Option<String>,
}

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Tip {
    pub(super) folder: PathBuf,
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// The position of its first event.
    pub(super) first: u64,
    /// Its length, all of it whole lines.
    pub(super) bytes: u64,
    /// Whether its format is older than the one that is written: the next event begins a new one.
    pub(super) is_outdated: bool,
}

impl State {
    pub(super) fn new(tip: Tip, chain: Chain, calls: OpenCalls, settings: Settings) -> Self {
        Self {
            tip,
            chain,
            calls,
            settings,
            encoded: Encoded::default(),
            failed: None,
        }
    }

    /// Makes the first segment of a session with its first events, which follow those of its parent
    /// where it has one.
    pub(super) fn create(
        folder: &Path,
        mut chain: Chain,
        parent: Option<SessionId>,
        events: &[Event],
        settings: Settings,
    ) -> Result<Self, StoreError> {
        let mut encoded = Encoded::default();
        let first = chain.position() + 1;
        push_header(&chain, parent, &mut encoded.lines)?;
        chain.encode(events, &settings.rules, &mut encoded)?;
        blobs::keep(folder, &encoded.blobs, &settings)?;
        let tip = write_segment(folder, first, &encoded.lines, &settings)?;
        Ok(Self::new(tip, chain, OpenCalls::default(), settings))
    }

    fn append(&mut self, events: &[Event]) -> Result<u64, StoreError> {
        self.check_usable()?;
        if events.is_empty() {
            return Ok(self.chain.position());
        }
        self.make_room()?;
        self.encoded.lines.clear();
        self.encoded.blobs.clear();
        self.chain
            .encode(events, &self.settings.rules, &mut self.encoded)?;
        self.write_encoded()?;
        if self.calls.is_sync_due(events, self.settings.sync) {
            self.sync()?;
        }
        Ok(self.chain.position())
    }

    /// Writes lines that follow those before, of another log, as they are.
    pub(super) fn adopt(&mut self, chain: &Chain, encoded: Encoded) -> Result<(), StoreError> {
        self.make_room()?;
        (self.chain, self.encoded) = (chain.clone(), encoded);
        self.write_encoded()
    }

    /// Begins a new segment where the one before is full or of an older format.
    fn make_room(&mut self) -> Result<(), StoreError> {
        let is_full = self.tip.bytes >= self.settings.segment_bytes_max || self.tip.is_outdated;
        // A segment without an event never makes room for another of the same name.
        if is_full && self.chain.position() >= self.tip.first {
            self.rotate().map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    /// Keeps the blobs, then writes the lines that name them.
    fn write_encoded(&mut self) -> Result<(), StoreError> {
        if !self.encoded.blobs.is_empty() {
            let kept = blobs::keep(&self.tip.folder, &self.encoded.blobs, &self.settings);
            kept.map_err(|error| self.fail(error))?;
        }
        let written = disk::write(&self.tip.file, &self.tip.path, &self.encoded.lines);
        if let Err(source) = written {
            return Err(self.fail_write(source));
        }
        self.tip.bytes += self.encoded.lines.len() as u64;
        self.encoded.lines.shrink_to(BUFFER_BYTES_KEPT);
        Ok(())
    }

    pub(super) fn append_fact(
        &mut self,
        at: DateTime<Utc>,
        kind: EventKind,
    ) -> Result<Event, StoreError> {
        let session = self.chain.session().clone();
        let seq = self.chain.session_seq() + 1;
        let event = Event {
            session,
            loop_id: None,
            seq,
            at,
            kind,
        };
        self.append(std::slice::from_ref(&event))?;
        Ok(event)
    }

    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.force().map_err(|error| self.fail(error))
    }

    fn force(&self) -> Result<(), StoreError> {
        let Tip {
            folder, path, file, ..
        } = &self.tip;
        disk::sync(file, path).map_err(io_error("sync", path))?;
        if self.settings.syncs_files() {
            return Ok(());
        }
        // Nobody forced these to the disk when they were made.
        blobs::force(folder)?;
        for folder in [Some(folder.as_path()), folder.parent()]
            .into_iter()
            .flatten()
        {
            disk::sync_folder(folder).map_err(io_error("sync", folder))?;
        }
        Ok(())
    }

    /// Begins the next segment. The one before is forced to the disk first, so that only the last
    /// segment can ever be torn.
    fn rotate(&mut self) -> Result<(), StoreError> {
        let synced = disk::sync(&self.tip.file, &self.tip.path);
        synced.map_err(io_error("sync", &self.tip.path))?;
        self.encoded.lines.clear();
        let first = self.chain.position() + 1;
        push_header(&self.chain, None, &mut self.encoded.lines)?;
        self.tip = write_segment(&self.tip.folder, first, &self.encoded.lines, &self.settings)?;
        Ok(())
    }

    fn check_usable(&mut self) -> Result<(), StoreError> {
        let session = self.chain.session();
        if let Some(reason) = &self.failed {
            let (session, reason) = (session.clone(), reason.clone());
            return Err(StoreError::Poisoned { session, reason });
        }
        // A removed file takes every byte and keeps none, and one that was cut has lost its lines.
        match disk::count(&self.tip.file, &self.tip.path) {
            Ok((1.., bytes)) if bytes == self.tip.bytes => Ok(()),
            Ok(_) => {
                let (session, path) = (session.clone(), self.tip.path.clone());
                Err(self.fail(StoreError::Vanished { session, path }))
            }
            Err(error) => Err(self.fail(io_error("open", &self.tip.path)(error))),
        }
    }

    /// Cuts off what a failed write left, as far as that is possible: whatever stays is a torn end.
    fn fail_write(&mut self, source: io::Error) -> StoreError {
        let Tip {
            file, path, bytes, ..
        } = &self.tip;
        let cut = disk::set_length(file, path, *bytes);
        let error = io_error("write", &self.tip.path)(source);
        let error = self.fail(error);
        if let (Err(cut), Some(reason)) = (cut, &mut self.failed) {
            reason.push_str(&format!(", and its remains were not cut off: {cut}"));
        }
        error
    }

    fn fail(&mut self, error: StoreError) -> StoreError {
        self.failed.get_or_insert_with(|| error.to_string());
        error
    }
}

/// Adds the header line of the segment that begins where a chain stands.
fn push_header(
    chain: &Chain,
    forked_from: Option<SessionId>,
    buffer: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let header = Header {
        format: LOG_FORMAT,
        session: chain.session().clone(),
        first: chain.position() + 1,
        previous: format!("{:08x}", chain.checksum()),
        session_seq: chain.session_seq(),
        forked_from,
        stated: String::new(),
    };
    let pushed = push_line(&header, chain.checksum(), buffer);
    pushed
        .map(drop)
        .map_err(|fault| fault.into_error(chain.session()))
}

/// Makes a segment under another name and gives it its own once it is whole and on the disk.
fn write_segment(
    folder: &Path,
    first: u64,
    content: &[u8],
    settings: &Settings,
) -> Result<Tip, StoreError> {
    let path = segment_path(folder, first);
    let draft = path.with_extension("new");
    let file = write_draft(&draft, content, settings)?;
    disk::rename(&draft, &path).map_err(io_error("create", &path))?;
    if settings.syncs_files() {
        disk::sync_folder(folder).map_err(io_error("sync", folder))?;
    }
    let (folder, bytes) = (folder.to_owned(), content.len() as u64);
    Ok(Tip {
        folder,
        path,
        file,
        first,
        bytes,
        is_outdated: false,
    })
}

/// Writes a file under the name that it has until it is whole and on the disk.
pub(super) fn write_draft(
    draft: &Path,
    content: &[u8],
    settings: &Settings,
) -> Result<File, StoreError> {
    match disk::remove(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("delete", draft)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let file = create_file(draft)?;
    disk::write(&file, draft, content).map_err(io_error("write", draft))?;
    if settings.syncs_files() {
        disk::sync(&file, draft).map_err(io_error("sync", draft))?;
    }
    Ok(file)
}

impl JsonlWriter {
    pub(super) fn new(session: SessionId, state: State, recovered: Vec<Event>, lock: Lock) -> Self {
        Self {
            session,
            recovered,
            state: Mutex::new(state),
            _lock: lock,
        }
    }

    /// A panic in the middle of an append leaves a state that nobody knows.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state
                .failed
                .get_or_insert_with(|| "an append panicked".to_owned());
            state
        })
    }
}

#[async_trait]
impl SessionWriter for JsonlWriter {
    fn session(&self) -> &SessionId {
        &self.session
    }

    fn position(&self) -> u64 {
        self.state().chain.position()
    }

    fn session_seq(&self) -> u64 {
        self.state().chain.session_seq()
    }

    fn recovered(&self) -> &[Event] {
        &self.recovered
    }

    async fn append_batch(&self, events: &[Event]) -> Result<u64, StoreError> {
        self.state().append(events)
    }

    async fn append_fact(&self, at: DateTime<Utc>, kind: EventKind) -> Result<Event, StoreError> {
        self.state().append_fact(at, kind)
    }

    async fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        state.check_usable()?;
        state.sync()
    }
}
