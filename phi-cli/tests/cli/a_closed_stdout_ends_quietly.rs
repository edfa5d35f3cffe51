//! A reader of stdout that goes away causes no panic.

use std::io::pipe;
use std::process::Command;

use crate::support::{Ran, Scratch};

/// Runs a command whose stdout nobody reads.
fn unread(command: &mut Command) -> Ran {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let ran = Ran::of(command.stdout(writer).output().unwrap());
    assert!(!ran.err.contains("panicked"), "{ran:?}");
    ran
}

#[test]
fn commands_that_only_print_end_without_a_word() {
    let scratch = Scratch::new();
    scratch.scripted("s", r#"[{"text":"Hi."}]"#, &[]);
    for arguments in [
        vec!["--help"],
        vec!["tool", "list"],
        vec!["sessions", "list"],
        vec!["sessions", "events", "s"],
        vec!["tool", "call", "list_files", "{}"],
    ] {
        let ran = unread(&mut scratch.command(&arguments));
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_run_is_cancelled_and_stored() {
    let scratch = Scratch::new();
    let script =
        r#"[{"text":"Hi.","tool_calls":[{"name":"bash","arguments":{"command":"touch a"}}]}]"#;
    let script = scratch.write("script.json", script);
    let mut command = scratch.command(["run", "x", "--yes", "--session", "s", "--script"]);
    let ran = unread(command.arg(script));
    assert!(ran.failure(130).contains("stdout was closed"), "{ran:?}");
    assert!(
        !scratch.work().join("a").exists(),
        "nothing runs that nobody sees"
    );
    assert_eq!(scratch.listed("s")["status"], "cancelled");
}
