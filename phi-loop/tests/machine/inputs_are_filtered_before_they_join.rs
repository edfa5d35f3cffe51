//! Input filters: a prompt and every message that waits pass, join with a warning, or do not join.

use phi_loop::{Effect, Incoming, Input, InputSource, Machine, Subject, Verdict};
use phi_types::{
    Configuration, EventKind, FilterVerdict, InputFiltered, LimitKind, Limits, LoopError, Outcome,
    Point, Queue, Transcript,
};

use crate::facts::{check, decide_all, decisions, ends, hooked, last, refused, request, words};
use crate::support::{Bench, at, prompt, queue_id, restarted, user};

fn filtered() -> Configuration {
    hooked(Point::FilterInput)
}

fn reject(reason: &str) -> Verdict {
    let reason = reason.to_owned();
    Verdict::Deny { reason }
}

fn warn(warning: &str) -> Verdict {
    let warning = warning.to_owned();
    Verdict::Warn { warning }
}

fn verdicts(bench: &Bench) -> Vec<&InputFiltered> {
    let filtered = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::InputFiltered(filtered) => Some(filtered),
        _ => None,
    });
    filtered.collect()
}

fn steer(bench: &mut Bench, id: &str, text: &str) {
    bench.handle(Input::Steer(queue_id(id), user(text)));
}

