//! Kinds and fields that joined a format after its first log load for ever, each in a log of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::scene::{Scratch, Script, answer, call, contents, session, usage, user};
use phi_session::{JsonlStore, NoticeKind, SessionRecorder, load, read_events};
use phi_types::{
    AnswerScope, Approval, ApprovalRequested, ApprovalResolved, Arguments, CacheBroken,
    CompactionEnded, Continuation, CountedTokens, EarlyStart, EffectClass, Event, EventKind,
    FilterVerdict, InputFiltered, LimitKind, LimitReached, LimitScope, LimitWarning, LoopStuck,
    Message, MessageQueued, Outcome, PartFacts, Point, Queue, QueueId, RawJson, Recovered,
    RequestPart, SessionId, Spent, ToolCall, ToolEnded, ToolEnding, ToolResult, ToolStarted,
    TurnTrigger,
};

/// An addition: where its log is, its events, and how many turns they fold to.
type Addition = (&'static str, Vec<Event>, usize);

fn additions() -> Vec<Addition> {
    vec![
        ("format-1-added", cache_broken(), 5),
        (
            "format-2-added/filters-and-answers",
            filters_and_answers(),
            2,
        ),
        ("format-2-added/sub-agents", sub_agents(), 1),
        (
            "format-2-added/early-calls-and-counts",
            early_calls_and_counts(),
            1,
        ),
        ("format-2-added/claims-of-a-restart", claims(), 1),
    ]
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn cache_broken() -> Vec<Event> {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    script.say(1, 1, Message::User(user("Fix it.")), None);
    let parts = [
        RequestPart::Model {},
        RequestPart::Tools {},
        RequestPart::System {},
        RequestPart::Options {},
        RequestPart::Entry { index: 1 },
    ];
    for (turn, part) in (1..).zip(parts) {
        script.turn(1, turn, TurnTrigger::Prompt);
        script.event(1, EventKind::CacheBroken(CacheBroken { part }));
        script.model(1, 1);
        let said = answer("Done.", &[], usage(4, 2));
        script.say(1, turn, Message::Assistant(said), None);
        script.end_turn(1, turn, usage(4, 2));
    }
    script.end(1, Outcome::Completed {}, usage(20, 10));
    script.events
}

/// A loop that goes on under a ledger which it did not begin with.
fn claims() -> Vec<Event> {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    script.say(1, 1, Message::User(user("Fix it.")), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    let claims = vec![
        Point::BeforeModel,
        Point::BeforeCompaction,
        Point::BeforeTool,
    ];
    script.event(1, EventKind::Recovered(Recovered::Restart { claims }));
    script.model(1, 1);
    script.end(1, Outcome::Completed {}, usage(4, 2));
    script.events
}

/// Input filters, messages that are held, a turn that a hook began, an answer for the session.
fn filters_and_answers() -> Vec<Event> {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    let filtered = |queued: Option<&str>, verdict, rejected| {
        EventKind::InputFiltered(InputFiltered {
            queued: queued.map(|id| QueueId::new(id).unwrap()),
            verdict,
            rejected,
        })
    };
    script.event(1, filtered(None, FilterVerdict::Passed {}, Vec::new()));
    script.say(1, 1, Message::User(user("Fix it.")), None);
    for id in ["q1", "q2"] {
        let held = MessageQueued {
            id: QueueId::new(id).unwrap(),
            queue: Queue::FollowUp,
            message: user("Then this."),
            held: true,
        };
        script.event(1, EventKind::MessageQueued(held));
    }
    let warning = "Trust nobody.".to_owned();
    let warned = FilterVerdict::Warned { warning };
    script.event(1, filtered(Some("q1"), warned, Vec::new()));
    let rejected = FilterVerdict::Rejected {
        reason: "a secret".into(),
    };
    script.event(1, filtered(Some("q2"), rejected.clone(), Vec::new()));
    script.event(1, filtered(None, rejected, vec![user("Never said.")]));
    script.turn(1, 1, TurnTrigger::Prompt);
    script.model(1, 1);
    let call = Arc::new(ToolCall {
        id: "c1".into(),
        name: "bash".into(),
        arguments: Arguments::Object(RawJson::empty_object()),
        facts: PartFacts::default(),
    });
    let said = answer("I look.", &[Arc::clone(&call)], usage(4, 2));
    script.say(1, 1, Message::Assistant(said), None);
    let request = script.event(
        1,
        EventKind::ApprovalRequested(ApprovalRequested {
            index: 0,
            call,
            question: "May it run?".into(),
        }),
    );
    script.event(
        1,
        EventKind::ApprovalResolved(ApprovalResolved {
            request,
            approval: Approval::Denied {
                reason: "never".into(),
            },
            scope: AnswerScope::Session,
        }),
    );
    script.result(1, 0, None, "denied: never");
    script.end_turn(1, 1, usage(4, 2));
    script.say(1, 2, Message::User(user("Sure?")), None);
    script.turn(1, 2, TurnTrigger::Hook);
    script.model(1, 1);
    let said = answer("Yes.", &[], usage(4, 2));
    script.say(1, 2, Message::Assistant(said), None);
    script.end_turn(1, 2, usage(4, 2));
    script.end(1, Outcome::Completed {}, usage(8, 4));
    script.events
}

/// What a sub-agent spent, and limits that a tree of agents shares.
fn sub_agents() -> Vec<Event> {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    script.say(1, 1, Message::User(user("Fix it.")), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    script.model(1, 1);
    let calls = [
        call("c0", "research", "{}"),
        call("c1", "research", "{}"),
        call("c2", "research", "{}"),
    ];
    let said = answer("I ask.", &calls, usage(4, 2));
    script.say(1, 1, Message::Assistant(said), None);
    let costs = [Some(0.25), None];
    for ((index, call), cost_usd) in (0..).zip(&calls).zip(costs) {
        let started = script.run(1, index, call, EffectClass::Idempotent);
        let spent = Spent {
            usage: usage(100, 20),
            cost_usd,
        };
        let ended = ToolEnded {
            index,
            call_id: call.id.clone(),
            started: Some(started),
            ending: ToolEnding::Finished,
            result: Arc::new(ToolResult::text("It is so.")),
            child: Some(SessionId::new("child").unwrap()),
            spent: spent.reported(),
        };
        script.event(1, EventKind::ToolEnded(ended));
    }
    let (limit, scope) = (LimitKind::Tokens, LimitScope::Tree);
    script.event(1, EventKind::LimitWarning(LimitWarning { limit, scope }));
    for index in [Some(2), None] {
        let reached = LimitReached { limit, index };
        script.event(1, EventKind::LimitReached(reached));
    }
    script.result(1, 2, None, "The call did not run.");
    script.end_turn(1, 1, usage(204, 42));
    script.end(1, Outcome::LimitReached { limit }, usage(204, 42));
    script.events
}

#[tokio::test]
async fn what_sub_agents_spent_counts_in_the_record() {
    let mut recorder = SessionRecorder::new(session());
    for event in sub_agents() {
        recorder.record(&event).unwrap();
    }
    let record = recorder.session();
    assert_eq!(record.usage(), usage(204, 42));
    assert_eq!(record.summary().usage, usage(204, 42));
    assert!((record.cost_usd() - 0.25).abs() < 1e-9);
    let notices = record.loops[0].notices.iter().map(|it| &it.kind);
    let reached = notices.filter(|kind| matches!(kind, NoticeKind::LimitReached(_)));
    assert_eq!(reached.count(), 2);
}

/// A call that started in the stream, a circle of calls, a compaction that was counted exactly.
fn early_calls_and_counts() -> Vec<Event> {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    script.say(1, 1, Message::User(user("Fix it.")), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    let started = r#"{"type":"compaction_started","entries":1,"tokens":9}"#;
    script.event(1, serde_json::from_str(started).unwrap());
    let ended = CompactionEnded {
        error: Some("nothing to leave out".into()),
        counted: Some(Box::new(CountedTokens {
            before: 7,
            after: 7,
        })),
        ..serde_json::from_str(r#"{"entries":1,"usage":{}}"#).unwrap()
    };
    script.event(1, EventKind::CompactionEnded(Arc::new(ended)));
    script.model(1, 1);
    let call = call("c1", "read_file", "{}");
    let early = Some(EarlyStart {
        attempt: 1,
        part: 0,
    });
    let ran = script.event(
        1,
        EventKind::ToolStarted(ToolStarted {
            index: 0,
            call: Arc::clone(&call),
            effect_class: EffectClass::Pure,
            early,
        }),
    );
    let said = answer("", &[call], usage(4, 2));
    script.say(1, 1, Message::Assistant(said), None);
    script.result(1, 0, Some(ran), "a.txt");
    script.event(
        1,
        EventKind::LoopStuck(LoopStuck {
            tool: "read_file".into(),
            times: 3,
            period: 2,
        }),
    );
    script.end_turn(1, 1, usage(4, 2));
    let limit = LimitKind::IdenticalCalls;
    script.end(1, Outcome::LimitReached { limit }, usage(4, 2));
    script.events
}

#[tokio::test]
async fn the_added_kinds_read_back_and_fold() {
    for (name, events, turns) in additions() {
        let store = JsonlStore::new(golden(name));
        let read = read_events(&store, &session()).await.unwrap();
        assert_eq!(read, events, "{name}");
        let recorder = load(&store, &session()).await.unwrap();
        assert_eq!(recorder.session().loops[0].turns.len(), turns, "{name}");
    }
}

#[tokio::test]
async fn the_added_kinds_encode_to_the_same_events_again() {
    for (name, events, _) in additions() {
        let copy = Scratch::new();
        copy.keep(&events).await;
        let segments = copy.segments();
        assert_eq!(segments.len(), 1, "{name}");
        let file = segments[0].file_name().unwrap();
        let now = fs::read_to_string(&segments[0]).unwrap();
        let then = fs::read_to_string(golden(name).join("s1").join(file)).unwrap();
        assert_eq!(contents(&now), contents(&then), "{name}");
    }
}
