//! An answer that does not fit is sent back with what is wrong, a bounded number of times.

use std::sync::Arc;

use phi::agent_loop::Update;
use phi::provider::structured::OutputFault;
use phi::session::{MemoryStore, Store, read_events};
use phi::types::{
    Configuration, Content, Entry, Event, EventKind, LimitKind, Limits, Outcome, Provider, QueueId,
    SessionId, StopReason, TurnTrigger, UserMessage,
};
use phi::{Agent, OutputFailed, Session};
use phi_testkit::{Gate, Reply, ScriptedCall, ScriptedProvider, ScriptedTool};
use schemars::JsonSchema;
use serde::Deserialize;

/// A person.
#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Person {
    name: String,
    age: u8,
}

const RIGHT: &str = r#"{"name": "Ada", "age": 36}"#;
const WRONG: &str = r#"{"name": "Ada", "age": "36"}"#;

fn ada() -> Person {
    Person {
        name: "Ada".to_owned(),
        age: 36,
    }
}

fn id() -> SessionId {
    SessionId::new("s").unwrap()
}

fn provider(replies: impl IntoIterator<Item = Reply>) -> Arc<ScriptedProvider> {
    Arc::new(ScriptedProvider::new(replies))
}

fn agent(provider: &Arc<ScriptedProvider>) -> Agent {
    Agent::new(Arc::clone(provider) as Arc<dyn Provider>, "m")
}

async fn stored(agent: Agent) -> (Session, Arc<dyn Store>) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let agent = agent.store(Arc::clone(&store));
    (agent.session(id()).await.unwrap(), store)
}

/// Asks in a session of its own, and replays its log.
async fn asked(agent: Agent) -> (Result<Person, OutputFailed>, Vec<Event>) {
    let (mut session, store) = stored(agent).await;
    let output = session.prompt_as("Who?").unwrap().output().await;
    let events = read_events(store.as_ref(), &id()).await.unwrap();
    let replayed = phi::replay(&events);
    assert_eq!(replayed, Ok(1));
    (output, events)
}

fn triggers(events: &[Event]) -> Vec<TurnTrigger> {
    let triggers = events.iter().filter_map(|event| match &event.kind {
        EventKind::TurnStarted(started) => Some(started.trigger),
        _ => None,
    });
    triggers.collect()
}

fn text(message: &UserMessage) -> &str {
    match message.content.first().unwrap() {
        Content::Text { text } => text,
        Content::Image { .. } => panic!("it is text"),
    }
}

