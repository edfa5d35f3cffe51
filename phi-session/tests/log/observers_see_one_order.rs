//! Observers learn what is committed in one order, in bounded memory, and never slow a writer down.

use std::sync::{Arc, Mutex};

use crate::scene::{Scratch, at, extension_of, loop_id, session, started};
use phi_session::{
    FanOut, Gap, Hub, JsonlSink, MemoryStore, PublishedStore, SinkError, Store, Subscription,
    Update, channel, from_fn, read_events,
};
use phi_types::{Delta, EffectId, Increment, Live, SessionId, TextDelta, ToolProgress};

fn text(index: u64, text: &str) -> Live {
    let effect = EffectId {
        loop_id: loop_id(1),
        seq: 3,
    };
    let delta = TextDelta {
        part: 0,
        text: text.to_owned(),
    };
    let increment = Increment::Delta(Delta::Text(delta));
    Live {
        effect,
        index,
        increment,
    }
}

fn published(hub: &Hub) -> (Arc<dyn Store>, PublishedStore) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let published = PublishedStore::new(Arc::clone(&store), hub.clone());
    (store, published)
}

async fn rest(subscription: &mut Subscription) -> Vec<Update> {
    let mut updates = Vec::new();
    while let Some(update) = subscription.next().await.unwrap() {
        updates.push(update);
    }
    updates
}

fn positions(updates: &[Update]) -> Vec<u64> {
    let position = |update: &Update| match update {
        Update::Event { position, .. } => Some(*position),
        Update::Live(_) | Update::Gap(_) => None,
    };
    updates.iter().filter_map(position).collect()
}

#[tokio::test]
async fn a_published_store_keeps_the_contract() {
    phi_session::contract::store(|| published(&Hub::new()).1).await;
}

#[tokio::test]
async fn a_subscription_goes_from_any_cursor_into_what_comes() {
    let hub = Hub::new();
    let (store, published) = published(&hub);
    let writer = published
        .create(&session(), started(), at(0))
        .await
        .unwrap();
    for n in 0..5 {
        writer
            .append_fact(at(n), extension_of("before"))
            .await
            .unwrap();
    }
    let mut subscriptions = Vec::new();
    for cursor in 0..=6 {
        let subscribed = hub
            .subscribe_after(store.as_ref(), &session(), cursor)
            .await;
        subscriptions.push((cursor, subscribed.unwrap()));
    }
    subscriptions.push((6, hub.subscribe(&session())));
    for n in 0..5 {
        hub.live(&session(), &text(n, "x"));
        writer
            .append_fact(at(n), extension_of("after"))
            .await
            .unwrap();
    }
    drop(writer);
    let events = read_events(store.as_ref(), &session()).await.unwrap();
    for (cursor, mut subscription) in subscriptions {
        let updates = rest(&mut subscription).await;
        assert_eq!(positions(&updates), (cursor + 1..=11).collect::<Vec<_>>());
        for update in &updates {
            if let Update::Event { position, event } = update {
                assert_eq!(**event, events[usize::try_from(*position).unwrap() - 1]);
            }
        }
        assert_eq!(
            updates.len() as u64,
            11 - cursor + 5,
            "increments are there too"
        );
        assert_eq!(subscription.cursor(), 11);
    }
}

