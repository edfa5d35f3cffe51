//! The rules that every store keeps, as one function for the tests of stores.

mod task;

use std::fmt::Debug;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{
    Configuration, Continuation, Event, EventKind, Extension, FORMAT, HistoryDigest, Journal,
    LoopId, LoopStarted, RawJson, SessionEnded, SessionId, SessionStarted,
};

use crate::error::StoreError;
use crate::read::{load, read_events};
use crate::store::Store;
use crate::summary::{SessionFilter, Status};

/// Says which rule a store breaks and how.
#[derive(Debug, thiserror::Error)]
#[error("{0}: {1}")]
struct Broken(&'static str, String);

type Kept = Result<(), Broken>;

/// Runs every rule of [`Store`] against fresh stores.
///
/// # Panics
/// Where a rule is broken, with the rule and what happened.
pub async fn store<S: Store + 'static>(make: impl Fn() -> S) {
    let broken = rules(make)
        .await
        .map_or_else(|broken| broken.to_string(), |()| String::new());
    assert_eq!(broken, "", "the store breaks its contract");
}

async fn rules<S: Store + 'static>(make: impl Fn() -> S) -> Kept {
    an_empty_store_lists_nothing_and_knows_nothing(&make()).await?;
    a_session_is_created_once(&make()).await?;
    what_was_appended_is_read_back_from_any_position(&make()).await?;
    a_batch_is_taken_whole_or_not_at_all(&make()).await?;
    one_writer_at_a_time(&make()).await?;
    a_reader_sees_what_is_appended_later(&make()).await?;
    a_reopened_session_goes_on(&make()).await?;
    a_list_is_ordered_and_filtered(&make()).await?;
    a_deleted_session_is_gone(&make()).await?;
    a_fork_shares_its_past(&make()).await?;
    a_copy_has_the_same_lines(&make(), &make()).await?;
    task::a_refused_task_leaves_nothing(Arc::new(make())).await?;
    task::the_end_of_a_task_is_noted_once(Arc::new(make())).await?;
    task::a_checkpoint_splits_nothing(Arc::new(make())).await?;
    task::a_loop_is_drained_once(Arc::new(make())).await?;
    task::what_is_beside_a_log_is_told(Arc::new(make())).await
}

async fn an_empty_store_lists_nothing_and_knows_nothing(store: &dyn Store) -> Kept {
    let rule = "a session that was never created is unknown";
    let listed = done(rule, store.list(&SessionFilter::default()).await)?;
    expect(rule, &listed.len(), &0)?;
    expect(rule, &done(rule, store.exists(&id("a")).await)?, &false)?;
    refused(rule, store.open(&id("a"), at(0)).await, is_unknown)?;
    refused(rule, store.reader(&id("a"), 1).await, is_unknown)?;
    refused(rule, store.delete(&id("a")).await, is_unknown)
}

async fn a_session_is_created_once(store: &dyn Store) -> Kept {
    let rule = "a session is created once, with its start as the first event";
    let writer = done(rule, store.create(&id("a"), started(), at(1)).await)?;
    expect(rule, &(writer.position(), writer.session_seq()), &(1, 1))?;
    expect(rule, writer.session(), &id("a"))?;
    expect(rule, &writer.recovered().len(), &0)?;
    drop(writer);
    refused(
        rule,
        store.create(&id("a"), started(), at(2)).await,
        |error| matches!(error, StoreError::Exists { .. }),
    )?;
    expect(rule, &done(rule, store.exists(&id("a")).await)?, &true)?;
    let events = done(rule, read_events(store, &id("a")).await)?;
    expect(
        rule,
        &events,
        &vec![event("a", None, 1, EventKind::SessionStarted(started()))],
    )?;
    let writer = done(rule, store.open_or_create(&id("a"), started(), at(3)).await)?;
    expect(rule, &writer.position(), &1)
}