fn unfit(output: Result<Person, OutputFailed>) -> (u32, OutputFault, String) {
    match output {
        Err(OutputFailed::Unfit { repairs, error }) => (repairs, error.fault, error.reply.text()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_that_fits_is_the_value_at_once() {
    let provider = provider([Reply::text(RIGHT)]);
    let (output, events) = asked(agent(&provider)).await;
    assert_eq!(output.unwrap(), ada());
    assert_eq!(triggers(&events), [TurnTrigger::Prompt]);
    let request = provider.last_request().unwrap();
    let form = request.options.output.as_ref().unwrap();
    assert_eq!(form.name, "Person");
    assert!(form.schema.as_str().contains("\"age\""));
}

#[tokio::test]
async fn the_model_is_told_what_is_wrong_and_tries_again() {
    for (wrong, why) in [
        (WRONG, "at `/age`"),
        ("I do not know.", "its text is not JSON"),
        (r#"{"name": "Ada", "age": 3600}"#, "at `/age`"),
        ("  ", "it holds no text"),
    ] {
        let provider = provider([Reply::text(wrong), Reply::text(RIGHT)]);
        let (output, events) = asked(agent(&provider)).await;
        assert_eq!(output.unwrap(), ada(), "{wrong}");
        assert_eq!(triggers(&events), [TurnTrigger::Prompt, TurnTrigger::Hook]);
        let request = provider.last_request().unwrap();
        let Some(Entry::User(told)) = request.view.last() else {
            panic!("{:?}", request.view)
        };
        assert!(text(told).contains(why), "{}", text(told));
        assert!(request.options.output.is_some());
    }
}

#[tokio::test]
async fn an_answer_that_never_fits_is_an_error_that_holds_the_last_one() {
    let last = r#"{"name": "Ada", "age": "last"}"#;
    let provider = provider([Reply::text(WRONG), Reply::text(WRONG), Reply::text(last)]);
    let (output, events) = asked(agent(&provider)).await;
    let (repairs, fault, reply) = unfit(output);
    assert_eq!((repairs, reply.as_str()), (2, last));
    assert!(matches!(fault, OutputFault::Mismatch { .. }));
    assert_eq!(triggers(&events).len(), 3);
}

#[tokio::test]
async fn repairs_are_as_many_as_allowed() {
    for most in [0, 1, 5] {
        let provider = Arc::new(ScriptedProvider::from_fn(|_, _| Some(Reply::text(WRONG))));
        let (mut session, _) = stored(agent(&provider)).await;
        let run = session.prompt_as::<Person>("Who?").unwrap().repairs(most);
        let (repairs, _, _) = unfit(run.output().await);
        assert_eq!(repairs, most);
        assert_eq!(provider.request_count(), most as usize + 1);
    }
}

#[tokio::test]
async fn tool_calls_come_in_between() {
    let look = || Reply::new().with_call(ScriptedCall::new("look", "{}"));
    let provider = provider([look(), Reply::text(WRONG), look(), Reply::text(RIGHT)]);
    let agent = agent(&provider).tool(ScriptedTool::returning("look", "seen"));
    let (output, events) = asked(agent).await;
    assert_eq!(output.unwrap(), ada());
    use TurnTrigger as T;
    let expected = [T::Prompt, T::ToolResults, T::Hook, T::ToolResults];
    assert_eq!(triggers(&events), expected);
}

#[tokio::test]
async fn a_truncated_answer_and_a_refusal_are_not_repaired() {
    let cut = Reply::text(r#"{"name": "Ad"#).with_stop_reason(StopReason::MaxTokens);
    let refusal = Reply::text("No.").with_stop_reason(StopReason::Refusal);
    for (reply, expected, said) in [
        (
            cut,
            OutputFault::CutOff {
                stopped: StopReason::MaxTokens,
            },
            r#"{"name": "Ad"#,
        ),
        (
            refusal,
            OutputFault::Refused {
                stopped: StopReason::Refusal,
            },
            "No.",
        ),
    ] {
        let provider = provider([reply]);
        let (output, _) = asked(agent(&provider)).await;
        assert_eq!(unfit(output), (0, expected, said.to_owned()));
        assert_eq!(provider.request_count(), 1);
    }
}

#[tokio::test]
async fn a_limit_counts_repairs_and_the_error_holds_the_reply() {
    let provider = Arc::new(ScriptedProvider::from_fn(|_, _| Some(Reply::text(WRONG))));
    let configuration = Configuration {
        limits: Limits {
            turns: Some(2),
            ..Limits::default()
        },
        ..Configuration::default()
    };
    let (output, _) = asked(agent(&provider).configuration(configuration)).await;
    let Err(OutputFailed::Unanswered { outcome, reply }) = output else {
        panic!("{output:?}")
    };
    let limit = LimitKind::Turns;
    assert_eq!(outcome, Outcome::LimitReached { limit });
    assert_eq!(reply.unwrap().text(), WRONG);
    assert_eq!(provider.request_count(), 2);
}

#[tokio::test]
async fn a_cancel_in_mid_repair_holds_what_was_said() {
    let gate = Gate::new();
    let replies = [Reply::text(WRONG), Reply::text(RIGHT).gated_after(1, &gate)];
    let (mut session, _) = stored(agent(&provider(replies))).await;
    let mut run = session.prompt_as::<Person>("Who?").unwrap();
    let mut turns = 0;
    while turns < 2 {
        let update = run.next().await.unwrap();
        let is_turn = |event: &Event| matches!(event.kind, EventKind::ModelStarted(_));
        turns += usize::from(matches!(update, Update::Event(event) if is_turn(&event)));
    }
    run.handle().cancel();
    let failed = run.output().await.unwrap_err();
    let OutputFailed::Unanswered { outcome, reply } = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(outcome, Outcome::Cancelled {});
    assert!(reply.is_some());
    assert!(session.unfinished().is_none());
}

/// Each loop is cut at each update; what is resumed makes no more repairs than are allowed.
#[tokio::test]
async fn a_crash_in_mid_repair_is_survived_and_repairs_before_it_count() {
    for right in [false, true] {
        for at in 1..60 {
            let replies = [WRONG, WRONG, if right { RIGHT } else { WRONG }];
            // What was asked before the crash may be asked again.
            let reply = move |turn: usize, _: &_| Some(Reply::text(*replies.get(turn)?));
            let provider = Arc::new(ScriptedProvider::from_fn(reply));
            let (mut session, store) = stored(agent(&provider)).await;
            let mut run = session.prompt_as::<Person>("Who?").unwrap();
            for _ in 0..at {
                run.next().await;
            }
            drop(run);
            drop(session);
            let agent = agent(&provider).store(Arc::clone(&store));
            let mut session = agent.session(id()).await.unwrap();
            if let Some(run) = session.resume_as::<Person>().await.unwrap() {
                match run.output().await {
                    Ok(person) => assert!(right && person == ada(), "cut at {at}"),
                    failed => assert_eq!((unfit(failed).0, right), (2, false), "cut at {at}"),
                }
            }
            let events = read_events(store.as_ref(), &id()).await.unwrap();
            assert_eq!(phi::replay(&events), Ok(1), "cut at {at}");
            assert_eq!(triggers(&events).len(), 3, "cut at {at}");
        }
    }
}

#[tokio::test]
async fn a_follow_up_is_answered_in_the_form_too() {
    let older = r#"{"name": "Ada", "age": 37}"#;
    let gate = Gate::new();
    let replies = [Reply::text(RIGHT).gated_after(1, &gate), Reply::text(older)];
    let (mut session, _) = stored(agent(&provider(replies))).await;
    let run = session.prompt_as::<Person>("Who?").unwrap();
    let handle = run.handle();
    let (output, queued) = tokio::join!(run.output(), async {
        let id = QueueId::new("q").unwrap();
        let queued = handle.follow_up(id, "And a year later?").await;
        gate.open();
        queued
    });
    assert!(queued.is_ok());
    assert_eq!(output.unwrap().age, 37);
}

#[tokio::test]
async fn the_next_prompt_asks_for_no_form() {
    let provider = provider([Reply::text(RIGHT), Reply::text("Fine.")]);
    let (mut session, _) = stored(agent(&provider)).await;
    let person: Person = session.prompt_as("Who?").unwrap().output().await.unwrap();
    assert_eq!(person, ada());
    let answer = session.prompt("Thanks.").unwrap().answer().await.unwrap();
    assert_eq!(answer, "Fine.");
    assert_eq!(provider.last_request().unwrap().options.output, None);
}