#[tokio::test]
async fn a_slow_observer_gets_joined_text_then_a_gap_and_slows_nobody() {
    let hub = Hub::with_capacity(4);
    let (store, published) = published(&hub);
    let writer = published
        .create(&session(), started(), at(0))
        .await
        .unwrap();
    let mut watching = hub.subscribe(&session());
    let mut reading = hub
        .subscribe_after(store.as_ref(), &session(), 0)
        .await
        .unwrap();
    // Text that nobody has taken yet is joined.
    for n in 0..1_000 {
        hub.live(&session(), &text(n, "ab"));
    }
    for subscription in [&mut watching, &mut reading] {
        if let Update::Event { position, .. } = subscription.next().await.unwrap().unwrap() {
            assert_eq!(position, 1);
            assert_eq!(
                subscription.next().await.unwrap(),
                Some(Update::Live(text(999, &"ab".repeat(1_000))))
            );
        }
    }
    // More than fits: increments go first, then events, which the log still has.
    for n in 0..10 {
        hub.live(&session(), &text(n, "x"));
        writer.append_fact(at(n), extension_of("y")).await.unwrap();
    }
    drop(writer);
    let (watched, read) = (rest(&mut watching).await, rest(&mut reading).await);
    assert_eq!(positions(&read), (2..=11).collect::<Vec<_>>());
    let lost = |updates: &[Update]| -> (u64, u64) {
        let gaps = updates.iter().filter_map(|update| match update {
            Update::Gap(gap) => Some(gap),
            Update::Event { .. } | Update::Live(_) => None,
        });
        gaps.fold((0, 0), |(events, increments), gap| {
            let count = |it: &std::ops::RangeInclusive<u64>| it.end() - it.start() + 1;
            let positions = gap.positions.as_ref().map_or(0, count);
            (events + positions, increments + gap.increments)
        })
    };
    let lives = |updates: &[Update]| {
        let is_live = |it: &&Update| matches!(it, Update::Live(_));
        updates.iter().filter(is_live).count() as u64
    };
    assert_eq!(lost(&read).0, 0);
    assert_eq!(lost(&watched).0 + positions(&watched).len() as u64, 10);
    assert!(lost(&watched).0 > 0 && watched.len() <= 8, "{watched:?}");
    assert_eq!(lost(&read).1 + lives(&read), 10);
}

#[tokio::test]
async fn text_that_nobody_takes_is_bounded() {
    let hub = Hub::with_capacity(1_000_000);
    let (_, published) = published(&hub);
    let writer = published
        .create(&session(), started(), at(0))
        .await
        .unwrap();
    let mut watching = hub.subscribe(&session());
    let long = "x".repeat(10_000);
    for n in 0..1_000 {
        hub.live(&session(), &text(n, &long));
    }
    drop(writer);
    let updates = rest(&mut watching).await;
    let bytes: usize = updates
        .iter()
        .map(|update| format!("{update:?}").len())
        .sum();
    assert!(bytes < 2 << 20, "{bytes}");
    assert!(
        matches!(
            updates[0],
            Update::Gap(Gap {
                increments: 1..,
                ..
            })
        ),
        "{:?}",
        updates[0]
    );
}

