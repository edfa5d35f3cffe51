//! Size: a thousand calls in one turn and a thousand turns in one loop come to their end in order.

use std::sync::Arc;

use phi_loop::replay;
use phi_testkit::{MemoryJournal, ScriptedProvider, ScriptedTool};
use phi_types::{Configuration, Entry, Limits, Outcome, ToolExecution, ToolPolicy, Transcript};

use crate::facts::{all, calling, done, driver, finished, provider, run};

#[tokio::test]
async fn a_thousand_calls_in_one_turn_keep_their_order_and_the_cap() {
    let tool = ScriptedTool::new("look", |arguments, _| async move {
        tokio::task::yield_now().await;
        phi_types::ToolResult::text(arguments.as_str())
    });
    let configuration = Configuration {
        tools: ToolPolicy {
            execution: ToolExecution::Parallel { max: 100 },
            ..ToolPolicy::default()
        },
        ..Configuration::default()
    };
    let provider = provider([calling(&["look"; 1_000]), done()]);
    let mut run = run(&driver(&provider, &[&tool]), configuration);
    all(&mut run).await;
    let finished = finished(&run);
    assert_eq!(finished.outcome, Outcome::Completed {});
    assert_eq!((tool.returned(), tool.running_max()), (1_000, 100));
    let Entry::Results(results) = finished.transcript.view().entries()[2] else {
        panic!("results follow the calls")
    };
    for (n, result) in results.iter().enumerate() {
        let expected = phi_types::ToolResult::text(format!("{{\"n\":{n}}}"));
        assert_eq!(*result.result, expected);
    }
}

#[tokio::test]
async fn a_thousand_turns_end_and_replay() {
    let provider = ScriptedProvider::from_fn(|turn, _| {
        let last = turn == 999;
        Some(if last {
            done()
        } else {
            phi_testkit::Reply::call("look", format!("{{\"turn\":{turn}}}"))
        })
    });
    let provider = Arc::new(provider);
    let tool = ScriptedTool::returning("look", "seen");
    let journal = MemoryJournal::new();
    let configuration = Configuration {
        limits: Limits {
            turns: None,
            ..Limits::default()
        },
        ..Configuration::default()
    };
    let driver = driver(&provider, &[&tool]).journal(Arc::new(journal.clone()));
    let mut run = run(&driver, configuration);
    all(&mut run).await;
    let finished = finished(&run);
    assert_eq!(finished.outcome, Outcome::Completed {});
    assert_eq!((provider.request_count(), tool.returned()), (1_000, 999));
    assert_eq!(finished.transcript.view().len(), 1 + 999 * 2 + 1);
    let machine = replay(&Transcript::new(), &journal.events()).unwrap();
    assert_eq!(*machine.transcript(), finished.transcript);
}
