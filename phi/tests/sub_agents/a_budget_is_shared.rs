//! A parent and its sub-agents spend out of one ledger, each token once.

use std::sync::Arc;

use phi::agent_loop::{Budget, Ledger, Spending};
use phi::types::{LimitKind, Outcome};
use phi_testkit::{Reply, ScriptedTool};

use crate::scene::{
    agent, asking, ended, finish, helper, id, memory, outcome, record, text, usage,
};

fn tokens(tokens: u64) -> Ledger {
    Ledger::new(Budget {
        tokens: Some(tokens),
        ..Budget::default()
    })
}

#[tokio::test]
async fn each_token_and_call_counts_once_however_deep() {
    let store = memory();
    let ledger = tokens(100_000);
    let grandchild = agent([
        Reply::call("look", "{}").with_usage(usage(1_000)),
        Reply::text("Deep.").with_usage(usage(1_000)),
    ])
    .tool(ScriptedTool::returning("look", "seen"));
    let child = agent([
        asking(&["deeper"]).with_usage(usage(100)),
        Reply::text("Back.").with_usage(usage(100)),
    ])
    .sub_agent(helper("deeper", grandchild));
    let parent = agent([
        asking(&["deep"]).with_usage(usage(10)),
        Reply::text("Done.").with_usage(usage(10)),
    ])
    .store(Arc::clone(&store))
    .ledger(ledger.clone())
    .sub_agent(helper("deep", child));
    let (_, finished) = finish(&parent).await;
    assert_eq!(finished.usage.total_tokens(), 2_220 + 6);
    let expected = Spending {
        tokens: 2_220 + 6,
        tool_calls: 3,
        agents: 2,
        ..Spending::default()
    };
    assert_eq!(ledger.spent(), expected);
    assert_eq!(ledger.reserved(), Spending::default());
    let read = phi::spending(store.as_ref(), &id("s")).await.unwrap();
    assert_eq!(read, expected, "the logs say the same");
}

#[tokio::test]
async fn a_child_for_which_there_is_no_room_left_says_so() {
    let store = memory();
    let look = || Reply::call("look", "{}").with_usage(usage(100));
    let child = agent((0..20).map(|_| look())).tool(ScriptedTool::returning("look", "seen"));
    let parent = agent([
        asking(&["look_up"]).with_usage(usage(10)),
        Reply::text("Done."),
    ])
    .store(Arc::clone(&store))
    .ledger(tokens(1_000))
    .sub_agent(helper("look_up", child));
    let (updates, finished) = finish(&parent).await;
    let ended = ended(&updates);
    assert!(text(&ended[0]).contains("it reached a limit, tokens"));
    let limit = LimitKind::Tokens;
    // What it left is enough for the smaller request of its parent.
    assert_eq!(finished.outcome, Outcome::Completed {});
    let child = record(store.as_ref(), ended[0].child.as_ref().unwrap()).await;
    assert_eq!(outcome(&child), &Outcome::LimitReached { limit });
    let read = phi::spending(store.as_ref(), &id("s")).await.unwrap();
    assert!(read.tokens <= 1_000, "{read:?}");
}

#[tokio::test]
async fn a_later_process_goes_on_with_what_is_left() {
    let store = memory();
    let ledger = tokens(10_000);
    let child = || agent([Reply::text("Seen.").with_usage(usage(600))]);
    let parent = |ledger: &Ledger| {
        agent([
            asking(&["look_up"]).with_usage(usage(10)),
            Reply::text("Done.").with_usage(usage(10)),
            asking(&["look_up"]).with_usage(usage(10)),
        ])
        .store(Arc::clone(&store))
        .ledger(ledger.clone())
        .sub_agent(helper("look_up", child()))
    };
    let (_, first) = finish(&parent(&ledger)).await;
    assert_eq!(first.outcome, Outcome::Completed {});

    let later = tokens(ledger.spent().tokens);
    let spent = phi::spending(store.as_ref(), &id("s")).await.unwrap();
    assert_eq!(spent, ledger.spent());
    later.charge(&spent);
    let (_, second) = finish(&parent(&later)).await;
    let limit = LimitKind::Tokens;
    assert_eq!(second.outcome, Outcome::LimitReached { limit });
    assert_eq!(later.spent(), spent, "nothing more was spent");
}

#[tokio::test]
async fn what_a_child_whose_log_is_gone_has_spent_is_known_by_its_parent() {
    let store = memory();
    let ledger = tokens(10_000);
    let child = agent([Reply::text("Seen.").with_usage(usage(600))]);
    let parent = agent([
        asking(&["look_up"]).with_usage(usage(10)),
        Reply::text("Done.").with_usage(usage(10)),
    ])
    .store(Arc::clone(&store))
    .ledger(ledger.clone())
    .sub_agent(helper("look_up", child));
    let (updates, _) = finish(&parent).await;
    let child = ended(&updates)[0].child.clone().unwrap();
    store.delete(&child).await.unwrap();
    let read = phi::spending(store.as_ref(), &id("s")).await.unwrap();
    assert_eq!(read.tokens, ledger.spent().tokens);
}
