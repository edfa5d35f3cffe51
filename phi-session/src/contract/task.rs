//! The rules of stores that hold tasks: records, checkpoints and what is kept beside a log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use phi_types::{
    ConfigurationId, EventKind, LoopEnded, LoopId, Outcome, SessionEnded, SessionId,
    SessionStarted, Usage,
};

use super::{Kept, at, done, event, expect, extension, id, in_loop, refused, started};
use crate::read::read_events;
use crate::record::Session;
use crate::recorded::{Refusal, TaskError, TaskHooks, Tasks};
use crate::store::Store;
use crate::summary::SessionFilter;

/// Refuses the session `no`, and counts what it is told of.
#[derive(Default)]
struct Hooks {
    asked: AtomicU64,
    ended: Mutex<Vec<(u64, bool)>>,
}

impl Hooks {
    fn ended(&self) -> Vec<(u64, bool)> {
        let ended = self.ended.lock();
        ended.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl TaskHooks for Hooks {
    async fn before_task(
        &self,
        session: &SessionId,
        _started: &SessionStarted,
    ) -> Result<(), Refusal> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if session.as_str() == "no" {
            return Err(Refusal("not today".to_owned()));
        }
        Ok(())
    }

    async fn after_task(&self, session: &Session) {
        let told = (session.events, session.ended_at.is_some());
        let ended = self.ended.lock();
        ended.unwrap_or_else(PoisonError::into_inner).push(told);
    }
}

pub(super) async fn a_refused_task_leaves_nothing(store: Arc<dyn Store>) -> Kept {
    let rule = "a task that is refused before it begins leaves nothing";
    let hooks = Arc::new(Hooks::default());
    let tasks = Tasks::new(Arc::clone(&store), hooks.clone());
    for asked in 1..=2 {
        let open = tasks.open(&id("no"), started(), at(1)).await;
        let is_refused = matches!(open, Err(TaskError::Refused { .. }));
        expect(rule, &is_refused, &true)?;
        expect(rule, &hooks.asked.load(Ordering::Relaxed), &asked)?;
        expect(rule, &done(rule, store.exists(&id("no")).await)?, &false)?;
    }
    let listed = done(rule, store.list(&SessionFilter::default()).await)?;
    expect(rule, &listed.len(), &0)?;
    drop(done(rule, tasks.open(&id("a"), started(), at(1)).await)?);
    drop(done(rule, tasks.open(&id("a"), started(), at(2)).await)?);
    let rule = "a session that exists is not asked about again";
    expect(rule, &hooks.asked.load(Ordering::Relaxed), &3)
}

pub(super) async fn the_end_of_a_task_is_noted_once(store: Arc<dyn Store>) -> Kept {
    let rule = "the hook takes note of an end once, and again only after a crash in between";
    let hooks = Arc::new(Hooks::default());
    let tasks = Tasks::new(Arc::clone(&store), hooks.clone());
    let opened = done(rule, tasks.open(&id("a"), started(), at(1)).await)?;
    let session = done(rule, opened.end(at(2)).await)?;
    expect(rule, &hooks.ended(), &vec![(2, true)])?;
    expect(
        rule,
        &(session.events, session.after_task_at),
        &(3, Some(at(2))),
    )?;
    drop(done(rule, tasks.open(&id("a"), started(), at(3)).await)?);
    expect(rule, &hooks.ended().len(), &1)?;
    // The process ends after the end was written, and before the hook has run.
    let writer = done(rule, store.open(&id("a"), at(4)).await)?;
    let ended = EventKind::SessionEnded(SessionEnded {});
    done(rule, writer.append_fact(at(4), ended).await)?;
    drop(writer);
    for noted in [5, 6] {
        let mut opened = done(rule, tasks.open(&id("a"), started(), at(noted)).await)?;
        let session = done(rule, opened.session().await)?;
        expect(rule, &session.after_task_at, &Some(at(5)))?;
        expect(rule, &hooks.ended(), &vec![(2, true), (4, true)])?;
    }
    Ok(())
}

pub(super) async fn a_checkpoint_splits_nothing(store: Arc<dyn Store>) -> Kept {
    let rule = "a checkpoint keeps what a list shows, and the session goes on as one";
    let tasks = Tasks::new(Arc::clone(&store), Arc::new(()));
    let mut opened = done(rule, tasks.open(&id("a"), started(), at(1)).await)?;
    let journal = opened.journal();
    for (seq, count) in [(1, 2), (2, 3), (3, 4)] {
        done(rule, journal.append_batch(&[in_loop("a", 1, seq)]).await)?;
        expect(rule, &opened.events_since_checkpoint(), &1)?;
        let summary = done(rule, opened.checkpoint().await)?;
        expect(rule, &opened.events_since_checkpoint(), &0)?;
        let session = done(rule, opened.session().await)?;
        expect(rule, &(session.events, session.loops.len()), &(count, 1))?;
        expect(rule, &summary, &session.summary())?;
        let kept = done(rule, store.summary(&id("a")).await)?;
        expect(rule, &kept, &summary)?;
    }
    drop((journal, opened));
    let events = done(rule, read_events(store.as_ref(), &id("a")).await)?;
    expect(rule, &events.len(), &4)?;
    refused(rule, store.summary(&id("b")).await, super::is_unknown)
}

pub(super) async fn a_loop_is_drained_once(store: Arc<dyn Store>) -> Kept {
    let rule = "a loop that has ended is drained once, and its session keeps it";
    let tasks = Tasks::new(store, Arc::new(()));
    let mut opened = done(rule, tasks.open(&id("a"), started(), at(1)).await)?;
    let journal = opened.journal();
    let begun = [in_loop("a", 1, 1), in_loop("a", 2, 1)];
    done(rule, journal.append_batch(&begun).await)?;
    expect(rule, &done(rule, opened.drain().await)?.len(), &0)?;
    for n in [2, 1] {
        done(rule, journal.append_batch(&[loop_end(n)]).await)?;
        let drained = done(rule, opened.drain().await)?;
        let ids: Vec<&LoopId> = drained.iter().map(|record| &record.id).collect();
        expect(rule, &ids, &vec![&loop_id(n)])?;
        expect(rule, &done(rule, opened.drain().await)?.len(), &0)?;
    }
    done(rule, journal.append_fact(at(2), extension(1)).await)?;
    expect(rule, &done(rule, opened.drain().await)?.len(), &0)?;
    let session = done(rule, opened.session().await)?;
    expect(rule, &(session.loops.len(), session.events), &(2, 6))
}

pub(super) async fn what_is_beside_a_log_is_told(store: Arc<dyn Store>) -> Kept {
    let rule = "the names of long strings are listed, and each of them is named by a line";
    let writer = done(rule, store.create(&id("a"), started(), at(1)).await)?;
    for length in [10, 1 << 20] {
        let long = phi_types::Extension {
            namespace: "contract".to_owned(),
            name: "x".repeat(length),
            data: phi_types::RawJson::empty_object(),
        };
        let long = EventKind::Extension(long);
        done(rule, writer.append_fact(at(2), long).await)?;
    }
    for blob in done(rule, store.blobs(&id("a")).await)? {
        let json = done(rule, store.blob(&id("a"), &blob).await)?;
        expect(rule, &json.is_some(), &true)?;
    }
    let found = done(rule, store.verify(&id("a")).await)?;
    expect(rule, &(found.events, found.is_sound()), &(3, true))?;
    expect(rule, &found.unnamed_blobs, &Vec::new())?;
    refused(rule, store.blobs(&id("b")).await, super::is_unknown)
}

fn loop_id(n: u32) -> LoopId {
    let configuration = ConfigurationId::new("default").expect("the name is valid");
    LoopId::numbered(&id("a"), &configuration, n)
}

fn loop_end(n: u32) -> phi_types::Event {
    let ended = EventKind::LoopEnded(Arc::new(LoopEnded {
        outcome: Outcome::Completed {},
        usage: Usage::default(),
        inputs_digest: 0,
    }));
    event("a", Some(loop_id(n)), 2, ended)
}
