//! Logs whose context was changed on request load for ever, in every form of what was recorded.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::scene::{Scratch, Script, answer, call, contents, loop_id, session, usage, user};
use phi_session::{JsonlStore, NoticeKind, load, read_events};
use phi_types::{
    AskedBy, CompactionBlock, Configuration, ContextChange, ContextPruned, ContextRestored,
    ContextReverted, Continuation, EffectClass, EffectId, Event, EventKind, HistoryDigest,
    LoopStarted, Message, Outcome, OverlayId, Prune, PrunedResult, Revert, RevertCategory, Tag,
    Tags, ToolEnded, ToolEnding, ToolResult, TurnTrigger,
};

fn golden(name: &str) -> PathBuf {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    golden.join(name)
}

fn overlay(seq: u64) -> OverlayId {
    let loop_id = loop_id(1);
    OverlayId { loop_id, seq }
}

fn ended(index: u32, started: u64, change: ContextChange) -> EventKind {
    EventKind::ToolEnded(ToolEnded {
        index,
        call_id: format!("c{index}").into(),
        started: Some(started),
        ending: ToolEnding::Finished,
        result: Arc::new(ToolResult::text("As you wish.").with_change(change)),
        child: None,
        spent: None,
    })
}

fn by_call(seq: u64) -> AskedBy {
    let loop_id = loop_id(1);
    let effect = EffectId { loop_id, seq };
    AskedBy::Call { effect }
}

fn reverted(by: AskedBy, revert: Revert, (first, count): (u64, u64)) -> EventKind {
    let text = format!("[What followed was taken back]\n{}", revert.summary);
    EventKind::ContextReverted(Arc::new(ContextReverted {
        by,
        to: revert.to,
        category: revert.category,
        summary: revert.summary,
        block: CompactionBlock {
            first,
            count,
            replacement: vec![user(&text)],
        },
        tokens: 30,
    }))
}

fn revert(to: u64, category: RevertCategory) -> Revert {
    Revert {
        to: Tag::entry(to),
        category,
        summary: "Nothing.".into(),
    }
}

fn pruned(by: AskedBy, entry: u64, index: u32, text: &str) -> EventKind {
    let result = Arc::new(ToolResult::text(text));
    EventKind::ContextPruned(ContextPruned {
        by,
        results: vec![PrunedResult {
            entry,
            index,
            result,
        }],
        tokens: 40,
    })
}

