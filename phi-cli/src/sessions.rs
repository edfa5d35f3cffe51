//! `phi sessions`: lists, shows, explains, checks, forks, replays and deletes stored sessions.

use std::io::IsTerminal as _;
use std::sync::Arc;

use phi::session::{Listed, SessionFilter, SessionSummary, Store, load};
use phi::types::{Event, SessionId};

use crate::arguments::{SessionArguments, SessionsCommand, StoreArguments};
use crate::failure::{Exit, Failure, print};
use crate::page;
use crate::place::{self, store_failure};
use crate::request::request;
use crate::run::new_id;
use crate::show;
use crate::words::{one_line, tame_json};

/// How many lines are read at once.
const LINES_AT_ONCE: usize = 256;

/// Does what was asked of the sessions.
pub(crate) async fn sessions(command: &SessionsCommand) -> Result<Exit, Failure> {
    match command {
        SessionsCommand::List { store, json } => {
            let line = if *json { json_line } else { text_line };
            list(store, line).await
        }
        SessionsCommand::Show { session, html } => match html {
            None => show(session).await,
            Some(file) => {
                let (store, id) = named(session)?;
                page::write(&*store, &id, file).await?;
                Ok(Exit::Completed)
            }
        },
        SessionsCommand::Events(which) => events(which).await,
        SessionsCommand::Request { session, which } => {
            let (store, id) = named(session)?;
            request(&*store, &id, which).await
        }
        SessionsCommand::Replay(which) => replay(which).await,
        SessionsCommand::Verify(which) => verify(which).await,
        SessionsCommand::Fork { session, at } => fork(session, *at).await,
        SessionsCommand::Delete(which) => delete(which).await,
    }
}

async fn list(
    store: &StoreArguments,
    line: fn(&SessionSummary, usize) -> Result<String, Failure>,
) -> Result<Exit, Failure> {
    let store = place::store(store.store.as_deref())?;
    let listed = store.list(&SessionFilter::default()).await;
    let listed = listed.map_err(|error| store_failure(&error))?;
    let widths = listed.iter().map(|it| it.session.as_str().len());
    let width = widths.max().unwrap_or(0);
    let mut unreadable = Vec::new();
    for Listed { summary, .. } in listed {
        match summary {
            Ok(summary) => print(&line(&summary, width)?)?,
            Err(error) => unreadable.push(error),
        }
    }
    let Some(first) = unreadable.first() else {
        return Ok(Exit::Completed);
    };
    let more = match unreadable.len() {
        1 => String::new(),
        n => format!("; {} more cannot be read either", n - 1),
    };
    Err(Failure::failed(format!("cannot {first}{more}")))
}

fn text_line(summary: &SessionSummary, width: usize) -> Result<String, Failure> {
    Ok(show::summary_line(summary, width))
}

fn json_line(summary: &SessionSummary, _width: usize) -> Result<String, Failure> {
    let line = serde_json::to_string(summary).map_err(|error| Failure::unwritable(&error))?;
    Ok(line + "\n")
}

async fn show(which: &SessionArguments) -> Result<Exit, Failure> {
    let (store, id) = named(which)?;
    let recorder = load(&*store, &id).await;
    let recorder = recorder.map_err(|error| store_failure(&error))?;
    print(&show::session(recorder.session()))?;
    Ok(Exit::Completed)
}

async fn events(which: &SessionArguments) -> Result<Exit, Failure> {
    let (store, id) = named(which)?;
    let reader = store.reader(&id, 1).await;
    let mut reader = reader.map_err(|error| store_failure(&error))?;
    let is_terminal = std::io::stdout().is_terminal();
    loop {
        let lines = reader.lines(LINES_AT_ONCE).await;
        let lines = lines.map_err(|error| store_failure(&error))?;
        if lines.is_empty() {
            return Ok(Exit::Completed);
        }
        let mut text = String::new();
        for line in &lines {
            if is_terminal {
                text.push_str(&tame_json(&line.text));
            } else {
                text.push_str(&line.text);
            }
            text.push('\n');
        }
        print(&text)?;
    }
}

async fn replay(which: &SessionArguments) -> Result<Exit, Failure> {
    let (store, id) = named(which)?;
    let events = phi::session::read_events(&*store, &id).await;
    let events = events.map_err(|error| store_failure(&error))?;
    let error = match phi::replay(&events) {
        Ok(loops) => {
            let events = events.len();
            print(&format!(
                "replayed {events} events in loops: {loops}; every one is the same\n"
            ))?;
            return Ok(Exit::Completed);
        }
        Err(error) => error,
    };
    let difference = &error.difference;
    print(&format!(
        "recorded: {}\nreplayed: {}\n",
        side(difference.recorded.as_deref())?,
        side(difference.replayed.as_deref())?
    ))?;
    let what = one_line(&error.to_string());
    Err(Failure::failed(format!(
        "session `{id}` does not replay, {what}: compare both sides on stdout"
    )))
}

/// Writes one side of a difference.
fn side(event: Option<&Event>) -> Result<String, Failure> {
    let Some(event) = event else {
        return Ok("nothing".to_owned());
    };
    let text = serde_json::to_string(event).map_err(|error| Failure::unwritable(&error))?;
    Ok(tame_json(&text).into_owned())
}

async fn verify(which: &SessionArguments) -> Result<Exit, Failure> {
    let (store, id) = named(which)?;
    let found = store.verify(&id).await;
    let found = found.map_err(|error| store_failure(&error))?;
    if let Some(fault) = &found.fault {
        let events = found.events;
        print(&format!(
            "{events} events are right, from the first one on\n"
        ))?;
        return Err(Failure::failed(format!(
            "session `{id}` is damaged: cannot {fault}"
        )));
    }
    let mut text = format!(
        "session `{id}` is sound: {} events, {} loops, checksum {:08x}",
        found.events, found.loops, found.checksum
    );
    if let Some(origin) = &found.forked_from {
        let (parent, position) = (&origin.session, origin.position);
        text.push_str(&format!("; forked from `{parent}` at position {position}"));
    }
    if found.torn_bytes > 0 {
        let bytes = found.torn_bytes;
        text.push_str(&format!(
            "; {bytes} bytes of a write that was cut off follow and will be moved aside"
        ));
    }
    print(&(text + "\n"))?;
    Ok(Exit::Completed)
}

async fn fork(which: &SessionArguments, at: u64) -> Result<Exit, Failure> {
    let (store, id) = named(which)?;
    let fork = new_id("")?;
    let forked = phi::fork(&*store, &id, at, &fork).await;
    forked.map_err(|error| store_failure(&error))?;
    print(&format!("{fork}\n"))?;
    Ok(Exit::Completed)
}

async fn delete(which: &SessionArguments) -> Result<Exit, Failure> {
    let (store, id) = named(which)?;
    let deleted = store.delete(&id).await;
    deleted.map_err(|error| store_failure(&error))?;
    Ok(Exit::Completed)
}

fn named(which: &SessionArguments) -> Result<(Arc<dyn Store>, SessionId), Failure> {
    let store = place::store(which.store.store.as_deref())?;
    Ok((store, place::session_id(&which.id)?))
}
