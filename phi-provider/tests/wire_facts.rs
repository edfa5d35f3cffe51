//! Every fact in `docs/wire-facts.md` is numbered without a gap and shown by tests that exist.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail where the tests do"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// How many facts there are of each letter.
const FACTS: &[(&str, usize)] = &[
    ("T", 15),
    ("A", 23),
    ("C", 22),
    ("R", 18),
    ("Z", 5),
    ("G", 19),
    ("B", 13),
    ("O", 11),
];

struct Fact {
    number: String,
    what: String,
    shown_by: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn facts() -> Vec<Fact> {
    let text = fs::read_to_string(root().join("docs/wire-facts.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let cells = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect());
    let facts = cells.filter_map(|cells: Vec<&str>| match cells.as_slice() {
        ["fact", ..] => None,
        [number, what, shown_by] => Some(Fact {
            number: (*number).to_owned(),
            what: (*what).to_owned(),
            shown_by: (*shown_by).to_owned(),
        }),
        _ => None,
    });
    facts.collect()
}

/// The sources of all crates, joined.
fn sources() -> String {
    fn collect(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, text);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    for folder in ["phi-provider/src", "phi-provider/tests"] {
        collect(&root().join(folder), &mut text);
    }
    text
}

#[test]
fn every_number_is_listed_once_and_in_order() {
    let mut found: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for fact in facts() {
        let (letter, number) = fact.number.split_at(1);
        let numbers = found.entry(letter.to_owned()).or_default();
        numbers.push(number.parse().unwrap());
        assert!(fact.what.ends_with('.'), "{}: {}", fact.number, fact.what);
    }
    let expected = FACTS.iter().map(|(letter, count)| {
        let numbers: Vec<usize> = (1..=*count).collect();
        ((*letter).to_owned(), numbers)
    });
    assert_eq!(found, expected.collect());
}

#[test]
fn every_test_that_is_named_exists_and_what_has_none_says_why() {
    let sources = sources();
    let mut missing = Vec::new();
    for fact in facts() {
        if let Some(reason) = fact.shown_by.strip_prefix("no test: ") {
            assert!(!reason.is_empty(), "{} gives no reason", fact.number);
            continue;
        }
        for name in fact.shown_by.split(", ") {
            let name = name.trim_matches('`');
            if !sources.contains(&format!("fn {name}(")) {
                missing.push(format!("{}: {name}", fact.number));
            }
        }
    }
    assert!(missing.is_empty(), "no such test: {missing:#?}");
}
