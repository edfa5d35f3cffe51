//! Policy by hooks: a gate that denies what it does not like, before anything runs.

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Arc;

use async_trait::async_trait;
use phi::agent_loop::{HookContext, HookError, Hooks, ToolDecision, Update};
use phi::types::{EventKind, Point, SessionId, ToolCall};
use phi_testkit::{Reply, ScriptedCall, ScriptedProvider, ScriptedTool};

struct NoSecrets;

#[async_trait]
impl Hooks for NoSecrets {
    fn points(&self) -> Vec<Point> {
        vec![Point::BeforeTool]
    }

    async fn before_tool(
        &self,
        _context: &HookContext,
        call: &ToolCall,
    ) -> Result<ToolDecision, HookError> {
        if call.arguments.text().contains("secret") {
            return Ok(ToolDecision::Deny {
                reason: "secrets stay".to_owned(),
            });
        }
        Ok(ToolDecision::Allow)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let provider = ScriptedProvider::new([
        Reply::call("open", r#"{"path":"readme"}"#)
            .with_call(ScriptedCall::new("open", r#"{"path":"secret"}"#)),
        Reply::text("I could read one."),
    ]);
    let agent = phi::Agent::new(Arc::new(provider), "a-model")
        .tool(ScriptedTool::returning("open", "what it holds"))
        .hooks(NoSecrets);
    let mut session = agent.session(SessionId::new("a")?).await?;
    let mut run = session.prompt("Read both files.")?;
    while let Some(update) = run.next().await {
        if let Update::Event(event) = update
            && let EventKind::ToolEnded(ended) = event.kind
        {
            writeln!(
                io::stdout(),
                "{:?}: {:?}",
                ended.ending,
                ended.result.content
            )?;
        }
    }
    Ok(())
}
