//! `models` lists what is known of models, and a file overrides it.

use serde_json::{Value, json};

use crate::support::Scratch;

#[test]
fn a_line_of_json_says_what_is_known_of_a_model() {
    let ran = Scratch::new().phi(["models", "--json"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let lines = ran.json_lines();
    assert!(lines.len() >= 60, "{} models", lines.len());
    let is_it = |line: &&Value| line["model"] == "claude-sonnet-4-5";
    let wanted = json!({
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "window_tokens": 200_000,
        "output_tokens_max": 64_000,
        "price": {"input_usd": 3.0, "output_usd": 15.0, "cache_read_usd": 0.3, "cache_write_usd": 3.75},
        "abilities": {
            "images": true,
            "tools": true,
            "thinking": "budget",
            "structured_output": true,
            "temperature": true,
        },
    });
    assert_eq!(lines.iter().find(is_it), Some(&wanted));
}

#[test]
fn people_get_a_table_and_files_override() {
    let scratch = Scratch::new();
    let one = r#"{"models": [{"provider": "own", "model": "tiny", "window_tokens": 1000,
        "price": {"input_usd": 0.5, "output_usd": 2}, "abilities": {"thinking": "effort", "tools": true}}]}"#;
    let one = scratch.write("one.json", one);
    let two = r#"{"models": [{"provider": "own", "model": "tiny", "output_tokens_max": 50}]}"#;
    let two = scratch.write("two.json", two);
    let files = [one, two].map(|it| it.to_str().unwrap().to_owned());
    let ran = scratch.phi(["models", "--file", &files[0], "--file", &files[1]]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let head = ran.out.lines().next().unwrap();
    let words: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(words[..3], ["MODEL", "WINDOW", "OUTPUT"], "{head}");
    let tiny = ran.out.lines().last().unwrap();
    let words: Vec<&str> = tiny.split_whitespace().collect();
    let wanted = [
        "own:tiny", "1000", "50", "0.5", "2", "0.5", "0.5", "tools,", "thinking", "by", "effort",
    ];
    assert_eq!(words, wanted);
}

#[test]
fn a_file_that_is_wrong_is_named_with_the_line_and_the_field() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "models.json",
        "{\"models\": [\n{\"provider\": \"a\", \"model\": \"b\", \"prize\": 1}]}",
    );
    let ran = scratch.phi(["models", "--file", file.to_str().unwrap()]);
    let line = ran.failure(2);
    assert!(
        line.contains("models.json`: line 2, `a:b`: unknown field `prize`"),
        "{line}"
    );
}