#[test]
fn a_prompt_joins_once_it_has_passed() {
    let mut bench = Bench::started(filtered(), "Do it.");
    assert_eq!(bench.kinds(), ["loop_started", "surface_changed"]);
    let [Effect::Decide(_, Subject::Input(incoming))] = &bench.effects[..] else {
        panic!("{:?}", bench.effects)
    };
    let expected = Incoming {
        source: InputSource::Prompt,
        messages: vec![user("Do it.")],
    };
    assert_eq!(*incoming, expected);
    assert_eq!(bench.machine.outstanding(), bench.effects);
    assert_eq!(bench.machine.awaits(), None);
    decide_all(&mut bench, &Verdict::Proceed);
    assert_eq!(words(&request(&bench).view), ["user: Do it."]);
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn a_second_prompt_is_refused_while_the_first_one_is_filtered() {
    let mut bench = Bench::started(filtered(), "Do it.");
    refused(&mut bench, prompt("And this."));
    refused(&mut bench, Input::Continue);
}

#[test]
fn a_warning_is_the_last_thing_of_the_prompt_that_the_model_reads() {
    let mut bench = Bench::new(filtered());
    bench.handle(Input::Prompt(vec![user("Do it."), user("Now.")]));
    decide_all(&mut bench, &warn("Trust nobody."));
    let view = &request(&bench).view;
    assert_eq!(words(view), ["user: Do it.", "user: Now."]);
    let expected = user("Now.").warned("Trust nobody.");
    let Some(phi_types::Entry::User(message)) = view.last() else {
        panic!("{view:?}")
    };
    assert_eq!(**message, expected);
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn a_rejected_prompt_rejects_its_loop_and_stands_in_no_conversation() {
    let mut bench = Bench::started(filtered(), "Do it.");
    decide_all(&mut bench, &reject("a secret is in it"));
    let reason = "a secret is in it".to_owned();
    let expected = InputFiltered {
        queued: None,
        verdict: FilterVerdict::Rejected {
            reason: reason.clone(),
        },
        rejected: vec![user("Do it.")],
    };
    assert_eq!(verdicts(&bench), [&expected]);
    assert!(bench.machine.transcript().history().is_empty());
    ends(&bench, &Outcome::Rejected { reason });
}

#[test]
fn a_filter_that_fails_fails_the_loop_for_its_prompt() {
    let mut bench = Bench::started(filtered(), "Do it.");
    let reason = "boom".to_owned();
    let verdict = Verdict::Fail {
        reason: reason.clone(),
    };
    decide_all(&mut bench, &verdict);
    let error = LoopError::Hook { reason };
    ends(&bench, &Outcome::Failed { error });
}

#[test]
fn a_steering_message_is_recorded_on_arrival_and_joins_once_it_has_passed() {
    let mut bench = Bench::started(filtered(), "Do it.");
    decide_all(&mut bench, &Verdict::Proceed);
    bench.call(&["pure"]);
    steer(&mut bench, "q", "Faster.");
    assert!(matches!(&last(&bench).kind, EventKind::MessageQueued(it) if it.held));
    let [running] = &bench.tools()[..] else {
        panic!("{:?}", bench.kinds())
    };
    bench.end_tool(running.clone(), "seen");
    // The next model call waits for the filter.
    assert_eq!(last(&bench).kind.clone(), bench.events.last().unwrap().kind);
    assert!(bench.kinds().ends_with(&["turn_ended".to_owned()]));
    decide_all(&mut bench, &warn("Calm down."));
    let view = words(&request(&bench).view);
    assert_eq!(view.last().map(String::as_str), Some("user: Faster."));
    let queued = Some(queue_id("q"));
    assert_eq!(verdicts(&bench)[1].queued, queued);
    bench.say("Done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn a_rejected_message_leaves_the_queue_and_skips_no_call() {
    for verdict in [
        reject("no"),
        Verdict::Fail {
            reason: "no".into(),
        },
    ] {
        let mut bench = Bench::started(filtered(), "Do it.");
        decide_all(&mut bench, &Verdict::Proceed);
        bench.call(&["pure"]);
        steer(&mut bench, "q", "Faster.");
        decide_all(&mut bench, &verdict);
        assert_eq!(bench.machine.undelivered(), []);
        let running = bench.tools();
        bench.end_tool(running[0].clone(), "seen");
        assert_eq!(words(&request(&bench).view).len(), 3);
        bench.say("Done.");
        ends(&bench, &Outcome::Completed {});
    }
}

#[test]
fn the_loop_does_not_end_while_a_message_is_filtered() {
    let mut bench = Bench::started(filtered(), "Do it.");
    decide_all(&mut bench, &Verdict::Proceed);
    bench.handle(Input::FollowUp(queue_id("q"), user("And then this.")));
    bench.say("Done.");
    assert_eq!(bench.machine.outcome(), None);
    assert_eq!(decisions(&mut bench).len(), 1);
    let id = bench
        .machine
        .outstanding()
        .into_iter()
        .find_map(|it| match it {
            Effect::Decide(id, Subject::Input(incoming)) => {
                let source = InputSource::Queued(queue_id("q"), Queue::FollowUp);
                assert_eq!(incoming.source, source);
                Some(id)
            }
            _ => None,
        });
    bench.handle(Input::Decided(id.unwrap(), Verdict::Proceed));
    assert_eq!(words(&request(&bench).view).len(), 3);
    bench.say("Done too.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn a_message_that_was_being_filtered_is_asked_about_again_after_a_crash() {
    let mut bench = Bench::started(filtered(), "Do it.");
    decide_all(&mut bench, &Verdict::Proceed);
    bench.call(&["pure"]);
    steer(&mut bench, "q", "Faster.");
    steer(&mut bench, "r", "Faster!");
    let mut machine = Machine::restore(&Transcript::new(), &bench.events).unwrap();
    machine.resume(bench.now);
    let mut again = Bench::with(machine);
    again.events.splice(0..0, bench.events.iter().cloned());
    let asked = decisions(&mut again);
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0], asked[1]);
    again.handle(Input::Decided(asked[1], Verdict::Proceed));
    again.handle(Input::Decided(asked[0], reject("no")));
    let running = again.tools();
    again.end_tool(running[0].clone(), "seen");
    let view = words(&request(&again).view);
    assert_eq!(view.last().map(String::as_str), Some("user: Faster!"));
    again.say("Done.");
    ends(&again, &Outcome::Completed {});
}

#[test]
fn a_cancel_does_not_wait_for_a_filter_and_returns_what_waits() {
    let mut bench = Bench::started(filtered(), "Do it.");
    steer(&mut bench, "q", "Faster.");
    bench.handle(Input::Cancel);
    assert_eq!(bench.machine.undelivered().len(), 1);
    ends(&bench, &Outcome::Cancelled {});
    let mut bench = Bench::started(filtered(), "Do it.");
    decide_all(&mut bench, &Verdict::Proceed);
    bench.handle(Input::FollowUp(queue_id("q"), user("And then this.")));
    bench.say("Done.");
    bench.handle(Input::Stop("enough".into()));
    check(&bench);
    assert!(bench.machine.outcome().is_some());
}

#[test]
fn a_stop_while_the_prompt_is_filtered_survives_a_crash_and_is_replayed() {
    let mut bench = Bench::started(filtered(), "Do it.");
    bench.handle(Input::Stop("enough".into()));
    // The process ended after the word to stop was written, and before the end was.
    let log: Vec<_> = bench.events[..3].to_vec();
    let bench = restarted(&log, at(5_000));
    assert_eq!(bench.kinds()[3..], ["recovered", "loop_ended"]);
    let reason = "enough".to_owned();
    ends(&bench, &Outcome::Aborted { reason });
    check(&bench);
}

#[test]
fn a_prompt_that_was_warned_about_and_written_in_part_is_replayed() {
    let mut bench = Bench::new(filtered());
    bench.handle(Input::Prompt(vec![user("Do it."), user("And this.")]));
    decide_all(&mut bench, &warn("careful"));
    // The process ended before the message was written that the warning joined.
    let log: Vec<_> = bench.events[..4].to_vec();
    let mut bench = restarted(&log, at(5_000));
    assert_eq!(
        bench.kinds()[2..5],
        ["input_filtered", "message", "recovered"]
    );
    bench.say("Done.");
    check(&bench);
}

#[test]
fn rule_06_wall_time_begins_once_the_prompt_is_in() {
    let configuration = Configuration {
        limits: Limits {
            wall_time_ms: Some(1_000),
            ..Limits::default()
        },
        ..filtered()
    };
    let bench = Bench::started(configuration, "Do it.");
    // Another process is given the prompt again, and its filter takes its time.
    let mut bench = restarted(&bench.events, at(5_000));
    bench.handle(prompt("Do it."));
    bench.handle(Input::Timeout);
    bench.pass(5_000);
    decide_all(&mut bench, &Verdict::Proceed);
    assert_eq!(bench.machine.outcome(), None);
    bench.pass(1_000);
    bench.handle(Input::Timeout);
    let limit = LimitKind::WallTime;
    ends(&bench, &Outcome::LimitReached { limit });
}
