//! A signal cancels a run, which is stored whole and can be continued.

use rustix::process::Signal;

use crate::support::{Running, Scratch};

const SLOW: &str = r#"[{"text":"Half"},{"text":"never","delay_ms":600000}]"#;

fn start(scratch: &Scratch, session: &str) -> Running {
    let script = scratch.write("slow.json", SLOW);
    let mut command = scratch.command(["run", "Go.", "--json", "--session", session, "--script"]);
    Running::start(command.arg(script))
}

#[test]
fn the_first_signal_cancels_and_stores() {
    for signal in [Signal::INT, Signal::TERM] {
        let scratch = Scratch::new();
        assert_eq!(scratch.scripted("s", SLOW, &[]).out, "Half\n");
        let mut running = start(&scratch, "s");
        running.until("\"model_started\"");
        running.signal(signal);
        let ran = running.end();
        assert!(ran.failure(130).contains("--session s"), "{ran:?}");
        assert!(ran.out.contains("\"loop_ended\""), "{ran:?}");
        assert_eq!(scratch.listed("s")["status"], "cancelled");
        assert_eq!(phi::replay(&scratch.stored("s")), Ok(2));
        let again = scratch.scripted("s", r#"[{},{"text":"Back."},{"text":"Back."}]"#, &[]);
        assert_eq!(
            (again.code, again.out.as_str()),
            (Some(0), "Back.\n"),
            "{again:?}"
        );
    }
}

#[test]
fn a_running_command_is_gone_after_a_signal() {
    let scratch = Scratch::new();
    let script = r#"[{"tool_calls":[{"name":"bash",
        "arguments":{"command":"echo $$ > pid; exec sleep 600"}}]}]"#;
    let script = scratch.write("script.json", script);
    let mut command = scratch.command([
        "run",
        "Go.",
        "--json",
        "--yes",
        "--session",
        "s",
        "--script",
    ]);
    let mut running = Running::start(command.arg(script));
    running.until("\"tool_started\"");
    running.signal(Signal::INT);
    let ran = running.end();
    ran.failure(130);
    // The command may have been stopped before it wrote its number.
    if let Ok(pid) = std::fs::read_to_string(scratch.work().join("pid")) {
        let pid = pid
            .trim()
            .parse()
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            assert!(
                rustix::process::test_kill_process(pid).is_err(),
                "{pid:?} lives on"
            );
        }
    }
    let ended = ran.json_lines();
    let ended = ended
        .iter()
        .find(|line| line["kind"]["type"] == "tool_ended")
        .unwrap();
    assert_eq!(ended["kind"]["ending"], "cancelled", "{ended}");
}

#[test]
fn a_tool_call_is_cancelled_by_a_signal() {
    let scratch = Scratch::new();
    let arguments = r#"{"command":"echo up > up; exec sleep 600"}"#;
    let mut running = Running::start(&mut scratch.command(["tool", "call", "bash", arguments]));
    // Its handler stands once the command runs.
    while !scratch.work().join("up").exists() {
        assert_eq!(running.child.try_wait().unwrap(), None);
        std::thread::yield_now();
    }
    running.signal(Signal::TERM);
    running.end().failure(130);
}
