//! Counts that cannot be true: they saturate, limit and calibrate, and never panic or go round in circles.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::{StreamExt, stream, stream::BoxStream};
use phi_loop::{Driver, DropMiddle, Finished, Run, Start, replay};
use phi_testkit::{MemoryJournal, ScriptedTool};
use phi_types::{
    CompactAt, Configuration, Delta, Event, EventKind, Identity, LimitKind, Limits, Outcome, Price,
    Provider, ProviderError, Request, StopReason, Tool, Transcript, Usage,
};

use crate::facts::{all, finished};
use crate::support::session;

/// Answers eight times with a call and then with a text; every answer reports these counts.
struct Liar(Vec<Usage>, AtomicU32);

impl Provider for Liar {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: "lies",
            provider: "lies",
        }
    }

    fn stream(&self, _request: Request) -> BoxStream<'static, Result<Delta, ProviderError>> {
        let turn = self.1.fetch_add(1, Ordering::Relaxed);
        let mut deltas = Vec::new();
        let stop = if turn < 8 {
            deltas.push(Delta::tool_call(0, "c", "look"));
            deltas.push(Delta::arguments(0, format!("{{\"n\":{turn}}}")));
            deltas.push(Delta::part_ended(0));
            StopReason::ToolUse
        } else {
            deltas.push(Delta::text(0, "Done."));
            StopReason::EndTurn
        };
        deltas.extend(self.0.iter().map(|usage| Delta::Usage(*usage)));
        deltas.push(Delta::finish(stop));
        // Once more after the end.
        deltas.extend(self.0.last().map(|usage| Delta::Usage(*usage)));
        stream::iter(deltas.into_iter().map(Ok)).boxed()
    }
}

fn all_of(count: u64) -> Usage {
    Usage {
        input_tokens: Some(count),
        cache_read_tokens: Some(count),
        cache_write_tokens: Some(count),
        output_tokens: Some(count),
        reasoning_tokens: Some(count),
    }
}

fn priced(liar: Liar, configuration: Configuration, journal: &MemoryJournal) -> Run {
    let tool = ScriptedTool::returning("look", &"seen ".repeat(120));
    let driver = Driver::new(Arc::new(liar))
        .tools(vec![Arc::new(tool) as Arc<dyn Tool>])
        .compactor(Arc::new(DropMiddle::default()))
        .journal(Arc::new(journal.clone()));
    let mut surface = driver.surface("", "m");
    let price = Price {
        input_usd: 3.0,
        output_usd: 15.0,
        cache_read_usd: 0.3,
        cache_write_usd: 3.75,
    };
    let models = surface.models.iter().cloned();
    surface.models = models
        .map(|mut model| {
            model.price = Some(price);
            model.window_tokens = Some(1_000);
            model
        })
        .collect();
    driver
        .prompt(Start::new(session(), configuration, surface), "Do it.")
        .unwrap()
}

async fn with(usages: &[Usage], configuration: Configuration) -> (Finished, Vec<Event>) {
    let journal = MemoryJournal::new();
    let mut run = priced(
        Liar(usages.to_vec(), AtomicU32::new(0)),
        configuration,
        &journal,
    );
    all(&mut run).await;
    let finished = finished(&run);
    let events = journal.events();
    // What was written reads back the same: no count is lost on the way.
    for event in &events {
        let text = serde_json::to_string(event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), *event);
    }
    replay(&Transcript::new(), &events).unwrap();
    (finished, events)
}

fn unlimited() -> Configuration {
    Configuration {
        compact_at: Some(CompactAt::WindowPercent(80)),
        ..Configuration::default()
    }
}

#[tokio::test(start_paused = true)]
async fn counts_that_overflow_saturate_and_the_loop_completes() {
    let (finished, _) = with(&[all_of(u64::MAX)], unlimited()).await;
    assert_eq!(finished.outcome, Outcome::Completed {});
    assert_eq!(finished.usage, all_of(u64::MAX));
    assert_eq!(finished.usage.total_tokens(), u64::MAX);
    assert!(finished.cost_usd.is_finite(), "{}", finished.cost_usd);
}

#[tokio::test(start_paused = true)]
async fn huge_counts_reach_the_limits_of_tokens_and_cost() {
    for (limits, limit) in [
        (
            Limits {
                tokens: Some(u64::MAX),
                ..Limits::default()
            },
            LimitKind::Tokens,
        ),
        (
            Limits {
                cost_usd: Some(1e9),
                ..Limits::default()
            },
            LimitKind::Cost,
        ),
    ] {
        let configuration = Configuration {
            limits,
            ..unlimited()
        };
        let (finished, events) = with(&[all_of(u64::MAX)], configuration).await;
        assert_eq!(finished.outcome, Outcome::LimitReached { limit });
        let calls = events
            .iter()
            .filter(|it| matches!(it.kind, EventKind::ModelStarted(_)));
        assert_eq!(calls.count(), 1, "{limit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn zeros_are_zero_and_nothing_is_divided_by_them() {
    let (finished, events) = with(&[all_of(0)], unlimited()).await;
    assert_eq!(finished.outcome, Outcome::Completed {});
    assert_eq!((finished.usage, finished.cost_usd), (all_of(0), 0.0));
    // A report of nothing teaches nothing: the estimate is still what the threshold is held against.
    let compacted = events
        .iter()
        .any(|it| matches!(it.kind, EventKind::CompactionEnded(_)));
    assert!(compacted, "the view grew beyond the threshold");
}

#[tokio::test(start_paused = true)]
async fn counts_that_come_twice_or_fall_count_once_and_the_last_counts() {
    let (finished, events) = with(&[all_of(900), all_of(900), all_of(7)], unlimited()).await;
    assert_eq!(finished.outcome, Outcome::Completed {});
    let answers = events.iter().filter(|it| match &it.kind {
        EventKind::Message(added) => matches!(added.message, phi_types::Message::Assistant(_)),
        _ => false,
    });
    let answers = u64::try_from(answers.count()).unwrap();
    assert_eq!(finished.usage, all_of(7 * answers));
}

#[tokio::test(start_paused = true)]
async fn lies_about_the_prompt_make_no_compaction_go_round_in_circles() {
    for count in [1, 999, 1_000_000, u64::MAX / 4] {
        let (finished, events) = with(&[all_of(count)], unlimited()).await;
        assert_eq!(finished.outcome, Outcome::Completed {}, "{count}");
        let kinds =
            |wanted: fn(&EventKind) -> bool| events.iter().filter(|it| wanted(&it.kind)).count();
        let compactions = kinds(|it| matches!(it, EventKind::CompactionEnded(_)));
        let turns = kinds(|it| matches!(it, EventKind::TurnStarted(_)));
        assert!(
            compactions <= turns,
            "{count}: {compactions} in {turns} turns"
        );
    }
}
