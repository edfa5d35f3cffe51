//! Rules about what stands beside the code: documents, examples in docs, and traces of elsewhere.

use crate::rule::{Rule, append, caught, replace, write};
use crate::workspace::Workspace;

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "the readme names the two commands",
        check: commands,
        caught: &[
            caught(|it| replace(it, "README.md", COMMANDS[0], ""), "phi-cli"),
            caught(
                |it| {
                    it.files.remove("README.md");
                },
                "cargo test",
            ),
        ],
        fine: &[],
    },
    Rule {
        name: "the readme names every crate",
        check: crates,
        caught: &[caught(
            |it| replace(it, "README.md", "`phi-loop`", ""),
            "phi-loop",
        )],
        fine: &[],
    },
    Rule {
        name: "a crate has a changelog",
        check: changelogs,
        caught: &[
            caught(
                |it| {
                    it.files.remove("phi/CHANGELOG.md");
                },
                "phi/CHANGELOG.md",
            ),
            caught(
                |it| write(it, "phi/CHANGELOG.md", "# 0.1.0\n"),
                "Unreleased",
            ),
        ],
        fine: &[],
    },
    Rule {
        name: "the docs of a crate hold an example of at most 15 lines",
        check: examples,
        caught: &[
            caught(
                |it| write(it, "phi/src/lib.rs", "//! The noun.\n\nmod a;\n"),
                "phi/src/lib.rs",
            ),
            caught(
                |it| {
                    replace(
                        it,
                        "phi/src/lib.rs",
                        "//! assert_eq",
                        &("//! step();\n".repeat(15) + "//! assert_eq"),
                    );
                },
                "15 lines",
            ),
        ],
        fine: &[|it| {
            replace(
                it,
                "phi/src/lib.rs",
                "//! assert_eq",
                &("//! # step();\n".repeat(15) + "//! assert_eq"),
            );
        }],
    },
    Rule {
        name: "decisions are numbered, listed and complete",
        check: decisions,
        caught: &[
            caught(|it| write(it, "docs/adr/0002-two.md", ADR), "0002-two.md"),
            caught(
                |it| append(it, "docs/adr/README.md", "- [0009](0009-lost.md)\n"),
                "0009-lost.md",
            ),
            caught(
                |it| replace(it, "docs/adr/0001-one.md", "## Price paid", ""),
                "Price paid",
            ),
            caught(
                |it| append(it, "docs/adr/0001-one.md", &"More.\n".repeat(60)),
                "one page",
            ),
            caught(
                |it| {
                    write(it, "docs/adr/0001-again.md", ADR);
                    append(it, "docs/adr/README.md", "- [0001](0001-again.md)\n");
                },
                "0001",
            ),
        ],
        fine: &[|it| {
            write(it, "docs/adr/0002-two.md", ADR);
            append(it, "docs/adr/README.md", "- [0002](0002-two.md)\n");
        }],
    },
    Rule {
        name: "the glossary defines a word once",
        check: glossary,
        caught: &[
            caught(
                |it| append(it, "docs/glossary.md", "\n**Turn**: again.\n"),
                "Turn",
            ),
            caught(
                |it| write(it, "docs/glossary.md", "# Glossary\n"),
                "no word",
            ),
        ],
        fine: &[|it| {
            append(
                it,
                "docs/glossary.md",
                "\n**Delta**: an increment of a **turn**.\n",
            );
        }],
    },
    Rule {
        name: "the repository stands alone",
        check: traces,
        caught: &[
            caught(
                |it| write(it, "docs/a.md", concat!("See ../", "shared/DESIGN.md.\n")),
                "shared",
            ),
            caught(
                |it| append(it, "phi/src/message.rs", concat!("// in /wo", "rk/main\n")),
                "/main",
            ),
            caught(
                |it| {
                    append(
                        it,
                        "phi/src/message.rs",
                        "const A: &str = include_str!(\"../../../a.txt\");\n",
                    );
                },
                "../../../a.txt",
            ),
            caught(
                |it| {
                    append(
                        it,
                        "phi/src/message.rs",
                        "const A: &[u8] = include_bytes!(\n    \"../../../b\"\n);\n",
                    );
                },
                "../../../b",
            ),
        ],
        fine: &[|it| {
            let include = "const A: &str = include_str!(\"../../docs/glossary.md\");\n";
            append(it, "phi/src/message.rs", include);
        }],
    },
    Rule {
        name: "comments name no ticket",
        check: tickets,
        caught: &[
            caught(|it| append(it, "phi/src/message.rs", "// see #12\n"), "#12"),
            caught(
                |it| append(it, "phi/src/message.rs", "// as issue 2 asks\n"),
                "issue 2",
            ),
            caught(
                |it| append(it, "phi/src/message.rs", "// one/two#123: fixed\n"),
                "#123",
            ),
            caught(|it| append(it, "phi/CHANGELOG.md", "- Fixes (#7).\n"), "#7"),
            caught(|it| append(it, "Cargo.toml", "# phase 3\n"), "phase 3"),
        ],
        fine: &[
            |it| {
                append(
                    it,
                    "phi/src/message.rs",
                    "const A: &str = \"#12\"; // `#[test]`, #x1, C# 12\n",
                );
            },
            |it| {
                append(
                    it,
                    "README.md",
                    "# 12 things\n\n[x](a.md#12-things), an issue that 2 saw, &#39;\n",
                );
            },
        ],
    },
    Rule {
        name: "Markdown has one sentence per line",
        check: sentences,
        caught: &[
            caught(
                |it| append(it, "README.md", "One thing. Another thing.\n"),
                "README.md:",
            ),
            caught(
                |it| append(it, "phi/CHANGELOG.md", "- Is it `a`? It is.\n"),
                "CHANGELOG.md:4",
            ),
        ],
        fine: &[|it| {
            let text = "```sh\n# One. Two.\n```\n| a. B | c |\n1. One, e.g. a, v1.2. and more\n";
            append(it, "README.md", text);
        }],
    },
];

