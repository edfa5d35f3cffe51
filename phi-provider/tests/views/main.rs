//! A wire writes of a conversation what is new, and the bytes are those of a wire that never saw it.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail where the tests do"
)]
#![expect(clippy::print_stdout, reason = "the tests say what they counted")]

mod support;

use std::collections::HashMap;
use std::thread;

use phi_types::{Entry, History};
use proptest::prelude::*;

use crate::support::{answer, called, request, user, wires};

/// Encodes a view with a wire that knows earlier ones and with a fresh one, and compares.
#[track_caller]
fn assert_same(known: &dyn phi_provider::Wire, fresh: &dyn phi_provider::Wire, view: &History) {
    let request = request(view.clone());
    match (known.encode(&request), fresh.encode(&request)) {
        (Ok(ours), Ok(theirs)) => {
            let (ours_body, theirs_body) = (
                String::from_utf8(ours.request.body_bytes()).unwrap(),
                String::from_utf8(theirs.request.body_bytes()).unwrap(),
            );
            assert_eq!(ours_body, theirs_body, "{:?}", known.identity());
            assert_eq!(ours.losses, theirs.losses, "{:?}", known.identity());
        }
        (ours, theirs) => assert_eq!(ours, theirs, "{:?}", known.identity()),
    }
}

#[test]
fn a_request_of_ten_thousand_messages_allocates_for_what_is_new_alone() {
    for make in wires() {
        let wire = make();
        let mut view = History::new();
        for turn in 0..3_333 {
            view.push(user(&format!("question {turn} {}", "x".repeat(900))));
            view.push(answer(&format!("answer {turn} {}", "y".repeat(900))));
            view.push(user("more"));
        }
        let first = wire.encode(&request(view.clone())).unwrap();
        assert!(first.request.body_len() > 6_000_000);
        view.push(answer("so"));
        view.push(user("the last question"));
        let asked = request(view.clone());
        let mut second = None;
        let counted = allocation_counter::measure(|| second = Some(wire.encode(&asked)));
        let second = second.unwrap().unwrap();
        assert!(second.request.body_len() > first.request.body_len());
        println!(
            "{:?}: {} allocations, {} bytes, for a body of {} bytes",
            wire.identity(),
            counted.count_total,
            counted.bytes_total,
            second.request.body_len()
        );
        assert!(
            counted.count_total <= 100,
            "{} allocations",
            counted.count_total
        );
        assert!(
            counted.bytes_total <= 256 << 10,
            "{} bytes",
            counted.bytes_total
        );
        assert_same(&*wire, &*make(), &view);
    }
}

#[test]
fn a_fork_keeps_the_past_and_leaves_the_other_branch_alone() {
    for make in wires() {
        let wire = make();
        let mut trunk: History = [user("a"), answer("b")].into_iter().collect();
        trunk.push(user("c"));
        assert_same(&*wire, &*make(), &trunk);
        let mut branches = Vec::new();
        for branch in 0..4 {
            let mut view = trunk.prefix(2);
            view.push(user(&format!("branch {branch}")));
            for entry in called(&["x", "x"], branch % 2 == 0) {
                view.push(entry);
            }
            branches.push(view);
        }
        for _ in 0..2 {
            for view in &branches {
                assert_same(&*wire, &*make(), view);
                assert_same(&*wire, &*make(), &trunk);
            }
        }
    }
}

#[test]
fn calls_whose_results_come_later_are_written_with_them() {
    for make in wires() {
        let wire = make();
        let [calls, results] = called(&["a|b", "", "a|b"], false);
        let mut view: History = [user("u"), calls].into_iter().collect();
        assert_same(&*wire, &*make(), &view);
        view.push(results.clone());
        assert_same(&*wire, &*make(), &view);
        // The same results once more: they have no call.
        view.push(results);
        assert_same(&*wire, &*make(), &view);
        view.push(user("on"));
        assert_same(&*wire, &*make(), &view);
    }
}

#[test]
fn many_threads_may_share_one_wire() {
    for make in wires() {
        let wire = make();
        let trunk: History = [user("a"), answer("b"), user("c")].into_iter().collect();
        let fresh = make();
        thread::scope(|scope| {
            for branch in 0..8 {
                let (wire, fresh, mut view) = (&wire, &fresh, trunk.clone());
                scope.spawn(move || {
                    for turn in 0..8 {
                        view.push(answer(&format!("{branch}.{turn}")));
                        view.push(user("on"));
                        assert_same(&**wire, &**fresh, &view);
                    }
                });
            }
        });
    }
}

/// What happens to a conversation between two requests.
#[derive(Debug, Clone)]
enum Change {
    Say(String),
    Answer(String),
    Calls(Vec<String>, bool),
    Unanswered(Vec<String>),
    /// Back to an earlier place.
    Back(usize),
    /// The results of the newest calls, perhaps again.
    Results,
}

fn change() -> impl Strategy<Value = Change> {
    let id = prop_oneof![Just("a".to_owned()), Just("b|c".to_owned()), ".{0,12}"];
    let text = prop_oneof![Just(" ".to_owned()), Just("so \n".to_owned()), ".{0,8}"];
    prop_oneof![
        text.clone().prop_map(Change::Say),
        text.prop_map(Change::Answer),
        (prop::collection::vec(id.clone(), 1..4), any::<bool>())
            .prop_map(|(ids, fails)| Change::Calls(ids, fails)),
        prop::collection::vec(id, 1..3).prop_map(Change::Unanswered),
        (0..6_usize).prop_map(Change::Back),
        Just(Change::Results),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_was_kept_never_shows_in_the_bytes(changes in prop::collection::vec(change(), 1..24)) {
        for make in wires() {
            let wire = make();
            let mut view = History::new();
            let mut last: Option<Entry> = None;
            let mut seen: HashMap<usize, History> = HashMap::new();
            for change in &changes {
                match change {
                    Change::Say(text) => view.push(user(text)),
                    Change::Answer(text) => view.push(answer(text)),
                    Change::Calls(ids, fails) => {
                        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                        let [calls, results] = called(&ids, *fails);
                        view.push(calls);
                        view.push(results.clone());
                        last = Some(results);
                    }
                    Change::Unanswered(ids) => {
                        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                        let [calls, results] = called(&ids, false);
                        view.push(calls);
                        last = Some(results);
                    }
                    Change::Back(entries) => view = view.prefix(view.len().saturating_sub(*entries)),
                    Change::Results => {
                        if let Some(results) = &last {
                            view.push(results.clone());
                        }
                    }
                }
                assert_same(&*wire, &*make(), &view);
                if let Some(older) = seen.insert(view.len(), view.clone()) {
                    assert_same(&*wire, &*make(), &older);
                }
            }
        }
    }
}
