//! Lines of stdin reach the model of a loop that runs, each once, and none is lost silently.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::process::{ChildStdin, Stdio};

use phi::types::{Event, EventKind, Message};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::support::{OnTerminal, Ran, Running, Scratch};

/// A call that ends when somebody opens the gate.
fn waiting(gate: &str) -> String {
    format!(
        r#"{{"tool_calls":[{{"name":"bash","arguments":{{"command":"read line < {gate}"}}}}]}}"#
    )
}

fn gate(scratch: &Scratch, name: &str) {
    let path = scratch.work().join(name);
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

/// Lets the call of a gate end, now or when it comes there; what is returned has to live so long.
fn open(scratch: &Scratch, name: &str) -> File {
    let path = scratch.work().join(name);
    // Opened for both, so that nobody waits for a reader.
    let mut gate = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    gate.write_all(b"open\n").unwrap();
    gate
}

/// A loop that is in its first call, and where it can be told something.
fn begun(scratch: &Scratch, script: &str, more: &[&str]) -> (Running, ChildStdin) {
    gate(scratch, "gate");
    let script = scratch.write("script.json", script);
    let words = ["run", "Do it.", "--session", "s", "--yes", "--steer"];
    let mut command = scratch.command(words);
    command.args(more).arg("--script").arg(script);
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let stdin = running.child.stdin.take().unwrap();
    (running, stdin)
}

/// Waits until the log of a running session has an event.
fn until_stored(scratch: &Scratch, kind: &str) {
    let mut stored = String::new();
    while !stored.contains(kind) {
        stored = scratch.phi(["sessions", "events", "s"]).out;
    }
}

/// What the model read besides results, and after which of its turns.
fn read(events: &[Event]) -> Vec<(usize, String)> {
    let mut turns = 0;
    let mut read = Vec::new();
    for event in events {
        match &event.kind {
            EventKind::TurnEnded(_) => turns += 1,
            EventKind::Message(added) => {
                if let Message::User(message) = &added.message {
                    read.push((turns, format!("{:?}", message.content)));
                }
            }
            _ => {}
        }
    }
    read
}

#[track_caller]
fn assert_read(scratch: &Scratch, wanted: &[(usize, &str)]) {
    let events = scratch.stored("s");
    let read = read(&events);
    assert_eq!(read.len(), wanted.len(), "{read:?}");
    for ((turns, read), (after, text)) in read.iter().zip(wanted) {
        assert!(turns == after && read.contains(text), "{read:?}: {text}");
    }
    phi::replay(&events).unwrap();
}

#[test]
fn a_line_is_read_by_the_model_before_its_next_turn() {
    let scratch = Scratch::new();
    let script = format!(r#"[{}, {{"text":"Blue it is."}}]"#, waiting("gate"));
    let (running, mut stdin) = begun(&scratch, &script, &[]);
    // A message before that would have the call skipped.
    until_stored(&scratch, "tool_started");
    stdin.write_all(b"\nBlue, please.\n").unwrap();
    // The end of stdin ends nothing else.
    drop(stdin);
    until_stored(&scratch, "message_queued");
    let gate = open(&scratch, "gate");
    let ran = running.end();
    drop(gate);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "Blue it is.\n"),
        "{ran:?}"
    );
    assert_read(&scratch, &[(0, "Do it."), (1, "Blue, please.")]);
}

#[test]
fn lines_of_json_are_acknowledged_and_an_id_counts_once() {
    let scratch = Scratch::new();
    let script = format!(
        r#"[{}, {{"text":"Painted."}}, {{"text":"Cleaned up."}}]"#,
        waiting("gate")
    );
    let (mut running, mut stdin) = begun(&scratch, &script, &["--json"]);
    running.until("\"tool_started\"");
    let lines = [
        r#"{"id":"end","follow_up":"Clean the brushes."}"#,
        "Blue!",
        r#"{"id":"colour","steer":"Blue, please."}"#,
        r#"{"id":"colour","steer":"Blue, please."}"#,
        r#"{"id":"empty","steer":""}"#,
        r#"{"id":"last","steer":"And thin."}"#,
    ];
    for line in lines {
        writeln!(stdin, "{line}").unwrap();
    }
    running.until("And thin.");
    let gate = open(&scratch, "gate");
    let ran = running.end();
    drop(gate);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.err.contains("line 2 of stdin counts as nothing"),
        "{ran:?}"
    );
    assert!(ran.err.contains("a message was not taken"), "{ran:?}");
    assert_eq!(ran.err.matches("warning").count(), 2, "{ran:?}");
    let wanted = [(0, "Do it."), (1, "Blue"), (1, "And thin."), (2, "brushes")];
    assert_read(&scratch, &wanted);
}