async fn what_was_appended_is_read_back_from_any_position(store: &dyn Store) -> Kept {
    let rule = "what was appended is read back, from any position, in any chunks";
    let writer = done(rule, store.create(&id("a"), started(), at(1)).await)?;
    let mut expected = vec![event("a", None, 1, EventKind::SessionStarted(started()))];
    for first in [1, 4, 7] {
        let batch: Vec<Event> = (first..first + 3).map(|seq| in_loop("a", 1, seq)).collect();
        let position = done(rule, writer.append_batch(&batch).await)?;
        expected.extend(batch);
        expect(rule, &position, &(expected.len() as u64))?;
    }
    let fact = done(rule, writer.append_fact(at(1), extension(9)).await)?;
    expect(rule, &(fact.seq, &fact.loop_id), &(2, &None))?;
    expected.push(fact);
    expect(
        rule,
        &done(rule, writer.append_batch(&[]).await)?,
        &(expected.len() as u64),
    )?;
    for from in 0..=expected.len() + 2 {
        for max in [1, 3, 100] {
            let mut reader = done(rule, store.reader(&id("a"), from as u64).await)?;
            let mut read = Vec::new();
            loop {
                let chunk = done(rule, reader.events(max).await)?;
                expect(
                    "a chunk holds at most what was asked for",
                    &(chunk.len() <= max),
                    &true,
                )?;
                if chunk.is_empty() {
                    break;
                }
                read.extend(
                    chunk
                        .into_iter()
                        .map(|stored| (stored.position, stored.event)),
                );
            }
            let due = (1..)
                .zip(expected.iter().cloned())
                .skip(from.saturating_sub(1));
            expect(rule, &read, &due.collect())?;
        }
    }
    let mut reader = done(rule, store.reader(&id("a"), 1).await)?;
    let lines = done(rule, reader.lines(100).await)?;
    for (line, event) in lines.iter().zip(&expected) {
        let parsed: Event = done(
            "a line is the event as JSON",
            serde_json::from_str(&line.text),
        )?;
        expect("a line is the event as JSON", &parsed, event)?;
    }
    expect(rule, &lines.len(), &expected.len())
}

async fn a_batch_is_taken_whole_or_not_at_all(store: &dyn Store) -> Kept {
    let rule = "a batch that does not fit changes nothing, and the writer goes on";
    let writer = done(rule, store.create(&id("a"), started(), at(1)).await)?;
    done(rule, writer.append_batch(&[in_loop("a", 1, 1)]).await)?;
    let gap = [in_loop("a", 1, 2), in_loop("a", 1, 4)];
    let repeated = [in_loop("a", 2, 1), in_loop("a", 1, 2), in_loop("a", 1, 2)];
    let unstarted = [in_loop("a", 2, 2)];
    let zero = [in_loop("a", 2, 0)];
    let session_gap = [event("a", None, 3, extension(0))];
    for batch in [&gap[..], &repeated, &unstarted, &zero, &session_gap] {
        refused(rule, writer.append_batch(batch).await, |error| {
            matches!(error, StoreError::Sequence { .. })
        })?;
    }
    let foreign = [in_loop("a", 1, 2), in_loop("b", 1, 1)];
    refused(rule, writer.append_batch(&foreign).await, |error| {
        matches!(error, StoreError::OtherSession { .. })
    })?;
    expect(rule, &writer.position(), &2)?;
    done(
        rule,
        writer
            .append_batch(&[in_loop("a", 1, 2), in_loop("a", 2, 1)])
            .await,
    )?;
    let seqs: Vec<u64> = done(rule, read_events(store, &id("a")).await)?
        .iter()
        .map(|event| event.seq)
        .collect();
    expect(rule, &seqs, &vec![1, 1, 2, 1])
}

