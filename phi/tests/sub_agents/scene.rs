//! A parent, its sub-agents, and what their logs say.

use std::sync::Arc;
use std::time::Duration;

use phi::agent_loop::{Finished, Update};
use phi::session::{MemoryStore, Session, Store, load, read_events};
use phi::types::{Event, EventKind, Outcome, RawJson, SessionId, ToolEnded, Usage};
use phi::{Agent, SubAgent};
use phi_testkit::{Reply, ScriptedCall, ScriptedProvider};

pub(crate) fn id(id: &str) -> SessionId {
    SessionId::new(id).unwrap()
}

pub(crate) fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

pub(crate) fn provider(replies: impl IntoIterator<Item = Reply>) -> Arc<ScriptedProvider> {
    Arc::new(ScriptedProvider::new(replies))
}

pub(crate) fn agent(replies: impl IntoIterator<Item = Reply>) -> Agent {
    Agent::new(provider(replies), "m")
}

pub(crate) fn usage(tokens: u64) -> Usage {
    Usage {
        input_tokens: Some(tokens),
        output_tokens: Some(1),
        ..Usage::default()
    }
}

pub(crate) fn task(name: &str, task: &str) -> ScriptedCall {
    let arguments = RawJson::from_value(&serde_json::json!({ "task": task })).unwrap();
    ScriptedCall::json(name, &arguments)
}

/// A reply that gives each of these sub-agents a task.
pub(crate) fn asking(names: &[&str]) -> Reply {
    names.iter().fold(Reply::new(), |reply, name| {
        reply.with_call(task(name, "Look."))
    })
}

pub(crate) fn helper(name: &str, agent: Agent) -> SubAgent {
    SubAgent::new(name, "Looks things up.", agent)
}

/// Prompts the agent once in session `s` and pulls to the end.
pub(crate) async fn finish(agent: &Agent) -> (Vec<Update>, Finished) {
    let mut session = agent.session(id("s")).await.unwrap();
    let mut run = session.prompt("Do it.").unwrap();
    let mut updates = Vec::new();
    let pulled = async {
        while let Some(update) = run.next().await {
            updates.push(update);
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(120), pulled).await;
    assert!(ended.is_ok(), "the run does not end: {updates:?}");
    let finished = run.finished();
    (updates, finished)
}

pub(crate) fn ended(updates: &[Update]) -> Vec<ToolEnded> {
    let ended = updates.iter().filter_map(|update| match update {
        Update::Event(Event {
            kind: EventKind::ToolEnded(ended),
            ..
        }) => Some(ended.clone()),
        _ => None,
    });
    let mut ended: Vec<_> = ended.collect();
    ended.sort_by_key(|ended| ended.index);
    ended
}

pub(crate) fn text(ended: &ToolEnded) -> String {
    serde_json::to_value(&ended.result.content).unwrap()[0]["text"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The record of a session; every loop of it is replayed too.
pub(crate) async fn record(store: &dyn Store, session: &SessionId) -> Session {
    let events = read_events(store, session).await.unwrap();
    phi::replay(&events).unwrap();
    load(store, session).await.unwrap().into_session()
}

pub(crate) fn outcome(session: &Session) -> &Outcome {
    session.newest_loop().unwrap().outcome.as_ref().unwrap()
}

/// Pulls a run until it waits for something outside.
pub(crate) async fn until_it_waits(run: &mut phi::Run<'_>) -> Vec<Update> {
    let mut updates = Vec::new();
    while let Some(Some(update)) = now_or_never(run).await {
        updates.push(update);
    }
    updates
}

async fn now_or_never(run: &mut phi::Run<'_>) -> Option<Option<Update>> {
    // Its task may have used up its turn, which is not what is waited for here.
    let mut next = std::pin::pin!(tokio::task::unconstrained(run.next()));
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match next.as_mut().poll(cx) {
            std::task::Poll::Ready(update) => Some(update),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
