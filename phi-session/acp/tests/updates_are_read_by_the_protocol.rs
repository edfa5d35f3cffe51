//! Every session update that phi-session makes is read by the protocol's own types, and nothing in it
//! gets lost there.

use std::collections::BTreeSet;

use agent_client_protocol::v1::schema::SessionUpdate;
use serde_json::{Value, json};

const UPDATES: &str = include_str!("../../tests/golden/session-updates.jsonl");

/// Reads an update and writes it again.
fn again(update: &Value) -> serde_json::Result<Value> {
    serde_json::from_value::<SessionUpdate>(update.clone()).and_then(serde_json::to_value)
}

#[test]
fn every_update_reads_back_as_it_was() {
    let mut tags = BTreeSet::new();
    for line in UPDATES.lines() {
        let update: Value = serde_json::from_str(line).unwrap();
        let read = again(&update).unwrap_or_else(|error| panic!("{error}: {update}"));
        assert_eq!(read, update);
        tags.insert(update["sessionUpdate"].as_str().unwrap().to_owned());
    }
    let expected = [
        "agent_message_chunk",
        "agent_thought_chunk",
        "compaction_update",
        "notice",
        "plan",
        "tool_call",
        "tool_call_update",
        "usage_update",
        "user_message_chunk",
    ];
    assert_eq!(tags.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn an_invented_tag_or_key_is_noticed() {
    let unknown = json!({ "sessionUpdate": "turn_started" });
    assert!(again(&unknown).is_err());
    let line = UPDATES.lines().next().unwrap();
    let mut update: Value = serde_json::from_str(line).unwrap();
    update["invented"] = true.into();
    assert_ne!(again(&update).unwrap(), update);
}