async fn one_writer_at_a_time(store: &dyn Store) -> Kept {
    let rule = "a session has one writer, which keeps others out for as long as it lives";
    let writer = done(rule, store.create(&id("a"), started(), at(1)).await)?;
    refused(rule, store.open(&id("a"), at(2)).await, is_locked)?;
    refused(rule, store.delete(&id("a")).await, is_locked)?;
    done(
        rule,
        store.create(&id("b"), started(), at(2)).await.map(drop),
    )?;
    // Failed attempts take nothing away from the one who has the lock.
    done(rule, writer.append_batch(&[in_loop("a", 1, 1)]).await)?;
    refused(rule, store.open(&id("a"), at(2)).await, is_locked)?;
    drop(writer);
    done(rule, store.open(&id("a"), at(2)).await.map(drop))
}

async fn a_reader_sees_what_is_appended_later(store: &dyn Store) -> Kept {
    let rule = "a reader at the end returns what is appended later";
    let writer = done(rule, store.create(&id("a"), started(), at(1)).await)?;
    let mut reader = done(rule, store.reader(&id("a"), 1).await)?;
    for seq in 1..=3 {
        expect(rule, &done(rule, reader.events(10).await)?.len(), &1)?;
        expect(rule, &done(rule, reader.events(10).await)?.len(), &0)?;
        expect(rule, &reader.tail_bytes(), &0)?;
        done(rule, writer.append_batch(&[in_loop("a", 1, seq)]).await)?;
    }
    Ok(())
}

async fn a_reopened_session_goes_on(store: &dyn Store) -> Kept {
    let rule = "a session that was opened again goes on where it was";
    drop(done(rule, store.create(&id("a"), started(), at(1)).await)?);
    for seq in 1..=3 {
        let writer = done(rule, store.open(&id("a"), at(2)).await)?;
        expect(
            rule,
            &(writer.position(), writer.recovered().len()),
            &(seq, 0),
        )?;
        refused(
            rule,
            writer.append_batch(&[in_loop("a", 1, seq + 1)]).await,
            |error| matches!(error, StoreError::Sequence { .. }),
        )?;
        // A loop writes through the port of journals.
        done(
            rule,
            Journal::append(&writer, &[in_loop("a", 1, seq)]).await,
        )?;
        done(rule, writer.sync().await)?;
    }
    expect(
        rule,
        &done(rule, read_events(store, &id("a")).await)?.len(),
        &4,
    )
}

async fn a_list_is_ordered_and_filtered(store: &dyn Store) -> Kept {
    let rule = "a list holds the sessions that the filter accepts, in the order of their ids";
    for name in ["c", "a", "b"] {
        let agent = (name != "b").then(|| "coder".into());
        let started = SessionStarted { agent, ..started() };
        let writer = done(rule, store.create(&id(name), started, at(1)).await)?;
        if name == "a" {
            done(rule, writer.append_batch(&[in_loop("a", 1, 1)]).await)?;
            let ended = EventKind::SessionEnded(SessionEnded {});
            done(rule, writer.append_fact(at(60), ended).await)?;
        }
    }
    let all = SessionFilter::default();
    let listed = done(rule, store.list(&all).await)?;
    for entry in &listed {
        let loaded = done(rule, load(store, &entry.session).await)?;
        expect(
            rule,
            &entry.summary.as_ref().ok(),
            &Some(&loaded.session().summary()),
        )?;
    }
    let of = |max, after: Option<&str>| SessionFilter {
        max,
        after: after.map(id),
        ..all.clone()
    };
    let coder = SessionFilter {
        agent: Some("coder".into()),
        ..all.clone()
    };
    let running = SessionFilter {
        status: Some(Status::Running),
        ..all.clone()
    };
    let late = SessionFilter {
        updated_since: Some(at(60)),
        ..all.clone()
    };
    let early = SessionFilter {
        updated_before: Some(at(60)),
        ..all.clone()
    };
    let cases: [(SessionFilter, &[&str]); 7] = [
        (all.clone(), &["a", "b", "c"]),
        (of(Some(2), None), &["a", "b"]),
        (of(Some(2), Some("b")), &["c"]),
        (coder, &["a", "c"]),
        (running, &["a"]),
        (late, &["a"]),
        (early, &["b", "c"]),
    ];
    for (filter, names) in cases {
        let listed = done(rule, store.list(&filter).await)?;
        let found: Vec<&str> = listed.iter().map(|entry| entry.session.as_str()).collect();
        expect(rule, &found.as_slice(), &names)?;
    }
    Ok(())
}

