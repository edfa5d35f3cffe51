//! Steering: a message for the model's next call, sent while the loop runs, and a follow-up for its end.

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Arc;

use phi::Agent;
use phi::agent_loop::Update;
use phi::types::{EventKind, Message, QueueId, SessionId};
use phi_testkit::{Gate, Reply, ScriptedProvider, ScriptedTool};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let provider = ScriptedProvider::new([
        Reply::call("paint", "{}"),
        Reply::text("Blue it is."),
        Reply::text("Cleaned up."),
    ]);
    let painted = Gate::new();
    let tool = ScriptedTool::gated("paint", &painted, "the wall is red");
    let agent = Agent::new(Arc::new(provider), "a-model").tool(tool.clone());

    let mut session = agent.session(SessionId::new("painter")?).await?;
    let mut run = session.prompt("Paint the wall.")?;
    // A handle speaks to the run from anywhere. A message is taken when it is in the log.
    let handle = run.handle();
    let wishes = async {
        tool.until_started(1).await;
        handle
            .steer(QueueId::new("colour")?, "Blue, please.")
            .await?;
        handle
            .follow_up(QueueId::new("end")?, "Clean the brushes.")
            .await?;
        painted.open();
        Ok::<(), Box<dyn Error>>(())
    };
    let work = async {
        while let Some(update) = run.next().await {
            if let Update::Event(event) = update
                && let EventKind::Message(added) = event.kind
            {
                match added.message {
                    Message::User(message) => writeln!(io::stdout(), "> {:?}", message.content)?,
                    Message::Assistant(message) => writeln!(io::stdout(), "{}", message.text())?,
                    Message::Extension(_) => {}
                }
            }
        }
        Ok::<(), io::Error>(())
    };
    let (wished, worked) = tokio::join!(wishes, work);
    wished?;
    Ok(worked?)
}
