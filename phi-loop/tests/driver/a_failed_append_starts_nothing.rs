//! Write ahead: what a caller sees is committed, and a failed append ends the loop with nothing started.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use phi_loop::{Finished, Update};
use phi_testkit::{Gate, MemoryJournal, ScriptedTool};
use phi_types::{Event, EventKind, Journal, JournalError, LoopError, Outcome, ToolResult};

use crate::facts::{all, calling, done, driver, events, finished, plain, provider, until_it_waits};

fn count(events: &[Event], is: impl Fn(&EventKind) -> bool) -> usize {
    events.iter().filter(|event| is(&event.kind)).count()
}

#[tokio::test]
async fn every_append_may_fail_and_nothing_of_its_batch_is_seen_or_started() {
    let mut appends = 0;
    loop {
        appends += 1;
        let journal = MemoryJournal::failing_at(appends);
        let provider = provider([calling(&["look", "look"]), done()]);
        let tool = ScriptedTool::returning("look", "seen");
        let driver = driver(&provider, &[&tool]).journal(Arc::new(journal.clone()));
        let mut run = plain(&driver);
        let updates = all(&mut run).await;
        let kept = journal.events();
        assert_eq!(events(&updates), kept, "append {appends}");
        let models = count(&kept, |kind| matches!(kind, EventKind::ModelStarted(_)));
        let tools = count(&kept, |kind| matches!(kind, EventKind::ToolStarted(_)));
        assert_eq!(provider.request_count(), models);
        // A call that was announced may not have come to its first step yet.
        assert!(tool.started() <= tools, "append {appends}");
        if journal.appends() < appends {
            assert_eq!(finished(&run).outcome, Outcome::Completed {});
            assert_eq!((models, tools, tool.started()), (2, 2, 2));
            break;
        }
        let message = format!("append {appends} fails as the test told it to");
        let error = JournalError { message };
        let error = LoopError::Journal { error };
        let Finished { outcome, .. } = run.finished();
        assert_eq!(outcome, Outcome::Failed { error });
        assert_eq!(run.next().await, None, "it stays ended");
    }
    assert!(appends > 4, "{appends}");
}

#[tokio::test]
async fn what_runs_is_dropped_when_an_append_fails() {
    // The third batch holds the end of the call that returns, while the other one hangs.
    let journal = MemoryJournal::failing_at(3);
    let provider = provider([calling(&["look", "hang"])]);
    let hangs = ScriptedTool::hanging("hang");
    let other = hangs.clone();
    let works = ScriptedTool::new("look", move |_, _| {
        let other = other.until_started(1);
        async move {
            other.await;
            ToolResult::text("seen")
        }
    });
    let driver = driver(&provider, &[&works, &hangs]).journal(Arc::new(journal));
    let mut run = plain(&driver);
    all(&mut run).await;
    assert_eq!((hangs.started(), hangs.dropped()), (1, 1));
    let journal = matches!(
        run.finished().outcome,
        Outcome::Failed {
            error: LoopError::Journal { .. }
        }
    );
    assert!(journal);
}

#[tokio::test]
async fn every_event_is_in_the_journal_before_it_is_seen() {
    let journal = MemoryJournal::new();
    let provider = provider([calling(&["look"]), done()]);
    let tool = ScriptedTool::returning("look", "seen");
    let mut run = plain(&driver(&provider, &[&tool]).journal(Arc::new(journal.clone())));
    while let Some(update) = run.next().await {
        if let Update::Event(event) = update {
            assert!(journal.events().contains(&event));
        }
    }
}

/// Takes a batch when its gate opens.
struct GatedJournal(Gate);

#[async_trait]
impl Journal for GatedJournal {
    async fn append(&self, _events: &[Event]) -> Result<(), JournalError> {
        self.0.passed().await;
        Ok(())
    }
}

#[tokio::test]
async fn nothing_starts_and_nothing_is_seen_while_the_journal_writes() {
    let gate = Gate::new();
    let provider = provider([done()]);
    let driver = driver(&provider, &[]).journal(Arc::new(GatedJournal(gate.clone())));
    let mut run = plain(&driver);
    for _ in 0..3 {
        assert_eq!(until_it_waits(&mut run), []);
    }
    assert_eq!(provider.request_count(), 0);
    gate.open();
    assert!(run.next().now_or_never().is_some());
    all(&mut run).await;
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}
