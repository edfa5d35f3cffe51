//! Rules about names: of types, functions, files and tests.

use crate::rule::{Rule, append, caught, code, replace, write};
use crate::source::declared;
use crate::workspace::{Workspace, part_of};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "a type is named after what it is",
        check: types,
        caught: &[
            caught(|it| code(it, "pub struct ToolManager;"), "ToolManager"),
            caught(|it| code(it, "enum DataKind {}"), "DataKind"),
            caught(|it| code(it, "pub(crate) trait BaseTool {}"), "BaseTool"),
            caught(|it| code(it, "pub type RequestUtils = u8;"), "RequestUtils"),
            caught(|it| code(it, "pub struct PhiSession;"), "PhiSession"),
        ],
        fine: &[|it| {
            code(
                it,
                "impl Body for A {\n    type Data = u8;\n}\npub struct Database;\npub enum Managed {}\npub trait Baseline {}",
            );
        }],
    },
    Rule {
        name: "a getter is named after what it returns",
        check: getters,
        caught: &[caught(
            |it| code(it, "impl A {\n    pub fn get_name(&self) {}\n}"),
            "get_name",
        )],
        fine: &[|it| {
            code(
                it,
                "impl A {\n    fn get(&self) {}\n    fn target_of(&self) {}\n}",
            );
        }],
    },
    Rule {
        name: "a file is named after its job",
        check: files,
        caught: &[
            caught(
                |it| write(it, "phi/src/utils.rs", "//! Things.\n"),
                "utils.rs",
            ),
            caught(
                |it| write(it, "phi/src/wire/helpers.rs", "//! Things.\n"),
                "helpers.rs",
            ),
            caught(
                |it| write(it, "phi/examples/first.rs", "//! One.\n"),
                "examples/first.rs",
            ),
        ],
        fine: &[|it| write(it, "phi/examples/01_first.rs", "//! One.\n")],
    },
    Rule {
        name: "a test is named as a fact",
        check: tests,
        caught: &[
            caught(
                |it| {
                    replace(
                        it,
                        "phi/src/message.rs",
                        "a_message_is_a_fact",
                        "test_message_is_a_fact",
                    );
                },
                "test_message",
            ),
            caught(
                |it| replace(it, "phi/src/message.rs", "a_message_is_a_fact", "works"),
                "works",
            ),
            caught(
                |it| {
                    let test =
                        "//! It.\n\n#[tokio::test(start_paused = true)]\nasync fn retry() {}\n";
                    write(it, "phi/tests/it_retries.rs", test);
                },
                "retry",
            ),
        ],
        fine: &[|it| append(it, "phi/src/message.rs", "\nfn works() {}\n")],
    },
];

/// Words that say nothing about a type.
const EMPTY_WORDS: &[&str] = &[
    "Manager", "Helper", "Helpers", "Util", "Utils", "Base", "Data",
];

/// Names of files that collect what has no place.
const EMPTY_FILES: &[&str] = &[
    "util", "utils", "helper", "helpers", "common", "misc", "base",
];

fn types(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in &workspace.sources {
        for (number, line) in source.numbered() {
            // A type inside an item is named by the trait that asks for it.
            let is_inner =
                line.code.trim_start().starts_with("type ") && line.code.starts_with(' ');
            let keywords = ["struct", "enum", "trait", "type", "union"];
            if is_inner {
                continue;
            }
            let Some(name) = keywords.iter().find_map(|it| declared(&line.code, it)) else {
                continue;
            };
            let words = words(name);
            let is_empty = |word: Option<&&str>| word.is_some_and(|it| EMPTY_WORDS.contains(it));
            if is_empty(words.first()) || is_empty(words.last()) {
                findings.push(format!("{path}:{number}: `{name}`: say what it is or does"));
            }
            if words.first() == Some(&"Phi") {
                findings.push(format!(
                    "{path}:{number}: `{name}`: the crate's name says phi already"
                ));
            }
        }
    }
    findings
}

/// Splits a name in camel case into its words.
fn words(name: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = name
        .match_indices(char::is_uppercase)
        .map(|(at, _)| at)
        .collect();
    starts.push(name.len());
    let pairs = starts.iter().zip(starts.iter().skip(1));
    pairs
        .filter_map(|(from, to)| name.get(*from..*to))
        .collect()
}

fn getters(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in workspace.shipped() {
        for (number, line) in source.numbered() {
            let name = declared(&line.code, "fn").filter(|it| it.starts_with("get_"));
            findings
                .extend(name.map(|name| format!("{path}:{number}: `{name}`: leave out `get_`")));
        }
    }
    findings
}

fn files(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for path in workspace.sources.keys() {
        let name = path.rsplit('/').next().unwrap_or_default();
        let stem = name.trim_end_matches(".rs");
        if EMPTY_FILES.contains(&stem) {
            findings.push(format!("{path}: name the file after its one job"));
        }
        let is_numbered = stem.get(..3).is_some_and(|it| {
            it.ends_with('_') && it.chars().take(2).all(|digit| digit.is_ascii_digit())
        });
        if part_of(path) == "examples" && path.split('/').count() == 3 && !is_numbered {
            findings.push(format!(
                "{path}: number examples as `01_name.rs`, in reading order"
            ));
        }
    }
    findings
}

fn tests(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in &workspace.sources {
        let mut is_test = false;
        for (number, line) in source.numbered() {
            let code = line.code.trim();
            if let Some(name) = declared(code, "fn") {
                let is_fact = !name.starts_with("test_") && name.matches('_').count() >= 2;
                if std::mem::take(&mut is_test) && !is_fact {
                    findings.push(format!(
                        "{path}:{number}: `{name}`: say the fact that it proves"
                    ));
                }
            }
            is_test |= code == "#[test]" || code.starts_with("#[tokio::test");
        }
    }
    findings
}
