//! Events and stores that the tests of this crate share.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_session::{JsonlStore, SessionWriter, Store, StoreError, SyncPolicy};
use phi_types::{
    AnswerScope, Approval, ApprovalRequested, ApprovalResolved, Arguments, AssistantMessage,
    AssistantPart, AttemptFacts, BranchSelected, BranchesStarted, CompactionBlock, CompactionEnded,
    Configuration, Continuation, EffectClass, Event, EventKind, Extension, FORMAT, HistoryDigest,
    LimitKind, LimitWarning, LoopEnded, LoopId, LoopStarted, LoopStuck, Message, MessageAdded,
    MessageQueued, ModelFailed, ModelPatch, ModelStarted, Origin, Outcome, PartFacts,
    ProviderError, ProviderErrorKind, Queue, QueueId, RawJson, Recovered, SessionEnded, SessionId,
    SessionStarted, StopCause, StopReason, StopRequested, SurfaceChanged, Target, TextPart,
    ToolCall, ToolEnded, ToolEnding, ToolResult, ToolStarted, TurnEnded, TurnStarted, TurnTrigger,
    Usage, UserMessage,
};

pub(crate) fn session() -> SessionId {
    SessionId::new("s1").unwrap()
}

pub(crate) fn at(second: u64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + i64::try_from(second).unwrap(), 0).unwrap()
}

pub(crate) fn started() -> SessionStarted {
    SessionStarted {
        format: FORMAT,
        agent: Some("coder".into()),
        spawned_by: None,
        forked_from: None,
    }
}

pub(crate) fn loop_id(n: u32) -> LoopId {
    LoopId::numbered(&session(), &Configuration::default().id, n)
}

pub(crate) fn usage(input: u64, output: u64) -> Usage {
    Usage {
        input_tokens: Some(input),
        output_tokens: Some(output),
        ..Usage::default()
    }
}

pub(crate) fn user(text: &str) -> Arc<UserMessage> {
    Arc::new(UserMessage::text(text))
}

pub(crate) fn call(id: &str, name: &str, arguments: &str) -> Arc<ToolCall> {
    Arc::new(ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: Arguments::parse(arguments),
        facts: PartFacts::default(),
    })
}

pub(crate) fn answer(text: &str, calls: &[Arc<ToolCall>], usage: Usage) -> Arc<AssistantMessage> {
    let text = (!text.is_empty()).then(|| AssistantPart::Text(TextPart::new(text)));
    let calls = calls
        .iter()
        .map(|call| AssistantPart::ToolCall(Arc::clone(call)));
    let parts: Vec<AssistantPart> = text.into_iter().chain(calls).collect();
    let stop_reason = if parts
        .iter()
        .any(|part| matches!(part, AssistantPart::ToolCall(_)))
    {
        StopReason::ToolUse
    } else {
        StopReason::EndTurn
    };
    let origin = Origin {
        protocol: "anthropic-messages".into(),
        provider: "anthropic".into(),
        model: "m".into(),
        response_id: None,
        response_model: None,
    };
    Arc::new(AssistantMessage {
        parts,
        stop_reason,
        stop_reason_raw: None,
        usage,
        origin,
    })
}

/// Writes the events of one session, each a second after the one before.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) events: Vec<Event>,
    session_seq: u64,
    loop_seqs: Vec<(u32, u64)>,
}

impl Script {
    pub(crate) fn new() -> Self {
        let mut script = Self::default();
        script.fact(EventKind::SessionStarted(started()));
        script
    }

    pub(crate) fn fact(&mut self, kind: EventKind) -> u64 {
        self.session_seq += 1;
        self.push(None, self.session_seq, kind)
    }

    pub(crate) fn event(&mut self, n: u32, kind: EventKind) -> u64 {
        let at = self
            .loop_seqs
            .iter()
            .position(|(of, _)| *of == n)
            .unwrap_or_else(|| {
                self.loop_seqs.push((n, 0));
                self.loop_seqs.len() - 1
            });
        self.loop_seqs[at].1 += 1;
        self.push(Some(loop_id(n)), self.loop_seqs[at].1, kind)
    }

