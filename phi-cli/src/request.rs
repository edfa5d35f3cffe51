//! `phi sessions request`: what a model was asked in one attempt, and where each block of it comes from.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::Arc;

use phi::agent_loop::{BlockKind, BlockOrigin, EventId, NoRequest, RequestRecord, request_record};
use phi::session::{Store, read_events};
use phi::types::{
    CallResult, EffectId, Entry, Event, EventKind, LoopId, Message, RawJson, SessionId, Target,
};
use serde::Serialize;

use crate::arguments::AttemptArguments;
use crate::failure::{Exit, Failure, print};
use crate::place::store_failure;
use crate::words::tame_json;

/// So many positions of attempts are named to whoever named another one.
const NAMED_MAX: usize = 8;

/// A request as it is printed.
#[derive(Serialize)]
struct Printed<'a> {
    session: &'a SessionId,
    event: Named<'a>,
    turn: u64,
    attempt: u32,
    target: &'a Target,
    /// As the log has it.
    digest: u64,
    tokens: u64,
    blocks: Vec<Block<'a>>,
}

/// Names an event by its loop and by its place in the log.
#[derive(Serialize)]
struct Named<'a> {
    loop_id: &'a LoopId,
    seq: u64,
    position: Option<u64>,
}

#[derive(Serialize)]
struct Block<'a> {
    what: &'static str,
    /// The tools, the system prompt, the options, or one message.
    content: RawJson,
    /// An estimate.
    tokens: u64,
    origin: Origin<'a>,
}

/// The results of the calls of one answer, in the form of a message.
#[derive(Serialize)]
struct Results<'a> {
    role: &'static str,
    results: &'a [CallResult],
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Origin<'a> {
    Events {
        events: Vec<Named<'a>>,
    },
    Overlay {
        event: Named<'a>,
        stands_for: Vec<Self>,
    },
    Patch {
        event: Named<'a>,
    },
    Grace {
        event: Named<'a>,
    },
}

/// An attempt of a log.
struct Attempt {
    id: EffectId,
    position: u64,
    /// The turn of the session, from 1; a grace turn counts too.
    turn: u64,
    number: u32,
}

/// Prints the record of the request that was asked for.
pub(crate) async fn request(
    store: &dyn Store,
    id: &SessionId,
    which: &AttemptArguments,
) -> Result<Exit, Failure> {
    let events = read_events(store, id).await;
    let events = events.map_err(|error| store_failure(&error))?;
    let attempts = attempts(&events);
    let attempt = match (which.at, which.turn) {
        (Some(position), _) => at(&attempts, position, (id, &events))?,
        (None, Some(turn)) => of_turn(&attempts, turn, (id, &events))?,
        (None, None) => attempts.last().ok_or_else(|| never_asked(id))?,
    };
    let record = request_record(&events, &attempt.id).map_err(|error| failure(id, &error))?;
    let text = serde_json::to_string(&Log::of(&events).printed(id, attempt, &record)?);
    let text = text.map_err(|error| Failure::unwritable(&error))? + "\n";
    if std::io::stdout().is_terminal() {
        print(&tame_json(&text))?;
    } else {
        print(&text)?;
    }
    Ok(Exit::Completed)
}

/// Collects the attempts of a log, in order.
fn attempts(events: &[Event]) -> Vec<Attempt> {
    let (mut turns, mut attempts) = (0, Vec::new());
    let mut newest: HashMap<&LoopId, u64> = HashMap::new();
    for (position, event) in (1..).zip(events) {
        let Some(loop_id) = &event.loop_id else {
            continue;
        };
        match &event.kind {
            EventKind::TurnStarted(_) => {
                turns += 1;
                newest.insert(loop_id, turns);
            }
            EventKind::ModelStarted(started) => attempts.push(Attempt {
                id: EffectId {
                    loop_id: loop_id.clone(),
                    seq: event.seq,
                },
                position,
                turn: newest.get(loop_id).copied().unwrap_or(turns),
                number: started.attempt,
            }),
            _ => {}
        }
    }
    attempts
}

fn at<'a>(
    attempts: &'a [Attempt],
    position: u64,
    (id, events): (&SessionId, &[Event]),
) -> Result<&'a Attempt, Failure> {
    let place = attempts.partition_point(|it| it.position < position);
    if let Some(attempt) = attempts.get(place).filter(|it| it.position == position) {
        return Ok(attempt);
    }
    if attempts.is_empty() {
        return Err(never_asked(id));
    }
    let len = events.len();
    let what = match usize::try_from(position) {
        Ok(position) if (1..=len).contains(&position) => "asks no model".to_owned(),
        _ => format!("is none of its positions, which are 1 to {len}"),
    };
    let first = place.saturating_sub(NAMED_MAX / 2);
    let near = attempts.iter().skip(first).take(NAMED_MAX);
    let near: Vec<String> = near.map(|it| it.position.to_string()).collect();
    let near = near.join(", ");
    Err(Failure::refused(format!(
        "position {position} of session `{id}` {what}: name that of an attempt, as {near}"
    )))
}

