//! The timeline of a session as one page of HTML that needs nothing else.

mod clock;
mod graph;
mod outline;
mod page;
mod readable;
mod row;
mod text;
mod words;

use std::io::{self, Write};

use phi_types::{Event, SessionId};

use self::graph::Axis;
use self::outline::{Extent, LoopOutline, Outline};
use self::page::Shown;
use self::readable::Limits;
use self::row::Place;
use crate::error::StoreError;
use crate::length::json_length;
use crate::store::{SessionReader, Store};

/// How many events are read at once: one of them may be large.
const CHUNK: usize = 8;
/// How many bytes of HTML may wait in memory, about: several short loops are read at once.
const WAITING_BYTES_MAX: u64 = 8 << 20;
/// How many bytes the frame of one event takes, about.
const FRAME_BYTES: u64 = 800;
/// How many bytes the contents of all events shall take, as far as each has at least a little.
const CONTENT_BYTES: u64 = 32 << 20;
/// The least and the most that is written of one event, in bytes.
const EVENT_BYTES: (u64, u64) = (1 << 10, 64 << 10);

/// Says why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimelineError {
    /// The session cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The page cannot be written.
    #[error("write the page")]
    Write(#[from] io::Error),
}

/// Writes a page that shows a session: its turns, what ran on a time axis, tokens and cost, branches
/// side by side, and every event to open.
///
/// The page holds everything that it needs, loads nothing, and runs no script but its own, whatever
/// the log says. Long outputs are cut in it, with a note. What is appended meanwhile is left out.
///
/// The log is read twice, and more often only where large branches ran at once. Memory is bounded by
/// one event, some hundred bytes for each turn and call, and 8 MiB. Writing is done on the calling
/// thread.
///
/// **Cancel safety:** a dropped call has written a part of the page.
///
/// # Errors
/// [`TimelineError`]; what was written by then is no whole page.
pub async fn write_timeline(
    store: &dyn Store,
    session: &SessionId,
    to: &mut (dyn Write + Send),
) -> Result<(), TimelineError> {
    let outline = outline(store, session).await?;
    let whole = (CONTENT_BYTES / outline.events.max(1)).clamp(EVENT_BYTES.0, EVENT_BYTES.1);
    let whole = usize::try_from(whole).unwrap_or(usize::MAX);
    let limits = Limits {
        string: whole / 2,
        whole,
    };
    let mut out = String::new();
    page::head(&mut out, &outline);
    to.write_all(out.as_bytes())?;
    let units = units(&outline);
    let mut rest = units.as_slice();
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(batch_length(rest));
        rest = after;
        let mut sections: Vec<Section> = batch
            .iter()
            .map(|unit| Section::begin(unit, limits))
            .collect();
        // One section alone goes out as it is made.
        let is_alone = sections.len() == 1;
        let (first, last) = reach(batch);
        let mut reader = store.reader(session, first).await?;
        let mut position = 0;
        while position < last {
            let chunk = reader.events(CHUNK).await?;
            if chunk.is_empty() {
                break;
            }
            for stored in chunk {
                position = stored.position;
                if position > last {
                    break;
                }
                if let Some(section) = sections.iter_mut().find(|it| it.holds(&stored.event)) {
                    section.add(position, &stored.event);
                    if is_alone {
                        to.write_all(section.out.as_bytes())?;
                        section.out.clear();
                    }
                }
            }
        }
        for section in sections {
            to.write_all(section.end().as_bytes())?;
        }
    }
    out.clear();
    page::tail(&mut out);
    to.write_all(out.as_bytes())?;
    to.flush()?;
    Ok(())
}

/// Reads the whole log for what a page shows of the whole.
async fn outline(store: &dyn Store, session: &SessionId) -> Result<Outline, StoreError> {
    let mut reader: Box<dyn SessionReader> = store.reader(session, 1).await?;
    let mut outline = Outline::new(session.clone());
    loop {
        let chunk = reader.events(CHUNK).await?;
        if chunk.is_empty() {
            return Ok(outline);
        }
        for stored in chunk {
            let content = json_length(&stored.event.kind) as u64;
            let bytes = content.min(EVENT_BYTES.1) + FRAME_BYTES;
            outline.follow(stored.position, &stored.event, bytes);
        }
    }
}

/// A part of the page whose events are read together: a loop, or what belongs to none.
#[derive(Debug)]
struct Unit<'a> {
    shown: Option<Shown<'a>>,
    extent: Extent,
    /// The axis of rows that stand in no turn.
    axis: Axis,
    /// What stands before it and after it.
    before: String,
    after: String,
}

