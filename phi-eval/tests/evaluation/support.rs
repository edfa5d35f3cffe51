//! What the tests share: branches on scripted models, and a strategy that waits for all.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use phi_eval::{Branch, Candidate, Evaluated, Evaluation, EvaluationStrategy, StrategyError};
use phi_loop::Driver;
use phi_testkit::{Reply, ScriptedProvider, ScriptedTool};
use phi_types::{Configuration, ConfigurationId, SessionId, Transcript};

pub(crate) fn evaluation(branches: Vec<Branch>) -> Evaluation {
    let session = SessionId::new("s").unwrap();
    Evaluation::new(session, Transcript::new())
        .branches(branches)
        .prompt("Go.")
}

/// A model that gives these replies.
pub(crate) fn model(replies: impl IntoIterator<Item = Reply>) -> Driver {
    Driver::new(Arc::new(ScriptedProvider::new(replies)))
}

/// A model that calls a tool once and then says a text.
pub(crate) fn caller(tool: &ScriptedTool, text: &str) -> Driver {
    let name = phi_types::Tool::spec(tool).name.to_string();
    model([Reply::call(name, "{}"), Reply::text(text)]).tools(vec![Arc::new(tool.clone())])
}

pub(crate) fn branch(name: &str, driver: Driver) -> Branch {
    let configuration = Configuration {
        id: ConfigurationId::new(name).unwrap(),
        ..Configuration::default()
    };
    let surface = driver.surface("", "model");
    Branch::new(driver, configuration, surface)
}

/// Fails a test that would hang: the clock of the test is paused and jumps when all is idle.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    let soon = tokio::time::timeout(Duration::from_secs(60), work);
    soon.await.expect("nothing moves any more")
}

/// What the model said last in each branch.
pub(crate) fn answers(evaluated: &Evaluated) -> Vec<String> {
    let last = evaluated
        .branches()
        .iter()
        .map(|it| match it.transcript.history().last() {
            Some(phi_types::Entry::Assistant(message)) => message.text(),
            _ => String::new(),
        });
    last.collect()
}

/// Waits for all and chooses the candidate at a place, whether it exists or not.
pub(crate) struct At(pub(crate) usize);

#[async_trait]
impl EvaluationStrategy for At {
    fn name(&self) -> &'static str {
        "at"
    }

    async fn choose(&self, _candidates: &[Candidate<'_>]) -> Result<usize, StrategyError> {
        Ok(self.0)
    }
}