/// The commands that a new user needs.
pub(crate) const COMMANDS: &[&str] = &["cargo run -p phi-cli -- demo", "cargo test --workspace"];

/// The headings of a decision, which make a fixture of one too.
pub(crate) const ADR: &str =
    "# One\n\n## Context\n\n## Decision\n\n## Price paid\n\n## What would change our mind\n";

/// The lines of a page.
const PAGE_LINES: usize = 60;

/// The lines that the example in the docs of a crate may show.
const EXAMPLE_LINES_MAX: usize = 15;

fn commands(workspace: &Workspace) -> Vec<String> {
    let readme = workspace.text("README.md");
    let missing = COMMANDS.iter().filter(|it| !readme.contains(**it));
    missing
        .map(|it| format!("README.md: name the command `{it}`"))
        .collect()
}

fn crates(workspace: &Workspace) -> Vec<String> {
    let readme = workspace.text("README.md");
    let names = workspace.packages.iter().map(|it| format!("`{}`", it.name));
    let missing = names.filter(|it| !readme.contains(it));
    missing
        .map(|it| format!("README.md: say what the crate {it} is for"))
        .collect()
}

fn changelogs(workspace: &Workspace) -> Vec<String> {
    let paths = workspace
        .packages
        .iter()
        .map(|it| format!("{}/CHANGELOG.md", it.folder));
    let lacking = paths.filter(|path| !workspace.text(path).contains("## Unreleased"));
    lacking
        .map(|path| format!("{path}: tell users what is new under `## Unreleased`"))
        .collect()
}

fn examples(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let paths = ["lib.rs", "main.rs"].map(|it| format!("{}/src/{it}", package.folder));
        let Some((path, source)) = paths
            .iter()
            .find_map(|path| Some((path, workspace.sources.get(path)?)))
        else {
            continue;
        };
        let docs = source
            .lines
            .iter()
            .filter_map(|it| it.comment.strip_prefix("//!"));
        let mut fenced = docs.map(str::trim).skip_while(|it| !it.starts_with("```"));
        if fenced.next().is_none() {
            findings.push(format!(
                "{path}: show in the first docs how the crate is used, after ```"
            ));
        }
        let is_shown = |it: &&str| !it.starts_with("# ") && *it != "#";
        let lines = fenced
            .take_while(|it| !it.starts_with("```"))
            .filter(is_shown)
            .count();
        if lines > EXAMPLE_LINES_MAX {
            findings.push(format!(
                "{path}: the example has {lines} lines: show at most 15 lines"
            ));
        }
    }
    findings
}

fn decisions(workspace: &Workspace) -> Vec<String> {
    const FOLDER: &str = "docs/adr/";
    let mut findings = Vec::new();
    let index = workspace.text("docs/adr/README.md");
    let mut numbers = std::collections::BTreeSet::new();
    for (path, text) in &workspace.files {
        let Some(name) = path.strip_prefix(FOLDER) else {
            continue;
        };
        let number = name
            .get(..4)
            .filter(|it| it.bytes().all(|digit| digit.is_ascii_digit()));
        let Some(number) = number else { continue };
        if !numbers.insert(number) {
            findings.push(format!(
                "{path}: the number {number} is taken: use the next one"
            ));
        }
        if !index.contains(&format!("({name})")) {
            findings.push(format!("{path}: list it in docs/adr/README.md"));
        }
        let headings = ADR.lines().filter(|it| it.starts_with("## "));
        for heading in headings.filter(|it| !text.lines().any(|line| line == *it)) {
            findings.push(format!("{path}: say the `{heading}`"));
        }
        if text.lines().count() > PAGE_LINES {
            findings.push(format!("{path}: at most one page, {PAGE_LINES} lines"));
        }
    }
    for link in index
        .split("](")
        .skip(1)
        .filter_map(|it| it.split(')').next())
    {
        if !link.starts_with("http") && !workspace.files.contains_key(&format!("{FOLDER}{link}")) {
            findings.push(format!("docs/adr/README.md: {link} does not exist"));
        }
    }
    findings
}

