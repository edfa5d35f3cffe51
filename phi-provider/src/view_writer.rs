//! Writes a view message by message, and keeps what it wrote, so that the next request of the same
//! conversation writes only what is new.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use phi_types::{Entry, History, Request, SessionId};
use serde::Serialize;

use crate::rope::Rope;
use crate::translate::{Loss, Message, Reader, Rules, Step, Translator};

/// Writes translated messages one after the other, as the items of a JSON array.
///
/// The writer is what must be known of the messages before, the configuration included. It is
/// copied at every entry, so it is small.
pub(crate) trait MessageWriter: Clone + PartialEq + Send {
    /// Appends one message, with the comma before it.
    fn message(&mut self, message: Message<'_>, out: &mut Output);

    /// Appends what ends the last message, where that waits for the next one.
    fn close(&mut self, _out: &mut Output) {}
}

/// The bytes that a writer appends to.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The bytes that were written before these.
    base: usize,
    bytes: Vec<u8>,
}

impl Output {
    /// Returns how many bytes stand before the next one, counted from the first message.
    pub(crate) fn position(&self) -> usize {
        self.base + self.bytes.len()
    }

    /// Appends JSON as it is.
    pub(crate) fn raw(&mut self, json: &str) {
        self.bytes.extend_from_slice(json.as_bytes());
    }

    /// Appends a text as a JSON string.
    pub(crate) fn string(&mut self, text: &str) {
        self.json(text);
    }

    /// Appends a text as a JSON string without the quote at its end.
    pub(crate) fn open_string(&mut self, text: &str) {
        self.json(text);
        self.bytes.pop();
    }

    /// Returns what was appended.
    pub(crate) fn into_string(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Appends a value as JSON. What JSON cannot hold, as a key that is no text, becomes `null`.
    pub(crate) fn json<T: Serialize + ?Sized>(&mut self, value: &T) {
        let before = self.bytes.len();
        if serde_json::to_writer(&mut self.bytes, value).is_err() {
            self.bytes.truncate(before);
            self.raw("null");
        }
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A view as a writer wrote it.
#[derive(Debug)]
pub(crate) struct WrittenView<W> {
    /// The items of the array without its brackets.
    pub(crate) json: Rope,
    /// The writer after the last message.
    pub(crate) writer: W,
    pub(crate) losses: Vec<Loss>,
}

/// What was written of the conversations that were asked for last.
///
/// A conversation is known by its path in memory and not by its content, so finding it again costs
/// as much as what is new of it. A clone begins empty: whoever clones a wire may change it.
pub(crate) struct ViewCache<W> {
    tapes: Mutex<VecDeque<Tape<W>>>,
    bytes_max: usize,
}

/// What was written of one conversation.
struct Tape<W> {
    session: SessionId,
    model: String,
    start: W,
    json: Rope,
    losses: Vec<Loss>,
    translator: Translator,
    marks: Vec<Mark<W>>,
}

/// A place between two entries where writing can go on.
struct Mark<W> {
    path: History,
    writer: W,
    json: usize,
    losses: usize,
    ids: usize,
}

/// The most conversations that are kept, whatever their size.
const TAPES_MAX: usize = 64;

impl<W: MessageWriter> ViewCache<W> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            tapes: Mutex::default(),
            bytes_max,
        }
    }

    /// Writes the view of a request; `start` is the writer before the first message.
    pub(crate) fn write(
        &self,
        request: &Request,
        reader: Reader<'_>,
        rules: &Rules,
        start: W,
    ) -> WrittenView<W> {
        let view = &request.view;
        let mut tape = self.take(request, &start).unwrap_or_else(|| Tape {
            session: request.session.clone(),
            model: request.model.to_string(),
            start,
            json: Rope::default(),
            losses: Vec::new(),
            translator: Translator::new(rules.call_ids),
            marks: Vec::new(),
        });
        let written = tape.write(view, reader, rules);
        self.put_back(tape);
        written
    }

    /// Takes the conversation out that a request continues, if there is one.
    fn take(&self, request: &Request, start: &W) -> Option<Tape<W>> {
        let mut tapes = self.lock();
        let fits = |tape: &Tape<W>| *tape.model == *request.model && tape.start == *start;
        let of_session = |tape: &Tape<W>| tape.session == request.session;
        let known = |tape: &Tape<W>| tape.common_marks(&request.view) > 0;
        let at = tapes
            .iter()
            .position(|tape| fits(tape) && of_session(tape) && known(tape))
            .or_else(|| {
                tapes
                    .iter()
                    .position(|tape| fits(tape) && !of_session(tape) && known(tape))
            })?;
        let mut tape = tapes.remove(at)?;
        drop(tapes);
        tape.truncate(&request.view);
        tape.session = request.session.clone();
        Some(tape)
    }

