//! A prompt, two parallel calls and an answer, from the first event to the replay.

use std::sync::Arc;

use phi_loop::{Driver, Start, Update, replay};
use phi_testkit::{MemoryJournal, Reply, ScriptedCall, ScriptedProvider, ScriptedTool};
use phi_types::{Configuration, Outcome, SessionId, Transcript};

#[tokio::test]
async fn the_log_restores_and_replays() {
    let provider = Arc::new(ScriptedProvider::new([
        Reply::text("Looking.")
            .with_call(ScriptedCall::new("look", "{\"at\":1}"))
            .with_call(ScriptedCall::new("look", "{\"at\":2}")),
        Reply::text("Done."),
    ]));
    let journal = MemoryJournal::new();
    let driver = Driver::new(provider)
        .tools(vec![Arc::new(ScriptedTool::returning("look", "seen"))])
        .journal(Arc::new(journal.clone()));
    let session = SessionId::new("s").unwrap();
    let start = Start::new(
        session,
        Configuration::default(),
        driver.surface("Be brief.", "m"),
    );
    let mut run = driver.prompt(start, "Look twice.").unwrap();
    let mut events = Vec::new();
    while let Some(update) = run.next().await {
        if let Update::Event(event) = update {
            events.push(event);
        }
    }
    assert_eq!(run.finished().outcome, Outcome::Completed {});
    assert_eq!(journal.events(), events);
    let machine = replay(&Transcript::new(), &events).unwrap();
    assert_eq!(machine.outcome(), Some(&Outcome::Completed {}));
}
