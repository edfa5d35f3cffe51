//! Writing replaces a file in one step, keeps what belongs to it, and loses nobody's work.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::bench::{bench, details};

fn edit(path: &str, old: &str, new: &str) -> serde_json::Value {
    json!({"path": path, "edits": [{"old_text": old, "new_text": new}]})
}

#[tokio::test]
async fn folders_are_made_and_no_temporary_file_stays() {
    let bench = bench();
    let new = json!({"path": "a/b/c.txt", "content": "x\n"});
    let result = bench.call("write_file", new).await;
    assert_eq!(
        details(&result),
        json!({"path": "a/b/c.txt", "bytes": 2, "created": true})
    );
    bench.text("edit_file", edit("a/b/c.txt", "x", "y")).await;
    assert_eq!(bench.content("a/b/c.txt"), "y\n");
    let names = fs::read_dir(bench.path().join("a/b")).unwrap();
    let names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["c.txt"]);
}

#[tokio::test]
async fn a_file_keeps_its_mode_and_open_readers_keep_the_old_content() {
    let bench = bench();
    bench.file("run.sh", "old");
    let path = bench.path().join("run.sh");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o751)).unwrap();
    let mut reader = fs::File::open(&path).unwrap();
    let write = json!({"path": "run.sh", "content": "new"});
    bench.text("write_file", write).await;
    let mut seen = String::new();
    std::io::Read::read_to_string(&mut reader, &mut seen).unwrap();
    assert_eq!(seen, "old");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o751
    );
    bench
        .text("edit_file", edit("run.sh", "new", "newer"))
        .await;
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o751
    );
    assert_eq!(bench.content("run.sh"), "newer");
}

#[tokio::test]
async fn a_file_that_changed_since_it_was_read_is_left_alone() {
    let bench = bench();
    bench.file("file", "one\n");
    bench.text("read_file", json!({"path": "file"})).await;
    bench.file("file", "one and theirs\n");
    let changed = "file changed since it was read: \
        read it again, then repeat the change on what it says now";
    assert_eq!(
        bench.error("edit_file", edit("./file", "one", "two")).await,
        changed
    );
    let write = json!({"path": "file", "content": "mine"});
    assert_eq!(bench.error("write_file", write.clone()).await, changed);
    assert_eq!(bench.content("file"), "one and theirs\n");
    bench
        .text("read_file", json!({"path": "file", "limit": 1}))
        .await;
    bench.text("edit_file", edit("file", "one", "two")).await;
    assert_eq!(bench.content("file"), "two and theirs\n");
    bench.text("write_file", write).await;
}

#[tokio::test]
async fn a_file_that_was_never_read_and_one_that_only_its_agent_changed_can_be_edited() {
    let bench = bench();
    bench.file("file", "1\n");
    for number in 1..5 {
        let (old, new) = (number.to_string(), (number + 1).to_string());
        bench.text("edit_file", edit("file", &old, &new)).await;
    }
    assert_eq!(bench.content("file"), "5\n");
    // The same content written again is no change.
    bench.file("file", "5\n");
    bench.text("edit_file", edit("file", "5", "6")).await;
}

#[tokio::test]
async fn edits_of_one_file_in_one_turn_all_arrive() {
    let bench = bench();
    let lines: String = (0..20).map(|line| format!("<{line}>\n")).collect();
    bench.file("file", &lines);
    let calls = (0..20).map(|line| {
        let (old, new) = (format!("<{line}>"), format!("[{line}]"));
        let bench = &bench;
        async move { bench.text("edit_file", edit("file", &old, &new)).await }
    });
    futures_util::future::join_all(calls).await;
    assert_eq!(
        bench.content("file"),
        lines.replace('<', "[").replace('>', "]")
    );
}

#[tokio::test]
async fn edits_apply_all_or_not_at_all() {
    let bench = bench();
    let content = "\u{feff}let a = 1;\r\nlet b = 2;\r\n";
    bench.file("file.rs", content);
    let edits = json!({"path": "file.rs", "edits": [
        {"old_text": "a = 1", "new_text": "a = 3"},
        {"old_text": "c = 2", "new_text": "c = 3"},
    ]});
    assert_eq!(
        bench.error("edit_file", edits).await,
        "nothing was changed in file.rs: edits[1].old_text was not found: quote it exactly as \
         read_file shows it, without line numbers, with its indentation"
    );
    let twice = edit("file.rs", "let ", "const ");
    assert_eq!(
        bench.error("edit_file", twice).await,
        "nothing was changed in file.rs: edits[0].old_text was found 2 times, at lines 1, 2: \
         quote more of the lines around it until it is unique"
    );
    assert_eq!(bench.content("file.rs"), content);
    let both = edit("file.rs", "a = 1;\nlet b", "a = 1;\nlet x;\nlet b");
    assert_eq!(
        bench.text("edit_file", both).await,
        "edited file.rs: 1 edit at line 1"
    );
    assert_eq!(
        bench.content("file.rs"),
        "\u{feff}let a = 1;\r\nlet x;\r\nlet b = 2;\r\n"
    );
}

#[tokio::test]
async fn a_binary_file_and_a_missing_one_are_not_edited() {
    let bench = bench();
    bench.file("binary", "a\0b");
    let error = bench.error("edit_file", edit("binary", "a", "b")).await;
    assert!(
        error.contains("binary is a binary file of 3 bytes"),
        "{error}"
    );
    let error = bench.error("edit_file", edit("none", "a", "b")).await;
    assert!(error.contains("none does not exist"), "{error}");
}

/// Root ignores modes, so the folder is one that no one can write to: its files are made by the
/// kernel.
#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named_with_a_remedy() {
    let workspace = phi_tools::Workspace::open("/sys").unwrap();
    let bench = crate::bench::Bench {
        workspace,
        ..bench()
    };
    for path in ["new.txt", "new/folder/file.txt"] {
        let write = json!({"path": path, "content": "x"});
        let error = bench.error("write_file", write).await;
        assert!(error.starts_with("no permission to "), "{error}");
        assert!(
            error.ends_with("change its mode, or use another path"),
            "{error}"
        );
    }
}
