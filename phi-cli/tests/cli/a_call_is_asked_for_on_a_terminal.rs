//! On a terminal a call that writes is asked for, and nothing that a model says controls the terminal.

use std::fs;

use crate::support::{OnTerminal, Scratch};

fn write(path: &str) -> String {
    format!(r#"{{"name":"write_file","arguments":{{"path":"{path}","content":"x"}}}}"#)
}

#[test]
fn a_yes_lets_the_call_run_and_a_no_is_what_the_model_reads() {
    let scratch = Scratch::new();
    let script = format!(
        r#"[{{"tool_calls":[{}]}}, {{"tool_calls":[{}]}}, {{"text":"Well."}}]"#,
        write("yes.txt"),
        write("no.txt")
    );
    let mut run = OnTerminal::run(&scratch, &script);
    run.answer("y\n");
    run.answer("n\n");
    let shown = run.end();
    assert!(shown.contains("May `write_file` run?"), "{shown}");
    assert!(
        shown.contains("yes.txt") && shown.contains("Well."),
        "{shown}"
    );
    assert!(
        shown.contains("[write_file] denied: the user was asked"),
        "{shown}"
    );
    assert!(scratch.work().join("yes.txt").exists());
    assert!(!scratch.work().join("no.txt").exists());
    assert_eq!(phi::replay(&scratch.stored("s")), Ok(1));
}

#[test]
fn an_always_is_asked_once_and_reading_never() {
    let scratch = Scratch::new();
    fs::write(scratch.work().join("b.txt"), "there").unwrap();
    let script = format!(
        r#"[{{"tool_calls":[{{"name":"read_file","arguments":{{"path":"b.txt"}}}}]}},
            {{"tool_calls":[{},{}]}}, {{"text":"Well."}}]"#,
        write("one.txt"),
        write("two.txt")
    );
    let mut run = OnTerminal::run(&scratch, &script);
    run.answer("a\n");
    let shown = run.end();
    assert_eq!(shown.matches("in this run?").count(), 1, "{shown}");
    assert!(scratch.work().join("one.txt").exists() && scratch.work().join("two.txt").exists());
}

#[test]
fn what_a_model_says_does_not_control_the_terminal() {
    let scratch = Scratch::new();
    fs::write(scratch.work().join("b.txt"), "\u{1b}]0;title\u{7}\u{9b}2J").unwrap();
    let script = r#"[{"text":"\u001b[2J\u202eevil","tool_calls":[{"name":"read_file",
        "arguments":{"path":"b.txt"}}]}, {"text":"\u009bdone"}]"#;
    let shown = OnTerminal::run(&scratch, script).end();
    assert!(
        shown.contains("␛[2J") && shown.contains("evil"),
        "{shown:?}"
    );
    let obeyed = |c: char| c.is_control() && !"\r\n\t".contains(c);
    assert!(
        !shown.contains(obeyed) && !shown.contains('\u{202e}'),
        "{shown:?}"
    );
}
