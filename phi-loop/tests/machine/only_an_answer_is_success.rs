//! How a loop ends depends on why the model stopped; a word that nobody knows is no success.

use phi_types::{
    Configuration, Delta, EventKind, Finish, LimitKind, LoopError, Outcome, StopReason, TurnTrigger,
};

use crate::facts::{check, ends, request, words};
use crate::support::Bench;

fn stopped(reason: StopReason, raw: Option<&str>) -> Bench {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    let raw = raw.map(str::to_owned);
    let finish = Delta::Finish(Finish {
        stop_reason: reason,
        raw,
    });
    bench.answer(&[Delta::text(0, "So"), finish]);
    bench
}

fn failed(reason: &str) -> Outcome {
    let reason = reason.to_owned();
    let error = LoopError::Stopped { reason };
    Outcome::Failed { error }
}

#[test]
fn an_unknown_word_a_refusal_and_a_filter_fail_the_loop() {
    let bench = stopped(StopReason::Other, Some("weird"));
    ends(&bench, &failed("weird"));
    assert_eq!(words(bench.machine.transcript().view())[1], "model: So");
    ends(&stopped(StopReason::Other, None), &failed("other"));
    ends(&stopped(StopReason::Refusal, None), &failed("refusal"));
    ends(
        &stopped(StopReason::ContentFilter, None),
        &failed("content_filter"),
    );
}

#[test]
fn a_cut_answer_is_a_limit_and_not_an_answer() {
    let limit = LimitKind::OutputTokens;
    let bench = stopped(StopReason::MaxTokens, None);
    ends(&bench, &Outcome::LimitReached { limit });
    let limit = LimitKind::ContextWindow;
    let bench = stopped(StopReason::ContextWindow, None);
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn an_end_of_turn_and_a_stop_sequence_are_answers() {
    for reason in [StopReason::EndTurn, StopReason::StopSequence] {
        ends(&stopped(reason, None), &Outcome::Completed {});
    }
}

#[test]
fn an_empty_answer_is_recorded_and_leaves_nothing_that_an_api_refuses() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.answer(&[Delta::finish(StopReason::EndTurn)]);
    ends(&bench, &Outcome::Completed {});
    assert_eq!(words(bench.machine.transcript().view()), ["user: Do it."]);
    let messages = bench.events.iter();
    let messages = messages.filter(|it| matches!(it.kind, EventKind::Message(_)));
    assert_eq!(messages.count(), 2);
}

#[test]
fn a_paused_turn_goes_on_without_a_message() {
    let mut bench = stopped(StopReason::PauseTurn, None);
    let trigger = bench
        .events
        .iter()
        .rev()
        .find_map(|event| match &event.kind {
            EventKind::TurnStarted(started) => Some(started.trigger),
            _ => None,
        });
    assert_eq!(trigger, Some(TurnTrigger::Pause));
    let view = words(&request(&bench).view);
    assert_eq!(view, ["user: Do it.", "model: So"]);
    check(&bench);
    bench.say("Done.");
    assert_eq!(bench.machine.outcome(), Some(&Outcome::Completed {}));
}
