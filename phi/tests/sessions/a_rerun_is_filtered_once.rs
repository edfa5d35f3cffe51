//! A loop that is repeated begins with the prompt as the user gave it, and the input filters decide
//! about it once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use phi::agent_loop::{HookContext, HookError, Hooks, Incoming, InputDecision};
use phi::session::{MemoryStore, Store, read_events};
use phi::types::{Content, Entry, EventKind, Outcome, Point, SessionId, UserMessage};
use phi::{Agent, Session};
use phi_testkit::{Reply, ScriptedProvider};

const WARNING: &str = "Mind the secrets in it.";

/// Warns of whatever comes in, rejects the first so many of them, and keeps what it saw.
#[derive(Default)]
struct Filter {
    rejects: AtomicU32,
    seen: std::sync::Mutex<Vec<Vec<Content>>>,
}

#[async_trait]
impl Hooks for Filter {
    fn points(&self) -> Vec<Point> {
        vec![Point::FilterInput]
    }

    async fn filter_input(
        &self,
        _: &HookContext,
        incoming: &Incoming,
    ) -> Result<InputDecision, HookError> {
        let contents = incoming.messages.iter().map(|it| it.content.clone());
        self.seen.lock().unwrap().extend(contents);
        let left = self.rejects.load(Ordering::Relaxed);
        if left > 0 {
            self.rejects.store(left - 1, Ordering::Relaxed);
            let reason = "not in here".to_owned();
            return Ok(InputDecision::Reject { reason });
        }
        let warning = WARNING.to_owned();
        Ok(InputDecision::Warn { warning })
    }
}

async fn opened(store: &Arc<dyn Store>, filter: &Arc<Filter>) -> (Session, ScriptedProvider) {
    let provider = ScriptedProvider::from_fn(|_, _| Some(Reply::text("Seen.")));
    let agent = Agent::new(Arc::new(provider.clone()), "m")
        .hooks(vec![Arc::clone(filter) as Arc<dyn Hooks>])
        .store(Arc::clone(store));
    let id = SessionId::new("s").unwrap();
    (agent.session(id).await.unwrap(), provider)
}

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

fn asked(provider: &ScriptedProvider) -> Vec<Content> {
    match provider.last_request().unwrap().view.last() {
        Some(Entry::User(message)) => message.content.clone(),
        _ => Vec::new(),
    }
}

async fn replays(store: &Arc<dyn Store>) {
    let id = SessionId::new("s").unwrap();
    let events = read_events(store.as_ref(), &id).await.unwrap();
    phi::replay(&events).unwrap();
}

#[tokio::test]
async fn a_prompt_that_was_warned_of_is_warned_of_once_in_each_rerun() {
    let (store, filter) = (store(), Arc::new(Filter::default()));
    let (said, warning) = (Content::text("Look."), Content::text(WARNING));
    for reopened in [false, true] {
        let (mut session, provider) = opened(&store, &filter).await;
        if !reopened {
            session.prompt("Look.").unwrap().answer().await.unwrap();
            assert_eq!(asked(&provider), [said.clone(), warning.clone()]);
        }
        for round in 0..2 {
            session.rerun().unwrap().answer().await.unwrap();
            assert_eq!(asked(&provider), [said.clone(), warning.clone()], "{round}");
        }
    }
    let seen = filter.seen.lock().unwrap().clone();
    assert_eq!(
        seen,
        vec![vec![said]; 5],
        "the filter saw what the user gave"
    );
    replays(&store).await;
}

#[tokio::test]
async fn words_of_the_user_that_read_like_the_warning_stay() {
    let (store, filter) = (store(), Arc::new(Filter::default()));
    let (mut session, provider) = opened(&store, &filter).await;
    let mut message = UserMessage::text("Look.");
    message.content.push(Content::text(WARNING));
    let given = message.content.clone();
    session.prompt(message).unwrap().answer().await.unwrap();
    for _ in 0..2 {
        session.rerun().unwrap().answer().await.unwrap();
        let mut expected = given.clone();
        expected.push(Content::text(WARNING));
        assert_eq!(asked(&provider), expected);
    }
}

#[tokio::test]
async fn a_prompt_that_was_rejected_is_what_a_rerun_repeats() {
    for reopened in [false, true] {
        let (store, filter) = (store(), Arc::new(Filter::default()));
        let (mut session, _) = opened(&store, &filter).await;
        session.prompt("Before.").unwrap().answer().await.unwrap();
        filter.rejects.store(1, Ordering::Relaxed);
        let outcome = session.prompt("Look.").unwrap().finish().await.outcome;
        assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
        if reopened {
            drop(session);
            session = opened(&store, &filter).await.0;
        }
        session.rerun().unwrap().answer().await.unwrap();
        let seen = filter.seen.lock().unwrap().clone();
        let expected = ["Before.", "Look.", "Look."];
        assert_eq!(seen, expected.map(|text| vec![Content::text(text)]));
        assert_eq!(session.transcript().history().len(), 4);
        drop(session);
        let id = SessionId::new("s").unwrap();
        let events = read_events(store.as_ref(), &id).await.unwrap();
        let filtered = |kind: &EventKind| matches!(kind, EventKind::InputFiltered(_));
        let filtered = events.iter().filter(|it| filtered(&it.kind)).count();
        assert_eq!(filtered, 3);
        replays(&store).await;
    }
}

#[tokio::test]
async fn a_loop_that_was_resumed_is_repeated_as_it_was_prompted() {
    let (store, filter) = (store(), Arc::new(Filter::default()));
    let (mut session, _) = opened(&store, &filter).await;
    {
        let mut run = session.prompt("Look.").unwrap();
        while let Some(update) = run.next().await {
            let phi::agent_loop::Update::Event(event) = update else {
                continue;
            };
            if matches!(event.kind, EventKind::ModelStarted(_)) {
                break;
            }
        }
    }
    drop(session);
    let (mut session, provider) = opened(&store, &filter).await;
    let run = session.resume().await.unwrap().unwrap();
    run.answer().await.unwrap();
    session.rerun().unwrap().answer().await.unwrap();
    let (said, warning) = (Content::text("Look."), Content::text(WARNING));
    assert_eq!(asked(&provider), [said, warning]);
}
