//! Where the policy says so, calls of pure tools start while the model still speaks.

use phi_loop::{Effect, Input, Machine, Rejected, ToolReport, replay};
use phi_types::{
    Configuration, Delta, EarlyStart, EffectId, EventKind, Limits, Outcome, Point,
    ProviderErrorKind, StopReason, ToolEnding, ToolExecution, ToolPolicy, ToolResult, ToolStarted,
    Transcript,
};

use crate::facts::{check, ends, refused, request, results, words};
use crate::support::{Bench, at, prompt, queue_id, restarted, user};

fn early() -> Configuration {
    Configuration {
        tools: ToolPolicy {
            early_start: true,
            timeout_ms: Some(400),
            ..ToolPolicy::default()
        },
        ..Configuration::default()
    }
}

/// The deltas of one call, to the end of its part.
fn call(part: u32, name: &str, arguments: &str) -> Vec<Delta> {
    vec![
        Delta::tool_call(part, format!("c{part}"), name),
        Delta::arguments(part, arguments),
        Delta::part_ended(part),
    ]
}

/// The model yields this and goes on.
fn show(bench: &mut Bench, deltas: &[Delta]) -> EffectId {
    let model = bench.effects.iter().find_map(|effect| match effect {
        Effect::CallModel(call) => Some(call.id.clone()),
        _ => None,
    });
    let model = model.expect("a model is called");
    for delta in deltas {
        bench.handle(Input::Delta(model.clone(), delta.clone()));
    }
    model
}

/// The model yields this and ends.
fn finish(bench: &mut Bench, deltas: &[Delta]) {
    let mut deltas = deltas.to_vec();
    deltas.push(Delta::finish(StopReason::ToolUse));
    bench.answer(&deltas);
}

fn started(bench: &Bench) -> Vec<&ToolStarted> {
    let started = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::ToolStarted(started) => Some(started),
        _ => None,
    });
    started.collect()
}

fn early_starts(bench: &Bench) -> Vec<EarlyStart> {
    started(bench).iter().filter_map(|it| it.early).collect()
}

fn speaking(configuration: Configuration, deltas: &[Delta]) -> Bench {
    let mut bench = Bench::started(configuration, "Do it.");
    show(&mut bench, deltas);
    bench
}

fn ended(text: &str) -> ToolReport {
    ToolReport::returned(ToolResult::text(text))
}