/// The newest attempt of a turn is the one that was answered, if any was.
fn of_turn<'a>(
    attempts: &'a [Attempt],
    turn: u64,
    (id, events): (&SessionId, &[Event]),
) -> Result<&'a Attempt, Failure> {
    let mut newest = attempts.iter().rev();
    if let Some(attempt) = newest.find(|it| it.turn == turn) {
        return Ok(attempt);
    }
    let started = |event: &&Event| matches!(event.kind, EventKind::TurnStarted(_));
    let turns = events.iter().filter(started).count() as u64;
    if turns == 0 {
        return Err(never_asked(id));
    }
    let what = if (1..=turns).contains(&turn) {
        "asked no model"
    } else {
        "is not there"
    };
    Err(Failure::refused(format!(
        "turn {turn} of session `{id}` {what}: it has turns 1 to {turns}, see `phi sessions show {id}`"
    )))
}

fn never_asked(id: &SessionId) -> Failure {
    Failure::refused(format!(
        "session `{id}` asked no model: see `phi sessions events {id}`"
    ))
}

fn failure(id: &SessionId, error: &NoRequest) -> Failure {
    Failure::failed(format!(
        "session `{id}` does not say what was asked, {error}: see `phi sessions verify {id}`"
    ))
}

/// The positions of the events of a log.
struct Log<'a>(HashMap<(&'a LoopId, u64), u64>);

impl<'a> Log<'a> {
    fn of(events: &'a [Event]) -> Self {
        let named = (1..).zip(events).filter_map(|(position, event)| {
            let loop_id = event.loop_id.as_ref()?;
            Some(((loop_id, event.seq), position))
        });
        Self(named.collect())
    }

    fn printed<'b>(
        &self,
        session: &'b SessionId,
        attempt: &'b Attempt,
        record: &'b RequestRecord,
    ) -> Result<Printed<'b>, Failure> {
        let entries = record.request.view.entries();
        let mut blocks = Vec::with_capacity(record.blocks.len());
        for block in &record.blocks {
            let request = &record.request;
            let (what, content) = match block.what {
                BlockKind::Tools => ("tools", RawJson::from_value(&request.tools)),
                BlockKind::System => ("system", RawJson::from_value(&request.system)),
                BlockKind::Options => ("options", RawJson::from_value(&request.options)),
                BlockKind::Entry(at) => match entries.get(at) {
                    Some(entry) => ("entry", content(entry)),
                    None => continue,
                },
            };
            blocks.push(Block {
                what,
                content: content.map_err(|error| Failure::unwritable(&error))?,
                tokens: block.tokens,
                origin: self.origin(&block.origin),
            });
        }
        Ok(Printed {
            session,
            event: Named {
                loop_id: &attempt.id.loop_id,
                seq: attempt.id.seq,
                position: Some(attempt.position),
            },
            turn: attempt.turn,
            attempt: attempt.number,
            target: &record.target,
            digest: record.digest,
            tokens: record.blocks.iter().map(|it| it.tokens).sum(),
            blocks,
        })
    }

    fn origin<'b>(&self, origin: &'b BlockOrigin) -> Origin<'b> {
        match origin {
            BlockOrigin::Events(events) => Origin::Events {
                events: events.iter().map(|it| self.named(it)).collect(),
            },
            BlockOrigin::Overlay { event, stands_for } => Origin::Overlay {
                event: self.named(event),
                stands_for: stands_for.iter().map(|it| self.origin(it)).collect(),
            },
            BlockOrigin::Patch(event) => Origin::Patch {
                event: self.named(event),
            },
            BlockOrigin::Grace(event) => Origin::Grace {
                event: self.named(event),
            },
        }
    }

    fn named<'b>(&self, event: &'b EventId) -> Named<'b> {
        Named {
            loop_id: &event.loop_id,
            seq: event.seq,
            position: self.0.get(&(&event.loop_id, event.seq)).copied(),
        }
    }
}

fn content(entry: &Entry) -> Result<RawJson, serde_json::Error> {
    match entry {
        Entry::User(message) => RawJson::from_value(&Message::User(Arc::clone(message))),
        Entry::Assistant(message) => RawJson::from_value(&Message::Assistant(Arc::clone(message))),
        Entry::Extension(message) => RawJson::from_value(&Message::Extension(Arc::clone(message))),
        Entry::Results(results) => RawJson::from_value(&Results {
            role: "results",
            results,
        }),
    }
}
