//! Sessions that go on: a run is cut off, another process opens the session and brings it to its end.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use phi::session::{JsonlStore, read_events};
use phi::types::SessionId;
use phi::{Agent, SessionError};
use phi_testkit::{Reply, ScriptedProvider};

fn agent(folder: &Path) -> Agent {
    let provider = ScriptedProvider::new([Reply::text("One."), Reply::text("Two.")]);
    Agent::new(Arc::new(provider), "a-model").store(Arc::new(JsonlStore::new(folder)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let id = SessionId::new("counting")?;

    let mut session = agent(folder.path()).session(id.clone()).await?;
    let mut run = session.prompt("Count.")?;
    run.next().await;
    // As if the process had ended: the run stops, and the lock of the session is released.
    drop(run);
    drop(session);

    let mut session = agent(folder.path()).session(id.clone()).await?;
    if let Err(error @ SessionError::Unfinished { .. }) = session.prompt("Go on.") {
        writeln!(io::stdout(), "{error}")?;
    }
    if let Some(run) = session.resume().await? {
        writeln!(io::stdout(), "{}", run.answer().await?)?;
    }
    writeln!(
        io::stdout(),
        "{}",
        session.prompt("Go on.")?.answer().await?
    )?;

    let store = JsonlStore::new(folder.path());
    let loops = phi::replay(&read_events(&store, &id).await?)?;
    writeln!(
        io::stdout(),
        "loops that replay to the same events: {loops}"
    )?;
    Ok(())
}