    fn put_back(&self, tape: Tape<W>) {
        if tape.json.len() > self.bytes_max {
            return;
        }
        let mut tapes = self.lock();
        tapes.push_front(tape);
        let mut bytes = 0_usize;
        let fitting = tapes.iter().take_while(|tape| {
            bytes = bytes.saturating_add(tape.json.len());
            bytes <= self.bytes_max
        });
        let kept = fitting.count().min(TAPES_MAX);
        let dropped = tapes.split_off(kept);
        drop(tapes);
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Tape<W>>> {
        self.tapes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: MessageWriter> Tape<W> {
    /// Returns how many marks stand on the path of a view.
    fn common_marks(&self, view: &History) -> usize {
        let mut path = view.clone();
        for (index, mark) in self.marks.iter().enumerate().rev() {
            path = path.prefix(mark.path.len());
            if path.is_same_path(&mark.path) {
                return index + 1;
            }
        }
        0
    }

    /// Forgets what does not stand on the path of a view.
    fn truncate(&mut self, view: &History) {
        self.marks.truncate(self.common_marks(view));
        let (json, losses, ids) = self
            .marks
            .last()
            .map_or((0, 0, 0), |mark| (mark.json, mark.losses, mark.ids));
        self.json.truncate(json);
        self.losses.truncate(losses);
        self.translator.rewind(ids, json > 0);
    }

    /// Writes what is new of a view, and keeps it as far as it stays the same whatever follows.
    fn write(&mut self, view: &History, reader: Reader<'_>, rules: &Rules) -> WrittenView<W> {
        let old = self.marks.last().map_or(0, |mark| mark.path.len());
        let mut writer = self
            .marks
            .last()
            .map_or_else(|| self.start.clone(), |mark| mark.writer.clone());
        let paths = paths_from(view, old);
        let entries: Vec<&Entry> = paths.iter().filter_map(History::last).collect();
        let mut out = Output {
            base: self.json.len(),
            bytes: Vec::new(),
        };
        let mut settled = 0;
        let mut losses = std::mem::take(&mut self.losses);
        let mut settled_losses = losses.len();
        let mut rest = entries.as_slice();
        for path in &paths {
            let Some((entry, after)) = rest.split_first() else {
                break;
            };
            rest = after;
            let mut step = Step {
                reader,
                rules,
                entry: path.len() - 1,
                after,
                losses: &mut losses,
                each: &mut |message| writer.message(message, &mut out),
            };
            self.translator.entry(&mut step, entry);
            if self.translator.is_settled() {
                settled = out.bytes.len();
                settled_losses = losses.len();
                self.marks.push(Mark {
                    path: path.clone(),
                    writer: writer.clone(),
                    json: out.position(),
                    losses: losses.len(),
                    ids: self.translator.ids.len(),
                });
            }
        }
        writer.close(&mut out);
        let mut new = Bytes::from(out.bytes);
        let tail = new.split_off(settled);
        self.json.push(new);
        self.losses
            .extend_from_slice(losses.get(..settled_losses).unwrap_or_default());
        let mut json = self.json.clone();
        json.push(tail);
        WrittenView {
            json,
            writer,
            losses,
        }
    }
}

/// Returns the path to each entry of a view after the first `old`.
fn paths_from(view: &History, old: usize) -> Vec<History> {
    let mut paths = Vec::with_capacity(view.len().saturating_sub(old));
    let mut path = view.clone();
    while path.len() > old {
        let before = path.prefix(path.len() - 1);
        paths.push(std::mem::replace(&mut path, before));
    }
    paths.reverse();
    paths
}

impl<W: MessageWriter> Default for ViewCache<W> {
    /// Keeps up to 64 MiB.
    fn default() -> Self {
        Self::new(64 << 20)
    }
}

impl<W: MessageWriter> Clone for ViewCache<W> {
    fn clone(&self) -> Self {
        Self::new(self.bytes_max)
    }
}

impl<W> fmt::Debug for ViewCache<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewCache")
            .field("bytes_max", &self.bytes_max)
            .finish_non_exhaustive()
    }
}
