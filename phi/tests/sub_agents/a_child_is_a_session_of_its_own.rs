//! A call of a sub-agent is a session of its own, linked both ways, and counts for its parent.

use std::sync::Arc;

use phi::session::{JsonlStore, Recorded, SessionRecorder, SqliteStore, Store, read_events};
use phi::types::{Outcome, Price, SpawnedBy, ToolEnding};
use phi_testkit::Reply;

use crate::scene::{
    agent, asking, ended, finish, helper, id, memory, outcome, record, task, text, usage,
};

const PRICE: Price = Price {
    input_usd: 1_000.0,
    output_usd: 0.0,
    cache_read_usd: 0.0,
    cache_write_usd: 0.0,
};

#[tokio::test]
async fn both_logs_name_each_other_in_every_store() {
    let folder = tempfile::tempdir().unwrap();
    let stores: [Arc<dyn Store>; 3] = [
        memory(),
        Arc::new(JsonlStore::new(folder.path().join("files"))),
        Arc::new(SqliteStore::new(folder.path().join("database"))),
    ];
    for store in stores {
        let child = agent([Reply::text("It is blue.").with_usage(usage(30))]);
        let parent = agent([
            asking(&["look_up"]).with_usage(usage(10)),
            Reply::text("Blue.").with_usage(usage(20)),
        ])
        .store(Arc::clone(&store))
        .sub_agent(helper("look_up", child));
        let (updates, finished) = finish(&parent).await;
        assert_eq!(finished.outcome, Outcome::Completed {});
        let ended = ended(&updates);
        assert_eq!(text(&ended[0]), "It is blue.");

        let parents = record(store.as_ref(), &id("s")).await;
        let call = &parents.loops[0].turns[0].calls[0];
        let (run, end) = (call.run.as_ref().unwrap(), call.end.as_ref().unwrap());
        let child = end.child.as_ref().unwrap();
        let childs = record(store.as_ref(), child).await;
        let spawned_by = SpawnedBy {
            session: id("s"),
            effect: phi::types::EffectId {
                loop_id: parents.loops[0].id.clone(),
                seq: run.seq,
            },
        };
        assert_eq!(childs.spawned_by, Some(spawned_by));
        assert_eq!(childs.agent.as_deref(), Some("look_up"));
        assert_eq!(outcome(&childs), &Outcome::Completed {});
        assert_eq!(childs.usage().input_tokens, Some(30));
        assert_eq!(parents.usage().input_tokens, Some(10 + 30 + 20));
        assert_eq!(finished.usage, parents.usage());
    }
}

#[tokio::test]
async fn the_records_agree_in_whatever_order_the_events_of_both_come() {
    let store = memory();
    let child = agent([Reply::text("Seen.")]);
    let parent = agent([asking(&["look_up"]), Reply::text("Done.")])
        .store(Arc::clone(&store))
        .sub_agent(helper("look_up", child));
    let (updates, _) = finish(&parent).await;
    let child = ended(&updates)[0].child.clone().unwrap();
    let logs = [
        read_events(store.as_ref(), &id("s")).await.unwrap(),
        read_events(store.as_ref(), &child).await.unwrap(),
    ];
    for first in 0..=logs[0].len() {
        let mut records = [
            SessionRecorder::new(id("s")),
            SessionRecorder::new(child.clone()),
        ];
        let (before, after) = logs[0].split_at(first);
        let order = before.iter().chain(&logs[1]).chain(after);
        for event in order {
            let place = usize::from(event.session == child);
            let recorded = records[place].record(event);
            assert_eq!(recorded, Ok(Recorded::Applied));
        }
        for (recorder, session) in records.iter().zip([&id("s"), &child]) {
            assert_eq!(recorder.session(), &record(store.as_ref(), session).await);
        }
    }
}

