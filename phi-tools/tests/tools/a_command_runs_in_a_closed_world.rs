//! A command runs in a closed world: its folder, a listed environment, nobody to ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use phi_tools::{Policy, Workspace};
use phi_types::{
    EffectClass, EffectId, LoopId, ProgressSink, RawJson, SessionId, ToolContext, ToolKind,
    ToolProgress,
};
use serde_json::json;

use crate::bench::{Bench, bench, details, text};

#[tokio::test]
async fn output_and_exit_code_come_back_in_order() {
    let bench = bench();
    let command = json!({"command": "echo one; echo two >&2; printf three"});
    assert_eq!(bench.text("bash", command).await, "one\ntwo\nthree");
    let quiet = json!({"command": "true"});
    assert_eq!(bench.text("bash", quiet).await, "[no output]");
    let failed = bench
        .call("bash", json!({"command": "echo no; exit 3"}))
        .await;
    assert!(failed.is_error);
    assert_eq!(text(&failed), "no\n[exit code 3]");
    assert_eq!(
        details(&failed),
        json!({"exit_code": 3, "signal": null, "timed_out": false, "output_bytes": 3,
            "omitted_bytes": 0, "truncated": false, "processes_stopped": 0, "processes_left": 0})
    );
    let killed = bench.call("bash", json!({"command": "kill -9 $$"})).await;
    assert_eq!(text(&killed), "[killed by signal 9]");
    assert_eq!(details(&killed)["signal"], 9);
}

#[tokio::test]
async fn it_runs_in_the_workspace_with_its_input_closed_in_a_session_of_its_own() {
    let bench = bench();
    let folder = bench.path().canonicalize().unwrap();
    // The sixth field is the session: another than the caller's has no terminal to ask on.
    let command = "pwd; cat; set -- $(cat /proc/$$/stat); test $6 = $$ && echo own session";
    assert_eq!(
        bench.text("bash", json!({"command": command})).await,
        format!("{}\nown session\n", folder.display())
    );
}

#[tokio::test]
async fn the_environment_is_what_the_policy_says() {
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy {
        passed_variables: vec!["PATH".to_owned(), "CARGO_PKG_N*".to_owned()],
        set_variables: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        ..Policy::default()
    };
    let workspace = Workspace::with_policy(folder.path(), policy).unwrap();
    let bench = Bench {
        workspace,
        folder,
        ..bench()
    };
    let names = bench
        .text("bash", json!({"command": "env | cut -d= -f1 | sort"}))
        .await;
    let names: Vec<_> = names
        .lines()
        .filter(|name| !name.starts_with("PHI_CALL_"))
        .collect();
    assert_eq!(
        names,
        ["CARGO_PKG_NAME", "GREETING", "PATH", "PWD", "SHLVL", "_"]
    );
}

#[tokio::test]
async fn escapes_and_broken_characters_are_made_harmless() {
    let bench = bench();
    let command = r"printf '\033[31mred\033[0m \033]0;title\007 \377 caf\303\251 \303'";
    assert_eq!(
        bench.text("bash", json!({"command": command})).await,
        "red \u{241b}]0;title\u{2407} \u{fffd} café \u{fffd}"
    );
}

#[tokio::test]
async fn a_command_too_long_for_a_shell_says_so() {
    let bench = bench();
    let command = format!("echo {}", "x".repeat(200_000));
    let error = bench.error("bash", json!({"command": command})).await;
    assert_eq!(
        error,
        "the command has 200005 bytes, more than the system passes to a shell: \
         write it to a file with write_file and run that"
    );
}

#[tokio::test]
async fn a_timeout_keeps_what_was_written() {
    let bench = bench();
    let command = json!({"command": "echo before; sleep 1000", "timeout_ms": 400});
    let result = bench.call("bash", command).await;
    assert!(result.is_error);
    assert_eq!(
        text(&result),
        "before\n[stopped after 400 ms with everything it started; a longer timeout_ms may help]"
    );
}

#[derive(Default)]
struct Reports(Mutex<Vec<String>>);

impl ProgressSink for Reports {
    fn report(&self, _: &EffectId, progress: ToolProgress) {
        self.0.lock().unwrap().push(progress.text);
    }
}

#[tokio::test]
async fn progress_shows_the_latest_output() {
    let bench = bench();
    let reports = Arc::new(Reports::default());
    let effect = EffectId {
        loop_id: LoopId::new("s.c.1").unwrap(),
        seq: 1,
    };
    let sink = Arc::clone(&reports) as Arc<dyn ProgressSink>;
    let context = ToolContext::new(SessionId::new("s").unwrap(), effect, sink);
    let arguments = json!({"command": "echo working; sleep 0.3; seq 100000; sleep 0.3; echo end"});
    let arguments = RawJson::from_value(&arguments).unwrap();
    bench.tool("bash").call(arguments, context).await;
    let reports = reports.0.lock().unwrap();
    assert_eq!(reports.first().unwrap(), "working\n");
    assert!(reports.iter().all(|it| it.len() <= 2048));
    assert!(reports.len() < 20, "{}", reports.len());
}

#[test]
fn every_tool_says_what_it_does_to_the_world() {
    use EffectClass::{AtMostOnce, Idempotent, Pure};
    let bench = bench();
    for (name, kind, effect_class) in [
        ("bash", ToolKind::Execute, AtMostOnce),
        ("read_file", ToolKind::Read, Pure),
        ("write_file", ToolKind::Edit, Idempotent),
        ("edit_file", ToolKind::Edit, AtMostOnce),
        ("list_files", ToolKind::Search, Pure),
        ("search", ToolKind::Search, Pure),
    ] {
        let tool = bench.tool(name);
        assert_eq!(&*tool.spec().name, name);
        assert_eq!(
            (tool.spec().kind, tool.spec().effect_class),
            (kind, effect_class)
        );
    }
}
