//! Appending to a log on files.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use phi_types::{EffectClass, Event, EventKind, LoopId, SessionId};

use super::lock::Lock;
use super::segment::{self, Header, LOG_FORMAT, io_error, segment_path};
use super::{Settings, SyncPolicy};
use crate::chain::{Chain, push_line};
use crate::error::StoreError;
use crate::store::SessionWriter;

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
    buffer: Vec<u8>,
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
}

/// The calls that have started and not ended, and whether they may run again.
#[derive(Debug, Default)]
pub(super) struct OpenCalls(HashMap<(LoopId, u64), EffectClass>);

impl OpenCalls {
    /// Follows one event; says whether it announces or ends an effect that must not run twice.
    ///
    /// A call whose start was not seen counts as one.
    pub(super) fn follow(&mut self, event: &Event) -> bool {
        let Some(loop_id) = &event.loop_id else {
            return false;
        };
        match &event.kind {
            EventKind::ToolStarted(started) => {
                self.0
                    .insert((loop_id.clone(), event.seq), started.effect_class);
                started.effect_class == EffectClass::AtMostOnce
            }
            EventKind::ToolEnded(ended) => ended.started.is_some_and(|seq| {
                let class = self.0.remove(&(loop_id.clone(), seq));
                class.is_none_or(|class| class == EffectClass::AtMostOnce)
            }),
            EventKind::LoopEnded(_) => {
                self.0.retain(|(of, _), _| of != loop_id);
                false
            }
            _ => false,
        }
    }
}

impl State {
    pub(super) fn new(tip: Tip, chain: Chain, calls: OpenCalls, settings: Settings) -> Self {
        Self {
            tip,
            chain,
            calls,
            settings,
            buffer: Vec::new(),
            failed: None,
        }
    }

    /// Makes the first segment of a session with its first events.
    pub(super) fn create(
        folder: &Path,
        session: &SessionId,
        events: &[Event],
        settings: Settings,
    ) -> Result<Self, StoreError> {
        let mut chain = Chain::new(session.clone(), 0);
        let mut buffer = Vec::new();
        push_header(&mut chain, &mut buffer)?;
        chain.encode(events, &mut buffer)?;
        let tip = write_segment(folder, 1, &buffer, settings)?;
        Ok(Self::new(tip, chain, OpenCalls::default(), settings))
    }

    fn append(&mut self, events: &[Event]) -> Result<u64, StoreError> {
        self.check_usable()?;
        if events.is_empty() {
            return Ok(self.chain.position());
        }
        // A segment without an event never makes room for another of the same name.
        if self.tip.bytes >= self.settings.segment_bytes_max
            && self.chain.position() >= self.tip.first
        {
            self.rotate().map_err(|error| self.fail(error))?;
        }
        self.buffer.clear();
        self.chain.encode(events, &mut self.buffer)?;
        if let Err(source) = self.tip.file.write_all(&self.buffer) {
            return Err(self.fail_write(source));
        }
        self.tip.bytes += self.buffer.len() as u64;
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        if self.is_sync_due(events) {
            self.sync()?;
        }
        Ok(self.chain.position())
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

    fn is_sync_due(&mut self, events: &[Event]) -> bool {
        let mut effect = false;
        let mut turn = false;
        for event in events {
            effect |= self.calls.follow(event);
            turn |= matches!(
                event.kind,
                EventKind::TurnEnded(_) | EventKind::LoopEnded(_) | EventKind::SessionEnded(_)
            );
        }
        match self.settings.sync {
            SyncPolicy::Effect => effect,
            SyncPolicy::Turn => turn,
            SyncPolicy::Never => false,
        }
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let synced = self
            .tip
            .file
            .sync_data()
            .map_err(io_error("sync", &self.tip.path));
        synced.map_err(|error| self.fail(error))
    }

    /// Begins the next segment. The one before is forced to the disk first, so that only the last
    /// segment can ever be torn.
    fn rotate(&mut self) -> Result<(), StoreError> {
        self.tip
            .file
            .sync_data()
            .map_err(io_error("sync", &self.tip.path))?;
        self.buffer.clear();
        let first = self.chain.position() + 1;
        push_header(&mut self.chain, &mut self.buffer)?;
        self.tip = write_segment(&self.tip.folder, first, &self.buffer, self.settings)?;
        Ok(())
    }

    fn check_usable(&mut self) -> Result<(), StoreError> {
        let session = self.chain.session();
        if let Some(reason) = &self.failed {
            let (session, reason) = (session.clone(), reason.clone());
            return Err(StoreError::Poisoned { session, reason });
        }
        // A removed file takes every byte and keeps none.
        match self.tip.file.metadata() {
            Ok(there) if there.nlink() > 0 => Ok(()),
            Ok(_) => {
                let (session, path) = (session.clone(), self.tip.path.clone());
                Err(self.fail(StoreError::Vanished { session, path }))
            }
            Err(error) => Err(self.fail(io_error("open", &self.tip.path)(error))),
        }
    }

    /// Cuts off what a failed write left, as far as that is possible: whatever stays is a torn end.
    fn fail_write(&mut self, source: io::Error) -> StoreError {
        let cut = self.tip.file.set_len(self.tip.bytes);
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
fn push_header(chain: &mut Chain, buffer: &mut Vec<u8>) -> Result<(), StoreError> {
    let header = Header {
        format: LOG_FORMAT,
        session: chain.session().clone(),
        first: chain.position() + 1,
        previous: format!("{:08x}", chain.checksum()),
        session_seq: chain.session_seq(),
    };
    let pushed = push_line(&header, chain.checksum(), buffer);
    chain.pass_header(pushed.map_err(|fault| fault.into_error(chain.session()))?);
    Ok(())
}

/// Makes a segment under another name and gives it its own once it is whole and on the disk.
fn write_segment(
    folder: &Path,
    first: u64,
    content: &[u8],
    settings: Settings,
) -> Result<Tip, StoreError> {
    let path = segment_path(folder, first);
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("delete", &draft)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let mut file = segment::create_file(&draft)?;
    file.write_all(content).map_err(io_error("write", &draft))?;
    if settings.syncs_files() {
        file.sync_all().map_err(io_error("sync", &draft))?;
    }
    fs::rename(&draft, &path).map_err(io_error("create", &path))?;
    if settings.syncs_files() {
        segment::sync_folder(folder)?;
    }
    let (folder, bytes) = (folder.to_owned(), content.len() as u64);
    Ok(Tip {
        folder,
        path,
        file,
        first,
        bytes,
    })
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