#[tokio::test]
async fn several_calls_of_one_turn_work_at_once() {
    let store = memory();
    let names: Vec<String> = (0..8).map(|n| format!("look_{n}")).collect();
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut parent =
        agent([asking(&asked), asking(&asked), Reply::text("Done.")]).store(Arc::clone(&store));
    for name in &names {
        let child = agent([Reply::text(format!("{name} is done.")).with_usage(usage(5))]);
        parent = parent.sub_agent(helper(name, child));
    }
    let (updates, finished) = finish(&parent).await;
    let ended = ended(&updates);
    assert_eq!(ended.len(), 16);
    for end in &ended {
        assert_eq!(text(end), format!("look_{} is done.", end.index));
    }
    let children: std::collections::BTreeSet<_> =
        ended.iter().map(|it| it.child.clone().unwrap()).collect();
    assert_eq!(children.len(), 16, "each call has a session of its own");
    assert_eq!(finished.usage.input_tokens, Some(16 * 5));
    for child in &children {
        assert_eq!(
            outcome(&record(store.as_ref(), child).await),
            &Outcome::Completed {}
        );
    }
}

#[tokio::test]
async fn what_a_grandchild_costs_counts_all_the_way_up_once() {
    let grandchild = agent([Reply::text("Deep.").with_usage(usage(1_000))]).price(PRICE);
    let child = agent([
        asking(&["deeper"]).with_usage(usage(100)),
        Reply::text("Down there.").with_usage(usage(100)),
    ])
    .sub_agent(helper("deeper", grandchild));
    let parent = agent([asking(&["deep"]), Reply::text("Done.")])
        .sub_agent(helper("deep", child))
        .store(memory());
    let (updates, finished) = finish(&parent).await;
    assert_eq!(finished.usage.input_tokens, Some(1_200));
    assert!(
        (finished.cost_usd - 1.0).abs() < 1e-9,
        "the priced one alone"
    );
    let spent = ended(&updates)[0].spent();
    assert_eq!(spent.usage.input_tokens, Some(1_200));
    assert!((spent.cost_usd.unwrap() - 1.0).abs() < 1e-9);
}

#[tokio::test]
async fn a_cost_that_nobody_knows_stays_unknown() {
    let child = agent([Reply::text("Seen.").with_usage(usage(9))]);
    let parent =
        agent([asking(&["look_up"]), Reply::text("Done.")]).sub_agent(helper("look_up", child));
    let (updates, _) = finish(&parent).await;
    let spent = ended(&updates)[0].spent();
    assert_eq!((spent.usage.input_tokens, spent.cost_usd), (Some(9), None));
}

#[tokio::test]
async fn without_a_store_it_works_the_same() {
    let child = agent([Reply::text("It is blue.")]);
    let parent =
        agent([asking(&["look_up"]), Reply::text("Blue.")]).sub_agent(helper("look_up", child));
    let (updates, finished) = finish(&parent).await;
    assert_eq!(text(&ended(&updates)[0]), "It is blue.");
    assert_eq!(finished.outcome, Outcome::Completed {});
}

#[tokio::test]
async fn a_call_without_a_task_is_told_what_is_missing() {
    for (arguments, says) in [
        ("{}", "it is missing"),
        ("{\"task\":7}", "expected a string"),
        ("{\"task\":\" \"}", "it is empty"),
        (
            "{\"task\":\"a\",\"more\":1}",
            "there is no argument \"more\"",
        ),
    ] {
        let child = agent([]);
        let parent = agent([Reply::call("look_up", arguments), Reply::text("Done.")])
            .sub_agent(helper("look_up", child));
        let (updates, _) = finish(&parent).await;
        let ended = ended(&updates);
        assert_eq!(ended[0].ending, ToolEnding::Invalid);
        assert!(text(&ended[0]).contains(says), "{}", text(&ended[0]));
        assert_eq!(ended[0].child, None);
    }
}

#[tokio::test]
async fn a_name_of_the_greatest_length_still_has_children() {
    let child = agent([Reply::text("Seen.")]);
    let reply = Reply::new().with_call(task("look_up", "Look."));
    let parent = agent([reply, Reply::text("Done.")])
        .store(memory())
        .sub_agent(helper("look_up", child));
    let long = id(&"s".repeat(128));
    let mut session = parent.session(long).await.unwrap();
    let finished = session.prompt("Do it.").unwrap().finish().await;
    assert_eq!(finished.outcome, Outcome::Completed {});
}