async fn a_deleted_session_is_gone(store: &dyn Store) -> Kept {
    let rule = "a deleted session is gone, its name is free, and its neighbours stay";
    for name in ["a", "b"] {
        drop(done(rule, store.create(&id(name), started(), at(1)).await)?);
    }
    done(rule, store.delete(&id("a")).await)?;
    refused(rule, store.open(&id("a"), at(2)).await, is_unknown)?;
    refused(rule, store.delete(&id("a")).await, is_unknown)?;
    let listed = done(rule, store.list(&SessionFilter::default()).await)?;
    expect(rule, &listed.len(), &1)?;
    let writer = done(rule, store.create(&id("a"), started(), at(3)).await)?;
    expect(rule, &writer.position(), &1)
}

async fn a_fork_shares_its_past(store: &dyn Store) -> Kept {
    let rule = "a fork reads its past from its parent, which stays as long as the fork does";
    let parent = done(rule, store.create(&id("a"), started(), at(1)).await)?;
    let batch = [in_loop("a", 1, 1), in_loop("a", 1, 2)];
    done(rule, parent.append_batch(&batch).await)?;
    let fork = done(rule, store.fork(&id("a"), 2, &id("f"), at(2)).await)?;
    expect(rule, &(fork.position(), fork.session_seq()), &(3, 2))?;
    done(
        rule,
        fork.append_batch(&[in_loop("a", 1, 2)].map(of_fork)).await,
    )?;
    drop((parent, fork));
    let mut expected: Vec<Event> = done(rule, read_events(store, &id("a")).await)?;
    expect(rule, &expected.len(), &3)?;
    expected = expected.into_iter().map(of_fork).collect();
    let read = done(rule, read_events(store, &id("f")).await)?;
    expect(rule, &read.first(), &expected.first())?;
    expect(rule, &read.get(1), &expected.get(1))?;
    expect(rule, &read.get(3), &expected.get(2))?;
    let found = done(rule, store.verify(&id("f")).await)?;
    expect(rule, &(found.events, found.is_sound()), &(4, true))?;
    let origin = done(rule, store.forked_from(&id("f")).await)?;
    expect(
        rule,
        &origin.map(|it| (it.session, it.position)),
        &Some((id("a"), 2)),
    )?;
    refused(rule, store.delete(&id("a")).await, |error| {
        matches!(error, StoreError::HasForks { .. })
    })?;
    refused(
        rule,
        store.fork(&id("a"), 9, &id("g"), at(3)).await,
        |error| matches!(error, StoreError::NoSuchPosition { .. }),
    )?;
    done(rule, store.delete(&id("f")).await)?;
    done(rule, store.delete(&id("a")).await)
}

async fn a_copy_has_the_same_lines(from: &dyn Store, into: &dyn Store) -> Kept {
    let rule = "a session that was copied from another store has the same lines";
    let writer = done(rule, from.create(&id("a"), started(), at(1)).await)?;
    done(rule, writer.append_fact(at(2), extension(1)).await)?;
    let copied = done(rule, into.import(&id("a"), from).await)?;
    expect(rule, &copied, &2)?;
    let mut there = done(rule, from.reader(&id("a"), 1).await)?;
    let mut here = done(rule, into.reader(&id("a"), 1).await)?;
    let lines = done(rule, there.lines(9).await)?;
    expect(rule, &done(rule, here.lines(9).await)?, &lines)?;
    refused(rule, into.import(&id("a"), from).await, |error| {
        matches!(error, StoreError::Exists { .. })
    })?;
    refused(rule, into.import(&id("b"), from).await, is_unknown)?;
    let opened = done(rule, into.open(&id("a"), at(3)).await)?;
    expect(rule, &(opened.position(), opened.session_seq()), &(2, 2))
}

fn of_fork(event: Event) -> Event {
    let session = id("f");
    Event { session, ..event }
}

