//! A handle prunes, reverts and restores: the change is journaled, and the next request shows it.

use std::sync::{Arc, Mutex};

use futures_util::{FutureExt, future::join};
use phi_loop::{ContextRefused, Handle, Rejected, Run};
use phi_testkit::{Gate, MemoryJournal, ScriptedProvider, ScriptedTool};
use phi_types::{
    Content, Entry, Event, EventKind, History, IllegalEvent, OverlayId, Prune, Request, Revert,
    RevertCategory, Tag,
};

use crate::facts::{all, calling, done, driver, events, finished, plain, until_it_waits};

const LONG: &str = "line after line after line after line after line after line of a file";
const NOTE: &str = "[This result was pruned.]";
const SUMMARY: &str = "[What followed was taken back (dead end). What is left of it:]\nNot there.";

/// A run that has looked twice; its third call and its fourth one each wait for a gate.
struct Scene {
    run: Run,
    provider: Arc<ScriptedProvider>,
    journal: MemoryJournal,
    third: (ScriptedTool, Gate),
    fourth: (ScriptedTool, Gate),
}

fn scene(journal: MemoryJournal) -> Scene {
    let replies = ["look", "look", "third", "fourth"].map(|name| calling(&[name]));
    // A revert takes answers out of the view, so the view does not tell which reply comes next.
    let replies = Mutex::new(replies.into_iter().chain([done()]));
    let reply = move |_, _: &Request| replies.lock().unwrap().next();
    let provider = Arc::new(ScriptedProvider::from_fn(reply));
    let gated = |name| {
        let gate = Gate::new();
        (ScriptedTool::gated(name, &gate, "ok"), gate)
    };
    let (third, fourth) = (gated("third"), gated("fourth"));
    let look = ScriptedTool::returning("look", LONG);
    let driver = driver(&provider, &[&look, &third.0, &fourth.0]);
    let mut run = plain(&driver.journal(Arc::new(journal.clone())));
    until_it_waits(&mut run);
    assert_eq!((third.0.started(), fourth.0.started()), (1, 0));
    Scene {
        run,
        provider,
        journal,
        third,
        fourth,
    }
}

fn prune(entry: u64) -> Prune {
    Prune {
        tags: vec![Tag::entry(entry)],
        memo: None,
    }
}

fn revert(to: u64) -> Revert {
    Revert {
        to: Tag::entry(to),
        category: RevertCategory::DeadEnd,
        summary: "Not there.".into(),
    }
}

/// What the model reads, an entry each; its calls by their names.
fn read(view: &History) -> Vec<String> {
    let text = |content: &[Content]| match content.first() {
        Some(Content::Text { text }) => text.clone(),
        _ => String::new(),
    };
    let entries = view.entries().into_iter().map(|entry| match entry {
        Entry::User(message) => text(&message.content),
        Entry::Assistant(message) => message.tool_calls().map(|it| &*it.name).collect(),
        Entry::Results(results) => text(&results[0].result.content),
        Entry::Extension(_) => String::new(),
    });
    entries.collect()
}

fn changes(events: &[Event]) -> Vec<&Event> {
    let changed = |event: &&Event| {
        matches!(
            event.kind,
            EventKind::ContextPruned(_)
                | EventKind::ContextReverted(_)
                | EventKind::ContextRestored(_)
        )
    };
    events.iter().filter(changed).collect()
}

/// The overlay that the newest change laid.
fn overlay(journal: &MemoryJournal) -> OverlayId {
    let events = journal.events();
    let newest = *changes(&events).last().unwrap();
    OverlayId {
        loop_id: newest.loop_id.clone().unwrap(),
        seq: newest.seq,
    }
}

#[tokio::test]
async fn a_change_resolves_when_it_is_journaled_and_the_next_request_holds_it() {
    let mut scene = scene(MemoryJournal::new());
    let (handle, journal) = (scene.run.handle(), scene.journal.clone());
    let mut pruning = Box::pin(handle.prune(prune(2)));
    assert_eq!(pruning.as_mut().now_or_never(), None);
    let unpulled = journal.events();
    assert!(
        changes(&unpulled).is_empty(),
        "an unpulled run takes nothing"
    );
    let speaking = async {
        pruning.await.unwrap();
        assert_eq!(changes(&journal.events()).len(), 1);
        handle.revert(revert(2)).await.unwrap();
        assert_eq!(changes(&journal.events()).len(), 2);
        assert_eq!(
            scene.provider.request_count(),
            3,
            "a change asks for no request"
        );
        scene.third.1.open();
        scene.fourth.0.until_started(1).await;
        let shown = read(&scene.provider.last_request().unwrap().view);
        assert_eq!(shown, ["Do it.", "look", NOTE, SUMMARY, "third", "ok"]);
        handle.restore(overlay(&journal)).await.unwrap();
        assert_eq!(changes(&journal.events()).len(), 3);
        scene.fourth.1.open();
    };
    let (updates, ()) = join(all(&mut scene.run), speaking).await;
    let shown = read(&scene.provider.last_request().unwrap().view);
    let back = [
        "Do it.", "look", NOTE, "look", LONG, "third", "ok", "fourth", "ok",
    ];
    assert_eq!(shown, back, "the pruned result stays pruned");
    assert_eq!(
        read(finished(&scene.run).transcript.history())[2],
        LONG,
        "the history keeps what was taken out"
    );
    let seen = events(&updates);
    assert_eq!(changes(&seen), changes(&journal.events()));
}

