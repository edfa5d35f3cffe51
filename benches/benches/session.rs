//! What does it cost to keep what happened?
//!
//! Unit: events of a loop of turns with one tool call each, six events a turn: recorded into the
//! session's record, appended to a log on files that is not forced to the disk, saved in batches of
//! a turn, and loaded back into a record. The log of 1,000 turns says how large it is. A log of
//! over 1,000,000 events is opened for writing, asked for its last state (what a list shows: status,
//! loops, turns, usage) after a checkpoint and without one, and loaded with its whole record.
//!
//! Each line is the best of several runs, in wall time, with the least that anything must do beside
//! it: to clone the events into a list, to write ready bytes, to parse the lines with serde, to read
//! the file.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::runtime;
use phi_session::{JsonlStore, SessionRecorder, Store, SyncPolicy, load};
use phi_types::{
    Arguments, AssistantMessage, AssistantPart, Configuration, Continuation, EffectClass, Event,
    EventKind, FORMAT, HistoryDigest, LoopId, LoopStarted, Message, MessageAdded, ModelPatch,
    ModelStarted, Origin, PartFacts, SessionId, SessionStarted, StopReason, TextPart, ToolCall,
    ToolEnded, ToolEnding, ToolResult, ToolStarted, TurnEnded, TurnStarted, TurnTrigger, Usage,
    UserMessage,
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
            spent: None,
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
            history_digest: HistoryDigest::default(),
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

fn folder(store: &JsonlStore) -> std::path::PathBuf {
    store.root().join(id().as_str())
}

/// The segments of the log in order.
fn segments(store: &JsonlStore) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(folder(store)).expect("the session has a folder");
    let paths = files.map(|file| file.expect("a readable folder").path());
    let mut segments: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "jsonl"))
        .collect();
    segments.sort();
    segments
}

fn lines(store: &JsonlStore) -> Vec<String> {
    let read = |path| fs::read_to_string(path).expect("a readable log");
    let segments = segments(store).into_iter().map(read);
    let lines = segments.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    // The first line of a segment is no event.
    lines
        .filter(|line| !line.starts_with("{\"format\""))
        .collect()
}

/// How often a piece of work is measured; the best counts.
const RUNS: u32 = 7;

/// Measures the work, but neither what is made before it nor what it leaves.
fn best<S, T>(mut make: impl FnMut() -> S, mut work: impl FnMut(S) -> T) -> Duration {
    let times = (0..RUNS).map(|_| {
        let made = make();
        let began = Instant::now();
        let left = std::hint::black_box(work(made));
        let time = began.elapsed();
        drop(left);
        time
    });
    times.min().unwrap_or_default()
}

fn report(name: &str, events: usize, took: Duration, floor: Duration) {
    let rate = events as f64 / took.as_secs_f64();
    eprintln!(
        "{name:<42} {:>9.2} ms {rate:>12.0} events/s   floor {:>9.2} ms",
        took.as_secs_f64() * 1e3,
        floor.as_secs_f64() * 1e3,
    );
}

fn record(events: &[Event]) {
    let recorded = best(
        || SessionRecorder::new(id()),
        |mut recorder| {
            for event in events {
                recorder.record(event).expect("a legal sequence");
            }
            recorder
        },
    );
    let cloned = best(|| (), |()| events.to_vec());
    report("record", events.len(), recorded, cloned);
}

fn append(events: &[Event]) {
    let (runtime, (_folder, kept)) = (runtime(), scratch());
    runtime.block_on(save(&kept, events, TURN));
    let lines = lines(&kept);
    for (name, batch) in [
        ("append one by one", 1),
        ("save in batches of a turn", TURN),
    ] {
        let saved = best(scratch, |(folder, store)| {
            runtime.block_on(save(&store, events, batch));
            folder
        });
        let batches = lines.chunks(batch).map(<[String]>::concat);
        let batches: Vec<String> = batches.collect();
        let written = best(scratch, |(folder, _)| {
            let file = fs::File::create(folder.path().join("floor"));
            let mut file = file.expect("a file for the floor");
            for batch in &batches {
                file.write_all(batch.as_bytes()).expect("the disk has room");
            }
            folder
        });
        report(name, events.len(), saved, written);
    }
}

fn load_all(events: &[Event]) {
    let (runtime, (_folder, store)) = (runtime(), scratch());
    runtime.block_on(save(&store, events, TURN));
    let loaded = best(
        || (),
        |()| runtime.block_on(load(&store, &id())).expect("a sound log"),
    );
    let lines = lines(&store);
    let parsed = best(
        || (),
        |()| {
            let read = |line: &String| serde_json::from_str(line).expect("an event");
            lines.iter().map(read).collect::<Vec<Event>>()
        },
    );
    report("load into a session", events.len(), loaded, parsed);
}

/// A million events, and as many more as fill the last segment: an opener for writing checks that one.
const MILLION: usize = 1_190_000;

fn open(events: &[Event]) {
    eprintln!("{} events:", events.len());
    let (runtime, (_folder, store)) = (runtime(), scratch());
    runtime.block_on(save(&store, events, TURN));
    let (id, now, count) = (id(), chrono::DateTime::UNIX_EPOCH, events.len());
    let read = best(
        || (),
        |()| {
            let read = |path| fs::read(path).expect("a readable log").len();
            segments(&store).into_iter().map(read).sum::<usize>()
        },
    );
    let opened = best(
        || (),
        |()| runtime.block_on(store.open(&id, now)).expect("a sound log"),
    );
    report("open for writing", count, opened, read);
    let summary = || runtime.block_on(store.summary(&id)).expect("a sound log");
    let kept = folder(&store).join("summary");
    let forget = || drop(fs::remove_file(&kept));
    report("last state", count, best(forget, |()| summary()), read);
    summary();
    let known = best(|| (), |()| summary());
    report("last state after a checkpoint", count, known, read);
    let loaded = best(
        || (),
        |()| runtime.block_on(load(&store, &id)).expect("a sound log"),
    );
    report("load all into a session", count, loaded, read);
}

fn main() {
    let many = events(turns_of(100_000));
    record(&many);
    append(&many);
    load_all(&many);
    let (_folder, store) = scratch();
    runtime().block_on(save(&store, &events(1_000), TURN));
    let sizes = segments(&store).into_iter();
    let sizes = sizes.map(|path| path.metadata().map_or(0, |it| it.len()));
    eprintln!("log of 1,000 turns: {} bytes", sizes.sum::<u64>());
    drop(many);
    open(&events(turns_of(MILLION)));
}
