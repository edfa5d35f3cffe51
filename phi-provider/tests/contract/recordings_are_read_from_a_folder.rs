//! A recording is added to the kit by dropping a file into a folder.

use std::fs;

use phi_provider::contract::{Case, CaseError, Expected};
use phi_types::{ProviderErrorKind, StopReason};
use serde_json::json;

#[test]
fn every_body_is_a_case_and_its_neighbour_describes_it() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("b.json", "{}");
    write(
        "b.case.json",
        r#"{"status":429,"expected":{"error":"rate_limited"}}"#,
    );
    write("a.sse", "data: x\n\n");
    write(
        "a.case.json",
        r#"{"headers":{"Content-Type":"text/x"},"expected":{"text":"x","calls":[{"name":"f","arguments":{}}],"stop_reason":"tool_use"}}"#,
    );
    write("README.md", "nothing");
    let cases = Case::read_dir(folder.path()).unwrap();
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names, ["a.sse", "b.json"]);
    assert_eq!(cases[0].head.content_type(), "text/x");
    assert_eq!((cases[0].head.status, cases[1].head.status), (200, 429));
    assert_eq!(cases[1].head.content_type(), "application/json");
    assert_eq!(cases[0].body, b"data: x\n\n");
    let expected = cases[0].expected.as_ref().unwrap();
    assert_eq!(expected.stop_reason, Some(StopReason::ToolUse));
    assert_eq!(expected.calls.as_ref().unwrap()[0].arguments, json!({}));
    let error = Expected::error(ProviderErrorKind::RateLimited);
    assert_eq!(cases[1].expected, Some(error));
}

#[test]
fn what_cannot_be_read_says_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let error = Case::read_dir(folder.path()).unwrap_err();
    assert!(matches!(error, CaseError::Empty { .. }), "{error}");
    fs::write(folder.path().join("a.txt"), "x").unwrap();
    fs::write(folder.path().join("a.case.json"), r#"{"expectation":1}"#).unwrap();
    let error = Case::read_dir(folder.path()).unwrap_err();
    assert!(matches!(error, CaseError::Malformed { .. }), "{error}");
    let missing = Case::read_dir(folder.path().join("none")).unwrap_err();
    assert!(matches!(missing, CaseError::Unreadable { .. }), "{missing}");
}
