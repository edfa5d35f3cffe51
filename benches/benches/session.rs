//! What does it cost to keep what happened?
//!
//! Unit: events of a loop of turns with one tool call each, six events a turn: recorded into the
//! session's record, appended to a log on files that is not forced to the disk, saved in batches of
//! a step, and loaded back into a record. The log of 1,000 turns says how large it is; opening a log
//! of 1,000,000 events is timed once, for writing and with its record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::runtime;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use phi_session::{JsonlStore, SessionRecorder, Store, SyncPolicy, load};
use phi_types::{
    Arguments, AssistantMessage, AssistantPart, Configuration, Continuation, EffectClass, Event,
    EventKind, FORMAT, LoopId, LoopStarted, Message, MessageAdded, ModelPatch, ModelStarted,
    Origin, PartFacts, SessionId, SessionStarted, StopReason, TextPart, ToolCall, ToolEnded,
    ToolEnding, ToolResult, ToolStarted, TurnEnded, TurnStarted, TurnTrigger, Usage, UserMessage,
};

/// Events of a turn.
const TURN: usize = 6;

fn id() -> SessionId {
    SessionId::new("bench").expect("a valid name")
}

fn started() -> SessionStarted {
    SessionStarted {
        format: FORMAT,
        agent: None,
        spawned_by: None,
        forked_from: None,
    }
}

fn answer(turn: u32) -> (Arc<AssistantMessage>, Arc<ToolCall>) {
    let call = Arc::new(ToolCall {
        id: format!("call_{turn}_0").into(),
        name: "read_file".into(),
        arguments: Arguments::parse(r#"{"path":"src/main.rs","offset":10}"#),
        facts: PartFacts::default(),
    });
    let message = AssistantMessage {
        parts: vec![
            AssistantPart::Text(TextPart::new(
                "I look at the file that holds the entry point.",
            )),
            AssistantPart::ToolCall(Arc::clone(&call)),
        ],
        stop_reason: StopReason::ToolUse,
        stop_reason_raw: None,
        usage: usage(),
        origin: Origin {
            protocol: "anthropic-messages".into(),
            provider: "anthropic".into(),
            model: "a-model".into(),
            response_id: None,
            response_model: None,
        },
    };
    (Arc::new(message), call)
}

fn usage() -> Usage {
    Usage {
        input_tokens: Some(1_000),
        output_tokens: Some(50),
        ..Usage::default()
    }
}

/// The kinds of one turn whose first event has this `seq`.
fn turn(index: u32, seq: u64) -> [EventKind; TURN] {
    let (message, call) = answer(index);
    [
        EventKind::TurnStarted(TurnStarted {
            index,
            trigger: TurnTrigger::ToolResults,
        }),
        EventKind::ModelStarted(ModelStarted {
            attempt: 1,
            target: 0,
            patch: ModelPatch::default(),
            request_digest: u64::from(index),
        }),
        EventKind::Message(MessageAdded {
            message: Message::Assistant(message),
            turn: index,
            queued: None,
        }),
        EventKind::ToolStarted(ToolStarted {
            index: 0,
            call: Arc::clone(&call),
            effect_class: EffectClass::Pure,
            early: None,
        }),
        EventKind::ToolEnded(ToolEnded {
            index: 0,
            call_id: call.id.clone(),
            started: Some(seq + 3),
            ending: ToolEnding::Finished,
            result: Arc::new(ToolResult::text("fn main() {\n    run();\n}\n".repeat(8))),
            child: None,
        }),
        EventKind::TurnEnded(TurnEnded {
            index,
            usage: usage(),
        }),
    ]
}

/// One loop of so many turns: its start, its prompt and the events of the turns.
fn events(turns: u32) -> Vec<Event> {
    let configuration = Configuration::default();
    let loop_id = LoopId::numbered(&id(), &configuration.id, 1);
    let mut kinds = vec![
        EventKind::LoopStarted(Arc::new(LoopStarted {
            agent: None,
            parent: None,
            continuation: Continuation::Initial,
            configuration,
            metadata: None,
        })),
        EventKind::Message(MessageAdded {
            message: Message::User(Arc::new(UserMessage::text("Read everything."))),
            turn: 1,
            queued: None,
        }),
    ];
    for index in 1..=turns {
        let seq = kinds.len() as u64 + 1;
        kinds.extend(turn(index, seq));
    }
    let events = (1..).zip(kinds).map(|(seq, kind)| Event {
        session: id(),
        loop_id: Some(loop_id.clone()),
        seq,
        at: chrono::DateTime::UNIX_EPOCH,
        kind,
    });
    events.collect()
}

fn turns_of(count: usize) -> u32 {
    u32::try_from(count / TURN).unwrap_or(u32::MAX)
}

/// A store of its own.
fn scratch() -> (tempfile::TempDir, JsonlStore) {
    let folder = tempfile::tempdir().expect("a folder for the log");
    let store = JsonlStore::new(folder.path()).with_sync(SyncPolicy::Never);
    (folder, store)
}

/// Saves events, so many with each append.
async fn save(store: &JsonlStore, events: &[Event], batch: usize) {
    let (id, now) = (id(), chrono::DateTime::UNIX_EPOCH);
    let created = store.create(&id, started(), now).await;
    let writer = created.expect("the session is new");
    for events in events.chunks(batch) {
        writer
            .append_batch(events)
            .await
            .expect("the disk has room");
    }
}

fn size(store: &JsonlStore) -> u64 {
    let folder = store.root().join(id().as_str());
    let files = std::fs::read_dir(folder).expect("the session has a folder");
    let sizes = files.map(|file| file.and_then(|it| it.metadata()).map_or(0, |it| it.len()));
    sizes.sum()
}

fn session(criterion: &mut Criterion) {
    let runtime = runtime();
    let many = events(turns_of(100_000));
    let mut group = criterion.benchmark_group("session");
    group.throughput(Throughput::Elements(many.len() as u64));
    group.bench_function("record", |bencher| {
        bencher.iter_batched(
            || (),
            |()| {
                let mut recorder = SessionRecorder::new(id());
                for event in &many {
                    recorder.record(event).expect("a legal sequence");
                }
                recorder
            },
            BatchSize::PerIteration,
        );
    });
    for (name, batch) in [("append one by one", 1), ("save", TURN)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                scratch,
                |(folder, store)| {
                    runtime.block_on(save(&store, &many, batch));
                    folder
                },
                BatchSize::PerIteration,
            );
        });
    }
    let (_folder, store) = scratch();
    runtime.block_on(save(&store, &many, TURN));
    group.bench_function("load", |bencher| {
        bencher.iter(|| runtime.block_on(load(&store, &id())).expect("a sound log"));
    });
    group.finish();

    let (_folder, store) = scratch();
    runtime.block_on(save(&store, &events(1_000), TURN));
    eprintln!("log of 1,000 turns: {} bytes", size(&store));
    let (_folder, store) = scratch();
    runtime.block_on(save(&store, &events(turns_of(1_000_000)), TURN));
    let began = Instant::now();
    let now = chrono::DateTime::UNIX_EPOCH;
    drop(
        runtime
            .block_on(store.open(&id(), now))
            .expect("a sound log"),
    );
    eprintln!("1,000,000 events open for writing: {:?}", began.elapsed());
    let began = Instant::now();
    drop(runtime.block_on(load(&store, &id())).expect("a sound log"));
    eprintln!("1,000,000 events load: {:?}", began.elapsed());
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(2));
    targets = session
}
criterion_main!(benches);
