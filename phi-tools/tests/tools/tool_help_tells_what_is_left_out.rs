//! With disclosure a model is shown little of each tool, and `tool_help` tells the rest.

use std::sync::Arc;

use phi_testkit::contract;
use phi_tools::{FunctionTool, InvalidTool, TOOL_HELP, disclosed};
use phi_types::{
    EstimatedTokens, InvalidArguments, RawJson, Surface, TokenCounter, Tool, ToolResult,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bench::{bench, context, text};

/// Where to go.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Trip {
    /// The place from where to go, as people write it on an envelope, with the country last.
    #[schemars(length(min = 2, max = 100))]
    from: String,
    /// The place to go to, in the same form, which must be another one.
    to: String,
    /// How many people go; children under two do not count, because they sit on somebody's lap.
    #[schemars(range(min = 1, max = 9))]
    people: Option<u8>,
}

fn trip() -> Arc<dyn Tool> {
    let description = "Finds a connection. It asks three services, takes a while, and returns the \
        fastest one, unless one that is hardly slower needs fewer changes. Call it once for each \
        trip: the services count calls. Prices are not part of the answer.";
    let tool = FunctionTool::new("find_trip", description, |trip: Trip, _| async move {
        format!("{} to {} for {:?}", trip.from, trip.to, trip.people)
    });
    Arc::new(tool.unwrap())
}

fn raw(value: &Value) -> RawJson {
    RawJson::from_value(value).unwrap()
}

async fn help(tools: &[Arc<dyn Tool>], name: &str) -> ToolResult {
    let help = tools.iter().find(|tool| *tool.spec().name == *TOOL_HELP);
    let arguments = raw(&json!({"name": name}));
    help.unwrap().validate(&arguments).unwrap();
    help.unwrap().call(arguments, context()).await
}

#[tokio::test]
async fn the_rest_is_told_on_demand() {
    let tools = disclosed(vec![trip()]).unwrap();
    let brief = tools[0].spec();
    assert_eq!(&*brief.description, "Finds a connection.");
    let schema: Value = brief.input_schema.read().unwrap();
    let expected = json!({
        "type": "object",
        "properties": {
            "from": {"type": "string"},
            "to": {"type": "string"},
            "people": {"type": ["integer", "null"]},
        },
        "required": ["from", "to"],
        "additionalProperties": false,
    });
    assert_eq!(schema, expected);
    let told = help(&tools, "find_trip").await;
    let told = text(&told);
    assert!(told.contains(&*trip().spec().description), "{told}");
    assert!(told.contains(trip().spec().input_schema.as_str()), "{told}");
}

#[tokio::test]
async fn help_for_an_unknown_tool_lists_the_known_ones() {
    let tools = disclosed(vec![trip()]).unwrap();
    let told = help(&tools, "fly").await;
    assert!(told.is_error);
    assert_eq!(
        text(&told),
        "There is no tool named \"fly\". The tools are: find_trip."
    );
}

#[tokio::test]
async fn arguments_are_checked_by_the_full_schema_and_the_error_names_the_help() {
    let tools = disclosed(vec![trip()]).unwrap();
    // The short schema does not say that ten are too many.
    let wrong = raw(&json!({"from": "Ulm", "to": "Bonn", "people": 10}));
    let InvalidArguments(why) = tools[0].validate(&wrong).unwrap_err();
    let InvalidArguments(plain) = trip().validate(&wrong).unwrap_err();
    assert!(why.starts_with(&plain), "{why}");
    assert!(why.ends_with(
        "Call tool_help with {\"name\": \"find_trip\"} to see all that find_trip takes."
    ));
    let right = raw(&json!({"from": "Ulm", "to": "Bonn"}));
    tools[0].validate(&right).unwrap();
    let result = tools[0].call(right, context()).await;
    assert_eq!(text(&result), "Ulm to Bonn for None");
}

#[tokio::test]
async fn a_tool_shown_in_brief_and_the_help_keep_the_contract() {
    let tools = disclosed(vec![trip()]).unwrap();
    let right = raw(&json!({"from": "Ulm", "to": "Bonn"}));
    contract::tool(&*tools[0], right).await.unwrap();
    contract::tool(&*tools[1], raw(&json!({"name": "find_trip"})))
        .await
        .unwrap();
}

#[test]
fn what_cannot_get_shorter_stays_and_needs_no_help() {
    #[derive(Deserialize, JsonSchema)]
    struct Nothing {}
    let tool = || {
        let tool = FunctionTool::new("ping", "Pings.", |_: Nothing, _| async { "pong" });
        Arc::new(tool.unwrap()) as Arc<dyn Tool>
    };
    let tools = disclosed(vec![tool()]).unwrap();
    assert_eq!(tools.len(), 1);
    assert_eq!(tools[0].spec(), tool().spec());
    assert!(disclosed(Vec::new()).unwrap().is_empty());
}

#[test]
fn the_name_of_the_help_is_taken() {
    #[derive(Deserialize, JsonSchema)]
    struct Nothing {}
    let mine = FunctionTool::new(TOOL_HELP, "Mine.", |_: Nothing, _| async { "" }).unwrap();
    let refused = disclosed(vec![Arc::new(mine)]);
    assert!(matches!(refused, Err(InvalidTool::Taken { tool }) if tool == TOOL_HELP));
}

fn tokens(tools: &[Arc<dyn Tool>]) -> u64 {
    EstimatedTokens.surface(&Surface {
        tools: tools.iter().map(|tool| tool.spec().clone()).collect(),
        ..Surface::default()
    })
}

/// The figures in the docs of `Registry::with_disclosure`.
#[test]
fn what_disclosure_saves_is_what_the_documentation_says() {
    let bench = bench();
    let full = bench.registry.select("default", &bench.workspace).unwrap();
    let registry = bench.registry.clone().with_disclosure();
    let brief = registry.select("default", &bench.workspace).unwrap();
    let names: Vec<_> = brief
        .iter()
        .map(|tool| tool.spec().name.to_string())
        .collect();
    assert_eq!(names.last().map(String::as_str), Some(TOOL_HELP));
    assert_eq!(names.len(), full.len() + 1);
    assert_eq!((tokens(&full), tokens(&brief)), (1_088, 555));
}
