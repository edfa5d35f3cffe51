//! Nothing that a command started outlives its call, however it tried to get away.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use phi_types::RawJson;
use serde_json::json;

use crate::bench::{bench, context, details, text};

/// Ways to start something that stays. `$STAY` writes its number to a file and sleeps.
const ESCAPES: [(&str, &str); 7] = [
    ("in the background", "$STAY &"),
    ("holding no pipe", "$STAY >/dev/null 2>&1 &"),
    (
        "ignoring signals",
        "trap '' HUP INT TERM; nohup $STAY >/dev/null 2>&1 &",
    ),
    ("in a session of its own", "setsid $STAY >/dev/null 2>&1 &"),
    ("forked twice", "(setsid sh -c '$STAY >/dev/null 2>&1 &') &"),
    (
        "forked twice without an environment",
        "(env -i PATH=$PATH setsid sh -c '$STAY >/dev/null 2>&1 &') &",
    ),
    (
        "forked twice with standard streams closed",
        "(env -i PATH=$PATH setsid sh -c '(setsid $STAY <&- >&- 2>&- &) &') &",
    ),
];

const STAY: &str = "./stay";
const STAY_SCRIPT: &str = "#!/bin/sh\necho $$ >> pids.new\nmv pids.new pids\nexec sleep 1000\n";

fn stayer(bench: &crate::bench::Bench) {
    use std::os::unix::fs::PermissionsExt as _;
    bench.file("stay", STAY_SCRIPT);
    let script = bench.path().join("stay");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .map(|(_, fields)| fields.starts_with(['Z', 'X']));
    state == Some(false)
}

fn wait_for(file: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if let Ok(content) = fs::read_to_string(file) {
            return content;
        }
        std::thread::yield_now();
    }
    panic!("{} did not appear", file.display());
}

#[tokio::test]
async fn when_the_command_ends() {
    for (how, start) in ESCAPES {
        let bench = bench();
        stayer(&bench);
        let start = start.replace("$STAY", STAY);
        let command = format!("{start}\nwhile ! test -e pids; do :; done; echo done");
        let result = bench.call("bash", json!({"command": command})).await;
        assert!(
            text(&result).starts_with("done\n"),
            "{how}: {}",
            text(&result)
        );
        assert_eq!(details(&result)["processes_left"], 0, "{how}");
        assert_ne!(details(&result)["processes_stopped"], 0, "{how}");
        assert!(!is_alive(&bench.content("pids")), "{how}");
    }
}

#[tokio::test]
async fn when_its_time_is_over() {
    let all = ESCAPES.map(|(how, start)| async move {
        let bench = bench();
        stayer(&bench);
        let start = start.replace("$STAY", STAY);
        // Long enough for any machine to start it; the wait below makes sure that it was.
        let command = format!("{start}\nwhile ! test -e pids; do :; done; echo up; sleep 1000");
        let result = bench
            .call("bash", json!({"command": command, "timeout_ms": 1500}))
            .await;
        assert!(result.is_error);
        assert!(
            text(&result).starts_with("up\n[stopped after 1500 ms"),
            "{how}: {}",
            text(&result)
        );
        assert_eq!(details(&result)["timed_out"], true);
        assert!(!is_alive(&bench.content("pids")), "{how}");
    });
    futures_util::future::join_all(all).await;
}

#[tokio::test]
async fn when_the_call_is_dropped() {
    for (how, start) in ESCAPES {
        let bench = bench();
        stayer(&bench);
        let start = start.replace("$STAY", STAY);
        let command = format!("{start}\nsleep 1000");
        let arguments = RawJson::from_value(&json!({"command": command})).unwrap();
        let tool = bench.tool("bash");
        let file = bench.path().join("pids");
        let started = tokio::task::spawn_blocking(move || wait_for(&file));
        let pid = tokio::select! {
            _ = tool.call(arguments, context()) => panic!("{how}: the command ended"),
            pid = started => pid.unwrap(),
        };
        assert!(!is_alive(&pid), "{how}");
    }
}

#[tokio::test]
async fn a_call_ends_no_process_of_another_call() {
    let (one, two) = (bench(), bench());
    stayer(&one);
    let command = "setsid ./stay >/dev/null 2>&1 & while ! test -e go; do :; done; cat pids";
    let other = async {
        let file = one.path().join("pids");
        let pid = tokio::task::spawn_blocking(move || wait_for(&file))
            .await
            .unwrap();
        for _ in 0..3 {
            let command = json!({"command": "sleep 1000 & echo"});
            two.text("bash", command).await;
        }
        let alive = is_alive(&pid);
        one.file("go", "");
        (pid, alive)
    };
    let (pid_seen, (pid, alive)) =
        tokio::join!(one.text("bash", json!({"command": command})), other);
    assert!(pid_seen.starts_with(&pid));
    assert!(alive);
    assert!(!is_alive(&pid));
}

#[tokio::test]
async fn a_command_that_never_stops_forking_is_stopped() {
    let bench = bench();
    // Each process starts one that loses its parent and its session, then ends.
    bench.file("fork", "setsid sh ./fork >/dev/null 2>&1 & echo >> forks");
    let command =
        "env -i PATH=$PATH sh ./fork; while test $(wc -l < forks) -lt 20; do :; done; echo enough";
    let result = bench.call("bash", json!({"command": command})).await;
    assert_eq!(details(&result)["processes_left"], 0);
    assert!(text(&result).starts_with("enough\n"), "{}", text(&result));
    let forks = bench.content("forks");
    // A second command sees whether any process still forks.
    bench.text("bash", json!({"command": "sleep 0.2"})).await;
    assert_eq!(bench.content("forks"), forks);
}
