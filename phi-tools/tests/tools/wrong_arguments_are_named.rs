//! Arguments that are wrong are refused before the call, with the field and what would be right.

use phi_tools::{FunctionTool, InvalidTool, Registry, RegistryError};
use phi_types::{RawJson, Tool as _};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::bench::{bench, context, text};

#[test]
fn of_the_built_in_tools() {
    let bench = bench();
    let takes = "read_file takes {path: string, limit?: integer, offset?: integer}";
    for (name, arguments, error) in [
        (
            "read_file",
            json!({}),
            format!("`path` is missing: {takes}"),
        ),
        (
            "read_file",
            json!({"path": 7}),
            format!("`path`: the value is not of type \"string\" (given: 7): {takes}"),
        ),
        (
            "read_file",
            json!({"path": "a", "offset": 0, "lines": 1}),
            format!(
                "`offset`: the value is less than the minimum of 1 (given: 0); \
                 `lines` is not known: {takes}"
            ),
        ),
        (
            "edit_file",
            json!({"path": "a", "edits": [{"old_text": "a"}, {"old_text": "a", "new_text": null}]}),
            "`edits[0].new_text` is missing; \
             `edits[1].new_text`: the value is not of type \"string\" (given: null): \
             edit_file takes {edits: [{new_text: string, old_text: string}], path: string}"
                .to_owned(),
        ),
        (
            "search",
            json!({"pattern": "(a"}),
            "`pattern` \"(a\" is not a regular expression for one line: unclosed group: \
             put \\ before each of ( [ { . * + ? | that stands for itself, and search for one line"
                .to_owned(),
        ),
        (
            "search",
            json!({"pattern": "a\nb"}),
            "`pattern` \"a\\nb\" is not a regular expression for one line: \
             the literal \"\\n\" is not allowed in a regex: \
             put \\ before each of ( [ { . * + ? | that stands for itself, and search for one line"
                .to_owned(),
        ),
        (
            "list_files",
            json!({"glob": "{a"}),
            "`glob` \"{a\" is not valid: unclosed alternate group; missing '}' \
             (maybe escape '{' with '[{]'?): use a pattern such as *.rs, src/**/*.ts or !*.lock"
                .to_owned(),
        ),
        (
            "bash",
            json!({"command": "a\0b"}),
            "`command` holds a NUL character, which no command can: leave it out".to_owned(),
        ),
        (
            "bash",
            json!({"command": "a", "timeout_ms": 1e15}),
            "`timeout_ms` is too long: use at most 3600000".to_owned(),
        ),
    ] {
        assert_eq!(bench.invalid(name, &arguments), error);
    }
}

#[test]
fn null_and_whole_floats_are_taken_for_what_they_mean() {
    let bench = bench();
    for arguments in [
        r#"{"path":"a","offset":null,"limit":null}"#,
        r#"{"path":"a","offset":2.0}"#,
    ] {
        let arguments = RawJson::parse(arguments).unwrap();
        bench.tool("read_file").validate(&arguments).unwrap();
    }
}

#[test]
fn a_large_mistake_has_a_short_error() {
    let bench = bench();
    let long = "x".repeat(1_000_000);
    let many: serde_json::Map<_, _> = (0..10_000).map(|n| (n.to_string(), json!(1))).collect();
    for arguments in [
        json!({"path": [long]}),
        json!({"path": "a", (long.as_str()): 1}),
        json!({"path": "a", "edits": vec![json!({}); 10_000]}),
        json!(many),
    ] {
        let error = bench.invalid("edit_file", &arguments);
        assert!(error.len() < 2_500, "{} bytes", error.len());
    }
}

#[test]
fn a_tool_that_is_not_known_is_told_from_those_that_are() {
    let bench = bench();
    let error = bench.registry.make("grep", &bench.workspace).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tool \"grep\" is not known: \
         use one of bash, edit_file, list_files, read_file, search, write_file"
    );
    assert!(matches!(error, RegistryError::Unknown { .. }));
    let names = |selection| -> Result<Vec<String>, RegistryError> {
        let tools = bench.registry.select(selection, &bench.workspace)?;
        Ok(tools
            .iter()
            .map(|tool| tool.spec().name.to_string())
            .collect())
    };
    assert_eq!(names("none").unwrap(), [""; 0]);
    assert_eq!(names("search, bash,search").unwrap(), ["search", "bash"]);
    assert_eq!(names("default").unwrap(), phi_tools::DEFAULT_TOOLS);
    names("bash,grep").unwrap_err();
}

/// Arguments of a test.
#[derive(Debug, Deserialize, JsonSchema)]
struct Sum {
    /// What to add.
    numbers: Vec<i64>,
    /// What to call it.
    name: Option<String>,
}

#[tokio::test]
async fn a_typed_function_is_a_tool() {
    let sum = |arguments: Sum, _| async move {
        let sum = arguments
            .numbers
            .iter()
            .try_fold(0_i64, |sum, it| sum.checked_add(*it));
        let name = arguments.name.unwrap_or("sum".to_owned());
        sum.map(|sum| format!("{name} = {sum}"))
            .ok_or("the sum is too large")
    };
    let tool = FunctionTool::new("add", "Adds numbers.", sum).unwrap();
    let bench = bench();
    let mut registry = Registry::empty();
    registry.add("add", move |_| {
        FunctionTool::new("add", "Adds numbers.", sum)
    });
    let bench = crate::bench::Bench { registry, ..bench };
    assert_eq!(
        tool.spec().input_schema.as_str(),
        r#"{"properties":{"name":{"description":"What to call it.","type":["string","null"]},"numbers":{"description":"What to add.","items":{"type":"integer"},"type":"array"}},"required":["numbers"],"type":"object"}"#
    );
    assert_eq!(
        bench.text("add", json!({"numbers": [1, 2]})).await,
        "sum = 3"
    );
    let large = json!({"numbers": [i64::MAX, 1]});
    assert_eq!(bench.error("add", large).await, "the sum is too large");
    assert_eq!(
        bench.invalid("add", &json!({"numbers": ["1"]})),
        "`numbers[0]`: the value is not of type \"integer\" (given: \"1\"): \
         add takes {numbers: [integer], name?: string}"
    );
    let unchecked = RawJson::parse("{}").unwrap();
    let result = tool.call(unchecked, context()).await;
    assert!(result.is_error);
    assert!(
        text(&result).contains("missing field `numbers`"),
        "{}",
        text(&result)
    );
    let bad = FunctionTool::new("a b", "", sum).unwrap_err();
    assert_eq!(
        bad.to_string(),
        "tool name \"a b\" is not valid: use 1 to 64 characters of A-Z a-z 0-9 _ -"
    );
    let bad = FunctionTool::new("list", "", |_: Vec<u8>, _| async { "" }).unwrap_err();
    assert!(matches!(bad, InvalidTool::NotAnObject { .. }));
}
