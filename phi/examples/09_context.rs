//! A smaller context: the model lets go of a long result, and the caller brings it back.

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Arc;

use phi::Agent;
use phi::tools::{Registry, Workspace};
use phi::types::{Configuration, SessionId, Tags};
use phi_testkit::{Reply, ScriptedProvider, ScriptedTool};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let prunes = r#"{"tags":["n2"],"memo":"The disk is full since seven."}"#;
    let provider = ScriptedProvider::new([
        Reply::call("read_log", "{}"),
        Reply::call("prune_context", prunes),
        Reply::text("The disk is full."),
        Reply::call("read_clock", "{}"),
        Reply::text("For two hours."),
    ]);
    // With tags, the model reads the name of each message and result: [n2] is the log.
    let configuration = Configuration {
        tags: Some(Tags::Stay),
        ..Configuration::default()
    };
    let workspace = Workspace::open(std::env::temp_dir())?;
    let registry = Registry::built_in().with_context_tools();
    let log = "07:00 the disk is full\n".repeat(100);
    let agent = Agent::new(Arc::new(provider.clone()), "a-model")
        .tools(registry.select("prune_context", &workspace)?)
        .tool(ScriptedTool::returning("read_log", &log))
        .tool(ScriptedTool::returning("read_clock", "09:00"))
        .configuration(configuration);

    let mut session = agent.session(SessionId::new("disk")?).await?;
    session.prompt("What broke?")?.answer().await?;
    // The history keeps what was pruned: an overlay hides it, which can be taken off.
    let overlay = session.transcript().overlays().last().cloned();
    let overlay = overlay.ok_or("nothing was pruned")?;
    let run = session.prompt("For how long?")?;
    let handle = run.handle();
    let (restored, answer) = tokio::join!(handle.restore(overlay), run.answer());
    restored?;
    writeln!(io::stdout(), "{}", answer?)?;

    for request in provider.requests() {
        let (entries, tokens) = (request.view.len(), request.view.estimated_tokens());
        writeln!(io::stdout(), "{entries} entries, {tokens} tokens")?;
    }
    Ok(())
}
