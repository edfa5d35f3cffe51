//! Retry and fallback: a busy model is called again, and another one answers where it stays busy.

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Arc;

use phi::Agent;
use phi::agent_loop::Update;
use phi::types::{
    Configuration, EventKind, ProviderError, ProviderErrorKind, RetryPolicy, SessionId,
};
use phi_testkit::{Reply, ScriptedProvider};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let busy = || ProviderError::new(ProviderErrorKind::Overloaded, "try again later");
    let reply = Reply::text("Here I am.");
    let provider = ScriptedProvider::new([reply.after_error(busy()).after_error(busy())]);
    let retry = RetryPolicy {
        attempts_max: 2,
        wait_first_ms: 1,
        ..RetryPolicy::default()
    };
    let agent = Agent::new(Arc::new(provider.clone()), "large")
        .fallback(Arc::new(provider), "small")
        .configuration(Configuration {
            retry,
            ..Configuration::default()
        });

    let mut session = agent.session(SessionId::new("patient")?).await?;
    let mut run = session.prompt("Are you there?")?;
    while let Some(update) = run.next().await {
        let Update::Event(event) = update else {
            continue;
        };
        match event.kind {
            EventKind::ModelStarted(started) => {
                writeln!(
                    io::stdout(),
                    "attempt {} at model {}",
                    started.attempt,
                    started.target
                )?;
            }
            EventKind::ModelFailed(failed) => writeln!(io::stdout(), "  {}", failed.error)?,
            _ => {}
        }
    }
    writeln!(io::stdout(), "{:?}", run.finished().outcome)?;
    Ok(())
}