/// Puts the parts of the page in order: the session, then its loops, branches beside each other where
/// the first of them stands.
fn units(outline: &Outline) -> Vec<Unit<'_>> {
    let mut units = Vec::new();
    if outline.facts.events > 0 {
        let mut before = String::new();
        page::facts_head(&mut before, &outline.facts);
        units.push(Unit {
            shown: None,
            extent: outline.facts,
            axis: page::session_axis(outline),
            before,
            after: String::new(),
        });
    }
    let mut is_placed = vec![false; outline.loops.len()];
    for place in 0..outline.loops.len() {
        if is_placed.get(place) == Some(&true) {
            continue;
        }
        let Some(record) = outline.loops.get(place) else {
            continue;
        };
        let group = outline
            .groups
            .iter()
            .find(|it| it.loops.contains(&record.id));
        let ids = group.map_or(std::slice::from_ref(&record.id), |it| &it.loops);
        let members: Vec<usize> = ids.iter().filter_map(|id| outline.place_of(id)).collect();
        let records = members.iter().filter_map(|it| outline.loops.get(*it));
        let axis = page::common_axis(records);
        let first = units.len();
        for member in members {
            let (Some(record), Some(placed)) =
                (outline.loops.get(member), is_placed.get_mut(member))
            else {
                continue;
            };
            if std::mem::replace(placed, true) {
                continue;
            }
            let winner = group.and_then(|it| it.winner.as_ref());
            units.push(Unit {
                shown: Some(Shown {
                    record,
                    place: member,
                    axis,
                    is_winner: winner == Some(&record.id),
                }),
                extent: record.extent,
                axis: Axis {
                    from: record.started_at,
                    to: record.started_at,
                },
                before: String::new(),
                after: String::new(),
            });
        }
        if let Some(group) = group {
            if let Some(unit) = units.get_mut(first) {
                page::group_head(&mut unit.before, group);
            }
            if let Some(unit) = units.last_mut() {
                page::group_tail(&mut unit.after);
            }
        }
    }
    units
}

/// Returns how many of the next units are read at once: what waits of them fits in memory.
fn batch_length(units: &[Unit<'_>]) -> usize {
    let mut bytes = 0_u64;
    let fitting = units.iter().take_while(|unit| {
        bytes = bytes.saturating_add(unit.extent.bytes);
        bytes <= WAITING_BYTES_MAX
    });
    fitting.count().max(1)
}

/// Returns the first and the last position of units.
fn reach(units: &[Unit<'_>]) -> (u64, u64) {
    let first = units.iter().map(|unit| unit.extent.first).min();
    let last = units.iter().map(|unit| unit.extent.last).max();
    (first.unwrap_or(1), last.unwrap_or(0))
}

/// A unit that is being written.
#[derive(Debug)]
struct Section<'a> {
    shown: Option<Shown<'a>>,
    axis: Axis,
    after: &'a str,
    out: String,
    /// The turn whose rows are written, if any rows are.
    turn: Option<Option<usize>>,
    limits: Limits,
}

impl<'a> Section<'a> {
    fn begin(unit: &'a Unit<'a>, limits: Limits) -> Self {
        let mut out = unit.before.clone();
        if let Some(shown) = &unit.shown {
            page::loop_head(&mut out, shown);
        }
        Self {
            shown: unit.shown,
            axis: unit.axis,
            after: &unit.after,
            out,
            turn: None,
            limits,
        }
    }

    fn holds(&self, event: &Event) -> bool {
        event.loop_id.as_ref() == self.shown.map(|it| &it.record.id)
    }

    fn add(&mut self, position: u64, event: &Event) {
        let record: Option<&LoopOutline> = self.shown.map(|it| it.record);
        let turn = record.and_then(|it| it.turn_at(position));
        let axis = self.enter(turn);
        let place = Place {
            position,
            axis,
            span: record.and_then(|it| it.span(event.seq)),
            limits: self.limits,
        };
        row::row(&mut self.out, event, &place);
    }

    /// Begins the turn of the next row, and returns its axis.
    fn enter(&mut self, turn: Option<usize>) -> Axis {
        let Some(shown) = self.shown else {
            return self.axis;
        };
        let outline = turn.and_then(|turn| shown.record.turns.get(turn));
        if self.turn != Some(turn) {
            if self.turn.is_some() {
                page::rows_tail(&mut self.out);
            }
            match (turn, outline) {
                (Some(n), Some(turn)) => page::turn_head(&mut self.out, turn, (shown.place, n)),
                _ => page::start_head(&mut self.out),
            }
            self.turn = Some(turn);
        }
        outline.map_or(self.axis, page::turn_axis)
    }

    fn end(mut self) -> String {
        if self.turn.is_some() || self.shown.is_none() {
            page::rows_tail(&mut self.out);
        }
        if self.shown.is_some() {
            page::loop_tail(&mut self.out);
        }
        self.out.push_str(self.after);
        self.out
    }
}
