//! Queues: how many of the messages that wait join at once.

use phi_loop::Input;
use phi_types::{Configuration, Delivery, Outcome, QueuePolicy, ToolEnding};

use crate::facts::{ends, request, words};
use crate::support::{Bench, queue_id, user};

fn queues(steering: Delivery, follow_up: Delivery) -> Configuration {
    Configuration {
        queues: QueuePolicy {
            steering,
            follow_up,
        },
        ..Configuration::default()
    }
}

fn newest(bench: &Bench, count: usize) -> Vec<String> {
    let words = words(&request(bench).view);
    words[words.len() - count..].to_vec()
}

fn steer_twice(delivery: Delivery) -> Bench {
    let mut bench = Bench::started(queues(delivery, Delivery::All), "Do it.");
    bench.handle(Input::Steer(queue_id("a"), user("a")));
    bench.handle(Input::Steer(queue_id("b"), user("b")));
    bench.say("Done.");
    bench
}

#[test]
fn rule_08_every_steering_message_joins_before_the_next_model_call() {
    let mut bench = steer_twice(Delivery::All);
    assert_eq!(newest(&bench, 2), ["user: a", "user: b"]);
    bench.say("Both done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn rule_08_steering_messages_join_one_for_each_model_call() {
    let mut bench = steer_twice(Delivery::OneAtATime);
    assert_eq!(newest(&bench, 2), ["model: Done.", "user: a"]);
    // The one that waits skips calls as the first one would have.
    bench.call(&["pure"]);
    assert_eq!(bench.endings(), [ToolEnding::Skipped]);
    assert_eq!(newest(&bench, 1), ["user: b"]);
    bench.say("Both done.");
    ends(&bench, &Outcome::Completed {});
}

#[test]
fn rule_08_follow_ups_join_one_at_a_time_or_all_when_the_loop_would_end() {
    for (delivery, expected) in [
        (Delivery::OneAtATime, vec!["model: Done.", "user: a"]),
        (Delivery::All, vec!["user: a", "user: b"]),
    ] {
        let mut bench = Bench::started(queues(Delivery::All, delivery), "Do it.");
        bench.handle(Input::FollowUp(queue_id("a"), user("a")));
        bench.handle(Input::FollowUp(queue_id("b"), user("b")));
        bench.say("Done.");
        assert_eq!(newest(&bench, 2), expected);
        bench.say("Done.");
        if delivery == Delivery::OneAtATime {
            assert_eq!(newest(&bench, 1), ["user: b"]);
            bench.say("Done.");
        }
        ends(&bench, &Outcome::Completed {});
    }
}
