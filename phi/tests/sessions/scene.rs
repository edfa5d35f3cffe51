//! An agent that looks once for each message, and what its model reads of it.

use std::sync::Arc;

use phi::session::Store;
use phi::types::{Content, Entry, History, Prune, SessionId, Tag};
use phi::{Agent, Session};
use phi_testkit::{Reply, ScriptedProvider, ScriptedTool};

pub(crate) const LONG: &str =
    "line after line after line after line after line after line of a file";
pub(crate) const NOTE: &str = "[This result was pruned.]";

pub(crate) fn id(name: &str) -> SessionId {
    SessionId::new(name).unwrap()
}

/// An agent that looks once after each message of its user.
pub(crate) fn agent(store: &Arc<dyn Store>) -> (Agent, ScriptedProvider) {
    let provider = ScriptedProvider::from_fn(|_, request| {
        Some(match request.view.last() {
            Some(Entry::User(_)) => Reply::call("look", "{}"),
            _ => Reply::text("Seen."),
        })
    });
    let agent = Agent::new(Arc::new(provider.clone()), "m")
        .tool(ScriptedTool::returning("look", LONG))
        .store(Arc::clone(store));
    (agent, provider)
}

pub(crate) async fn opened(store: &Arc<dyn Store>, name: &str) -> (Session, ScriptedProvider) {
    let (agent, provider) = agent(store);
    (agent.session(id(name)).await.unwrap(), provider)
}

pub(crate) fn prune(entry: u64) -> Prune {
    Prune {
        tags: vec![Tag::entry(entry)],
        memo: None,
    }
}

/// What the model reads in the place of the first result.
pub(crate) fn first_result(view: &History) -> String {
    match view.entries().get(2).copied() {
        Some(Entry::Results(results)) => match results.first().unwrap().result.content.first() {
            Some(Content::Text { text }) => text.clone(),
            other => format!("no text: {other:?}"),
        },
        other => format!("no results: {other:?}"),
    }
}
