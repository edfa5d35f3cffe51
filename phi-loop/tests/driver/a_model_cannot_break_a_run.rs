//! Whatever a model asks for, every call is answered and the loop comes to an outcome.

use phi_testkit::{Reply, ScriptedCall, ScriptedProvider, ScriptedTool};
use phi_types::{
    Configuration, EventKind, LimitKind, Limits, LoopError, LoopStuck, Outcome, StopReason,
    ToolEnding,
};
use std::sync::Arc;

use crate::facts::{all, calling, done, driver, endings, events, finished, plain, provider, run};

const CALLS: usize = 1_000;

#[tokio::test]
async fn unknown_tools_are_answered_with_the_names_of_those_that_there_are() {
    let tool = ScriptedTool::returning("look", "seen");
    let reply = calling(&["peek", "look", ""]).with_text("I will look.");
    let provider = provider([reply, done()]);
    let mut run = plain(&driver(&provider, &[&tool]));
    let updates = all(&mut run).await;
    let text = |name: &str| format!("There is no tool named {name:?}. The tools are: look.");
    let expected = [
        (ToolEnding::Invalid, text("peek")),
        (ToolEnding::Finished, "seen".to_owned()),
        (ToolEnding::Invalid, text("unnamed")),
    ];
    assert_eq!(endings(&updates), expected);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

#[tokio::test]
async fn a_thousand_unknown_and_malformed_calls_are_answered_and_none_runs() {
    let tool = ScriptedTool::returning("look", "seen");
    let reply = (0..CALLS).fold(Reply::new(), |reply, n| {
        reply.with_call(match n % 3 {
            0 => ScriptedCall::new(format!("tool_{n}"), "{}"),
            1 => ScriptedCall::new("look", "{\"n\":"),
            _ => ScriptedCall::new("look", "[1]"),
        })
    });
    let provider = provider([reply, done()]);
    let mut run = plain(&driver(&provider, &[&tool]));
    let updates = all(&mut run).await;
    let endings = endings(&updates);
    assert_eq!(endings.len(), CALLS);
    assert!(endings.iter().all(|it| it.0 == ToolEnding::Invalid));
    assert_eq!(tool.started(), 0);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

#[tokio::test]
async fn repeated_ids_keep_each_call_its_own_result() {
    let tool = ScriptedTool::new("look", |arguments, _| async move {
        phi_types::ToolResult::text(arguments.as_str())
    });
    let same = |n: usize| ScriptedCall::new("look", format!("{{\"n\":{n}}}")).with_id("twin");
    let reply = |from: usize| (from..from + 3).fold(Reply::new(), |it, n| it.with_call(same(n)));
    // The same ids come again in the next turn.
    let provider = provider([reply(0), reply(3), done()]);
    let mut run = plain(&driver(&provider, &[&tool]));
    let updates = all(&mut run).await;
    let mut read: Vec<String> = endings(&updates).into_iter().map(|it| it.1).collect();
    read.sort();
    let expected: Vec<String> = (0..6).map(|n| format!("{{\"n\":{n}}}")).collect();
    assert_eq!(read, expected);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

#[tokio::test]
async fn malformed_arguments_never_run_and_say_what_is_wrong() {
    for (arguments, wrong) in [
        ("{\"path\": \"a\"", "not JSON"),
        ("not json", "not JSON"),
        ("[1, 2]", "not an object"),
        ("null", "not an object"),
        ("{} trailing", "not JSON"),
        ("{\"a\":\"\u{0}\"}", "not JSON"),
    ] {
        let tool = ScriptedTool::returning("look", "seen");
        let provider = provider([Reply::call("look", arguments), done()]);
        let mut run = plain(&driver(&provider, &[&tool]));
        let updates = all(&mut run).await;
        let endings = endings(&updates);
        assert_eq!(endings[0].0, ToolEnding::Invalid, "{arguments}");
        assert!(endings[0].1.contains(wrong), "{arguments}: {endings:?}");
        assert_eq!(tool.started(), 0);
        assert_eq!(finished(&run).outcome, Outcome::Completed {});
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_in_a_call_runs_what_was_complete_and_goes_on() {
    let tool = ScriptedTool::returning("look", "seen");
    let whole = ScriptedCall::new("look", "{\"n\":1}");
    let reply = Reply::text("So")
        .with_call(whole)
        .with_call(ScriptedCall::new("look", "{\"n\":"))
        .with_stop_reason(StopReason::MaxTokens);
    let provider = provider([reply, done()]);
    let mut run = plain(&driver(&provider, &[&tool]));
    let updates = all(&mut run).await;
    let kinds: Vec<ToolEnding> = endings(&updates).into_iter().map(|it| it.0).collect();
    assert_eq!(kinds, [ToolEnding::Finished, ToolEnding::Invalid]);
    assert_eq!(tool.started(), 1);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

#[tokio::test]
async fn one_call_over_and_over_ends_the_loop_by_its_own_limit() {
    let provider = ScriptedProvider::from_fn(|_, _| Some(Reply::call("look", "{}")));
    let tool = ScriptedTool::returning("look", "seen");
    let mut run = plain(&driver(&Arc::new(provider), &[&tool]));
    let updates = all(&mut run).await;
    let limit = LimitKind::IdenticalCalls;
    assert_eq!(finished(&run).outcome, Outcome::LimitReached { limit });
    assert_eq!(tool.started(), 20, "the call after these never starts");
    let stuck = events(&updates).into_iter().find_map(|it| match it.kind {
        EventKind::LoopStuck(stuck) => Some(stuck),
        _ => None,
    });
    let (tool, times, period) = ("look".into(), 21, 1);
    assert_eq!(
        stuck,
        Some(LoopStuck {
            tool,
            times,
            period
        })
    );
}

#[tokio::test]
async fn a_model_that_polls_ends_by_the_limit_of_turns() {
    let provider = ScriptedProvider::from_fn(|_, _| Some(Reply::call("look", "{}")));
    let count = std::sync::atomic::AtomicUsize::new(0);
    let tool = ScriptedTool::new("look", move |_, _| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move { phi_types::ToolResult::text(format!("{n} of many")) }
    });
    let configuration = Configuration {
        limits: Limits {
            turns: Some(60),
            ..Limits::default()
        },
        ..Configuration::default()
    };
    let mut run = run(&driver(&Arc::new(provider), &[&tool]), configuration);
    all(&mut run).await;
    let limit = LimitKind::Turns;
    assert_eq!(finished(&run).outcome, Outcome::LimitReached { limit });
    assert_eq!(tool.started(), 60);
}

#[tokio::test]
async fn a_model_that_says_it_calls_and_does_not_has_answered() {
    let reply = Reply::text("I call now.").with_stop_reason(StopReason::ToolUse);
    let provider = provider([reply]);
    let mut run = plain(&driver(&provider, &[]));
    all(&mut run).await;
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

#[tokio::test]
async fn a_model_that_calls_and_says_that_it_is_done_gets_its_results() {
    let tool = ScriptedTool::returning("look", "seen");
    let reply = calling(&["look"]).with_stop_reason(StopReason::EndTurn);
    let provider = provider([reply, done()]);
    let mut run = plain(&driver(&provider, &[&tool]));
    let updates = all(&mut run).await;
    assert_eq!(endings(&updates).len(), 1);
    assert_eq!(provider.request_count(), 2);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

#[tokio::test]
async fn a_model_that_stops_for_a_reason_that_nobody_knows_fails_the_loop() {
    let reply = Reply::text("So").with_stop_reason(StopReason::Other);
    let provider = provider([reply]);
    let mut run = plain(&driver(&provider, &[]));
    all(&mut run).await;
    let reason = "other".to_owned();
    let error = LoopError::Stopped { reason };
    assert_eq!(finished(&run).outcome, Outcome::Failed { error });
}
