//! A driver changes the context between two loops: a loop of its own journals it, asks no model and no
//! hook, and the next loop reads what was made of it.

use std::sync::Arc;

use async_trait::async_trait;
use phi_loop::{
    BlockKind, BlockOrigin, ContextRefused, Driver, EventId, GateDecision, HookContext, HookError,
    Hooks, Rejected, Run, Start, request_record,
};
use phi_testkit::{MemoryJournal, ScriptedProvider, ScriptedTool};
use phi_types::{
    Configuration, Content, Continuation, EffectId, Entry, Event, EventKind, History, LoopError,
    LoopId, Outcome, OverlayId, Point, Prune, Revert, RevertCategory, Tag, Transcript,
};

use crate::facts::{all, calling, done, driver, finished, plain};
use crate::support::session;

const LONG: &str = "line after line after line after line after line after line of a file";
const NOTE: &str = "[This result was pruned.]";

/// Refuses every loop that it is asked about.
struct Never;

#[async_trait]
impl Hooks for Never {
    fn points(&self) -> Vec<Point> {
        vec![Point::BeforeLoop, Point::FilterInput, Point::BeforeEnd]
    }

    async fn before_loop(&self, _: &HookContext, _: &History) -> Result<GateDecision, HookError> {
        Err(HookError("asked".to_owned()))
    }
}

/// A session with one loop behind it, which looked once.
struct Scene {
    driver: Driver,
    provider: Arc<ScriptedProvider>,
    journal: MemoryJournal,
    transcript: Transcript,
    newest: LoopId,
}

async fn scene() -> Scene {
    let replies = [calling(&["look"]), done(), done()];
    let provider = Arc::new(ScriptedProvider::new(replies));
    let journal = MemoryJournal::new();
    let look = ScriptedTool::returning("look", LONG);
    let driver = driver(&provider, &[&look]).journal(Arc::new(journal.clone()));
    let mut run = plain(&driver);
    all(&mut run).await;
    let finished = finished(&run);
    Scene {
        driver,
        provider,
        journal,
        transcript: finished.transcript,
        newest: finished.loop_id,
    }
}

impl Scene {
    fn start(&self, number: u32) -> Start {
        let mut start = Start::new(
            session(),
            Configuration::default(),
            self.driver.surface("", "m"),
        );
        start.loop_id = LoopId::numbered(&session(), &start.configuration.id, number);
        start.continuation = Continuation::Default;
        start.parent = Some(self.newest.clone());
        start.transcript = self.transcript.clone();
        start
    }

    async fn goes_on_after(&mut self, mut run: Run) {
        all(&mut run).await;
        let finished = finished(&run);
        assert_eq!(finished.outcome, Outcome::Completed {});
        (self.transcript, self.newest) = (finished.transcript, finished.loop_id);
    }
}

fn prune() -> Prune {
    Prune {
        tags: vec![Tag::entry(2)],
        memo: None,
    }
}

fn first_result(view: &History) -> String {
    match view.entries().get(2) {
        Some(Entry::Results(results)) => match &results[0].result.content[0] {
            Content::Text { text } => text.clone(),
            Content::Image { .. } => String::new(),
        },
        other => format!("{other:?}"),
    }
}

fn kinds(events: &[Event], loop_id: &LoopId) -> Vec<String> {
    let own = events
        .iter()
        .filter(|it| it.loop_id.as_ref() == Some(loop_id));
    own.map(crate::support::kind_of).collect()
}

#[tokio::test]
async fn a_change_is_journaled_as_a_loop_and_the_next_one_reads_it() {
    let mut scene = scene().await;
    let run = scene.driver.prune(scene.start(2), prune()).unwrap();
    scene.goes_on_after(run).await;
    let (pruned, asked) = (scene.newest.clone(), scene.provider.request_count());
    let events = scene.journal.events();
    assert_eq!(
        kinds(&events, &pruned),
        [
            "loop_started",
            "surface_changed",
            "context_pruned",
            "loop_ended"
        ]
    );
    assert_eq!(asked, 2, "no model is asked");
    let run = scene.driver.prompt(scene.start(3), "And now?").unwrap();
    scene.goes_on_after(run).await;
    let request = scene.provider.last_request().unwrap();
    assert_eq!(first_result(&request.view), NOTE);

    // The record of that request names the change and what it took away.
    let events = scene.journal.events();
    let attempt = events.iter().rev().find_map(|event| match event.kind {
        EventKind::ModelStarted(_) => Some(EffectId {
            loop_id: event.loop_id.clone()?,
            seq: event.seq,
        }),
        _ => None,
    });
    let record = request_record(&events, &attempt.unwrap()).unwrap();
    assert_eq!(record.request.view, request.view);
    let block = record
        .blocks
        .iter()
        .find(|it| it.what == BlockKind::Entry(2));
    let event = EventId {
        loop_id: pruned.clone(),
        seq: 3,
    };
    assert!(
        matches!(&block.unwrap().origin, BlockOrigin::Overlay { event: by, .. } if *by == event),
        "{block:?}"
    );

    let overlay = OverlayId {
        loop_id: pruned,
        seq: 3,
    };
    let run = scene.driver.restore(scene.start(4), overlay).unwrap();
    scene.goes_on_after(run).await;
    assert_eq!(first_result(scene.transcript.view()), LONG);
    assert_eq!(scene.provider.request_count(), 3);
}

#[tokio::test]
async fn no_hook_is_asked_about_a_change_of_the_caller() {
    let mut scene = scene().await;
    let driver = scene.driver.clone().hooks(Arc::new(Never));
    let revert = Revert {
        to: Tag::entry(0),
        category: RevertCategory::Done,
        summary: "Looked.".into(),
    };
    let run = driver.revert(scene.start(2), revert).unwrap();
    scene.goes_on_after(run).await;
    assert_eq!(scene.transcript.view().len(), 2);
    assert_eq!(scene.transcript.history().len(), 4);
}

#[tokio::test]
async fn what_does_not_fit_or_is_not_journaled_changes_nothing() {
    let scene = scene().await;
    let missing = Prune {
        tags: vec![Tag::entry(9)],
        memo: None,
    };
    let before = scene.journal.events();
    let refused = scene.driver.prune(scene.start(2), missing).unwrap_err();
    let (tag, len) = (Tag::entry(9), 4);
    let why = ContextRefused::NoSuchEntry { tag, len };
    assert_eq!(refused, Rejected::Context(why));
    drop(scene.driver.prune(scene.start(2), prune()).unwrap());
    assert_eq!(
        scene.journal.events(),
        before,
        "an unpulled run does nothing"
    );

    let failing = scene
        .driver
        .clone()
        .journal(Arc::new(MemoryJournal::failing_at(1)));
    let mut run = failing.prune(scene.start(2), prune()).unwrap();
    assert_eq!(all(&mut run).await, []);
    let outcome = run.finished().outcome;
    assert!(
        matches!(
            outcome,
            Outcome::Failed {
                error: LoopError::Journal { .. }
            }
        ),
        "{outcome:?}"
    );
}
