//! Calls of pure tools run while the answer still streams, where the policy says so.

use std::sync::Arc;

use phi_loop::{Update, replay};
use phi_testkit::{Gate, MemoryJournal, Reply, ScriptedProvider, ScriptedTool};
use phi_types::{
    Configuration, EffectClass, EventKind, Increment, Outcome, ProviderError, ProviderErrorKind,
    ToolEnding, ToolPolicy, Transcript,
};

use crate::facts::{
    all, calling, done, driver, endings, events, finished, provider, run, until_it_waits,
};

fn early() -> Configuration {
    Configuration {
        tools: ToolPolicy {
            early_start: true,
            ..ToolPolicy::default()
        },
        ..Configuration::default()
    }
}

/// How many deltas a reply of calls yields before the `n`-th of them ends, from 1.
fn until_call_ends(reply: &Reply, n: usize) -> usize {
    let deltas = reply.deltas(0);
    let ends = deltas
        .iter()
        .enumerate()
        .filter(|(_, delta)| matches!(delta, phi_types::Delta::PartEnded(_)));
    ends.map(|(place, _)| place + 1).nth(n - 1).unwrap()
}

fn early_starts(updates: &[Update]) -> usize {
    let events = events(updates);
    let early = events.iter().filter(|it| match &it.kind {
        EventKind::ToolStarted(started) => started.early.is_some(),
        _ => false,
    });
    early.count()
}

#[tokio::test]
async fn a_tool_runs_and_ends_while_the_stream_is_held_back() {
    let (stream, work) = (Gate::new(), Gate::new());
    let reply = calling(&["look", "look"]);
    let held_back = until_call_ends(&reply, 1);
    let provider = provider([reply.gated_after(held_back, &stream), done()]);
    let tool = ScriptedTool::gated("look", &work, "seen");
    let journal = MemoryJournal::new();
    let driver = driver(&provider, &[&tool]).journal(Arc::new(journal.clone()));
    let mut run = run(&driver, early());
    let mut updates = until_it_waits(&mut run);
    // The second half of the answer has not been sent, and the first call is under way.
    assert_eq!((tool.started(), tool.returned()), (1, 0));
    assert_eq!(early_starts(&updates), 1);
    work.open();
    updates.extend(until_it_waits(&mut run));
    assert_eq!(tool.returned(), 1, "it ended before the model did");
    assert_eq!(endings(&updates), []);
    stream.open();
    updates.extend(all(&mut run).await);
    assert_eq!((tool.started(), early_starts(&updates)), (2, 2));
    assert_eq!(
        endings(&updates),
        vec![(ToolEnding::Finished, "seen".to_owned()); 2]
    );
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
    let replayed = replay(&Transcript::new(), &journal.events()).unwrap();
    assert_eq!(replayed.transcript(), &finished(&run).transcript);
}

#[tokio::test]
async fn a_tool_that_must_wait_waits_for_the_end_of_the_stream() {
    for (effect_class, configuration) in [
        (EffectClass::Idempotent, early()),
        (EffectClass::AtMostOnce, early()),
        (EffectClass::Pure, Configuration::default()),
    ] {
        let stream = Gate::new();
        let reply = calling(&["look"]);
        let held_back = until_call_ends(&reply, 1);
        let provider = provider([reply.gated_after(held_back, &stream), done()]);
        let tool = ScriptedTool::returning("look", "seen").with_effect_class(effect_class);
        let mut run = run(&driver(&provider, &[&tool]), configuration);
        until_it_waits(&mut run);
        assert_eq!(tool.started(), 0, "{effect_class:?}");
        stream.open();
        all(&mut run).await;
        assert_eq!(tool.started(), 1);
        assert_eq!(finished(&run).outcome, Outcome::Completed {});
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_drops_the_tool_and_the_next_attempt_runs_its_own() {
    let reply = calling(&["look"]);
    let held_back = until_call_ends(&reply, 1);
    let error = ProviderError::new(ProviderErrorKind::Network, "gone");
    let broken = reply.clone().failing_after(held_back, error);
    let attempts = std::sync::atomic::AtomicUsize::new(0);
    let provider = ScriptedProvider::from_fn(move |turn, _| {
        let attempt = attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Some(match (turn, attempt) {
            (0, 0) => broken.clone(),
            (0, _) => reply.clone(),
            _ => done(),
        })
    });
    // The first call never ends by itself; the second one returns at once.
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let tool = ScriptedTool::new("look", move |_, _| {
        let first = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        async move {
            if first {
                std::future::pending::<()>().await;
            }
            phi_types::ToolResult::text("seen")
        }
    });
    let mut run = run(&driver(&Arc::new(provider), &[&tool]), early());
    let updates = all(&mut run).await;
    let kinds: Vec<ToolEnding> = endings(&updates).iter().map(|it| it.0).collect();
    assert_eq!(kinds, [ToolEnding::Discarded, ToolEnding::Finished]);
    assert_eq!((tool.started(), tool.dropped(), tool.returned()), (2, 1, 1));
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

#[tokio::test]
async fn progress_of_an_early_call_arrives_between_the_deltas() {
    let stream = Gate::new();
    let reply = calling(&["look"]).with_thinking("A long thought");
    // The end of the thinking comes first.
    let held_back = until_call_ends(&reply, 2);
    let provider = provider([reply.gated_after(held_back, &stream), done()]);
    let tool = ScriptedTool::new("look", |_, context: phi_types::ToolContext| async move {
        let text = "half".to_owned();
        context.progress(phi_types::ToolProgress { text });
        std::future::pending().await
    });
    let mut run = run(&driver(&provider, &[&tool]), early());
    let updates = until_it_waits(&mut run);
    let progress = updates.iter().filter(|update| match update {
        Update::Live(live) => matches!(live.increment, Increment::Progress(_)),
        _ => false,
    });
    assert_eq!(progress.count(), 1);
    run.handle().cancel();
    let updates = all(&mut run).await;
    assert_eq!(endings(&updates)[0].0, ToolEnding::Cancelled);
    assert_eq!(tool.dropped(), 1);
    assert_eq!(finished(&run).outcome, Outcome::Cancelled {});
}

#[tokio::test(start_paused = true)]
async fn a_start_has_the_time_at_which_the_call_was_complete() {
    let stream = Gate::new();
    let reply = calling(&["look"]);
    let held_back = until_call_ends(&reply, 1) - 1;
    let provider = provider([reply.gated_after(held_back, &stream), done()]);
    let tool = ScriptedTool::returning("look", "seen");
    let mut run = run(&driver(&provider, &[&tool]), early());
    let mut updates = until_it_waits(&mut run);
    assert_eq!(tool.started(), 0);
    // Nothing but increments comes meanwhile, and they do not look at the clock.
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    stream.open();
    updates.extend(all(&mut run).await);
    let started = events(&updates)
        .into_iter()
        .find_map(|it| matches!(it.kind, EventKind::ToolStarted(_)).then_some(it.at.timestamp()));
    assert_eq!(started, Some(3));
    assert_eq!(early_starts(&updates), 1);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}