#[test]
fn a_message_that_was_acknowledged_before_a_kill_is_read_once_after_it() {
    let scratch = Scratch::new();
    let script = format!(
        r#"[{}, {}, {{"text":"Painted."}}, {{"text":"Cleaned up."}}]"#,
        waiting("gate"),
        waiting("second")
    );
    let (mut running, mut stdin) = begun(&scratch, &script, &["--json"]);
    running.until("\"tool_started\"");
    let lines = "{\"id\":\"colour\",\"steer\":\"Blue, please.\"}\n{\"id\":\"end\",\"follow_up\":\"Clean.\"}\n";
    stdin.write_all(lines.as_bytes()).unwrap();
    running.until("Clean.");
    running.signal(Signal::KILL);
    assert_eq!(running.end().code, None);

    gate(&scratch, "second");
    let mut command = scratch.command(["resume", "s", "--yes", "--json", "--steer", "--script"]);
    command
        .arg(scratch.path("script.json"))
        .stdin(Stdio::piped());
    let mut resumed = Running::start(&mut command);
    resumed.until("\"tool_started\"");
    let mut stdin = resumed.child.stdin.take().unwrap();
    // Nobody who was killed knows what was acknowledged.
    let more = format!("{lines}{{\"id\":\"more\",\"steer\":\"Thin, too.\"}}\n");
    stdin.write_all(more.as_bytes()).unwrap();
    resumed.until("Thin, too.");
    let gate = open(&scratch, "second");
    let ran = resumed.end();
    drop(gate);
    assert_eq!(
        (ran.code, ran.err.contains("warning: ")),
        (Some(0), false),
        "{ran:?}"
    );
    let wanted = [(0, "Do it."), (1, "Blue"), (2, "Thin, too."), (3, "Clean.")];
    assert_read(&scratch, &wanted);
}

#[test]
fn what_no_model_has_read_is_told() {
    let scratch = Scratch::new();
    let script = format!(r#"[{}, {{"text":"No."}}]"#, waiting("gate"));
    let (mut running, mut stdin) = begun(&scratch, &script, &["--json"]);
    running.until("\"tool_started\"");
    writeln!(stdin, r#"{{"id":"a","steer":"Blue, please."}}"#).unwrap();
    running.until("\"message_queued\"");
    running.signal(Signal::INT);
    let ran = running.end();
    assert!(ran.failure(130).contains("cancelled"), "{ran:?}");
    let told = "warning: the loop ended before the model read: Blue, please.";
    assert_eq!(ran.err.matches(told).count(), 1, "{ran:?}");
}

#[test]
fn a_line_answers_the_question_that_waits() {
    let scratch = Scratch::new();
    let script = r#"[{"tool_calls":[{"name":"write_file","arguments":{"path":"a","content":"x"}}]},
        {"tool_calls":[{"name":"write_file","arguments":{"path":"b","content":"x"}}]},
        {"text":"Well."}]"#;
    scratch.write("script.json", script);
    let script = scratch.path("script.json");
    let script = script.to_str().unwrap();
    let words = [
        "run",
        "Do it.",
        "--steer",
        "--session",
        "s",
        "--script",
        script,
    ];
    let mut run = OnTerminal::start(&scratch, &words);
    run.answer("y\n");
    run.answer("n\n");
    let shown = run.end();
    assert!(shown.contains("Well."), "{shown}");
    let exist = |name: &str| scratch.work().join(name).exists();
    assert!(exist("a") && !exist("b"));
    assert_read(&scratch, &[(0, "Do it.")]);
}

#[test]
fn stdin_is_the_prompt_or_what_steers() {
    let scratch = Scratch::new();
    let script = scratch.write("script.json", "[]");
    let mut command = scratch.command(["run", "-", "--steer", "--script"]);
    let ran = Ran::of(command.arg(script).output().unwrap());
    assert!(ran.failure(2).contains("--steer"), "{ran:?}");
    assert!(fs::read_dir(scratch.path("store")).is_err());
}
