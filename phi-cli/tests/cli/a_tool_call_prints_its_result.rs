//! `tool call` prints one line of JSON with every key, and the exit code says how it went.

use std::fs;

use serde_json::{Value, json};

use crate::support::Scratch;

#[test]
fn a_result_has_content_a_flag_and_details() {
    let scratch = Scratch::new();
    fs::write(scratch.work().join("a.txt"), "hello\n").unwrap();
    let ran = scratch.phi(["tool", "call", "read_file", r#"{"path":"a.txt"}"#]);
    assert_eq!(
        (ran.code, ran.out.lines().count(), ran.err.as_str()),
        (Some(0), 1, ""),
        "{ran:?}"
    );
    let result = ran.json();
    let keys: Vec<_> = result
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(keys, ["content", "details", "is_error"]);
    assert_eq!(result["content"][0]["type"], "text");
    assert!(
        result["content"][0]["text"]
            .as_str()
            .unwrap()
            .starts_with("hello"),
        "{result}"
    );
    assert_eq!(result["is_error"], false);
    assert!(result["details"].is_object(), "{result}");
}

#[test]
fn a_failed_call_prints_its_result_and_exits_with_one() {
    let scratch = Scratch::new();
    for (tool, arguments) in [
        ("read_file", r#"{"path":"none.txt"}"#),
        ("bash", r#"{"command":"exit 3"}"#),
    ] {
        let ran = scratch.phi(["tool", "call", tool, arguments]);
        assert_eq!(
            (ran.code, &ran.json()["is_error"]),
            (Some(1), &json!(true)),
            "{ran:?}"
        );
    }
}

#[test]
fn a_call_works_where_it_is_told_and_never_asks() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("other")).unwrap();
    let other = scratch.path("other");
    let arguments = r#"{"path":"a.txt","content":"hello"}"#;
    let ran = scratch.phi([
        "tool",
        "call",
        "write_file",
        arguments,
        "--cwd",
        other.to_str().unwrap(),
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(fs::read_to_string(other.join("a.txt")).unwrap(), "hello");
}

#[test]
fn every_tool_is_listed_and_describes_itself() {
    let scratch = Scratch::new();
    let listed = scratch.phi(["tool", "list"]).out;
    let names: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        names,
        [
            "bash",
            "edit_file",
            "list_files",
            "read_file",
            "search",
            "write_file"
        ]
    );
    for name in names {
        let described = scratch.phi(["tool", "describe", name]).json();
        assert_eq!(described["name"], name);
        assert_eq!(described["input_schema"]["type"], "object");
        assert_ne!(described["description"], Value::Null);
    }
}
