//! Kinds that joined format 1 after its first log load for ever, in a log of their own.

use std::fs;
use std::path::{Path, PathBuf};

use crate::scene::{Scratch, Script, answer, contents, session, usage, user};
use phi_session::{JsonlStore, load, read_events};
use phi_types::{
    CacheBroken, Continuation, Event, EventKind, Message, Outcome, RequestPart, TurnTrigger,
};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1-added")
}

/// A session with every kind that was added, each of their forms once.
fn added() -> Vec<Event> {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    script.say(1, 1, Message::User(user("Fix it.")), None);
    let parts = [
        RequestPart::Model {},
        RequestPart::Tools {},
        RequestPart::System {},
        RequestPart::Options {},
        RequestPart::Entry { index: 1 },
    ];
    for (turn, part) in (1..).zip(parts) {
        script.turn(1, turn, TurnTrigger::Prompt);
        script.event(1, EventKind::CacheBroken(CacheBroken { part }));
        script.model(1, 1);
        let said = answer("Done.", &[], usage(4, 2));
        script.say(1, turn, Message::Assistant(said), None);
        script.end_turn(1, turn, usage(4, 2));
    }
    script.end(1, Outcome::Completed {}, usage(20, 10));
    script.events
}

#[tokio::test]
async fn the_added_kinds_read_back_and_fold() {
    let store = JsonlStore::new(golden());
    assert_eq!(read_events(&store, &session()).await.unwrap(), added());
    let recorder = load(&store, &session()).await.unwrap();
    assert_eq!(recorder.session().loops[0].turns.len(), 5);
}

#[tokio::test]
async fn the_added_kinds_encode_to_the_same_events_again() {
    let copy = Scratch::new();
    copy.keep(&added()).await;
    let segments = copy.segments();
    assert_eq!(segments.len(), 1);
    let then = golden().join("s1").join(segments[0].file_name().unwrap());
    let (now, then) = (
        fs::read_to_string(&segments[0]).unwrap(),
        fs::read_to_string(then).unwrap(),
    );
    assert_eq!(contents(&now), contents(&then));
}
