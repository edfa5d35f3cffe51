//! `phi sessions request` prints what a model was asked, with the events that each block of it is from.

use serde_json::{Value, json};

use crate::support::Scratch;

const SCRIPT: &str = r#"[
    {"text":"Looking.","tool_calls":[{"name":"read_file","arguments":{"path":"a.txt"}}]},
    {"text":"Seen.","errors":[{"kind":"overloaded","message":"later"}]},
    {"text":"Again."}
]"#;

/// A session of two loops: two turns, the second with two attempts, then another prompt.
fn worked(scratch: &Scratch) {
    std::fs::write(scratch.work().join("a.txt"), "inside").unwrap();
    let ran = scratch.scripted("s", SCRIPT, &["--system", "Be brief."]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = scratch.scripted("s", SCRIPT, &["--system", "Be brief."]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

fn request(scratch: &Scratch, more: &[&str]) -> Value {
    let start = ["sessions", "request", "s"];
    let ran = scratch.phi(start.iter().chain(more));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(ran.out.lines().count(), 1, "one line: {ran:?}");
    ran.json()
}

/// The kind of the event at a position.
fn kind(scratch: &Scratch, position: &Value) -> String {
    let place = usize::try_from(position.as_u64().unwrap()).unwrap() - 1;
    let event = serde_json::to_value(&scratch.stored("s")[place].kind).unwrap();
    event["type"].as_str().unwrap().to_owned()
}

fn entries(request: &Value) -> Vec<&Value> {
    let blocks = request["blocks"].as_array().unwrap();
    blocks.iter().filter(|it| it["what"] == "entry").collect()
}

#[test]
fn the_newest_request_names_the_event_of_every_block() {
    let scratch = Scratch::new();
    worked(&scratch);
    let asked = request(&scratch, &[]);
    assert_eq!(asked["session"], "s");
    assert_eq!((&asked["turn"], &asked["attempt"]), (&json!(3), &json!(1)));
    assert_eq!(kind(&scratch, &asked["event"]["position"]), "model_started");
    let blocks = asked["blocks"].as_array().unwrap();
    let what: Vec<&str> = blocks
        .iter()
        .map(|it| it["what"].as_str().unwrap())
        .collect();
    assert_eq!(what[..3], ["tools", "system", "options"]);
    assert_eq!(blocks[1]["content"], "Be brief.");
    let tools = blocks[0]["content"].as_array().unwrap();
    assert!(tools.iter().any(|it| it["name"] == "read_file"));
    let entries = entries(&asked);
    let roles: Vec<&str> = entries
        .iter()
        .map(|it| it["content"]["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["user", "assistant", "results", "assistant", "user"]);
    let expected = ["message", "message", "tool_ended", "message", "message"];
    for (entry, expected) in entries.iter().zip(expected) {
        let origin = &entry["origin"];
        assert_eq!(origin["type"], "events");
        let from = &origin["events"][0];
        assert_eq!(kind(&scratch, &from["position"]), expected, "{entry}");
    }
    let result = &entries[2]["content"]["results"][0]["result"]["content"][0];
    assert!(
        result["text"].as_str().unwrap().contains("inside"),
        "{result}"
    );
    let tokens: u64 = blocks.iter().map(|it| it["tokens"].as_u64().unwrap()).sum();
    assert_eq!(asked["tokens"], tokens);
}

#[test]
fn an_attempt_is_named_by_its_position_or_by_its_turn() {
    let scratch = Scratch::new();
    worked(&scratch);
    let first = request(&scratch, &["--turn", "1"]);
    assert_eq!(entries(&first).len(), 1);
    // A turn is its newest attempt, and every attempt has a position.
    let second = request(&scratch, &["--turn", "2"]);
    assert_eq!(
        (&second["turn"], &second["attempt"]),
        (&json!(2), &json!(2))
    );
    let events = scratch.stored("s");
    let attempts = (1..)
        .zip(&events)
        .filter(|(_, event)| serde_json::to_value(&event.kind).unwrap()["type"] == "model_started");
    let mut named = Vec::new();
    for (position, _) in attempts {
        let position: u64 = position;
        let asked = request(&scratch, &["--at", &position.to_string()]);
        assert_eq!(asked["event"]["position"], position);
        named.push((
            asked["turn"].as_u64().unwrap(),
            asked["attempt"].as_u64().unwrap(),
        ));
    }
    assert_eq!(named, [(1, 1), (2, 1), (2, 2), (3, 1)]);
}

#[test]
fn what_is_no_attempt_is_refused_and_says_what_is() {
    let scratch = Scratch::new();
    worked(&scratch);
    let events = scratch.stored("s").len();
    let cases = [
        (["--at", "1"], "asks no model"),
        (["--at", "0"], "is none of its positions"),
        (
            ["--at", &(events + 1).to_string()],
            "is none of its positions",
        ),
        (["--at", "18446744073709551615"], "is none of its positions"),
        (["--turn", "0"], "is not there"),
        (["--turn", "4"], "it has turns 1 to 3"),
    ];
    for (which, expected) in cases {
        let start = ["sessions", "request", "s"];
        let ran = scratch.phi(start.iter().chain(&which));
        let line = ran.failure(2);
        assert!(line.contains(expected), "{which:?}: {line}");
        assert_eq!(ran.out, "");
    }
    for wrong in [
        &["sessions", "request", "s", "--at", "x"][..],
        &["sessions", "request", "s", "--at", "5", "--turn", "1"],
        &["sessions", "request"],
        &["sessions", "request", "none"],
    ] {
        let ran = scratch.phi(wrong);
        assert_eq!(ran.code, Some(2), "{wrong:?}: {ran:?}");
    }
}

#[test]
fn a_fork_explains_its_past() {
    let scratch = Scratch::new();
    worked(&scratch);
    let at = scratch.stored("s").len().to_string();
    let ran = scratch.phi(["sessions", "fork", "s", "--at", &at]);
    let fork = ran.out.trim().to_owned();
    let ran = scratch.phi(["sessions", "request", &fork, "--turn", "2"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(entries(&ran.json()).len(), 3);
}

#[test]
fn a_log_that_was_altered_is_damage() {
    let scratch = Scratch::new();
    worked(&scratch);
    let mut events = scratch.stored("s");
    let said = events.iter_mut().find_map(|event| match &mut event.kind {
        phi::types::EventKind::Message(added) => Some(&mut added.message),
        _ => None,
    });
    let other = phi::types::UserMessage::text("Do something else.");
    *said.unwrap() = phi::types::Message::User(std::sync::Arc::new(other));
    scratch.rewrite(&events);
    let ran = scratch.phi(["sessions", "request", "s"]);
    let line = ran.failure(1);
    assert!(line.contains("the log was altered"), "{line}");
}
