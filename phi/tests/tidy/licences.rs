//! Rules about what comes from elsewhere: licences, sources and bans, as deny.toml states them.

use crate::rule::{Rule, caught, replace};
use crate::workspace::Workspace;

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "the licence of every dependency is permissive",
        check: licences,
        caught: &[
            caught(
                |it| it.foreign[0].licence = Some("GPL-3.0-only".to_owned()),
                "GPL-3.0-only",
            ),
            caught(
                |it| it.foreign[0].licence = Some("MIT AND MPL-2.0".to_owned()),
                "MPL-2.0",
            ),
            caught(|it| it.foreign[0].licence = None, "serde"),
            caught(|it| replace(it, "deny.toml", "\"MIT\", ", ""), "serde"),
        ],
        fine: &[|it| it.foreign[0].licence = Some("GPL-2.0 OR Zlib".to_owned())],
    },
    Rule {
        name: "every dependency comes from crates.io",
        check: sources,
        caught: &[caught(
            |it| it.foreign[0].source = "git+https://a.example/b".to_owned(),
            "git+https",
        )],
        fine: &[],
    },
    Rule {
        name: "no banned dependency is used",
        check: bans,
        caught: &[
            caught(|it| it.foreign[0].name = "eyre".to_owned(), "eyre"),
            caught(
                |it| {
                    it.foreign[0].name = "anyhow".to_owned();
                    it.foreign[0].users = vec!["tiktoken-rs".to_owned(), "phi".to_owned()];
                },
                "anyhow",
            ),
        ],
        fine: &[|it| {
            it.foreign[0].name = "anyhow".to_owned();
            it.foreign[0].users = vec!["tiktoken-rs".to_owned()];
        }],
    },
];

/// Where dependencies come from.
pub(crate) const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn licences(workspace: &Workspace) -> Vec<String> {
    let allowed = strings(workspace.text("deny.toml"), "[licenses]", "allow");
    let mut findings = Vec::new();
    for package in &workspace.foreign {
        let licence = package.licence.as_deref().unwrap_or("");
        if !satisfied(licence, &allowed) {
            findings.push(format!(
                "{} {}: licence `{licence}` is not allowed by deny.toml: use another crate",
                package.name, package.version
            ));
        }
    }
    findings
}

fn sources(workspace: &Workspace) -> Vec<String> {
    let strangers = workspace.foreign.iter().filter(|it| it.source != REGISTRY);
    strangers
        .map(|it| {
            format!(
                "{} {}: comes from {}: use a published crate",
                it.name, it.version, it.source
            )
        })
        .collect()
}

fn bans(workspace: &Workspace) -> Vec<String> {
    let banned = entries(workspace.text("deny.toml"), "[bans]", "deny");
    // What is banned may be used by those that its entry names as wrappers, and by nobody else.
    let used = workspace.foreign.iter().filter(|it| {
        let mut entries = banned.iter();
        let entry = entries.find(|entry| entry.first() == Some(&it.name.as_str()));
        entry.is_some_and(|entry| {
            let is_wrapper = |user: &String| entry[1..].contains(&user.as_str());
            it.users.is_empty() || !it.users.iter().all(is_wrapper)
        })
    });
    used.map(|it| format!("{} {}: banned by deny.toml", it.name, it.version))
        .collect()
}

/// The strings of one list of a table in a TOML file without comments behind values.
fn strings<'a>(toml: &'a str, table: &str, key: &str) -> Vec<&'a str> {
    entries(toml, table, key).concat()
}

/// The strings of each line of such a list.
fn entries<'a>(toml: &'a str, table: &str, key: &str) -> Vec<Vec<&'a str>> {
    let lines = toml.lines().skip_while(|it| *it != table).skip(1);
    let lines = lines
        .take_while(|it| !it.starts_with('['))
        .filter(|it| !it.starts_with('#'));
    let is_start = |it: &&str| {
        it.strip_prefix(key)
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let mut inside = lines.skip_while(|it| !is_start(it));
    let mut entries = Vec::new();
    for line in inside.by_ref() {
        entries.push(line.split('"').skip(1).step_by(2).collect());
        if line.trim_end().ends_with(']') {
            break;
        }
    }
    entries
}

/// Says whether a licence expression can be met with allowed licences alone: `AND` binds stronger
/// than `OR`, and `/` is an old way to write `OR`.
fn satisfied(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let is_met = alternatives(&mut rest, allowed);
    is_met && rest.is_empty()
}

fn alternatives(words: &mut &[&str], allowed: &[&str]) -> bool {
    let mut is_met = conjunction(words, allowed);
    while let ["OR", rest @ ..] = words {
        *words = rest;
        is_met |= conjunction(words, allowed);
    }
    is_met
}

fn conjunction(words: &mut &[&str], allowed: &[&str]) -> bool {
    let mut is_met = licence(words, allowed);
    while let ["AND", rest @ ..] = words {
        *words = rest;
        is_met &= licence(words, allowed);
    }
    is_met
}

fn licence(words: &mut &[&str], allowed: &[&str]) -> bool {
    match words {
        ["(", rest @ ..] => {
            *words = rest;
            let is_met = alternatives(words, allowed);
            let [")", rest @ ..] = words else {
                return false;
            };
            *words = rest;
            is_met
        }
        [name, "WITH", exception, rest @ ..] => {
            let whole = format!("{name} WITH {exception}");
            *words = rest;
            allowed.contains(&whole.as_str())
        }
        [name, rest @ ..] => {
            let is_met = allowed.contains(name);
            *words = rest;
            is_met
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_by_allowed_licences_alone() {
        let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"];
        let met = [
            "MIT",
            "GPL-3.0 OR MIT",
            "Unlicense/MIT",
            "(GPL-3.0 OR MIT) AND ISC",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
            "GPL-3.0 AND ISC OR MIT",
        ];
        let unmet = [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT",
            "MIT)",
            "MIT ISC",
            "Apache-2.0",
            "OR MIT",
        ];
        for expression in met {
            assert!(satisfied(expression, &allowed), "{expression}");
        }
        for expression in unmet {
            assert!(!satisfied(expression, &allowed), "{expression}");
        }
    }

    #[test]
    fn lists_of_toml_are_read_in_their_table() {
        let toml = "[a]\nallow = [\"x\"]\n[licenses]\n# \"no\"\nallow = [\n  \"MIT\",\n  \"ISC\",\n]\nb = [\"c\"]\n";
        assert_eq!(strings(toml, "[licenses]", "allow"), ["MIT", "ISC"]);
    }
}
