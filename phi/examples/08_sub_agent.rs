//! An agent as a tool: it works in a session of its own, and what it spends counts for its parent.

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Arc;

use phi::agent_loop::{Budget, Ledger};
use phi::session::{MemoryStore, Store, load};
use phi::types::{EventKind, SessionId};
use phi::{Agent, SubAgent};
use phi_testkit::{Reply, ScriptedProvider, ScriptedTool};

fn agent(replies: impl IntoIterator<Item = Reply>) -> Agent {
    Agent::new(Arc::new(ScriptedProvider::new(replies)), "a-model")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let researcher = agent([
        Reply::call("look", "{}"),
        Reply::text("The sky is blue, because air scatters blue light most."),
    ])
    .tool(ScriptedTool::returning("look", "blue"));

    // Whatever both do, together they make at most ten tool calls.
    let ledger = Ledger::new(Budget {
        tool_calls: Some(10),
        ..Budget::default()
    });
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let asks = Reply::call("research", r#"{"task":"Why is the sky blue?"}"#);
    let writer = agent([asks, Reply::text("Air scatters blue light most.")])
        .sub_agent(SubAgent::new("research", "Finds things out.", researcher))
        .ledger(ledger)
        .store(Arc::clone(&store));

    let id = SessionId::new("sky")?;
    let mut session = writer.session(id.clone()).await?;
    let answer = session.prompt("Explain the sky.")?.answer().await?;
    writeln!(io::stdout(), "{answer}")?;

    let events = phi::session::read_events(store.as_ref(), &id).await?;
    for event in events {
        if let EventKind::ToolEnded(ended) = event.kind
            && let Some(child) = ended.child
        {
            let child = load(store.as_ref(), &child).await?.into_session();
            writeln!(io::stdout(), "{}: {} turns", child.id, child.turns())?;
        }
    }
    Ok(())
}
