//! A tool of your own: a typed function whose schema comes from its arguments.

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Arc;

use phi::Agent;
use phi::agent_loop::Update;
use phi::tools::FunctionTool;
use phi::types::{EffectClass, EventKind, SessionId, ToolContext};
use phi_testkit::{Reply, ScriptedProvider};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
struct Roll {
    /// How many sides the die has.
    sides: u32,
}

async fn roll(roll: Roll, _context: ToolContext) -> Result<String, String> {
    match roll.sides {
        0 => Err("a die has at least one side".to_owned()),
        sides => Ok(format!("{} of {sides}", sides.div_ceil(2))),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let provider = ScriptedProvider::new([
        Reply::call("roll", r#"{"sides":0}"#),
        Reply::call("roll", r#"{"sides":6}"#),
        Reply::text("I rolled a three."),
    ]);
    // What may run twice is run again after a crash; a tool is at most once unless it says so.
    let tool =
        FunctionTool::new("roll", "Rolls a die.", roll)?.with_effect_class(EffectClass::Pure);
    let agent = Agent::new(Arc::new(provider), "a-model").tool(tool);

    let mut session = agent.session(SessionId::new("dice")?).await?;
    let mut run = session.prompt("Roll a die.")?;
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
    writeln!(io::stdout(), "{:?}", run.finished().outcome)?;
    Ok(())
}