fn glossary(workspace: &Workspace) -> Vec<String> {
    let text = workspace.text("docs/glossary.md");
    let entries = text
        .lines()
        .filter_map(|it| it.strip_prefix("**")?.split_once("**"));
    let mut words: Vec<&str> = entries.map(|(word, _)| word).collect();
    if words.is_empty() {
        return vec![
            "docs/glossary.md: no word is defined: write `**Word**: what it means`".to_owned(),
        ];
    }
    words.sort_unstable();
    let twice = words
        .windows(2)
        .filter_map(|pair| pair.first().filter(|it| Some(*it) == pair.last()));
    twice
        .map(|it| format!("docs/glossary.md: `{it}` is defined twice"))
        .collect()
}

fn traces(workspace: &Workspace) -> Vec<String> {
    let elsewhere = [
        concat!("../", "shared"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
    ];
    let mut findings = Vec::new();
    for (path, text) in &workspace.files {
        for (number, line) in (1..).zip(text.lines()) {
            for trace in elsewhere.iter().filter(|it| line.contains(**it)) {
                let place = line
                    .find(trace)
                    .and_then(|at| line.get(at..))
                    .unwrap_or(trace);
                findings.push(format!(
                    "{path}:{number}: `{place}`: copy into the repository what it needs"
                ));
            }
        }
        let is_own = path.starts_with("phi/tests/tidy/");
        for target in included(text).filter(|it| !is_own && leaves_the_root(path, it)) {
            findings.push(format!(
                "{path}: includes `{target}`, which is outside of the repository"
            ));
        }
    }
    findings
}

/// The paths that a Rust file includes.
fn included(text: &str) -> impl Iterator<Item = &str> {
    let starts = ["include_str!(", "include_bytes!(", "include!("];
    starts.into_iter().flat_map(move |start| {
        let rests = text.split(start).skip(1);
        rests.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
    })
}

fn leaves_the_root(path: &str, target: &str) -> bool {
    let mut depth = path.matches('/').count();
    for step in target.split('/') {
        if step == ".." {
            let Some(up) = depth.checked_sub(1) else {
                return true;
            };
            depth = up;
        } else {
            depth += 1;
        }
    }
    target.starts_with('/')
}

fn tickets(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    let mut find = |path: &str, number: usize, text: &str| {
        let ticket = ticket(text);
        findings.extend(ticket.map(|it| format!("{path}:{number}: `{it}`: say the reason itself")));
    };
    for (path, source) in &workspace.sources {
        for (number, line) in source.numbered() {
            find(path, number, &line.comment);
        }
    }
    for (path, text) in &workspace.files {
        let is_prose = [".md", ".toml", ".sh", ".mjs"]
            .iter()
            .any(|it| path.ends_with(it));
        let is_script = path.starts_with("scripts/") || path.starts_with(".ci/");
        for (number, line) in (1..).zip(text.lines()).filter(|_| is_prose || is_script) {
            find(path, number, line);
        }
    }
    findings
}

/// The first thing in a text that reads like the number of a ticket.
fn ticket(text: &str) -> Option<String> {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '#' && it != '&');
    let words: Vec<&str> = words.filter(|it| !it.is_empty()).collect();
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|digit| digit.is_ascii_digit());
    for (at, word) in words.iter().enumerate() {
        if let Some((before, number)) = word.split_once('#')
            && is_number(number)
            && !before.ends_with('&')
            && !text.contains(&format!(".md#{number}"))
        {
            return Some(format!("#{number}"));
        }
        let is_kind =
            ["issue", "ticket", "phase", "milestone"].contains(&word.to_lowercase().as_str());
        if let Some(next) = words.get(at + 1).filter(|it| is_kind && is_number(it)) {
            return Some(format!("{word} {next}"));
        }
    }
    None
}

fn sentences(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in workspace
        .files
        .iter()
        .filter(|(path, _)| path.ends_with(".md"))
    {
        let mut is_code = false;
        for (number, line) in (1..).zip(text.lines()) {
            is_code ^= line.trim_start().starts_with("```");
            if !is_code && !line.starts_with('|') && has_two_sentences(line) {
                findings.push(format!(
                    "{path}:{number}: begin the second sentence on a new line"
                ));
            }
        }
    }
    findings
}

/// Says whether a full stop after a word stands before a capital letter.
fn has_two_sentences(line: &str) -> bool {
    let ends = [". ", "? ", "! "]
        .into_iter()
        .flat_map(|it| line.match_indices(it));
    ends.into_iter().any(|(at, end)| {
        let before = line.get(..at).and_then(|it| it.chars().next_back());
        let after = line.get(at + end.len()..).and_then(|it| it.chars().next());
        let is_word = before.is_some_and(|it| it.is_lowercase() || matches!(it, '`' | ')' | '"'));
        is_word && after.is_some_and(char::is_uppercase)
    })
}