#[tokio::test]
async fn large_events_that_nobody_takes_are_bounded_and_stay_in_the_log() {
    let hub = Hub::new();
    let (store, published) = published(&hub);
    let writer = published
        .create(&session(), started(), at(0))
        .await
        .unwrap();
    let mut watching = hub.subscribe(&session());
    let subscribed = hub.subscribe_after(store.as_ref(), &session(), 1).await;
    let mut reading = subscribed.unwrap();
    let progress = Increment::Progress(ToolProgress {
        text: "y".repeat(300_000),
    });
    for n in 0..40 {
        let live = Live {
            increment: progress.clone(),
            ..text(n, "")
        };
        hub.live(&session(), &live);
        let fact = extension_of(&"x".repeat(300_000));
        writer.append_fact(at(n), fact).await.unwrap();
    }
    drop(writer);
    let (watched, read) = (rest(&mut watching).await, rest(&mut reading).await);
    let kept = watched.iter().filter(|it| !matches!(it, Update::Gap(_)));
    assert!((1..=4).contains(&kept.count()), "about 1 MiB is kept");
    assert_eq!(positions(&read), (2..=41).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cursor_goes_on_after_the_session_was_closed_and_opened_again() {
    let hub = Hub::new();
    let (store, published) = published(&hub);
    let writer = published
        .create(&session(), started(), at(0))
        .await
        .unwrap();
    let subscribed = hub.subscribe_after(store.as_ref(), &session(), 0).await;
    let mut before = subscribed.unwrap();
    writer.append_fact(at(1), extension_of("a")).await.unwrap();
    // One observer learns a part and goes; another one stays and takes nothing meanwhile.
    assert_eq!(positions(&[before.next().await.unwrap().unwrap()]), [1]);
    let cursor = before.cursor();
    drop(before);
    let mut stays = hub.subscribe(&session());
    drop(writer);
    let writer = published.open(&session(), at(2)).await.unwrap();
    let subscribed = hub
        .subscribe_after(store.as_ref(), &session(), cursor)
        .await;
    let mut after = subscribed.unwrap();
    writer.append_fact(at(3), extension_of("b")).await.unwrap();
    drop(writer);
    assert_eq!(positions(&rest(&mut after).await), [2, 3]);
    assert_eq!(positions(&rest(&mut stays).await), [3]);
}

#[tokio::test]
async fn all_observers_see_the_order_of_the_log_with_many_writers_at_once() {
    let seen: Arc<Mutex<Vec<(SessionId, u64)>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let sink = FanOut::new()
        .with(from_fn(|_, update| {
            let is_fifth = matches!(update, Update::Event { position: 5, .. });
            assert!(!is_fifth, "a sink that panics");
        }))
        .with(from_fn(move |session, update| {
            if let Update::Event { position, .. } = update {
                kept.lock().unwrap().push((session.clone(), *position));
            }
        }));
    let hub = Hub::with_sink(sink);
    let (store, published) = published(&hub);
    let writer = published
        .create(&session(), started(), at(0))
        .await
        .unwrap();
    let mut watching = hub
        .subscribe_after(store.as_ref(), &session(), 0)
        .await
        .unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                for n in 0..200 {
                    let fact = writer.append_fact(at(n), extension_of("x"));
                    runtime.block_on(fact).unwrap();
                }
            });
        }
    });
    drop(writer);
    let expected: Vec<u64> = (1..=801).collect();
    assert_eq!(positions(&rest(&mut watching).await), expected);
    let seen: Vec<u64> = seen
        .lock()
        .unwrap()
        .iter()
        .map(|(_, position)| *position)
        .collect();
    assert_eq!(
        seen, expected,
        "the sink beside the one that panics has all"
    );
    assert_eq!(hub.lost(), 1);
}

#[tokio::test]
async fn a_channel_holds_what_fits_in_order_and_the_rest_is_counted() {
    let (sink, received) = channel(3);
    let kept = Arc::new(FanOut::new().with(sink).with(from_fn(|_, _| {})));
    let shared = Arc::clone(&kept);
    let hub = Hub::with_sink(shared);
    let (_, published) = published(&hub);
    let writer = published
        .create(&session(), started(), at(0))
        .await
        .unwrap();
    for n in 0..4 {
        writer.append_fact(at(n), extension_of("x")).await.unwrap();
    }
    let taken: Vec<(SessionId, Update)> = received.try_iter().collect();
    assert!(taken.iter().all(|(of, _)| *of == session()));
    let taken: Vec<Update> = taken.into_iter().map(|(_, update)| update).collect();
    assert_eq!(positions(&taken), [1, 2, 3]);
    assert_eq!((kept.lost(), hub.lost()), (vec![2, 0], 2));
    drop(received);
    writer.append_fact(at(9), extension_of("x")).await.unwrap();
    assert_eq!(kept.lost(), [3, 0]);
}

#[tokio::test]
async fn a_sink_of_lines_writes_events_as_they_stand_in_a_log() {
    let scratch = Scratch::new();
    let lines: Arc<Mutex<Vec<u8>>> = Arc::default();
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let hub = Hub::with_sink(JsonlSink::new(Shared(Arc::clone(&lines))));
    let published = PublishedStore::new(Arc::new(scratch.store.clone()), hub.clone());
    let writer = published
        .create(&session(), started(), at(0))
        .await
        .unwrap();
    writer.append_fact(at(1), extension_of("x")).await.unwrap();
    hub.live(&session(), &text(0, "y"));
    let written = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
    let written: Vec<&str> = written.lines().collect();
    let events = read_events(&scratch.store, &session()).await.unwrap();
    for (line, event) in written.iter().zip(&events) {
        assert_eq!(*line, serde_json::to_string(event).unwrap());
    }
    assert!(
        written[2].starts_with(r#"{"live":{"effect":"#),
        "{written:?}"
    );
    let error = SinkError {
        reason: "full".to_owned(),
    };
    assert_eq!(error.to_string(), "take an update: full");
}
