//! What stores are put through while their disk fails; for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::DateTime;
use phi_types::{
    Arguments, AssistantMessage, AssistantPart, Configuration, Continuation, EffectClass, Event,
    EventKind, Extension, FORMAT, LoopId, LoopStarted, Message, MessageAdded, Origin, PartFacts,
    RawJson, SessionId, SessionStarted, StopReason, ToolCall, ToolEnded, ToolEnding, ToolResult,
    ToolStarted, TurnEnded, TurnStarted, TurnTrigger, Usage,
};

use crate::summary_fold::SummaryFold;
use crate::{SessionFilter, SessionWriter, Store, StoreError, SyncPolicy};

/// One thing that is asked of a store.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Create(&'static str),
    /// Appends a fact of so many bytes.
    Fact(&'static str, usize),
    /// Appends so many events of a loop as one batch.
    Batch(&'static str, usize),
    /// Appends a turn with a call of a class: its start, its end and the end of the turn.
    Turn(&'static str, EffectClass),
    Sync(&'static str),
    Close(&'static str),
    Open(&'static str),
    /// Leaves what a write that was cut off leaves.
    Tear(&'static str, Tear),
    /// Forks the first session at a position.
    Fork(&'static str, usize, &'static str),
    /// Copies a session to the other store.
    Import(&'static str),
    Delete(&'static str),
    /// Deletes a session that has a fork, which is refused.
    DeleteParent(&'static str),
    List,
    Read(&'static str),
    Verify(&'static str),
}

/// What was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tear {
    /// A line of the last segment.
    Line,
    /// The header of the next segment.
    Header,
}

pub(crate) fn id(name: &str) -> SessionId {
    SessionId::new(name).unwrap()
}

pub(crate) fn fact(text: &str) -> EventKind {
    EventKind::Extension(Extension {
        namespace: "test".to_owned(),
        name: "fact".to_owned(),
        data: RawJson::from_value(text).unwrap(),
    })
}

pub(crate) fn started() -> SessionStarted {
    SessionStarted {
        format: FORMAT,
        agent: None,
        spawned_by: None,
        forked_from: None,
    }
}

/// The kinds of a turn with one call; the first one is event `seq` of its loop.
pub(crate) fn turn(class: EffectClass, seq: u64) -> [EventKind; 5] {
    let call = Arc::new(ToolCall {
        id: "c".into(),
        name: "bash".into(),
        arguments: Arguments::parse("{}"),
        facts: PartFacts::default(),
    });
    let answer = AssistantMessage {
        parts: vec![AssistantPart::ToolCall(Arc::clone(&call))],
        stop_reason: StopReason::ToolUse,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin: Origin::default(),
    };
    let trigger = TurnTrigger::Prompt;
    [
        EventKind::TurnStarted(TurnStarted { index: 1, trigger }),
        EventKind::Message(MessageAdded {
            message: Message::Assistant(Arc::new(answer)),
            turn: 1,
            queued: None,
        }),
        EventKind::ToolStarted(ToolStarted {
            index: 0,
            call,
            effect_class: class,
            early: None,
        }),
        EventKind::ToolEnded(ToolEnded {
            index: 0,
            call_id: "c".into(),
            started: Some(seq + 2),
            ending: ToolEnding::Finished,
            result: Arc::new(ToolResult::text("done")),
            child: None,
            spent: None,
        }),
        EventKind::TurnEnded(TurnEnded {
            index: 1,
            usage: Usage::default(),
        }),
    ]
}

/// What is known of a session from the outside.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// What a store said is written.
    pub(crate) acknowledged: Vec<Event>,
    /// What a store was asked to write when it failed.
    pub(crate) attempted: Vec<Event>,
    /// How many of the first events a loss of power must leave.
    pub(crate) durable: usize,
    /// Whether a call that must not run twice has run, by the `seq` of its start.
    pub(crate) effects: Vec<u64>,
    /// What was begun and not finished, if anything.
    pub(crate) pending: Pending,
    loop_seq: u64,
}

/// What a store was doing when it failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Pending {
    #[default]
    Nothing,
    Creation,
    Import,
    Deletion,
}

/// Leaves in the log of a session what a write that was cut off leaves.
type Tearing = Box<dyn Fn(&SessionId, Tear)>;

/// Two stores on one disk, and what is known of their sessions.
pub(crate) struct Lab {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) other: Arc<dyn Store>,
    pub(crate) policy: SyncPolicy,
    tear: Tearing,
    writers: BTreeMap<&'static str, Arc<dyn SessionWriter>>,
    pub(crate) known: BTreeMap<&'static str, Known>,
    /// What is known of sessions in the other store.
    pub(crate) copied: BTreeMap<&'static str, Known>,
}

impl Lab {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        other: Arc<dyn Store>,
        policy: SyncPolicy,
        tear: impl Fn(&SessionId, Tear) + 'static,
    ) -> Self {
        Self {
            store,
            other,
            policy,
            tear: Box::new(tear),
            writers: BTreeMap::new(),
            known: BTreeMap::new(),
            copied: BTreeMap::new(),
        }
    }

    /// Does one step after the other until one fails.
    pub(crate) async fn run(&mut self, steps: &[Step]) -> Result<(), StoreError> {
        let mut done = Ok(());
        for step in steps {
            done = self.step(*step).await;
            if done.is_err() {
                break;
            }
        }
        self.writers.clear();
        done
    }

    async fn step(&mut self, step: Step) -> Result<(), StoreError> {
        let now = DateTime::UNIX_EPOCH;
        match step {
            Step::Create(name) => self.create(name).await,
            Step::Fact(name, bytes) => {
                let kind = fact(&"x".repeat(bytes));
                let seq = self.writers[name].session_seq() + 1;
                self.append(name, vec![(None, seq, kind)]).await
            }
            Step::Batch(name, count) => {
                let kinds = (0..count).map(|n| fact(&format!("event {n}")));
                let batch = self.of_loop(name, kinds.collect());
                self.append(name, batch).await
            }
            Step::Turn(name, class) => {
                // The first event of a loop is its own.
                let seq = (self.known[name].loop_seq + 1).max(2);
                let [began, answer, call, ended, end] = turn(class, seq);
                for kinds in [vec![began, answer], vec![call], vec![ended], vec![end]] {
                    let batch = self.of_loop(name, kinds);
                    self.append(name, batch).await?;
                }
                Ok(())
            }
            Step::Sync(name) => self.sync(name).await,
            Step::Close(name) => {
                drop(self.writers.remove(name));
                Ok(())
            }
            Step::Open(name) => {
                let writer = self.store.open(&id(name), now).await?;
                let known = self.known.get_mut(name).unwrap();
                known.acknowledged.extend_from_slice(writer.recovered());
                self.writers.insert(name, writer);
                Ok(())
            }
            Step::Tear(name, tear) => {
                (self.tear)(&id(name), tear);
                Ok(())
            }
            Step::Fork(parent, at, fork) => self.fork(parent, at, fork).await,
            Step::Import(name) => self.import(name).await,
            Step::Delete(name) => {
                let known = self.known.get_mut(name).unwrap();
                known.pending = Pending::Deletion;
                self.store.delete(&id(name)).await?;
                self.known.remove(name);
                Ok(())
            }
            Step::DeleteParent(name) => match self.store.delete(&id(name)).await {
                Err(StoreError::HasForks { .. }) => Ok(()),
                Err(error) => Err(error),
                Ok(()) => panic!("a session was deleted from under its fork"),
            },
            Step::List => self.list().await,
            Step::Read(name) => self.read(name).await,
            Step::Verify(name) => {
                let found = self.store.verify(&id(name)).await?;
                found.fault.map_or(Ok(()), Err)
            }
        }
    }

    /// Makes events of the one loop of a session, which begins where it has not begun.
    fn of_loop(&self, name: &str, kinds: Vec<EventKind>) -> Vec<(Option<LoopId>, u64, EventKind)> {
        let loop_id = LoopId::numbered(&id(name), &Configuration::default().id, 1);
        let newest = self.known[name].loop_seq;
        let begun = (newest == 0).then(|| {
            EventKind::LoopStarted(Arc::new(LoopStarted {
                agent: None,
                parent: None,
                continuation: Continuation::Initial,
                configuration: Configuration::default(),
                metadata: None,
                history_digest: phi_types::HistoryDigest::default(),
            }))
        });
        let kinds = begun.into_iter().chain(kinds);
        let seqs = newest + 1..;
        let events = seqs.zip(kinds);
        events
            .map(|(seq, kind)| (Some(loop_id.clone()), seq, kind))
            .collect()
    }

    async fn create(&mut self, name: &'static str) -> Result<(), StoreError> {
        let known = Known {
            pending: Pending::Creation,
            ..Known::default()
        };
        self.known.insert(name, known);
        let now = DateTime::UNIX_EPOCH;
        let writer = self.store.create(&id(name), started(), now).await?;
        self.began(name, writer).await;
        Ok(())
    }

    /// Notes what a session that is new begins with.
    async fn began(&mut self, name: &'static str, writer: Arc<dyn SessionWriter>) {
        let (events, end) = crate::faults::paused(read_all(self.store.as_ref(), name)).await;
        assert!(end.is_none(), "{end:?}");
        assert_eq!(events.len() as u64, writer.position());
        let known = self.known.get_mut(name).unwrap();
        known.pending = Pending::Nothing;
        known.acknowledged = events;
        if self.policy != SyncPolicy::Never {
            known.durable = known.acknowledged.len();
        }
        self.writers.insert(name, writer);
    }

    async fn append(
        &mut self,
        name: &'static str,
        batch: Vec<(Option<LoopId>, u64, EventKind)>,
    ) -> Result<(), StoreError> {
        let event = |(loop_id, seq, kind)| Event {
            session: id(name),
            loop_id,
            seq,
            at: DateTime::UNIX_EPOCH,
            kind,
        };
        let batch: Vec<Event> = batch.into_iter().map(event).collect();
        let known = self.known.get_mut(name).unwrap();
        known.attempted.clone_from(&batch);
        if let Err(error) = self.writers[name].append_batch(&batch).await {
            self.assert_poisoned(name).await;
            return Err(error);
        }
        known.attempted.clear();
        let once = EffectClass::AtMostOnce;
        let mut is_durable = false;
        for event in batch {
            match &event.kind {
                EventKind::ToolStarted(started) if started.effect_class == once => {
                    known.effects.push(event.seq);
                    is_durable |= self.policy == SyncPolicy::Effect;
                }
                EventKind::ToolEnded(ended)
                    if ended.started.is_some_and(|it| known.effects.contains(&it)) =>
                {
                    is_durable |= self.policy == SyncPolicy::Effect;
                }
                EventKind::TurnEnded(_) => is_durable |= self.policy == SyncPolicy::Turn,
                _ => {}
            }
            if event.loop_id.is_some() {
                known.loop_seq = event.seq;
            }
            known.acknowledged.push(event);
        }
        if is_durable {
            known.durable = known.acknowledged.len();
        }
        Ok(())
    }

    /// After a failure a writer takes nothing more, and says so.
    async fn assert_poisoned(&self, name: &str) {
        let writer = &self.writers[name];
        let appended = writer
            .append_fact(DateTime::UNIX_EPOCH, fact("again"))
            .await;
        for refused in [appended.map(drop), writer.sync().await] {
            assert!(
                matches!(refused, Err(StoreError::Poisoned { .. })),
                "{refused:?}"
            );
        }
    }

    async fn fork(
        &mut self,
        parent: &'static str,
        at: usize,
        fork: &'static str,
    ) -> Result<(), StoreError> {
        let shared = self.known[parent].acknowledged.iter().take(at).cloned();
        let shared = shared.map(|event| Event {
            session: id(fork),
            ..event
        });
        let known = Known {
            acknowledged: shared.collect(),
            loop_seq: 0,
            pending: Pending::Creation,
            ..Known::default()
        };
        self.known.insert(fork, known);
        let now = DateTime::UNIX_EPOCH;
        let (from, to) = (id(parent), id(fork));
        let writer = self.store.fork(&from, at as u64, &to, now).await?;
        self.began(fork, writer).await;
        Ok(())
    }

    async fn import(&mut self, name: &'static str) -> Result<(), StoreError> {
        let events = self.known[name].acknowledged.clone();
        let known = Known {
            attempted: events.clone(),
            pending: Pending::Import,
            ..Known::default()
        };
        self.copied.insert(name, known);
        let copied = self.other.import(&id(name), self.store.as_ref()).await?;
        assert_eq!(copied, events.len() as u64);
        let durable = match self.policy {
            SyncPolicy::Never => 0,
            SyncPolicy::Effect | SyncPolicy::Turn => events.len(),
        };
        let known = Known {
            acknowledged: events,
            durable,
            ..Known::default()
        };
        self.copied.insert(name, known);
        Ok(())
    }

    async fn sync(&mut self, name: &'static str) -> Result<(), StoreError> {
        let synced = self.writers[name].sync().await;
        if synced.is_err() {
            self.assert_poisoned(name).await;
        }
        let known = self.known.get_mut(name).unwrap();
        synced.map(|()| known.durable = known.acknowledged.len())
    }

    async fn read(&self, name: &str) -> Result<(), StoreError> {
        let (read, end) = read_all(self.store.as_ref(), name).await;
        let known = &self.known[name].acknowledged;
        assert!(known.starts_with(&read), "{name} reads as something else");
        assert!(end.is_some() || read == *known, "{name} ends too early");
        end.map_or(Ok(()), Err)
    }

    async fn list(&self) -> Result<(), StoreError> {
        let listed = self.store.list(&SessionFilter::default()).await?;
        assert_eq!(listed.len(), self.known.len());
        for listed in listed {
            let mut fold = SummaryFold::default();
            let events = &self.known[listed.session.as_str()].acknowledged;
            events.iter().for_each(|event| fold.follow(event));
            assert_eq!(listed.summary?, fold.summary(listed.session));
        }
        Ok(())
    }
}

/// Reads a session as far as it can be read.
pub(crate) async fn read_all(store: &dyn Store, name: &str) -> (Vec<Event>, Option<StoreError>) {
    let mut events = Vec::new();
    let mut reader = match store.reader(&id(name), 1).await {
        Ok(reader) => reader,
        Err(error) => return (events, Some(error)),
    };
    loop {
        match reader.events(3).await {
            Ok(chunk) if chunk.is_empty() => return (events, None),
            Ok(chunk) => events.extend(chunk.into_iter().map(|stored| stored.event)),
            Err(error) => return (events, Some(error)),
        }
    }
}