/// A session in which every kind and form of such a change occurs.
fn changed() -> Vec<Event> {
    let mut script = Script::new();
    let started = |tags| {
        EventKind::LoopStarted(Arc::new(LoopStarted {
            agent: None,
            parent: None,
            continuation: Continuation::Initial,
            configuration: Configuration {
                tags: Some(tags),
                ..Configuration::default()
            },
            metadata: None,
            history_digest: HistoryDigest::Combined,
        }))
    };
    script.event(1, started(Tags::Stay));
    script.say(1, 1, Message::User(user("Fix it.")), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    script.model(1, 1);
    let two = [call("c0", "look", "{}"), call("c1", "look", "{}")];
    script.say(
        1,
        1,
        Message::Assistant(answer("", &two, usage(4, 2))),
        None,
    );
    script.result(1, 0, None, "one");
    script.result(1, 1, None, "two");
    script.end_turn(1, 1, usage(4, 2));
    script.event(1, pruned(AskedBy::Caller {}, 2, 1, "The second."));
    script.turn(1, 2, TurnTrigger::ToolResults);
    script.model(1, 1);
    script.say(
        1,
        2,
        Message::Assistant(answer("", &two, usage(4, 2))),
        None,
    );
    let first = script.run(1, 0, &two[0], EffectClass::Pure);
    let second = script.run(1, 1, &two[1], EffectClass::Pure);
    let (entry, result) = (2, Some(0));
    let tags = vec![Tag { entry, result }, Tag::entry(2)];
    let memo = Some("Both.".to_owned());
    let prune = ContextChange::Prune(Prune { tags, memo });
    script.event(1, ended(0, first, prune));
    let back = revert(0, RevertCategory::Superseded);
    script.event(1, ended(1, second, ContextChange::Revert(back.clone())));
    script.event(1, pruned(by_call(first), 2, 0, "Both."));
    let last = script.event(1, reverted(by_call(second), back, (1, 2)));
    script.end_turn(1, 2, usage(4, 2));
    let restored = ContextRestored {
        by: AskedBy::Caller {},
        overlay: overlay(last),
        tokens: 50,
    };
    script.event(1, EventKind::ContextRestored(restored));
    let others = [
        RevertCategory::DeadEnd,
        RevertCategory::Done,
        RevertCategory::Other("wrong file".into()),
    ];
    for (first, category) in [1, 2, 1].into_iter().zip(others) {
        let at = (first, 2);
        script.event(1, reverted(AskedBy::Caller {}, revert(0, category), at));
    }
    script.end(1, Outcome::Completed {}, usage(8, 4));
    script.event(2, started(Tags::Newest(20)));
    script.events
}

/// A session whose context was changed between two of its loops.
fn changed_between() -> Vec<Event> {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    script.say(1, 1, Message::User(user("Fix it.")), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    script.model(1, 1);
    let one = [call("c0", "look", "{}")];
    script.say(
        1,
        1,
        Message::Assistant(answer("", &one, usage(4, 2))),
        None,
    );
    script.result(1, 0, None, "one");
    script.end_turn(1, 1, usage(4, 2));
    script.end(1, Outcome::Completed {}, usage(4, 2));
    script.start(2, Some(1), Continuation::ContextChange);
    let last = script.event(2, pruned(AskedBy::Caller {}, 2, 0, "The first."));
    script.end(2, Outcome::Completed {}, usage(0, 0));
    script.start(3, Some(2), Continuation::ContextChange);
    let loop_id = loop_id(2);
    let restored = ContextRestored {
        by: AskedBy::Caller {},
        overlay: OverlayId { loop_id, seq: last },
        tokens: 50,
    };
    script.event(3, EventKind::ContextRestored(restored));
    script.end(3, Outcome::Completed {}, usage(0, 0));
    script.start(4, Some(3), Continuation::Default);
    script.events
}

#[tokio::test]
async fn a_changed_context_reads_back_and_folds() {
    let store = JsonlStore::new(golden("format-2-context"));
    assert_eq!(read_events(&store, &session()).await.unwrap(), changed());
    let recorder = load(&store, &session()).await.unwrap();
    let record = &recorder.session().loops[0];
    let kinds = record.notices.iter().map(|notice| match &notice.kind {
        NoticeKind::Pruned(_) => "pruned",
        NoticeKind::Reverted(_) => "reverted",
        NoticeKind::Restored(_) => "restored",
        _ => "other",
    });
    let expected = [
        "pruned", "pruned", "reverted", "restored", "reverted", "reverted", "reverted",
    ];
    assert_eq!(kinds.collect::<Vec<_>>(), expected);
    assert_eq!(record.transcript.overlays().count(), 5);
    assert_eq!(record.transcript.history().len(), 5);
}

#[tokio::test]
async fn a_context_that_changed_between_loops_reads_back_and_folds() {
    let store = JsonlStore::new(golden("format-2-context-between"));
    let events = read_events(&store, &session()).await.unwrap();
    assert_eq!(events, changed_between());
    let recorder = load(&store, &session()).await.unwrap();
    let overlays = recorder
        .session()
        .loops
        .iter()
        .map(|it| (it.continuation(), it.transcript.overlays().count()));
    assert_eq!(
        overlays.collect::<Vec<_>>(),
        [
            (Continuation::Initial, 0),
            (Continuation::ContextChange, 1),
            (Continuation::ContextChange, 0),
            (Continuation::Default, 0),
        ]
    );
}

#[tokio::test]
async fn a_changed_context_encodes_to_the_same_events_again() {
    let logs = [
        ("format-2-context", changed()),
        ("format-2-context-between", changed_between()),
    ];
    for (name, events) in logs {
        let copy = Scratch::new();
        copy.keep(&events).await;
        let segments = copy.segments();
        assert_eq!(segments.len(), 1);
        let then = golden(name)
            .join("s1")
            .join(segments[0].file_name().unwrap());
        let (now, then) = (
            fs::read_to_string(&segments[0]).unwrap(),
            fs::read_to_string(then).unwrap(),
        );
        assert_eq!(contents(&now), contents(&then));
    }
}
