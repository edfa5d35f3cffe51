//! Reading shows the lines of a text as they are, and says what it leaves out.

use serde_json::json;

use crate::bench::{bench, details, text};

#[tokio::test]
async fn a_small_file_is_shown_whole() {
    let bench = bench();
    for content in ["one\ntwo\n", "no line end", "\n\n", "grüße 😀\n"] {
        bench.file("file", content);
        let result = bench.call("read_file", json!({"path": "file"})).await;
        assert_eq!(text(&result), content);
        assert_eq!(details(&result)["truncated"], false);
    }
    bench.file("empty", "");
    assert_eq!(
        bench.text("read_file", json!({"path": "empty"})).await,
        "[empty is empty]"
    );
}

#[tokio::test]
async fn a_window_says_how_to_go_on() {
    let bench = bench();
    let lines: String = (1..=10).map(|line| format!("line {line}\n")).collect();
    bench.file("file", &lines);
    let window = json!({"path": "file", "offset": 3, "limit": 2});
    let result = bench.call("read_file", window).await;
    assert_eq!(
        text(&result),
        "line 3\nline 4\n[lines 3 to 4 of 10; go on with offset 5]"
    );
    assert_eq!(
        details(&result).to_string(),
        json!({"path": "file", "first_line": 3, "lines": 2, "total_lines": 10, "bytes": 71,
            "truncated": true, "cut_lines": 0, "line_ending": "lf", "byte_order_mark": false})
        .to_string()
    );
    let last = json!({"path": "file", "offset": 10, "limit": 5});
    assert_eq!(bench.text("read_file", last).await, "line 10\n");
    let past = json!({"path": "file", "offset": 11});
    assert_eq!(
        bench.error("read_file", past).await,
        "offset 11 is past the end of file: it has 10 lines"
    );
    let far = json!({"path": "file", "offset": u64::MAX, "limit": u64::MAX});
    bench.error("read_file", far).await;
}

#[tokio::test]
async fn every_line_of_a_long_file_is_reached_by_going_on() {
    let bench = bench();
    let lines: String = (1..=5_000)
        .map(|line| format!("this is line number {line}\n"))
        .collect();
    bench.file("file", &lines);
    let mut seen = String::new();
    let mut offset = 1;
    loop {
        let result = bench
            .call("read_file", json!({"path": "file", "offset": offset}))
            .await;
        let shown = text(&result);
        assert!(shown.len() <= 33 * 1024, "{} bytes", shown.len());
        let more = details(&result)["truncated"] == true;
        let end = if more {
            shown.rfind('[').unwrap()
        } else {
            shown.len()
        };
        seen.push_str(&shown[..end]);
        offset += details(&result)["lines"].as_u64().unwrap();
        if !more {
            break;
        }
    }
    assert_eq!(seen, lines);
}

#[tokio::test]
async fn a_long_line_is_cut_between_characters() {
    let bench = bench();
    bench.file("file", format!("{}\nnext\n", "é".repeat(100_000)));
    let result = bench.call("read_file", json!({"path": "file"})).await;
    let expected = format!(
        "{}[... 198000 bytes of this line omitted]\nnext\n",
        "é".repeat(1000)
    );
    assert_eq!(text(&result), expected);
    assert_eq!(details(&result)["cut_lines"], 1);
}

#[tokio::test]
async fn line_ends_and_marks_are_hidden_and_reported() {
    let bench = bench();
    bench.file("file", "\u{feff}one\r\ntwo\r\n");
    let result = bench.call("read_file", json!({"path": "file"})).await;
    assert_eq!(text(&result), "one\ntwo\n");
    assert_eq!(details(&result)["line_ending"], "crlf");
    assert_eq!(details(&result)["byte_order_mark"], true);
}

#[tokio::test]
async fn what_is_no_text_cannot_hurt() {
    let bench = bench();
    bench.file("latin", b"caf\xe9\x1b[31m\x07\n");
    assert_eq!(
        bench.text("read_file", json!({"path": "latin"})).await,
        "caf\u{fffd}\u{241b}[31m\u{2407}\n"
    );
    bench.file("binary", b"\x7fELF\0\0\0");
    assert_eq!(
        bench.error("read_file", json!({"path": "binary"})).await,
        "binary is a binary file of 7 bytes: use bash to look into it, as with `file` or `xxd`"
    );
}

#[tokio::test]
async fn a_huge_file_is_read_no_further_than_asked() {
    let bench = bench();
    bench.file("huge", "first\nsecond\n");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(bench.path().join("huge"))
        .unwrap();
    // A hole of a tebibyte: read whole, it would take hours.
    file.set_len(1 << 40).unwrap();
    bench.file("front", "first\nsecond\n");
    let result = bench
        .call("read_file", json!({"path": "huge", "limit": 1}))
        .await;
    assert!(text(&result).contains("binary"), "{}", text(&result));
    bench.file("huge", "line\n".repeat(20_000));
    file.set_len(1 << 40).unwrap();
    let result = bench
        .call("read_file", json!({"path": "huge", "limit": 1}))
        .await;
    assert_eq!(text(&result), "line\n[lines 1 to 1; go on with offset 2]");
    assert_eq!(details(&result)["total_lines"], serde_json::Value::Null);
}
