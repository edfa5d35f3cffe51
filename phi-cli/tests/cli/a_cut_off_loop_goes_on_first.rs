//! A run whose process was killed loses nothing, and the next run brings its loop to an end first.

use rustix::process::Signal;

use phi::types::{EventKind, ToolEnding};

use crate::support::{Running, Scratch};

#[test]
fn the_next_run_finishes_what_a_killed_one_began() {
    let scratch = Scratch::new();
    let count = r#"{"tool_calls":[{"name":"bash","arguments":{"command":"echo x >> count"}}]}"#;
    let slow = format!(r#"[{count},{{"text":"slow","delay_ms":600000}}]"#);
    let slow = scratch.write("slow.json", slow);
    let mut command = scratch.command([
        "run",
        "One.",
        "--json",
        "--yes",
        "--session",
        "s",
        "--script",
    ]);
    let mut running = Running::start(command.arg(slow));
    running.until("\"turn_ended\"");
    running.until("\"model_started\"");
    running.signal(Signal::KILL);
    assert_eq!(running.end().code, None);
    assert_eq!(scratch.listed("s")["status"], "running");

    let script = format!(r#"[{count},{{"text":"First."}},{{"text":"Second."}}]"#);
    let ran = scratch.scripted("s", &script, &["--yes"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "First.\nSecond.\n"),
        "{ran:?}"
    );
    assert!(ran.err.contains("cut off"), "{ran:?}");
    let counted = std::fs::read_to_string(scratch.work().join("count")).unwrap();
    assert_eq!(counted, "x\n", "the call ran once");
    assert_eq!(scratch.listed("s")["loops"], 2);
    assert_eq!(phi::replay(&scratch.stored("s")), Ok(2));
}

#[test]
fn a_call_that_was_cut_off_and_must_not_run_twice_is_reported() {
    let scratch = Scratch::new();
    let call = r#"{"tool_calls":[{"name":"bash","arguments":{"command":"echo x >> count; while [ -e count ]; do sleep 0.1; done"}}]}"#;
    let script = scratch.write("script.json", format!("[{call}]"));
    let mut command = scratch.command([
        "run",
        "One.",
        "--json",
        "--yes",
        "--session",
        "s",
        "--script",
    ]);
    let mut running = Running::start(command.arg(script));
    running.until("\"tool_started\"");
    let count = scratch.work().join("count");
    while !count.exists() {
        assert_eq!(running.child.try_wait().unwrap(), None);
        std::thread::yield_now();
    }
    running.signal(Signal::KILL);
    running.end();
    let script = format!(r#"[{call},{{"text":"First."}},{{"text":"Second."}}]"#);
    let ran = scratch.scripted("s", &script, &["--yes"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "First.\nSecond.\n"),
        "{ran:?}"
    );
    assert_eq!(
        std::fs::read_to_string(count).unwrap(),
        "x\n",
        "the call ran once"
    );
    let events = scratch.stored("s");
    let ending = events.iter().find_map(|event| match &event.kind {
        EventKind::ToolEnded(ended) => Some(ended.ending),
        _ => None,
    });
    assert_eq!(ending, Some(ToolEnding::Interrupted));
    assert_eq!(phi::replay(&events), Ok(2));
}
