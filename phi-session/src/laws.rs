//! What holds of stores whose disk has failed; for tests.

use chrono::DateTime;
use phi_types::{Event, EventKind};

use crate::power::Left;
use crate::scenarios::{Known, Lab, Pending, fact, id, read_all, started};
use crate::summary_fold::SummaryFold;
use crate::{SessionFilter, Store, StoreError, SyncPolicy};

/// What came over the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// A call failed, or the process ended.
    Fault,
    /// The power went.
    PowerLoss(Left),
}

impl Lab {
    /// Checks stores that work again: nothing that had to stay is lost, nothing is invented, and
    /// every session goes on.
    pub(crate) async fn check(&self, store: &dyn Store, other: &dyn Store, after: After) {
        for (name, known) in &self.known {
            let is_there = self.check_session(store, name, known, after).await;
            match known.pending {
                Pending::Deletion => match store.delete(&id(name)).await {
                    Ok(()) | Err(StoreError::Unknown { .. }) => {}
                    Err(error) => panic!("{name} cannot be deleted again: {error}"),
                },
                Pending::Creation if known.acknowledged.is_empty() && !is_there => {
                    let now = DateTime::UNIX_EPOCH;
                    let made = store.create(&id(name), started(), now).await;
                    made.unwrap();
                }
                Pending::Nothing | Pending::Creation | Pending::Import => {}
            }
        }
        for (name, known) in &self.copied {
            let is_there = self.check_session(other, name, known, after).await;
            if known.pending == Pending::Import && !is_there && after == After::Fault {
                let again = other.import(&id(name), store).await;
                assert!(again.is_ok(), "{name} cannot be copied again: {again:?}");
            }
        }
    }

    /// Checks one session; says whether it is there.
    async fn check_session(
        &self,
        store: &dyn Store,
        name: &str,
        known: &Known,
        after: After,
    ) -> bool {
        let (read, end) = read_all(store, name).await;
        let kept = match (known.pending, after) {
            (Pending::Deletion | Pending::Creation | Pending::Import, _) => 0,
            (Pending::Nothing, After::Fault) => known.acknowledged.len(),
            (Pending::Nothing, After::PowerLoss(_)) => known.durable,
        };
        assert!(
            read.len() >= kept,
            "{name} has {} of {kept} events: {end:?}",
            read.len()
        );
        let written = known.acknowledged.iter().chain(&known.attempted);
        let common = written.zip(&read).take_while(|(a, b)| a == b).count();
        assert!(common >= kept, "{name} reads as something else at {common}");
        for event in &read[common..] {
            let is_own = match event.kind {
                EventKind::Recovered(_) => true,
                EventKind::SessionStarted(_) => known.pending == Pending::Creation,
                _ => false,
            };
            assert!(is_own, "{name}: {event:?} was invented");
        }
        if self.policy == SyncPolicy::Effect && known.pending == Pending::Nothing {
            for effect in &known.effects {
                let marks = read
                    .iter()
                    .filter(|it| it.seq == *effect && it.loop_id.is_some());
                assert_eq!(marks.count(), 1, "{name}: the mark of effect {effect}");
            }
        }
        let is_absent = end.as_ref().is_some_and(StoreError::is_absent);
        if let Some(error) = &end {
            let is_expected = match (known.pending, after) {
                (Pending::Deletion, _) => true,
                (Pending::Creation | Pending::Import, _) if is_absent => true,
                // Not all of it was forced to the disk: damage is told and nothing is guessed.
                (_, After::PowerLoss(Left::Hole)) => true,
                (_, After::PowerLoss(_)) => kept == 0 || self.policy == SyncPolicy::Never,
                (_, After::Fault) => false,
            };
            assert!(is_expected, "{name}: {error}");
            let is_damaged = matches!(error, StoreError::Corrupt { .. });
            if is_damaged && kept > 0 && after == After::PowerLoss(Left::Hole) {
                goes_on_in_a_fork(store, name, read.len()).await;
            }
            return !is_absent;
        }
        if known.pending == Pending::Import && self.policy != SyncPolicy::Never {
            assert_eq!(read, known.attempted, "{name} is half a copy");
        }
        if known.pending != Pending::Deletion {
            let read = goes_on(store, name, read).await;
            // What is kept for lists is nothing that a loss of power has to leave.
            if after == After::Fault {
                is_listed(store, name, &read).await;
            }
        }
        true
    }
}

/// Opens a session that reads well, appends to it and checks it; returns what it holds then.
async fn goes_on(store: &dyn Store, name: &str, mut read: Vec<Event>) -> Vec<Event> {
    let now = DateTime::UNIX_EPOCH;
    let writer = store.open(&id(name), now).await;
    let writer = writer.unwrap_or_else(|error| panic!("{name}: {error}"));
    let recovered = writer.recovered().to_vec();
    let own = writer.append_fact(now, fact("on")).await.unwrap();
    drop(writer);
    let found = store.verify(&id(name)).await.unwrap();
    assert!(found.is_sound(), "{name}: {found:?}");
    read.extend(recovered);
    read.push(own);
    assert_eq!(found.events, read.len() as u64);
    read
}

/// Forks a damaged session, which takes nothing more, at its last right position, and goes on there.
async fn goes_on_in_a_fork(store: &dyn Store, name: &str, events: usize) {
    let (now, fork) = (DateTime::UNIX_EPOCH, format!("{name}-saved"));
    let refused = store.open(&id(name), now).await.map(drop);
    assert!(
        matches!(refused, Err(StoreError::Corrupt { .. })),
        "{name}: {refused:?}"
    );
    let forked = store.fork(&id(name), events as u64, &id(&fork), now).await;
    drop(forked.unwrap_or_else(|error| panic!("{name}: {error}")));
    let (read, end) = read_all(store, &fork).await;
    assert!(end.is_none(), "{fork}: {end:?}");
    assert_eq!(read.len(), events + 1, "{fork}");
    goes_on(store, &fork, read).await;
}

/// Checks what a list shows of a session.
async fn is_listed(store: &dyn Store, name: &str, read: &[Event]) {
    let listed = store.list(&SessionFilter::default()).await.unwrap();
    let listed = listed.into_iter().find(|it| it.session.as_str() == name);
    let mut fold = SummaryFold::default();
    read.iter().for_each(|event| fold.follow(event));
    assert_eq!(listed.unwrap().summary.unwrap(), fold.summary(id(name)));
}
