//! A run against a script uses the real tools, and the next run continues its session.

use std::fs;

use phi::types::{EventKind, Message};
use serde_json::Value;

use crate::support::Scratch;

const WRITE: &str = r#"[{"text":"Writing.","tool_calls":[{"name":"write_file",
    "arguments":{"path":"a.txt","content":"hello"}}]}, {"text":"Written."}]"#;

#[test]
fn the_text_of_the_assistant_is_all_of_stdout() {
    let scratch = Scratch::new();
    let ran = scratch.scripted("s", WRITE, &["--yes"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.out, "Writing.\nWritten.\n");
    assert!(ran.err.contains("session: s"), "{ran:?}");
    assert!(ran.err.contains("[write_file]"), "{ran:?}");
    assert_eq!(
        fs::read_to_string(scratch.work().join("a.txt")).unwrap(),
        "hello"
    );
}

#[test]
fn without_a_terminal_a_write_is_denied_with_a_reason_and_a_read_is_not() {
    let scratch = Scratch::new();
    fs::write(scratch.work().join("b.txt"), "there").unwrap();
    let script = r#"[{"tool_calls":[
        {"name":"write_file","arguments":{"path":"a.txt","content":"hello"}},
        {"name":"read_file","arguments":{"path":"b.txt"}}]}, {"text":"Well."}]"#;
    let ran = scratch.scripted("s", script, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!scratch.work().join("a.txt").exists());
    let events = scratch.stored("s");
    let ends = events.iter().filter_map(|event| match &event.kind {
        EventKind::ToolEnded(ended) => Some(serde_json::to_value(ended).unwrap()),
        _ => None,
    });
    let ends: Vec<Value> = ends.collect();
    let [denied, read] = ["denied", "finished"].map(|ending| {
        let found = ends.iter().find(|end| end["ending"] == ending);
        found.unwrap_or_else(|| panic!("none is {ending}: {ends:?}"))["result"].to_string()
    });
    assert!(denied.contains("--yes"), "{denied}");
    assert!(read.contains("there"), "{read}");
}

#[test]
fn json_lines_are_the_stored_events_and_the_live_increments() {
    let scratch = Scratch::new();
    let ran = scratch.scripted("s", WRITE, &["--yes", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let (live, events): (Vec<Value>, Vec<Value>) = ran
        .json_lines()
        .into_iter()
        .partition(|line| line.get("live").is_some());
    let stored: Vec<Value> = scratch
        .stored("s")
        .iter()
        .map(|event| serde_json::to_value(event).unwrap())
        .collect();
    assert_eq!(events, stored);
    let shown = live
        .iter()
        .filter(|line| line["live"]["type"] == "text_delta");
    let shown: String = shown
        .map(|line| line["live"]["text"].as_str().unwrap())
        .collect();
    assert_eq!(shown, "Writing.Written.");
    assert!(live[0]["live"]["effect"]["loop_id"].is_string(), "{live:?}");
}

#[test]
fn two_runs_continue_one_session() {
    let scratch = Scratch::new();
    let script = r#"[{"text":"one"},{"text":"two"}]"#;
    assert_eq!(scratch.scripted("s", script, &[]).out, "one\n");
    // Replies are counted by the turns of the session.
    assert_eq!(scratch.scripted("s", script, &[]).out, "two\n");
    let listed = scratch.listed("s");
    assert_eq!(
        (&listed["loops"], &listed["turns"]),
        (&2.into(), &2.into()),
        "{listed}"
    );
    let events = scratch.stored("s");
    assert_eq!(phi::replay(&events), Ok(2));
    let parents = events.iter().filter_map(|event| match &event.kind {
        EventKind::LoopStarted(started) => Some(started.parent.clone()),
        _ => None,
    });
    let parents: Vec<_> = parents.map(|id| id.map(|id| id.to_string())).collect();
    assert_eq!(parents, [None, Some("s.default.1".to_owned())]);
    let ran = scratch.scripted("s", script, &[]);
    assert!(ran.failure(1).contains("no reply left"), "{ran:?}");
}

#[test]
fn a_limit_ends_a_run_with_its_own_code() {
    let scratch = Scratch::new();
    let ran = scratch.scripted("s", WRITE, &["--yes", "--max-turns", "1"]);
    assert!(ran.failure(3).contains("--max-turns"), "{ran:?}");
    assert_eq!(scratch.listed("s")["status"], "limit_reached");
}

#[test]
fn the_prompt_comes_from_stdin_and_the_system_prompt_from_a_file() {
    let scratch = Scratch::new();
    let prompt = scratch.write("prompt", "From\nstdin.");
    let system = scratch.write("system", "Be brief.");
    let script = scratch.write("script.json", r#"[{"text":"Yes."}]"#);
    let system = format!("@{}", system.display());
    let mut command = scratch.command(["run", "-", "--session", "s", "--system", &system]);
    command.arg("--script").arg(script);
    command.stdin(fs::File::open(prompt).unwrap());
    assert!(command.output().unwrap().status.success());
    let events = scratch.stored("s");
    let has = |wanted: &str| {
        events.iter().any(|event| match &event.kind {
            EventKind::SurfaceChanged(changed) => changed.system.as_deref() == Some(wanted),
            EventKind::Message(added) => match &added.message {
                Message::User(message) => **message == wanted.into(),
                Message::Assistant(_) | Message::Extension(_) => false,
            },
            _ => false,
        })
    };
    assert!(has("Be brief.") && has("From\nstdin."), "{events:?}");
}

#[test]
fn a_failed_attempt_is_made_again_and_told() {
    let scratch = Scratch::new();
    let script = r#"[{"text":"At last.","errors":[{"kind":"overloaded","message":"busy"}]}]"#;
    let ran = scratch.scripted("s", script, &[]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "At last.\n"),
        "{ran:?}"
    );
    assert!(ran.err.contains("busy"), "{ran:?}");
}
