//! An answer as a value: one that does not fit is sent back with what is wrong, and repaired.

use std::io::{self, Write as _};
use std::sync::Arc;

use phi::Agent;
use phi::types::SessionId;
use phi_testkit::{Reply, ScriptedProvider};
use schemars::JsonSchema;
use serde::Deserialize;

/// A person.
#[derive(Debug, Deserialize, JsonSchema)]
struct Person {
    /// The full name.
    name: String,
    /// The age in years.
    age: u8,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let provider = ScriptedProvider::new([
        Reply::text(r#"{"name": "Ada Lovelace", "age": "thirty-six"}"#),
        Reply::text(r#"{"name": "Ada Lovelace", "age": 36}"#),
    ]);
    let agent = Agent::new(Arc::new(provider), "a-model");
    let mut session = agent.session(SessionId::new("people")?).await?;

    let asked = session.prompt_as::<Person>("Who wrote the first program?")?;
    let person = asked.repairs(1).output().await?;
    writeln!(io::stdout(), "{} was {}.", person.name, person.age)?;
    assert_eq!((person.name.as_str(), person.age), ("Ada Lovelace", 36));

    // The repair is a part of the conversation: prompt, answer, what was wrong, answer.
    assert_eq!(session.transcript().history().len(), 4);
    Ok(())
}
