//! What the checks read: pages with their tables, and the sources of all crates with their tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The rows of the tables of a page that have so many cells, without their heads.
pub(crate) fn rows(page: &str, cells: usize) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut rows = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let is_row = line.starts_with("| ");
        let is_head = lines
            .get(place + 1)
            .is_some_and(|next| next.starts_with("|---"));
        if !is_row || is_head {
            continue;
        }
        let row = line.trim_start_matches("| ").trim_end_matches(" |");
        let row: Vec<String> = row
            .split(" | ")
            .map(|cell| cell.trim().to_owned())
            .collect();
        assert_eq!(row.len(), cells, "{page}: {line}");
        rows.push(row);
    }
    assert!(!rows.is_empty(), "{page} has no table");
    rows
}

/// The words in backticks.
pub(crate) fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The names of all tests of the workspace.
pub(crate) fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "phi" || name.starts_with("phi-") {
            for folder in ["src", "tests", "examples"] {
                collect(&path.join(folder), &mut names);
            }
        }
    }
    assert!(names.len() > 500, "{} tests were found", names.len());
    names
}

fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            tests_of(&fs::read_to_string(path).unwrap(), names);
        }
    }
}

/// A test is a function below an attribute of a test, also inside of `proptest!`.
fn tests_of(text: &str, names: &mut BTreeSet<String>) {
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            continue;
        }
        let function = line
            .strip_prefix("async ")
            .unwrap_or(line)
            .strip_prefix("fn ");
        if let (true, Some(function)) = (marked, function) {
            let end = function.find('(').unwrap();
            names.insert(function[..end].to_owned());
        }
        marked &= line.starts_with("///") || line.starts_with(']') || line.starts_with("clippy");
    }
}

/// The lines of one braced item of a file, without its first and its last one.
pub(crate) fn body(text: &str, head: &str) -> Option<Vec<String>> {
    let mut lines = text.lines().skip_while(|line| line.trim_end() != head);
    lines.next()?;
    let body = lines.take_while(|line| !line.starts_with('}'));
    Some(body.map(str::to_owned).collect())
}