    fn push(&mut self, loop_id: Option<LoopId>, seq: u64, kind: EventKind) -> u64 {
        let at = at(self.events.len() as u64);
        self.events.push(Event {
            session: session(),
            loop_id,
            seq,
            at,
            kind,
        });
        seq
    }

    pub(crate) fn start(&mut self, n: u32, parent: Option<u32>, continuation: Continuation) {
        let started = LoopStarted {
            history_digest: HistoryDigest::Chained,
            agent: Some("coder".into()),
            parent: parent.map(loop_id),
            continuation,
            configuration: Configuration::default(),
            metadata: Some(RawJson::parse(r#"{"task": "t-1"}"#).unwrap()),
        };
        self.event(n, EventKind::LoopStarted(Arc::new(started)));
    }

    pub(crate) fn say(&mut self, n: u32, turn: u32, message: Message, queued: Option<&str>) {
        let queued = queued.map(|id| QueueId::new(id).unwrap());
        self.event(
            n,
            EventKind::Message(MessageAdded {
                message,
                turn,
                queued,
            }),
        );
    }

    pub(crate) fn turn(&mut self, n: u32, index: u32, trigger: TurnTrigger) {
        self.event(n, EventKind::TurnStarted(TurnStarted { index, trigger }));
    }

    pub(crate) fn model(&mut self, n: u32, attempt: u32) {
        let started = ModelStarted {
            attempt,
            target: 0,
            patch: ModelPatch::default(),
            request_digest: u64::MAX - u64::from(attempt),
        };
        self.event(n, EventKind::ModelStarted(started));
    }

    pub(crate) fn fail(&mut self, n: u32, attempt: u32, usage: Usage) {
        let error = ProviderError::new(ProviderErrorKind::Overloaded, "no capacity");
        let facts = AttemptFacts {
            usage,
            ..AttemptFacts::default()
        };
        let retry_at = Some(at(99));
        self.event(
            n,
            EventKind::ModelFailed(Arc::new(ModelFailed {
                attempt,
                error,
                facts,
                retry_at,
            })),
        );
    }

    pub(crate) fn run(
        &mut self,
        n: u32,
        index: u32,
        call: &Arc<ToolCall>,
        class: EffectClass,
    ) -> u64 {
        let call = Arc::clone(call);
        let started = ToolStarted {
            index,
            call,
            effect_class: class,
            early: None,
        };
        self.event(n, EventKind::ToolStarted(started))
    }

    pub(crate) fn result(&mut self, n: u32, index: u32, started: Option<u64>, text: &str) {
        let ending = if started.is_some() {
            ToolEnding::Finished
        } else {
            ToolEnding::Denied
        };
        let ended = ToolEnded {
            index,
            call_id: format!("c{index}").into(),
            started,
            ending,
            result: Arc::new(ToolResult::text(text)),
            child: started.map(|_| SessionId::new("child").unwrap()),
            spent: None,
        };
        self.event(n, EventKind::ToolEnded(ended));
    }

    pub(crate) fn end_turn(&mut self, n: u32, index: u32, usage: Usage) {
        self.event(n, EventKind::TurnEnded(TurnEnded { index, usage }));
    }

    pub(crate) fn end(&mut self, n: u32, outcome: Outcome, usage: Usage) {
        self.event(
            n,
            EventKind::LoopEnded(Arc::new(LoopEnded {
                outcome,
                usage,
                inputs_digest: 7,
            })),
        );
    }
}

/// A session in which every kind of event occurs.
pub(crate) fn full_session() -> Vec<Event> {
    let mut script = Script::new();
    first_loop(&mut script);
    branches(&mut script);
    let moved_to = "00000000000000000001.torn-1".to_owned();
    script.fact(EventKind::Recovered(Recovered::TornTail {
        bytes: 17,
        moved_to,
    }));
    let future = RawJson::parse(r#"{"type":"from_the_future", "n": 1.50}"#).unwrap();
    script.fact(EventKind::Unknown(future));
    script.fact(EventKind::SessionEnded(SessionEnded {}));
    script.events
}

fn first_loop(script: &mut Script) {
    let calls = [
        call("c0", "bash", r#"{"command":"ls ü"}"#),
        call("c1", "bash", r#"{"x": 1.0}"#),
    ];
    script.start(1, None, Continuation::Initial);
    script.event(
        1,
        EventKind::SurfaceChanged(Arc::new(SurfaceChanged {
            system: Some("You are\n\"phi\".".into()),
            tools: None,
            models: Some(Arc::from([Target::new(
                phi_types::Identity {
                    protocol: "anthropic-messages",
                    provider: "anthropic",
                },
                "m",
            )])),
            options: None,
        })),
    );
    script.say(1, 1, Message::User(user("Fix it.")), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    script.model(1, 1);
    script.fail(1, 1, usage(10, 0));
    script.model(1, 2);
    let first = answer("I look.", &calls, usage(20, 5));
    script.say(1, 1, Message::Assistant(first), None);
    let asked = script.event(
        1,
        EventKind::ApprovalRequested(ApprovalRequested {
            index: 1,
            call: Arc::clone(&calls[1]),
            question: "May it run?".into(),
        }),
    );
    let ran = script.run(1, 0, &calls[0], EffectClass::AtMostOnce);
    let reason = "no".to_owned();
    let approval = Approval::Denied { reason };
    script.event(
        1,
        EventKind::ApprovalResolved(ApprovalResolved {
            request: asked,
            approval,
            scope: AnswerScope::Once,
        }),
    );
    script.result(1, 1, None, "denied: no");
    script.event(
        1,
        EventKind::Recovered(Recovered::Restart { claims: Vec::new() }),
    );
    script.result(1, 0, Some(ran), "a.txt");
    script.end_turn(1, 1, usage(30, 5));
    let steering = MessageQueued {
        id: QueueId::new("q1").unwrap(),
        queue: Queue::Steering,
        message: user("Faster."),
        held: false,
    };
    script.event(1, EventKind::MessageQueued(steering));
    script.say(1, 2, Message::User(user("Faster.")), Some("q1"));
    script.turn(1, 2, TurnTrigger::Steering);
    script.event(
        1,
        EventKind::CompactionStarted(serde_json::from_str(r#"{"entries":4}"#).unwrap()),
    );
    script.event(
        1,
        EventKind::CompactionEnded(Arc::new(CompactionEnded {
            block: Some(CompactionBlock {
                first: 1,
                count: 2,
                replacement: vec![user("so far")],
            }),
            usage: usage(7, 3),
            ..serde_json::from_str(r#"{"entries":3,"usage":{}}"#).unwrap()
        })),
    );
    let limit = LimitKind::Turns;
    script.event(
        1,
        EventKind::LimitWarning(LimitWarning {
            limit,
            scope: phi_types::LimitScope::Loop,
        }),
    );
    let tool = "bash".into();
    script.event(
        1,
        EventKind::LoopStuck(LoopStuck {
            tool,
            times: 3,
            period: 1,
        }),
    );
    script.event(
        1,
        EventKind::Extension(Extension {
            namespace: "test".into(),
            name: "fact".into(),
            data: RawJson::parse(r#"{"crc":"00000000"}"#).unwrap(),
        }),
    );
    script.model(1, 1);
    script.say(
        1,
        2,
        Message::Assistant(answer("Done.", &[], usage(40, 2))),
        None,
    );
    script.end_turn(1, 2, usage(47, 5));
    script.end(1, Outcome::Completed {}, usage(77, 10));
}

fn branches(script: &mut Script) {
    let loops = vec![loop_id(2), loop_id(3)];
    script.fact(EventKind::BranchesStarted(BranchesStarted {
        loops: loops.clone(),
    }));
    for n in [2, 3] {
        script.start(n, Some(1), Continuation::Branch);
    }
    for n in [3, 2] {
        script.say(n, 1, Message::User(user("And now?")), None);
        script.turn(n, 1, TurnTrigger::Prompt);
        script.model(n, 1);
    }
    script.say(
        3,
        1,
        Message::Assistant(answer("Three.", &[], usage(1, 1))),
        None,
    );
    script.end_turn(3, 1, usage(1, 1));
    script.end(3, Outcome::Completed {}, usage(1, 1));
    let cause = StopCause::Cancel {};
    script.event(2, EventKind::StopRequested(StopRequested { cause }));
    script.end(2, Outcome::Cancelled {}, Usage::default());
    let (winner, strategy) = (Some(loop_id(3)), "first".to_owned());
    script.fact(EventKind::BranchSelected(Arc::new(BranchSelected {
        loops,
        winner,
        strategy,
        scores: Vec::new(),
        usage: None,
    })));
}

/// A short session of a few small events.
pub(crate) fn short_session(events: u64) -> Vec<Event> {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    for index in 1..events.saturating_sub(1) {
        let trigger = TurnTrigger::Prompt;
        script.turn(1, u32::try_from(index).unwrap(), trigger);
    }
    script.events
}

/// A session of the smallest events: its start and one-word facts.
pub(crate) fn tiny_session(events: usize) -> Vec<Event> {
    let mut script = Script::new();
    while script.events.len() < events {
        let (namespace, name) = ("test".to_owned(), script.events.len().to_string());
        let data = RawJson::empty_object();
        script.fact(EventKind::Extension(Extension {
            namespace,
            name,
            data,
        }));
    }
    script.events
}

/// The lines of a segment without its header and without their checksums.
pub(crate) fn contents(segment: &str) -> Vec<&str> {
    let lines = segment.lines().skip(1);
    lines
        .map(|line| line.rsplit_once(",\"crc\":").unwrap().0)
        .collect()
}

/// A fact that holds a text.
pub(crate) fn extension_of(text: &str) -> EventKind {
    EventKind::Extension(Extension {
        namespace: "test".into(),
        name: "fact".into(),
        data: RawJson::from_value(&text).unwrap(),
    })
}

/// A store in a folder of its own, which goes away with it.
pub(crate) struct Scratch {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: JsonlStore,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = JsonlStore::new(folder.path()).with_sync(SyncPolicy::Never);
        Self { folder, store }
    }

    pub(crate) fn with_segment_bytes_max(self, max: u64) -> Self {
        let store = self.store.with_segment_bytes_max(max);
        Self { store, ..self }
    }

    pub(crate) fn with_blob_bytes_min(self, min: usize) -> Self {
        let store = self.store.with_blob_bytes_min(min);
        Self { store, ..self }
    }

    /// Keeps a session whose first event is its start; one append for each event.
    pub(crate) async fn keep(&self, events: &[Event]) {
        let EventKind::SessionStarted(started) = &events[0].kind else {
            panic!("a session starts with its start")
        };
        let session = &events[0].session;
        let writer = self
            .store
            .create(session, started.clone(), events[0].at)
            .await
            .unwrap();
        for event in &events[1..] {
            writer
                .append_batch(std::slice::from_ref(event))
                .await
                .unwrap();
        }
    }

    pub(crate) async fn open(&self) -> Result<Arc<dyn SessionWriter>, StoreError> {
        self.store.open(&session(), at(500)).await
    }

    /// Reads everything that can be read, then how it ended and how many bytes follow.
    pub(crate) async fn read(&self) -> (Vec<Event>, Result<u64, StoreError>) {
        let mut events = Vec::new();
        let mut reader = match self.store.reader(&session(), 1).await {
            Ok(reader) => reader,
            Err(error) => return (events, Err(error)),
        };
        loop {
            match reader.events(7).await {
                Ok(chunk) if chunk.is_empty() => return (events, Ok(reader.tail_bytes())),
                Ok(chunk) => events.extend(chunk.into_iter().map(|stored| stored.event)),
                Err(error) => return (events, Err(error)),
            }
        }
    }

    pub(crate) fn session_folder(&self) -> PathBuf {
        self.folder.path().join(session().as_str())
    }

    /// The segments in order.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        files_ending(&self.session_folder(), ".jsonl")
    }

    /// The files that were moved aside, in order.
    pub(crate) fn torn(&self) -> Vec<PathBuf> {
        let mut files = files_containing(&self.session_folder(), ".torn-");
        files.sort();
        files
    }
}

fn files_ending(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut files = files_containing(folder, suffix);
    files.retain(|path| path.to_str().unwrap().ends_with(suffix));
    files.sort();
    files
}

fn files_containing(folder: &Path, part: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.file_name().unwrap().to_str().unwrap().contains(part))
        .collect()
}
