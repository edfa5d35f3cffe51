//! The context tools do nothing themselves: their results ask for the change, and the arguments that
//! cannot be right are refused before.

use std::sync::Arc;

use phi_testkit::contract;
use phi_tools::{Registry, Workspace};
use phi_types::{
    ContextChange, EffectClass, Prune, RawJson, Revert, RevertCategory, Tag, Tool, ToolResult,
};
use serde_json::{Value, json};

use crate::bench::{bench, context};

fn tool(name: &str) -> Arc<dyn Tool> {
    let workspace = Workspace::open(std::env::temp_dir()).unwrap();
    let registry = Registry::built_in().with_context_tools();
    registry.make(name, &workspace).unwrap()
}

async fn call(name: &str, arguments: Value) -> ToolResult {
    let arguments = RawJson::from_value(&arguments).unwrap();
    let tool = tool(name);
    tool.validate(&arguments).unwrap();
    tool.call(arguments, context()).await
}

#[tokio::test]
async fn they_keep_the_contract_and_are_pure() {
    let revert = json!({"tag": "[n2]", "category": "done", "summary": "All green."});
    for (name, arguments) in [
        ("prune_context", json!({"tags": ["n2"]})),
        ("revert_context", revert),
    ] {
        let tool = tool(name);
        assert_eq!(tool.spec().effect_class, EffectClass::Pure);
        let arguments = RawJson::from_value(&arguments).unwrap();
        contract::tool(&*tool, arguments).await.unwrap();
    }
}

#[tokio::test]
async fn a_result_carries_the_change_that_it_asks_for() {
    let one = Tag {
        entry: 4,
        result: Some(1),
    };
    let pruned = call(
        "prune_context",
        json!({"tags": ["[n2]", "n4.1"], "memo": "Two."}),
    )
    .await;
    let prune = Prune {
        tags: vec![Tag::entry(2), one],
        memo: Some("Two.".into()),
    };
    let change = pruned.change.unwrap();
    assert_eq!(*change, ContextChange::Prune(prune));
    let blank = call("prune_context", json!({"tags": ["n2"], "memo": " "})).await;
    let ContextChange::Prune(Prune { memo, .. }) = *blank.change.unwrap() else {
        panic!("it prunes")
    };
    assert_eq!(memo, None);

    let categories = [
        (json!({"category": "dead_end"}), RevertCategory::DeadEnd),
        (
            json!({"category": "superseded"}),
            RevertCategory::Superseded,
        ),
        (json!({"category": "done"}), RevertCategory::Done),
        (
            json!({"category": "other"}),
            RevertCategory::Other("other".into()),
        ),
        (
            json!({"category": "other", "reason": "wrong file"}),
            RevertCategory::Other("wrong file".into()),
        ),
    ];
    for (mut arguments, category) in categories {
        arguments["tag"] = "n2".into();
        arguments["summary"] = "Nothing.".into();
        let reverted = call("revert_context", arguments).await;
        let revert = Revert {
            to: Tag::entry(2),
            category,
            summary: "Nothing.".into(),
        };
        assert_eq!(*reverted.change.unwrap(), ContextChange::Revert(revert));
    }
}

#[test]
fn what_cannot_be_right_is_refused_before_the_call() {
    let refused = |name, arguments: Value| {
        let arguments = RawJson::from_value(&arguments).unwrap();
        tool(name).validate(&arguments).unwrap_err().to_string()
    };
    let why = refused("prune_context", json!({"tags": ["the last one"]}));
    assert!(why.contains("write it as n12"), "{why}");
    let why = refused("prune_context", json!({"tags": []}));
    assert!(why.contains("tags"), "{why}");
    let why = refused(
        "revert_context",
        json!({"tag": "n2", "category": "bored", "summary": "x"}),
    );
    assert!(why.contains("dead_end"), "{why}");
    let why = refused(
        "revert_context",
        json!({"tag": "2", "category": "done", "summary": "x"}),
    );
    assert!(why.contains("is no tag"), "{why}");
}

#[test]
fn they_are_there_for_those_who_ask_for_them() {
    let plain: Vec<String> = Registry::built_in().names().map(str::to_owned).collect();
    assert!(
        !plain.iter().any(|name| name.ends_with("_context")),
        "{plain:?}"
    );
    let more = Registry::built_in().with_context_tools();
    let workspace = bench().workspace;
    let tools = more
        .select("prune_context,revert_context", &workspace)
        .unwrap();
    assert_eq!(tools.len(), 2);
}