fn done<T, E: Debug>(rule: &'static str, result: Result<T, E>) -> Result<T, Broken> {
    result.map_err(|error| Broken(rule, format!("failed with {error:?}")))
}

fn expect<T: PartialEq + Debug>(rule: &'static str, found: &T, expected: &T) -> Kept {
    if found == expected {
        return Ok(());
    }
    Err(Broken(
        rule,
        format!("found {found:?} where {expected:?} is right"),
    ))
}

fn refused<T>(
    rule: &'static str,
    result: Result<T, StoreError>,
    is_right: impl Fn(&StoreError) -> bool,
) -> Kept {
    match result {
        Err(error) if is_right(&error) => Ok(()),
        Err(error) => Err(Broken(rule, format!("refused with {error:?}"))),
        Ok(_) => Err(Broken(rule, "was not refused".to_owned())),
    }
}

fn is_unknown(error: &StoreError) -> bool {
    matches!(error, StoreError::Unknown { .. })
}

fn is_locked(error: &StoreError) -> bool {
    matches!(error, StoreError::Locked { .. })
}

fn id(name: &str) -> SessionId {
    SessionId::new(name).expect("the names in this file are valid")
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap_or_default()
}

fn started() -> SessionStarted {
    SessionStarted {
        format: FORMAT,
        agent: None,
        spawned_by: None,
        forked_from: None,
    }
}

fn extension(n: u64) -> EventKind {
    let (namespace, name) = ("contract".to_owned(), "fact".to_owned());
    let data = RawJson::from_value(&n).unwrap_or_else(|_| RawJson::empty_object());
    EventKind::Extension(Extension {
        namespace,
        name,
        data,
    })
}

fn event(session: &str, loop_id: Option<LoopId>, seq: u64, kind: EventKind) -> Event {
    Event {
        session: id(session),
        loop_id,
        seq,
        at: at(1),
        kind,
    }
}

/// The first event of a loop starts it; the others tell nothing.
fn in_loop(session: &str, n: u32, seq: u64) -> Event {
    let configuration = Configuration::default();
    let loop_id = LoopId::numbered(&id(session), &configuration.id, n);
    let kind = if seq == 1 {
        EventKind::LoopStarted(Arc::new(LoopStarted {
            agent: None,
            parent: None,
            continuation: Continuation::Initial,
            configuration,
            metadata: None,
            history_digest: HistoryDigest::default(),
        }))
    } else {
        extension(seq)
    };
    event(session, Some(loop_id), seq, kind)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{JsonlStore, MemoryStore, SyncPolicy};

    #[tokio::test]
    async fn the_store_in_memory_keeps_the_contract() {
        store(MemoryStore::new).await;
    }

    #[tokio::test]
    async fn the_store_on_files_keeps_the_contract_under_every_policy_and_segment_size() {
        let folder = tempfile::tempdir().unwrap();
        let count = Cell::new(0);
        // One event a segment, a few, and all of them.
        let settings = [
            (SyncPolicy::Effect, 1),
            (SyncPolicy::Turn, 900),
            (SyncPolicy::Never, 1 << 20),
        ];
        for (sync, segment_bytes_max) in settings {
            let make = || {
                count.set(count.get() + 1);
                let root = folder.path().join(count.get().to_string()).join("not_yet");
                let store = JsonlStore::new(root).with_sync(sync);
                store.with_segment_bytes_max(segment_bytes_max)
            };
            store(make).await;
        }
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn the_store_in_a_database_keeps_the_contract_under_every_policy() {
        let folder = tempfile::tempdir().unwrap();
        let count = Cell::new(0);
        for sync in [SyncPolicy::Effect, SyncPolicy::Turn, SyncPolicy::Never] {
            store(|| {
                count.set(count.get() + 1);
                let root = folder.path().join(count.get().to_string());
                crate::SqliteStore::new(root.join("not_yet/sessions.db")).with_sync(sync)
            })
            .await;
        }
    }
}