#[test]
fn early_a_complete_call_starts_before_the_model_has_finished() {
    let mut bench = Bench::started(early(), "Do it.");
    show(&mut bench, &call(3, "pure", "{\"n\":1}")[..2]);
    assert_eq!(started(&bench).len(), 0, "its part has not ended");
    show(&mut bench, &[Delta::part_ended(3)]);
    let (attempt, part) = (1, 3);
    assert_eq!(early_starts(&bench), [EarlyStart { attempt, part }]);
    let kinds = bench.kinds();
    assert_eq!(kinds.last().map(String::as_str), Some("tool_started"));
    // Model and tool are under way side by side, and say so.
    assert_eq!(bench.effects.len(), 2);
    assert_eq!(bench.machine.outstanding(), bench.effects);
    check(&bench);

    let tool = bench.tools().remove(0);
    bench.end_tool(tool, "seen");
    assert_eq!(bench.kinds(), kinds, "its end waits for the answer");
    finish(&mut bench, &call(4, "once", "{}"));
    let after = &bench.kinds()[kinds.len()..];
    assert_eq!(after, ["message", "tool_ended", "tool_started"]);
    let tool = bench.tools().remove(0);
    bench.end_tool(tool, "done");
    assert_eq!(words(&request(&bench).view)[2], "results: seen | done");
    assert_eq!(started(&bench).len(), 2, "no call starts twice");
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn early_is_off_unless_the_policy_says_so() {
    let bench = speaking(Configuration::default(), &call(0, "pure", "{}"));
    assert_eq!(started(&bench).len(), 0);
    assert!(!ToolPolicy::default().early_start);
}

#[test]
fn early_a_call_that_runs_past_the_answer_ends_on_its_own() {
    let mut bench = speaking(early(), &call(0, "pure", "{}"));
    let tool = bench.tools().remove(0);
    finish(&mut bench, &[]);
    assert_eq!(bench.kinds().last().unwrap(), "message");
    bench.end_tool(tool, "late");
    assert_eq!(words(&request(&bench).view)[2], "results: late");
    check(&bench);
}

#[test]
fn early_starts_keep_call_order_and_what_must_wait_keeps_the_rest_waiting() {
    for (name, arguments) in [
        ("again", "{}"),
        ("once", "{}"),
        ("unknown", "{}"),
        ("", "{}"),
        ("pure", "{\"n\":"),
        ("pure", "[]"),
    ] {
        let mut bench = speaking(early(), &call(0, "pure", "{\"n\":0}"));
        show(&mut bench, &call(1, name, arguments));
        show(&mut bench, &call(2, "pure", "{\"n\":2}"));
        assert_eq!(early_starts(&bench).len(), 1, "{name} {arguments}");
        finish(&mut bench, &[]);
        for tool in bench.tools() {
            bench.end_tool(tool, "ok");
        }
        assert_eq!(bench.endings().len(), 3);
        check(&bench);
    }
}

#[test]
fn early_parts_that_end_out_of_order_start_in_order() {
    let mut deltas = call(5, "pure", "{\"n\":5}");
    let later = call(9, "pure", "{\"n\":9}");
    deltas.splice(2..2, later);
    let bench = speaking(early(), &deltas[..5]);
    assert_eq!(started(&bench).len(), 0, "the first one is still open");
    let mut bench = speaking(early(), &deltas);
    let parts: Vec<u32> = early_starts(&bench).iter().map(|it| it.part).collect();
    assert_eq!(parts, [5, 9]);
    let indices: Vec<u32> = started(&bench).iter().map(|it| it.index).collect();
    assert_eq!(indices, [0, 1]);
    let tools = bench.tools();
    bench.end_tool(tools[1].clone(), "second");
    finish(&mut bench, &[]);
    bench.end_tool(tools[0].clone(), "first");
    assert_eq!(words(&request(&bench).view)[2], "results: first | second");
    check(&bench);
}

#[test]
fn early_equal_calls_and_equal_ids_each_get_one_result() {
    let mut deltas = Vec::new();
    for part in 0..3 {
        deltas.push(Delta::tool_call(part, "twin", "pure"));
        deltas.push(Delta::arguments(part, "{}"));
        deltas.push(Delta::part_ended(part));
    }
    let mut bench = speaking(early(), &deltas);
    let ids: Vec<String> = started(&bench)
        .iter()
        .map(|it| it.call.id.to_string())
        .collect();
    assert_eq!(ids, ["twin", "twin_1", "twin_2"]);
    for (n, tool) in bench.tools().into_iter().enumerate() {
        bench.end_tool(tool, &n.to_string());
    }
    finish(&mut bench, &[]);
    assert_eq!(words(&request(&bench).view)[2], "results: 0 | 1 | 2");
    assert_eq!((started(&bench).len(), bench.endings().len()), (3, 3));
    check(&bench);
}

#[test]
fn early_a_failed_attempt_discards_its_calls_and_counts_as_one_failure() {
    let mut bench = speaking(early(), &call(0, "pure", "{\"n\":0}"));
    show(&mut bench, &call(1, "pure", "{\"n\":1}"));
    let tools = bench.tools();
    bench.end_tool(tools[0].clone(), "of no use");
    bench.fail(ProviderErrorKind::Overloaded);
    assert_eq!(bench.endings(), [ToolEnding::Discarded; 2]);
    assert_eq!(bench.aborted, [tools[1].clone()], "the other one has ended");
    check(&bench);
    let failed = bench.events.iter().find_map(|event| match &event.kind {
        EventKind::ModelFailed(failed) => failed.retry_at,
        _ => None,
    });
    bench.now = failed.expect("it is sent again");
    bench.handle(Input::Timeout);
    assert_eq!(words(&request(&bench).view), ["user: Do it."]);
    // The second attempt asks for the same, and it runs for this attempt.
    show(&mut bench, &call(0, "pure", "{\"n\":0}"));
    let attempts: Vec<u32> = early_starts(&bench).iter().map(|it| it.attempt).collect();
    assert_eq!(attempts, [1, 1, 2]);
    let tool = bench.tools().remove(0);
    bench.end_tool(tool, "seen");
    finish(&mut bench, &[]);
    assert_eq!(words(&request(&bench).view)[2], "results: seen");
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn early_a_call_that_the_answer_does_not_hold_is_discarded() {
    let mut bench = speaking(early(), &call(0, "pure", "{\"n\":0}"));
    let tool = bench.tools().remove(0);
    bench.end_tool(tool, "of the wrong call");
    // More comes for a part that had ended, so the answer asks for something else.
    finish(&mut bench, &[Delta::tool_call(0, "", "again")]);
    assert_eq!(bench.endings(), [ToolEnding::Discarded]);
    let tool = bench.tools().remove(0);
    bench.end_tool(tool, "right");
    assert_eq!(words(&request(&bench).view)[2], "results: right");
    check(&bench);
}

#[test]
fn early_starts_count_as_calls_and_end_at_their_limit() {
    let mut configuration = early();
    configuration.limits = Limits {
        tool_calls: Some(2),
        ..Limits::default()
    };
    let mut bench = Bench::started(configuration, "Do it.");
    for part in 0..4 {
        show(
            &mut bench,
            &call(part, "pure", &format!("{{\"n\":{part}}}")),
        );
    }
    assert_eq!(early_starts(&bench).len(), 2);
    for tool in bench.tools() {
        bench.end_tool(tool, "ok");
    }
    finish(&mut bench, &[]);
    let finished = ToolEnding::Finished;
    let skipped = ToolEnding::Skipped;
    assert_eq!(bench.endings(), [finished, finished, skipped, skipped]);
    check(&bench);
}

#[test]
fn early_starts_fill_the_cap_and_no_more() {
    for (execution, places) in [
        (ToolExecution::Sequential, 1),
        (ToolExecution::Parallel { max: 2 }, 2),
        (ToolExecution::Parallel { max: 0 }, 1),
        (ToolExecution::Batched { size: 3 }, 3),
    ] {
        let mut configuration = early();
        configuration.tools.execution = execution;
        let mut bench = Bench::started(configuration, "Do it.");
        for part in 0..5 {
            show(
                &mut bench,
                &call(part, "pure", &format!("{{\"n\":{part}}}")),
            );
        }
        assert_eq!(early_starts(&bench).len(), places, "{execution:?}");
        finish(&mut bench, &[]);
        assert_eq!(started(&bench).len(), places, "the places are taken");
        while bench.machine.transcript().unanswered() > 0 {
            for tool in bench.tools() {
                bench.end_tool(tool, "ok");
            }
        }
        assert_eq!(bench.endings(), [ToolEnding::Finished; 5]);
        check(&bench);
    }
}

#[test]
fn early_nothing_starts_where_a_hook_decides_about_calls() {
    let mut configuration = early();
    configuration.points = vec![Point::BeforeTool];
    let bench = speaking(configuration, &call(0, "pure", "{}"));
    assert_eq!(started(&bench).len(), 0);
}

#[test]
fn early_nothing_starts_after_a_stop_or_for_a_model_that_is_steered() {
    for input in [
        Input::Stop("enough".into()),
        Input::Steer(queue_id("q"), user("No.")),
    ] {
        let mut bench = speaking(early(), &call(0, "pure", "{\"n\":0}"));
        bench.handle(input);
        show(&mut bench, &call(1, "pure", "{\"n\":1}"));
        assert_eq!(early_starts(&bench).len(), 1);
        let tool = bench.tools().remove(0);
        finish(&mut bench, &[]);
        bench.end_tool(tool, "ok");
        assert_eq!(bench.endings(), [ToolEnding::Skipped, ToolEnding::Finished]);
        check(&bench);
    }
}

#[test]
fn early_a_call_that_runs_too_long_is_stopped_while_the_model_speaks() {
    let mut bench = speaking(early(), &call(0, "pure", "{}"));
    assert_eq!(bench.machine.next_timeout(), Some(at(400)));
    let tool = bench.tools().remove(0);
    bench.now = at(400);
    bench.handle(Input::Timeout);
    assert_eq!(bench.aborted, std::slice::from_ref(&tool));
    assert_eq!(bench.machine.next_timeout(), None);
    let refusal = refused(&mut bench, Input::ToolEnded(tool, ended("late")));
    assert!(matches!(refusal, Rejected::NotOutstanding(_)));
    bench.now = at(900);
    finish(&mut bench, &[]);
    let text = "The call was stopped: it ran longer than 400 ms.".to_owned();
    assert_eq!(results(&bench), [(0, ToolEnding::TimedOut, text)]);
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn early_a_cancel_keeps_what_ended_and_aborts_what_runs() {
    let mut bench = speaking(early(), &call(0, "pure", "{\"n\":0}"));
    show(&mut bench, &call(1, "pure", "{\"n\":1}"));
    show(&mut bench, &call(2, "pure", "{\"n\":")[..2]);
    let tools = bench.tools();
    bench.end_tool(tools[1].clone(), "seen");
    bench.handle(Input::Cancel);
    let cancelled = "The call was cancelled.".to_owned();
    let expected = [
        (1, ToolEnding::Finished, "seen".to_owned()),
        (0, ToolEnding::Cancelled, cancelled),
    ];
    assert_eq!(results(&bench), expected);
    assert!(bench.aborted.contains(&tools[0]) && !bench.aborted.contains(&tools[1]));
    ends(&bench, &Outcome::Cancelled {});
}

#[test]
fn early_a_report_is_taken_once_and_progress_until_then() {
    let mut bench = speaking(early(), &call(0, "pure", "{}"));
    let tool = bench.tools().remove(0);
    let text = "half".to_owned();
    let progress = phi_types::ToolProgress { text };
    let live = bench.live;
    bench.handle(Input::ToolProgress(tool.clone(), progress.clone()));
    assert_eq!(bench.live, live + 1);
    let mut bad = ended("x");
    bad.ending = ToolEnding::Cancelled;
    let refusal = refused(&mut bench, Input::ToolEnded(tool.clone(), bad));
    assert!(matches!(refusal, Rejected::IllShaped(_)));
    bench.end_tool(tool.clone(), "seen");
    let again = refused(&mut bench, Input::ToolEnded(tool.clone(), ended("twice")));
    assert!(matches!(again, Rejected::NotOutstanding(_)));
    let late = refused(&mut bench, Input::ToolProgress(tool, progress));
    assert!(matches!(late, Rejected::NotOutstanding(_)));
}

#[test]
fn early_a_crash_at_every_event_discards_or_repeats_and_replays() {
    let mut bench = speaking(early(), &call(0, "pure", "{\"n\":0}"));
    show(&mut bench, &call(1, "pure", "{\"n\":1}"));
    let tools = bench.tools();
    bench.end_tool(tools[1].clone(), "second");
    finish(&mut bench, &call(2, "once", "{}"));
    bench.end_tool(tools[0].clone(), "first");
    for cut in 3..bench.events.len() {
        let mut after = restarted(&bench.events[..cut], at(50));
        if after.machine.awaits().is_some() {
            after.handle(prompt("Do it."));
        }
        let discarded = after.endings().contains(&ToolEnding::Discarded);
        let in_flight = bench.events[cut - 1].kind.is_of_attempt();
        assert_eq!(discarded, in_flight, "{cut}: {:?}", after.kinds());
        while after.machine.outcome().is_none() {
            for tool in after.tools() {
                after.end_tool(tool, "again");
            }
            after.say("Done.");
        }
        ends(&after, &Outcome::Completed {});
        let starts = started(&after)
            .iter()
            .filter(|it| &*it.call.name == "once")
            .count();
        assert!(starts <= 1, "{cut}");
    }
}

trait OfAttempt {
    /// Whether a call that started early was the last thing that was written.
    fn is_of_attempt(&self) -> bool;
}

impl OfAttempt for EventKind {
    fn is_of_attempt(&self) -> bool {
        matches!(self, Self::ToolStarted(started) if started.early.is_some())
    }
}

#[test]
fn early_a_start_that_belongs_to_no_attempt_is_no_log() {
    let bench = speaking(early(), &call(0, "pure", "{}"));
    let place = bench.events.len() - 1;
    let alter = |change: fn(&mut ToolStarted)| {
        let mut events = bench.events.clone();
        if let EventKind::ToolStarted(started) = &mut events[place].kind {
            change(started);
        }
        (
            Machine::restore(&Transcript::new(), &events).is_err(),
            replay(&Transcript::new(), &events).is_err(),
        )
    };
    assert_eq!(alter(|_| ()), (false, false));
    assert_eq!(alter(|it| it.index = 1), (true, true));
    assert_eq!(alter(|it| it.early = None), (true, true));
    let attempt = |it: &mut ToolStarted| {
        it.early = Some(EarlyStart {
            attempt: 2,
            part: 0,
        });
    };
    assert_eq!(alter(attempt), (true, true));
}
