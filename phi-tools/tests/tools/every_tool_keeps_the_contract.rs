//! Every built-in tool keeps the contract of the port.

use phi_testkit::contract;
use phi_types::RawJson;
use serde_json::json;

use crate::bench::bench;

#[tokio::test]
async fn with_arguments_that_are_right() {
    let bench = bench();
    bench.file("file", "old\n");
    for (name, arguments) in [
        ("bash", json!({"command": "true"})),
        ("read_file", json!({"path": "file"})),
        ("list_files", json!({"glob": "*.none"})),
        ("search", json!({"pattern": "none"})),
        (
            "edit_file",
            json!({"path": "file", "edits": [{"old_text": "old", "new_text": ""}]}),
        ),
        ("write_file", json!({"path": "file", "content": ""})),
        ("read_file", json!({"path": "file"})),
    ] {
        let tool = bench.tool(name);
        let arguments = RawJson::from_value(&arguments).unwrap();
        contract::tool(&*tool, arguments).await.unwrap();
    }
}
