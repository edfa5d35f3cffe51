//! Each prompt continues the conversation, with a store and without one.

use std::sync::Arc;

use phi::session::{MemoryStore, Store, read_events};
use phi::types::{Configuration, Limits, RetryPolicy, SessionId};
use phi::types::{Continuation, EventKind, LimitKind, Outcome, ProviderError, ProviderErrorKind};
use phi::{Agent, SessionError};
use phi_testkit::{Reply, ScriptedProvider, ScriptedTool};

fn id() -> SessionId {
    SessionId::new("s").unwrap()
}

fn agent(replies: impl IntoIterator<Item = Reply>) -> (Agent, ScriptedProvider) {
    let provider = ScriptedProvider::new(replies);
    (Agent::new(Arc::new(provider.clone()), "m"), provider)
}

#[tokio::test]
async fn the_model_reads_what_was_said_before() {
    let (agent, provider) = agent([Reply::text("One."), Reply::text("Two.")]);
    let mut session = agent.session(id()).await.unwrap();
    assert_eq!(
        session.prompt("First").unwrap().answer().await.unwrap(),
        "One."
    );
    assert_eq!(
        session.prompt("Second").unwrap().answer().await.unwrap(),
        "Two."
    );
    assert_eq!(provider.last_request().unwrap().view.len(), 3);
    assert_eq!(session.loops(), 2);
}

#[tokio::test]
async fn a_stored_session_goes_on_where_it_was_and_replays() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    for (prompt, answer) in [("First", "One."), ("Second", "Two.")] {
        let (agent, _) = agent([Reply::text("One."), Reply::text("Two.")]);
        let agent = agent.named("tester").store(Arc::clone(&store));
        let mut session = agent.session(id()).await.unwrap();
        assert_eq!(
            session.prompt(prompt).unwrap().answer().await.unwrap(),
            answer
        );
    }
    let events = read_events(store.as_ref(), &id()).await.unwrap();
    let EventKind::SessionStarted(started) = &events[0].kind else {
        panic!("{:?}", events[0])
    };
    assert_eq!(
        (
            started.agent.as_deref(),
            events[0].loop_id.as_ref(),
            events[0].seq
        ),
        (Some("tester"), None, 1)
    );
    let starts = events.iter().filter_map(|event| match &event.kind {
        EventKind::LoopStarted(started) => Some((
            event.loop_id.as_ref()?.to_string(),
            started.parent.as_ref().map(ToString::to_string),
            started.continuation,
        )),
        _ => None,
    });
    let first = "s.default.1".to_owned();
    assert_eq!(
        starts.collect::<Vec<_>>(),
        [
            (first.clone(), None, Continuation::Initial),
            ("s.default.2".to_owned(), Some(first), Continuation::Default),
        ]
    );
    assert_eq!(phi::replay(&events), Ok(2));
}

#[tokio::test]
async fn a_session_is_open_for_writing_once() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (agent, _) = agent([]);
    let agent = agent.store(store);
    let first = agent.session(id()).await.unwrap();
    assert!(matches!(
        agent.session(id()).await,
        Err(SessionError::Store(_))
    ));
    drop(first);
    agent.session(id()).await.unwrap();
}

#[tokio::test]
async fn an_outcome_without_an_answer_is_an_error_and_the_session_proceeds() {
    let failing = ProviderError::new(ProviderErrorKind::Auth, "no such key");
    let (agent, _) = agent([Reply::text("Now.").after_error(failing)]);
    let mut session = agent.session(id()).await.unwrap();
    let error = session.prompt("Go.").unwrap().answer().await.unwrap_err();
    assert!(error.to_string().contains("no such key"), "{error}");
    assert_eq!(session.proceed().unwrap().answer().await.unwrap(), "Now.");
}

#[tokio::test]
async fn the_policy_of_the_agent_holds() {
    let (agent, _) = agent([Reply::call("look", "{}"), Reply::call("look", "{}")]);
    let configuration = Configuration {
        limits: Limits {
            turns: Some(1),
            ..Limits::default()
        },
        ..Configuration::default()
    };
    let agent = agent
        .tool(ScriptedTool::returning("look", "seen"))
        .configuration(configuration);
    let mut session = agent.session(id()).await.unwrap();
    let finished = session.prompt("Go.").unwrap().finish().await;
    let limit = LimitKind::Turns;
    assert_eq!(finished.outcome, Outcome::LimitReached { limit });
}

#[tokio::test]
async fn a_fallback_answers_where_the_first_model_fails() {
    let down = ProviderError::new(ProviderErrorKind::Overloaded, "busy");
    let provider = ScriptedProvider::new([Reply::text("Here.").after_error(down)]);
    let retry = RetryPolicy {
        attempts_max: 1,
        ..RetryPolicy::default()
    };
    let agent = Agent::new(Arc::new(provider.clone()), "large")
        .fallback(Arc::new(provider.clone()), "small")
        .configuration(Configuration {
            retry,
            ..Configuration::default()
        });
    let mut session = agent.session(id()).await.unwrap();
    let run = session.prompt("Go.").unwrap();
    assert_eq!(run.answer().await.unwrap(), "Here.");
    assert_eq!(*provider.last_request().unwrap().model, *"small");
}

#[tokio::test]
async fn a_refused_prompt_leaves_the_session_as_it_was() {
    let (agent, _) = agent([Reply::text("One.")]);
    let mut session = agent.session(id()).await.unwrap();
    assert!(matches!(session.prompt(""), Err(SessionError::Rejected(_))));
    assert_eq!(
        session.prompt("First").unwrap().answer().await.unwrap(),
        "One."
    );
    assert_eq!(session.loops(), 1);
}
