//! `phi resume` brings a loop that was cut off to its end, and says so where there is none.

use rustix::process::Signal;

use crate::support::{Running, Scratch};

const COUNT: &str = r#"{"tool_calls":[{"name":"bash","arguments":{"command":"echo x >> count"}}]}"#;

/// A session whose process was killed while the model was answering its second turn.
fn killed(scratch: &Scratch) {
    let slow = format!(r#"[{COUNT},{{"text":"slow","delay_ms":600000}}]"#);
    let slow = scratch.write("slow.json", slow);
    let mut command = scratch.command(["run", "One.", "--json", "--yes", "--session", "s"]);
    let mut running = Running::start(
        command
            .arg("--system")
            .arg("Count.")
            .arg("--script")
            .arg(slow),
    );
    running.until("\"turn_ended\"");
    running.until("\"model_started\"");
    running.signal(Signal::KILL);
    running.end();
}

#[test]
fn a_killed_run_is_resumed_with_the_tools_and_the_prompt_of_the_log() {
    let scratch = Scratch::new();
    killed(&scratch);
    let script = scratch.write("script.json", format!(r#"[{COUNT},{{"text":"Done."}}]"#));
    let ran = scratch.phi(["resume", "s", "--yes", "--script", script.to_str().unwrap()]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "Done.\n"),
        "{ran:?}"
    );
    let counted = std::fs::read_to_string(scratch.work().join("count")).unwrap();
    assert_eq!(counted, "x\n", "the call ran once");
    assert_eq!(scratch.listed("s")["status"], "completed");
    let events = scratch.stored("s");
    assert_eq!(phi::replay(&events), Ok(1));
    let surfaces = events
        .iter()
        .filter(|event| matches!(event.kind, phi::types::EventKind::SurfaceChanged(_)));
    assert_eq!(
        surfaces.count(),
        1,
        "nothing that the model is shown changed"
    );

    let ran = scratch.phi(["resume", "s"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
    assert!(ran.err.contains("nothing is outstanding"), "{ran:?}");
}

#[test]
fn a_resume_of_a_script_without_one_and_of_an_unknown_session_is_refused() {
    let scratch = Scratch::new();
    killed(&scratch);
    let ran = scratch.phi(["resume", "s"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("add --script"), "{ran:?}");
    let ran = scratch.phi(["resume", "none"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.err.starts_with("phi: there is no session `none`"),
        "{ran:?}"
    );
}

#[test]
fn a_fork_of_a_running_loop_is_resumed_on_its_own() {
    let scratch = Scratch::new();
    killed(&scratch);
    let lines = scratch.stored("s").len();
    let ran = scratch.phi(["sessions", "fork", "s", "--at", &lines.to_string()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let fork = ran.out.trim().to_owned();
    let script = scratch.write("script.json", format!(r#"[{COUNT},{{"text":"Done."}}]"#));
    let ran = scratch.phi([
        "resume",
        &fork,
        "--yes",
        "--script",
        script.to_str().unwrap(),
    ]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "Done.\n"),
        "{ran:?}"
    );
    assert_eq!(scratch.listed(&fork)["status"], "completed");
    assert_eq!(scratch.listed("s")["status"], "running");
    let replayed = scratch.phi(["sessions", "replay", &fork]);
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    let refused = scratch.phi(["sessions", "delete", "s"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains(&fork), "{refused:?}");
}