type Refusal = (&'static str, Result<(), Rejected>, Rejected);

/// Wishes that do not fit, what came of each, and what should.
async fn misfits(handle: &Handle, loop_id: phi_types::LoopId) -> Vec<Refusal> {
    let tag = Tag::entry;
    let blank = Revert {
        summary: " ".into(),
        ..revert(2)
    };
    let unknown = OverlayId { loop_id, seq: 2 };
    let missing = IllegalEvent::NoSuchOverlay(unknown.clone());
    let refusals = [
        (
            "a result that is not there",
            handle.prune(prune(9)).await,
            ContextRefused::NoSuchEntry {
                tag: tag(9),
                len: 6,
            },
        ),
        (
            "a message",
            handle.prune(prune(0)).await,
            ContextRefused::NoResults { tag: tag(0) },
        ),
        (
            "an answer without its results",
            handle.revert(revert(1)).await,
            ContextRefused::PartsCalls {
                tag: tag(1),
                instead: tag(2),
            },
        ),
        (
            "what runs",
            handle.revert(revert(4)).await,
            ContextRefused::NothingFollows { tag: tag(4) },
        ),
        (
            "no summary",
            handle.revert(blank).await,
            ContextRefused::Blank { what: "summary" },
        ),
        (
            "no overlay",
            handle.restore(unknown).await,
            ContextRefused::Impossible(missing),
        ),
    ];
    let refusals = refusals.map(|(what, came, why)| (what, came, Rejected::Context(why)));
    refusals.into()
}

#[tokio::test]
async fn a_wish_that_does_not_fit_comes_back_typed_and_changes_nothing() {
    let mut scene = scene(MemoryJournal::new());
    let (handle, journal) = (scene.run.handle(), scene.journal.clone());
    let before = journal.events();
    let loop_id = before[0].loop_id.clone().unwrap();
    let speaking = async {
        for (what, came, expected) in misfits(&handle, loop_id).await {
            assert_eq!(came, Err(expected), "{what}");
        }
        assert_eq!(journal.events(), before);
        scene.third.1.open();
        scene.fourth.1.open();
    };
    join(all(&mut scene.run), speaking).await;
    assert!(changes(&journal.events()).is_empty());
    let shown = scene.provider.last_request().unwrap().view;
    assert_eq!(read(&shown)[..5], ["Do it.", "look", LONG, "look", LONG]);
    finished(&scene.run);
}

#[tokio::test]
async fn an_ended_or_dropped_run_refuses_every_change() {
    let mut scene = scene(MemoryJournal::new());
    let (handle, journal) = (scene.run.handle(), scene.journal.clone());
    let speaking = async {
        handle.prune(prune(2)).await.unwrap();
        scene.third.1.open();
        scene.fourth.1.open();
    };
    join(all(&mut scene.run), speaking).await;
    let (before, laid) = (journal.events(), overlay(&journal));
    for dropped in [false, true] {
        let came = [
            handle.prune(prune(4)).await,
            handle.revert(revert(2)).await,
            handle.restore(laid.clone()).await,
        ];
        assert_eq!(came, [const { Err(Rejected::Ended) }; 3], "{dropped}");
        assert_eq!(journal.events(), before);
        scene.run = self::scene(MemoryJournal::new()).run;
    }
}

#[tokio::test]
async fn a_change_that_the_journal_does_not_take_is_refused_and_not_shown() {
    let appends = scene(MemoryJournal::new()).journal.appends();
    let mut scene = scene(MemoryJournal::failing_at(appends + 1));
    let handle = scene.run.handle();
    let pruning = handle.prune(prune(2));
    let (updates, came) = join(all(&mut scene.run), pruning).await;
    assert_eq!(came, Err(Rejected::Ended));
    assert!(changes(&events(&updates)).is_empty());
    assert!(changes(&scene.journal.events()).is_empty());
    assert_eq!(scene.provider.request_count(), 3);
}
