//! A sub-agent that fails, panics, is refused or reaches a limit gives a result that says so.

use std::sync::Arc;

use async_trait::async_trait;
use phi::Agent;
use phi::agent_loop::{Budget, HookContext, HookError, Hooks, Ledger, ModelDecision};
use phi::types::{
    Configuration, Limits, Outcome, Point, ProviderError, ProviderErrorKind, Request, ToolEnding,
};
use phi_testkit::{Reply, ScriptedProvider, ScriptedTool};

use crate::scene::{agent, asking, ended, finish, helper, memory, text};

/// What the parent's model reads of a sub-agent.
async fn says(child: Agent) -> String {
    let parent = agent([asking(&["look_up"]), Reply::text("Done.")])
        .store(memory())
        .sub_agent(helper("look_up", child));
    let (updates, finished) = finish(&parent).await;
    assert_eq!(finished.outcome, Outcome::Completed {});
    let ended = ended(&updates);
    assert_eq!(ended[0].ending, ToolEnding::Failed);
    assert!(ended[0].child.is_some());
    text(&ended[0])
}

struct Refuses;

#[async_trait]
impl Hooks for Refuses {
    fn points(&self) -> Vec<Point> {
        vec![Point::BeforeModel]
    }

    async fn before_model(
        &self,
        _context: &HookContext,
        _request: &Request,
    ) -> Result<ModelDecision, HookError> {
        Ok(ModelDecision::Reject {
            reason: "not today".to_owned(),
        })
    }
}

#[tokio::test]
async fn its_model_fails() {
    let error = ProviderError::new(ProviderErrorKind::Auth, "no such key");
    let said = says(agent([Reply::text("never").after_error(error)])).await;
    assert!(said.contains("did not finish"), "{said}");
    assert!(said.contains("no such key"), "{said}");
}

#[tokio::test]
async fn its_model_panics() {
    let provider = ScriptedProvider::from_fn(|_, _| panic!("boom"));
    let said = says(Agent::new(Arc::new(provider), "m")).await;
    assert!(said.contains("boom"), "{said}");
}

#[tokio::test]
async fn it_reaches_its_own_limit_and_what_it_said_is_not_lost() {
    let call = || {
        let look = phi_testkit::ScriptedCall::new("look", "{}");
        Reply::text("I have looked at half.").with_call(look)
    };
    let child = agent([call(), call()])
        .tool(ScriptedTool::returning("look", "seen"))
        .configuration(Configuration {
            limits: Limits {
                turns: Some(1),
                ..Limits::default()
            },
            ..Configuration::default()
        });
    let said = says(child).await;
    assert!(said.contains("it reached a limit, turns"), "{said}");
    assert!(said.ends_with("I have looked at half."), "{said}");
}

#[tokio::test]
async fn a_hook_of_its_own_refuses() {
    let said = says(agent([Reply::text("never")]).hooks(Refuses)).await;
    assert!(said.contains("not today"), "{said}");
}

#[tokio::test]
async fn one_that_may_not_be_spawned_is_a_result_that_the_model_reads() {
    let budgets = [
        (
            Budget {
                depth: Some(0),
                ..Budget::default()
            },
            "depth of sub-agents",
        ),
        (
            Budget {
                agents: Some(0),
                ..Budget::default()
            },
            "sub-agents",
        ),
        (
            Budget {
                agents_at_once: Some(0),
                ..Budget::default()
            },
            "sub-agents at once",
        ),
    ];
    for (budget, limit) in budgets {
        let parent = agent([asking(&["look_up"]), Reply::text("Done.")])
            .ledger(Ledger::new(budget))
            .sub_agent(helper("look_up", agent([])));
        let (updates, finished) = finish(&parent).await;
        assert_eq!(finished.outcome, Outcome::Completed {});
        let ended = ended(&updates);
        assert_eq!(ended[0].ending, ToolEnding::Failed);
        let said = text(&ended[0]);
        assert!(
            said.contains(&format!("the limit is reached, {limit}.")),
            "{said}"
        );
        assert_eq!(ended[0].child, None);
    }
}

#[tokio::test]
async fn a_family_without_a_ledger_is_bounded_all_the_same() {
    // Twelve generations, of which the default allows eight below the root.
    let mut youngest = agent([Reply::text("The youngest.")]);
    for _ in 0..12 {
        youngest = agent([asking(&["deeper"]), Reply::text("Back.")])
            .sub_agent(helper("deeper", youngest));
    }
    let store = memory();
    let (_, finished) = finish(&youngest.store(Arc::clone(&store))).await;
    assert_eq!(finished.outcome, Outcome::Completed {});
    let all = store.list(&phi::session::SessionFilter::default()).await;
    assert_eq!(all.unwrap().len(), 1 + 8);
}
