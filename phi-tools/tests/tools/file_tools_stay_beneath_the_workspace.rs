//! File tools stay beneath the workspace, and touch nothing there but regular files.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::bench::{Bench, bench, text};

/// Calls of every file tool with one path.
fn calls(path: &str) -> [(&'static str, Value); 5] {
    let edits = json!([{"old_text": "secret", "new_text": "public"}]);
    [
        ("read_file", json!({"path": path})),
        (
            "write_file",
            json!({"path": path, "content": "overwritten"}),
        ),
        ("edit_file", json!({"path": path, "edits": edits})),
        ("search", json!({"path": path, "pattern": "secret"})),
        ("list_files", json!({"path": path})),
    ]
}

async fn refused(bench: &Bench, path: &str, because: &str) {
    for (tool, arguments) in calls(path) {
        let error = bench.error(tool, arguments).await;
        assert!(error.contains(because), "{tool} {path}: {error}");
        assert!(!error.contains("secret"), "{tool} {path}: {error}");
    }
}

#[tokio::test]
async fn a_path_that_leaves_the_workspace_is_refused() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("hidden.txt");
    fs::write(&secret, "secret").unwrap();
    let bench = bench();
    bench.file("deep/er/file", "");
    symlink(&secret, bench.path().join("link")).unwrap();
    symlink(outside.path(), bench.path().join("folder")).unwrap();
    symlink("..", bench.path().join("deep/up")).unwrap();
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    for path in [
        secret.to_str().unwrap(),
        "link",
        "folder/hidden.txt",
        &format!("../{name}/hidden.txt"),
        &format!("deep/er/../../../{name}/hidden.txt"),
        &format!("deep/up/../{name}/hidden.txt"),
        &format!("{}/../{name}/hidden.txt", bench.path().display()),
        "/proc/self/cwd",
        "/etc/passwd",
    ] {
        refused(&bench, path, "is outside the workspace").await;
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    let made = json!({"path": "folder/new.txt", "content": "x"});
    assert!(bench.error("write_file", made).await.contains("outside"));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn links_and_absolute_paths_inside_are_followed() {
    let bench = bench();
    bench.file("real/file.txt", "old");
    symlink("real/file.txt", bench.path().join("link")).unwrap();
    symlink("real", bench.path().join("folder")).unwrap();
    let absolute = bench.path().join("folder/../link");
    let read = json!({"path": absolute.to_str().unwrap()});
    assert_eq!(bench.text("read_file", read).await, "old");
    let write = json!({"path": "link", "content": "new"});
    assert_eq!(
        bench.text("write_file", write).await,
        "replaced real/file.txt (3 bytes)"
    );
    assert!(bench.path().join("link").is_symlink());
    assert_eq!(bench.content("real/file.txt"), "new");
    let write = json!({"path": "folder/other.txt", "content": "x"});
    assert_eq!(
        bench.text("write_file", write).await,
        "created real/other.txt (1 bytes)"
    );
}

#[tokio::test]
async fn a_workspace_opened_through_a_link_knows_both_its_paths() {
    let bench = bench();
    bench.file("real/file.txt", "content");
    let link = bench.path().join("link");
    symlink("real", &link).unwrap();
    let workspace = phi_tools::Workspace::open(&link).unwrap();
    let bench = Bench { workspace, ..bench };
    for folder in ["link", "real"] {
        let path = bench.path().join(folder).join("file.txt");
        let read = json!({"path": path.to_str().unwrap()});
        assert_eq!(bench.text("read_file", read).await, "content");
    }
}

#[tokio::test]
async fn what_is_no_regular_file_is_an_error_and_never_waited_for() {
    let bench = bench();
    let fifo = bench.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let _listener = UnixListener::bind(bench.path().join("socket")).unwrap();
    bench.file("folder/file", "secret");
    for (tool, arguments) in calls("fifo") {
        let error = bench.error(tool, arguments).await;
        let expected = match tool {
            "list_files" => "fifo is not a directory",
            _ => "fifo is a FIFO, not a regular file",
        };
        assert!(error.contains(expected), "{tool}: {error}");
    }
    for (tool, arguments) in calls("socket") {
        let error = bench.error(tool, arguments).await;
        assert!(error.contains("not a"), "{tool}: {error}");
    }
    for (tool, arguments) in calls("folder").into_iter().take(3) {
        let error = bench.error(tool, arguments).await;
        assert!(
            error.contains("is a directory, not a regular file"),
            "{tool}: {error}"
        );
    }
    let found = bench.text("search", json!({"pattern": "secret"})).await;
    assert_eq!(found, "folder/file:1:secret\n");
    let listed = bench.text("list_files", json!({})).await;
    assert_eq!(
        listed,
        "fifo (not a regular file)\nfolder/file\nsocket (not a regular file)\n"
    );
}

#[tokio::test]
async fn a_path_that_is_none_says_why() {
    let bench = bench();
    bench.file("file", "");
    for (path, because) in [
        ("", "it is empty"),
        ("a\0b", "it holds a NUL character"),
        ("missing", "does not exist"),
        ("file/below", "is not a directory"),
        (&"x".repeat(300), "File name too long"),
    ] {
        let error = bench.error("read_file", json!({"path": path})).await;
        assert!(error.contains(because), "{error}");
        let error = bench.error("list_files", json!({"path": path})).await;
        assert!(error.contains(because), "{error}");
    }
    for path in [".", "new/", "..", "folder/.."] {
        let result = bench
            .call("write_file", json!({"path": path, "content": ""}))
            .await;
        assert!(result.is_error, "{path}: {}", text(&result));
    }
    assert_eq!(fs::read_dir(bench.path()).unwrap().count(), 1);
}
