//! Rule 8: steering joins before the next model call and skips what has not started; follow-ups wait.

use phi_loop::{Effect, Input, Rejected, Verdict};
use phi_types::{
    Configuration, EventKind, Outcome, Point, ProviderErrorKind, ToolEnding, ToolExecution,
    TurnTrigger,
};

use crate::facts::{
    ask, check, decide_all, decisions, ends, execution, hooked, refused, request, words,
};
use crate::support::{Bench, queue_id, user};

use ToolEnding::{Finished, Skipped};

fn steer(bench: &mut Bench, id: &str, text: &str) {
    bench.handle(Input::Steer(queue_id(id), user(text)));
}

fn follow_up(bench: &mut Bench, id: &str, text: &str) {
    bench.handle(Input::FollowUp(queue_id(id), user(text)));
}

fn triggers(bench: &Bench) -> Vec<TurnTrigger> {
    let begun = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::TurnStarted(started) => Some(started.trigger),
        _ => None,
    });
    begun.collect()
}

#[test]
fn rule_08_calls_that_wait_for_a_slot_are_skipped_and_the_running_one_finishes() {
    let mut bench = Bench::started(execution(ToolExecution::Parallel { max: 1 }), "Do it.");
    bench.call(&["once", "once", "once"]);
    let running = bench.tools();
    steer(&mut bench, "s", "No, that.");
    assert_eq!(bench.endings(), [Skipped, Skipped]);
    assert_eq!(bench.aborted, []);
    bench.end_tool(running[0].clone(), "done");
    assert_eq!(bench.endings(), [Skipped, Skipped, Finished]);
    assert_eq!(
        triggers(&bench),
        [TurnTrigger::Prompt, TurnTrigger::Steering]
    );
    let skipped = "The call did not run: a message from the user came first.";
    let expected = [
        "user: Do it.".to_owned(),
        "model: once,once,once".to_owned(),
        format!("results: done | {skipped} | {skipped}"),
        "user: No, that.".to_owned(),
    ];
    assert_eq!(words(&request(&bench).view), expected);
    check(&bench);
}

#[test]
fn rule_08_calls_that_wait_for_an_approval_or_a_hook_are_skipped() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(&["once", "once"]);
    let asked = decisions(&mut bench);
    bench.handle(Input::Decided(asked[0], ask()));
    steer(&mut bench, "s", "No, that.");
    assert_eq!(bench.endings(), [Skipped, Skipped]);
    assert_eq!(
        bench.aborted.len(),
        1,
        "nobody needs to answer the question"
    );
    let late = Input::Decided(asked[1], Verdict::Proceed);
    assert_eq!(refused(&mut bench, late), Rejected::NotAsked(asked[1]));
    assert_eq!(words(&request(&bench).view)[3], "user: No, that.");
    check(&bench);
}

#[test]
fn rule_08_a_message_that_comes_while_the_model_speaks_skips_what_it_asks_for() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    steer(&mut bench, "s", "No, that.");
    assert_eq!(bench.effects.len(), 1, "the answer goes on");
    bench.call(&["once"]);
    assert_eq!(bench.endings(), [Skipped]);
    assert_eq!(words(&request(&bench).view)[3], "user: No, that.");
    check(&bench);
}

#[test]
fn rule_08_a_message_joins_the_attempt_that_waits_to_be_sent_again() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.fail(ProviderErrorKind::Overloaded);
    steer(&mut bench, "s", "Hurry.");
    bench.now = bench.machine.next_timeout().unwrap();
    bench.handle(Input::Timeout);
    let view = words(&request(&bench).view);
    assert_eq!(view, ["user: Do it.", "user: Hurry."]);
    assert_eq!(triggers(&bench), [TurnTrigger::Prompt]);
    check(&bench);
}

#[test]
fn an_attempt_that_is_due_and_waits_for_a_decision_has_no_timeout() {
    let mut bench = Bench::started(hooked(Point::BeforeModel), "Do it.");
    decide_all(&mut bench, &Verdict::Proceed);
    bench.fail(ProviderErrorKind::Overloaded);
    bench.now = bench.machine.next_timeout().unwrap();
    bench.handle(Input::Timeout);
    assert!(matches!(bench.effects[..], [Effect::Decide(..)]));
    assert_eq!(bench.machine.next_timeout(), None, "it would fire for ever");
    decide_all(&mut bench, &Verdict::Proceed);
    assert!(matches!(bench.effects[..], [Effect::CallModel(_)]));
    check(&bench);
}

#[test]
fn rule_08_a_message_that_joins_while_a_hook_decides_makes_it_decide_again() {
    let mut bench = Bench::started(hooked(Point::BeforeModel), "Do it.");
    let first = decisions(&mut bench)[0];
    steer(&mut bench, "s", "Hurry.");
    let Some(Effect::Decide(second, phi_loop::Subject::Model(asked))) = bench.effects.pop() else {
        panic!("it is asked again: {:?}", bench.kinds())
    };
    assert_eq!(words(&asked.view), ["user: Do it.", "user: Hurry."]);
    let late = Input::Decided(first, Verdict::Proceed);
    assert_eq!(refused(&mut bench, late), Rejected::NotAsked(first));
    bench.handle(Input::Decided(second, Verdict::Proceed));
    assert_eq!(words(&request(&bench).view).len(), 2);
    check(&bench);
}

#[test]
fn rule_08_steering_keeps_its_order_and_comes_before_follow_ups() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    follow_up(&mut bench, "f1", "Third.");
    steer(&mut bench, "s1", "First.");
    follow_up(&mut bench, "f2", "Fourth.");
    steer(&mut bench, "s2", "Second.");
    bench.say("a");
    let view = words(&request(&bench).view);
    assert_eq!(view[2..], ["user: First.", "user: Second."]);
    bench.say("b");
    assert_eq!(words(&request(&bench).view)[5..], ["user: Third."]);
    bench.say("c");
    assert_eq!(words(&request(&bench).view)[7..], ["user: Fourth."]);
    bench.say("d");
    ends(&bench, &Outcome::Completed {});
    assert_eq!(bench.machine.undelivered(), []);
    use TurnTrigger::{FollowUp, Prompt, Steering};
    assert_eq!(triggers(&bench), [Prompt, Steering, FollowUp, FollowUp]);
}

#[test]
fn rule_08_a_follow_up_skips_nothing_and_waits_for_the_end() {
    let mut bench = Bench::started(execution(ToolExecution::Sequential), "Do it.");
    bench.call(&["once", "once"]);
    follow_up(&mut bench, "f", "Then this.");
    for text in ["one", "two"] {
        let running = bench.tools();
        bench.end_tool(running[0].clone(), text);
    }
    assert_eq!(bench.endings(), [Finished, Finished]);
    assert_eq!(words(&request(&bench).view).len(), 3);
    bench.say("Done.");
    assert_eq!(words(&request(&bench).view)[4], "user: Then this.");
    check(&bench);
}

#[test]
fn rule_08_an_id_is_accepted_once_in_either_queue_and_also_after_delivery() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    steer(&mut bench, "x", "Hurry.");
    let again = |bench: &mut Bench| {
        for input in [
            Input::Steer(queue_id("x"), user("Hurry.")),
            Input::FollowUp(queue_id("x"), user("other")),
        ] {
            assert_eq!(refused(bench, input), Rejected::Duplicate(queue_id("x")));
        }
    };
    again(&mut bench);
    bench.say("a");
    again(&mut bench);
    let joined = words(&request(&bench).view);
    assert_eq!(joined.iter().filter(|it| *it == "user: Hurry.").count(), 1);
    check(&bench);
}
