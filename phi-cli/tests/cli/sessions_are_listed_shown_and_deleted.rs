//! Stored sessions are listed, shown, replayed and deleted.

use std::fs;

use serde_json::json;

use crate::support::Scratch;

const SCRIPT: &str = r#"[{"text":"One.\u001b[31m","tool_calls":[{"name":"list_files","arguments":{}}]},
    {"text":"Two."}]"#;

#[test]
fn a_list_has_a_line_for_each_session() {
    let scratch = Scratch::new();
    assert_eq!(
        scratch.phi(["sessions", "list"]).code,
        Some(0),
        "no store is an empty list"
    );
    scratch.scripted("a", SCRIPT, &[]);
    scratch.scripted("b", SCRIPT, &["--max-turns", "1"]);
    let lines = scratch.phi(["sessions", "list", "--json"]).json_lines();
    let keys: Vec<_> = lines[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let wanted = [
        "created_at",
        "id",
        "loops",
        "status",
        "turns",
        "updated_at",
        "usage",
    ];
    assert_eq!(keys, wanted);
    let told = lines
        .iter()
        .map(|it| json!([it["id"], it["loops"], it["turns"], it["status"]]));
    assert_eq!(
        json!(told.collect::<Vec<_>>()),
        json!([["a", 1, 2, "completed"], ["b", 1, 1, "limit_reached"]])
    );
    let text = scratch.phi(["sessions", "list"]).out;
    assert!(
        text.lines().count() == 2 && text.contains("limit reached"),
        "{text}"
    );
}

#[test]
fn a_session_is_shown_without_control_characters() {
    let scratch = Scratch::new();
    scratch.scripted("a", SCRIPT, &[]);
    let shown = scratch.phi(["sessions", "show", "a"]).out;
    for text in [
        "user: Do it.",
        "assistant: One.␛[31m",
        "[list_files] {}",
        "assistant: Two.",
        "completed",
    ] {
        assert!(shown.contains(text), "no {text:?}: {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn a_session_replays_and_an_altered_one_is_told_apart() {
    let scratch = Scratch::new();
    scratch.scripted("a", SCRIPT, &[]);
    let ran = scratch.phi(["sessions", "replay", "a"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let folder = scratch.path("store").join("a");
    let file = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path());
    let file = file
        .filter(|path| path.extension().is_some_and(|it| it == "jsonl"))
        .max()
        .unwrap();
    let log = fs::read_to_string(&file).unwrap().replace("Two.", "Too.");
    fs::write(&file, log).unwrap();
    for command in ["show", "events", "replay"] {
        let ran = scratch.phi(["sessions", command, "a"]);
        assert!(ran.failure(1).contains("position"), "{command}: {ran:?}");
    }
    let ran = scratch.scripted("a", SCRIPT, &[]);
    ran.failure(1);
    assert!(
        fs::read_to_string(&file).unwrap().contains("Too."),
        "nothing was overwritten"
    );
}

#[test]
fn a_deleted_session_is_gone() {
    let scratch = Scratch::new();
    scratch.scripted("a", SCRIPT, &[]);
    let ran = scratch.phi(["sessions", "delete", "a"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(scratch.phi(["sessions", "list", "--json"]).out, "");
    scratch.phi(["sessions", "delete", "a"]).failure(2);
}

#[test]
fn a_session_that_another_process_writes_is_locked() {
    let scratch = Scratch::new();
    let script = scratch.write("slow.json", r#"[{"text":"x","delay_ms":600000}]"#);
    let mut command = scratch.command(["run", "x", "--json", "--session", "a", "--script"]);
    let mut running = crate::support::Running::start(command.arg(script));
    running.until("\"model_started\"");
    let ran = scratch.scripted("a", SCRIPT, &[]);
    let line = ran.failure(2).to_owned();
    assert!(line.contains(&running.child.id().to_string()), "{line}");
    scratch.phi(["sessions", "delete", "a"]).failure(2);
    assert_eq!(
        scratch.phi(["sessions", "show", "a"]).code,
        Some(0),
        "reading needs no lock"
    );
}
