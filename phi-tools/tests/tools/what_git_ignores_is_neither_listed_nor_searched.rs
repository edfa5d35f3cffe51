//! What git ignores is neither listed nor searched, in a repository or not; the rest is, in order.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::bench::{Bench, bench, details, text};

fn project() -> Bench {
    let bench = bench();
    bench.file(".gitignore", "*.log\n/target/\n!keep.log\n");
    bench.file("b.rs", "fn needle() {}\n");
    bench.file("a.rs", "needle\nhay\nneedle 2\n");
    bench.file("debug.log", "needle\n");
    bench.file("keep.log", "needle\n");
    bench.file("target/out.rs", "needle\n");
    bench.file("src/.gitignore", "generated.rs\n");
    bench.file("src/generated.rs", "needle\n");
    bench.file("src/lib.rs", "needle\n");
    bench.file("src/target/kept.rs", "hay\n");
    bench.file(".github/ci.yml", "needle\n");
    bench.file(".git/config", "needle\n");
    bench
}

const LISTED: &str = ".github/ci.yml\n.gitignore\na.rs\nb.rs\nkeep.log\nsrc/.gitignore\nsrc/lib.rs\nsrc/target/kept.rs\n";
const FOUND: &str = ".github/ci.yml:1:needle\na.rs:1:needle\na.rs:3:needle 2\nb.rs:1:fn needle() {}\nkeep.log:1:needle\nsrc/lib.rs:1:needle\n";

#[tokio::test]
async fn with_and_without_a_repository() {
    for in_repository in [true, false] {
        let bench = project();
        if !in_repository {
            fs::remove_dir_all(bench.path().join(".git")).unwrap();
        }
        assert_eq!(bench.text("list_files", json!({})).await, LISTED);
        let found = bench.text("search", json!({"pattern": "needle"})).await;
        assert_eq!(found, FOUND);
    }
}

#[tokio::test]
async fn a_part_is_picked_by_path_and_glob() {
    let bench = project();
    for (arguments, expected) in [
        (
            json!({"path": "src"}),
            "src/.gitignore\nsrc/lib.rs\nsrc/target/kept.rs\n",
        ),
        (
            json!({"glob": "*.rs"}),
            "a.rs\nb.rs\nsrc/lib.rs\nsrc/target/kept.rs\n",
        ),
        (json!({"glob": "/*.rs"}), "a.rs\nb.rs\n"),
        (
            json!({"glob": "src/**/*.rs"}),
            "src/lib.rs\nsrc/target/kept.rs\n",
        ),
        (
            json!({"path": "src", "glob": "target/*"}),
            "src/target/kept.rs\n",
        ),
        (json!({"glob": "{a,b}.rs"}), "a.rs\nb.rs\n"),
        (json!({"path": "src", "glob": "!*.rs"}), "src/.gitignore\n"),
        (json!({"glob": "*.py"}), "[no files found]\n"),
        (json!({"glob": "*.log"}), "keep.log\n"),
    ] {
        let listed = bench.text("list_files", arguments.clone()).await;
        assert_eq!(listed, expected, "{arguments}");
    }
    let one = json!({"pattern": "^needle$", "path": "a.rs"});
    assert_eq!(bench.text("search", one).await, "a.rs:1:needle\n");
    let rust = json!({"pattern": "NEEDLE|(?i)Needle \\d", "glob": "*.rs"});
    assert_eq!(bench.text("search", rust).await, "a.rs:3:needle 2\n");
    let none = json!({"pattern": "absent", "path": "src"});
    assert_eq!(
        bench.text("search", none).await,
        "[no matches in 3 files]\n"
    );
}

#[tokio::test]
async fn limits_say_how_much_is_left() {
    let bench = project();
    let result = bench.call("list_files", json!({"limit": 2})).await;
    assert_eq!(
        text(&result),
        ".github/ci.yml\n.gitignore\n[6 more files: name a folder with path, or fewer files with glob]\n"
    );
    assert_eq!(details(&result)["more"], 6);
    let result = bench
        .call("search", json!({"pattern": "needle", "limit": 2}))
        .await;
    assert_eq!(
        text(&result),
        ".github/ci.yml:1:needle\na.rs:1:needle\n\
         [4 more matching lines: narrow pattern, path or glob, or raise limit]\n"
    );
    assert_eq!(
        details(&result),
        json!({"matches": 2, "more": 4, "truncated": true, "more_is_a_minimum": false,
            "files_searched": 8, "files_matched": 5, "unreadable": 0})
    );
}

#[tokio::test]
async fn hostile_trees_do_no_harm() {
    let bench = bench();
    symlink(".", bench.path().join("loop")).unwrap();
    symlink("/etc", bench.path().join("out")).unwrap();
    bench.file("line\nend\x1b[31m", "needle\x1b[0m\r\n");
    bench.file("long", format!("needle{}\n", "x".repeat(1_000)));
    bench.file("binary", "needle\0needle\n");
    bench.file("one line of many megabytes", "x".repeat(20 * 1024 * 1024));
    bench.file("utf16", b"\xff\xfen\0e\0e\0d\0l\0e\0\n\0");
    let listed = bench.text("list_files", json!({})).await;
    assert_eq!(
        listed,
        "binary\nline\u{240a}end\u{241b}[31m\nlong\nloop -> .\n\
         one line of many megabytes\nout -> /etc\nutf16\n"
    );
    let result = bench.call("search", json!({"pattern": "needle"})).await;
    let cut = format!(
        "long:1:needle{}[... 506 bytes of this line omitted]\n",
        "x".repeat(494)
    );
    assert_eq!(
        text(&result),
        format!(
            "line\u{240a}end\u{241b}[31m:1:needle\u{241b}[0m\n{cut}utf16:1:needle\n\
             [1 files or folders could not be searched]\n"
        )
    );
}

#[tokio::test]
async fn a_very_deep_tree_is_walked() {
    let bench = bench();
    let deep = "d/".repeat(500);
    bench.file(&format!("{deep}file"), "needle\n");
    let found = bench.text("search", json!({"pattern": "needle"})).await;
    assert_eq!(found, format!("{deep}file:1:needle\n"));
}
