//! Starting runs and reading what they hand out.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use phi_loop::{Driver, Finished, Run, Start, Update};
use phi_testkit::{Reply, ScriptedCall, ScriptedProvider, ScriptedTool, check_transcript};
use phi_types::{Configuration, Event, EventKind, Tool, ToolEnded, ToolEnding};

use crate::support::session;

pub(crate) fn provider(replies: impl IntoIterator<Item = Reply>) -> Arc<ScriptedProvider> {
    Arc::new(ScriptedProvider::new(replies))
}

pub(crate) fn driver(provider: &Arc<ScriptedProvider>, tools: &[&ScriptedTool]) -> Driver {
    let tools = tools
        .iter()
        .map(|tool| Arc::new((*tool).clone()) as Arc<dyn Tool>);
    Driver::new(Arc::clone(provider) as Arc<dyn phi_types::Provider>)
        .tools(tools.collect())
        .starting_at(DateTime::<Utc>::UNIX_EPOCH)
}

pub(crate) fn run(driver: &Driver, configuration: Configuration) -> Run {
    let start = Start::new(session(), configuration, driver.surface("", "m"));
    driver.prompt(start, "Do it.").unwrap()
}

pub(crate) fn plain(driver: &Driver) -> Run {
    run(driver, Configuration::default())
}

/// A reply that calls these tools, each with its place as argument.
pub(crate) fn calling(names: &[&str]) -> Reply {
    let calls = (0..).zip(names);
    calls.fold(Reply::new(), |reply, (n, name)| {
        reply.with_call(ScriptedCall::new(*name, format!("{{\"n\":{n}}}")))
    })
}

pub(crate) fn done() -> Reply {
    Reply::text("Done.")
}

/// Everything that the run hands out until its end. A run that never ends fails the test in time.
pub(crate) async fn all(run: &mut Run) -> Vec<Update> {
    let mut updates = Vec::new();
    let pulled = async {
        while let Some(update) = run.next().await {
            updates.push(update);
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(120), pulled).await;
    assert!(ended.is_ok(), "the run does not end: {updates:?}");
    updates
}

/// What the run hands out until it has to wait.
pub(crate) fn until_it_waits(run: &mut Run) -> Vec<Update> {
    let mut updates = Vec::new();
    // Its task may have used up its turn, which is not what is waited for here.
    while let Some(Some(update)) = tokio::task::unconstrained(run.next()).now_or_never() {
        updates.push(update);
    }
    updates
}

pub(crate) fn events(updates: &[Update]) -> Vec<Event> {
    let events = updates.iter().filter_map(|update| match update {
        Update::Event(event) => Some(event.clone()),
        _ => None,
    });
    events.collect()
}

pub(crate) fn ended(updates: &[Update]) -> Vec<ToolEnded> {
    let ended = updates.iter().filter_map(|update| match update {
        Update::Event(Event {
            kind: EventKind::ToolEnded(ended),
            ..
        }) => Some(ended.clone()),
        _ => None,
    });
    ended.collect()
}

/// The endings of all calls, in the order of their calls, with what the model reads.
pub(crate) fn endings(updates: &[Update]) -> Vec<(ToolEnding, String)> {
    let mut ended = ended(updates);
    ended.sort_by_key(|ended| ended.index);
    let endings = ended.iter().map(|ended| {
        let text = match ended.result.content.first() {
            Some(phi_types::Content::Text { text }) => text.clone(),
            _ => String::new(),
        };
        (ended.ending, text)
    });
    endings.collect()
}

/// What the run came to, after its conversation was checked.
pub(crate) fn finished(run: &Run) -> Finished {
    let finished = run.finished();
    assert_eq!(check_transcript(finished.transcript.view()), Ok(()));
    finished
}
