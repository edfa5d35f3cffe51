//! One agent, one session, two prompts: the second one continues the conversation.

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Arc;

use phi::Agent;
use phi::types::SessionId;
use phi_testkit::{Reply, ScriptedProvider};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // A scripted model needs no key; `phi::provider::HttpProvider` speaks to a real one.
    let provider = ScriptedProvider::new([
        Reply::text("Hello. What shall I call you?"),
        Reply::text("Nice to meet you, Ada."),
    ]);
    let agent = Agent::new(Arc::new(provider), "a-model").system("Be friendly and brief.");

    let mut session = agent.session(SessionId::new("hello")?).await?;
    for prompt in ["Hello!", "Call me Ada."] {
        let answer = session.prompt(prompt)?.answer().await?;
        writeln!(io::stdout(), "> {prompt}\n{answer}")?;
    }
    Ok(())
}
