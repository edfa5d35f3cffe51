//! Rules about the shape of source files: their length, their functions, their first lines.

use crate::rule::{Rule, append, caught, code, write};
use crate::source::attribute_length;
use crate::workspace::{Workspace, part_of};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "a source file has at most 500 lines before its tests, or a comment that starts `Table:` says why",
        check: file_lengths,
        caught: &[
            caught(
                |it| code(it, &"const A: u8 = 1;\n".repeat(500)),
                "503 lines",
            ),
            caught(|it| code(it, "// Table: not long.\n"), "needless"),
            caught(
                |it| write(it, "phi/examples/01_first.rs", &"//! One.\n".repeat(60)),
                "60 lines",
            ),
        ],
        fine: &[
            |it| code(it, &"const A: u8 = 1;\n".repeat(490)),
            |it| {
                code(
                    it,
                    &("// Table: prices.\n".to_owned() + &"const A: u8 = 1;\n".repeat(900)),
                );
            },
            |it| {
                let tests = "#[test]\nfn a() {}\n".repeat(300);
                code(it, &format!("#[cfg(test)]\nmod tests {{\n{tests}\n}}\n"));
            },
        ],
    },
    Rule {
        name: "a function has at most 70 lines, or a comment that starts `Long:` says why",
        check: function_lengths,
        caught: &[
            caught(|it| code(it, &function("", 69)), "`long`"),
            caught(
                |it| code(it, &function("    // Long: many steps.\n", 9)),
                "needless",
            ),
        ],
        fine: &[
            |it| code(it, &function("", 68)),
            |it| {
                code(
                    it,
                    &function("    // Long: an arm for each kind of event.\n", 90),
                );
            },
        ],
    },
    Rule {
        name: "the first line of a file says its job",
        check: first_lines,
        caught: &[
            caught(
                |it| write(it, "phi/src/new.rs", "use std::fmt;\n"),
                "phi/src/new.rs",
            ),
            caught(
                |it| write(it, "phi/tests/it_is_so.rs", "// It is so.\n"),
                "phi/tests",
            ),
            caught(
                |it| write(it, "phi/src/new.rs", "//! A word\n\nuse a;\n"),
                "full stop",
            ),
        ],
        fine: &[|it| {
            write(
                it,
                "phi/src/new.rs",
                "//! The job of the file, which takes\n//! two lines.\n",
            );
        }],
    },
    Rule {
        name: "lib.rs holds docs, modules and re-exports",
        check: roots,
        caught: &[
            caught(
                |it| append(it, "phi/src/lib.rs", "fn logic() {}\n"),
                "fn logic",
            ),
            caught(
                |it| append(it, "phi/src/lib.rs", "mod inner {\n    fn a() {}\n}\n"),
                "mod inner",
            ),
            caught(
                |it| append(it, "phi/src/lib.rs", "pub const A: u8 = 1;\n"),
                "const A",
            ),
        ],
        fine: &[
            |it| {
                append(
                    it,
                    "phi/src/lib.rs",
                    "#[cfg(feature = \"driver\")]\n#[doc(hidden)]\npub mod run;\n",
                );
            },
            |it| {
                append(
                    it,
                    "phi/src/lib.rs",
                    "pub(crate) use message::{\n    Inner, Outer,\n};\n",
                );
            },
            |it| {
                append(
                    it,
                    "phi/src/lib.rs",
                    "#[cfg(doctest)]\n#[doc = include_str!(\"../README.md\")]\nstruct Readme;\n",
                );
            },
        ],
    },
];

/// The lines that a source file may have before its tests.
const FILE_LINES_MAX: usize = 500;

/// The lines that an example stays below.
const EXAMPLE_LINES: usize = 60;

/// The lines that a function may have.
const FUNCTION_LINES_MAX: usize = 70;

fn function(comment: &str, lines: usize) -> String {
    format!("fn long() {{\n{comment}{}}}", "    step();\n".repeat(lines))
}

fn file_lengths(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in &workspace.sources {
        let lines = source.shipped;
        let is_long = lines > FILE_LINES_MAX;
        let says_why = source.marked(0, lines, "// Table: ");
        match part_of(path) {
            "src" | "benches" if is_long && !says_why => findings.push(format!(
                "{path}: {lines} lines: put new work into a file of its own"
            )),
            "src" | "benches" if says_why && !is_long => {
                findings.push(format!("{path}: the comment `// Table: ` is needless"));
            }
            "examples" if lines >= EXAMPLE_LINES => {
                findings.push(format!(
                    "{path}: {lines} lines: an example teaches one thing"
                ));
            }
            _ => {}
        }
    }
    findings
}

fn function_lengths(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in workspace.shipped() {
        for function in source.functions() {
            let place = format!("{path}:{}: `{}`", function.line + 1, function.name);
            let lines = function.length;
            let is_long = lines > FUNCTION_LINES_MAX;
            let says_why = source.marked(function.line, lines, "// Long: ");
            if is_long && !says_why && function.line < source.shipped {
                findings.push(format!(
                    "{place} has {lines} lines: split it, or say why after `// Long: `"
                ));
            }
            if says_why && !is_long {
                findings.push(format!("{place}: the comment `// Long: ` is needless"));
            }
        }
    }
    findings
}

fn first_lines(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in &workspace.sources {
        if !matches!(part_of(path), "src" | "tests" | "examples" | "benches") {
            continue;
        }
        let paragraph: Vec<&str> = source
            .lines
            .iter()
            .map_while(|it| it.comment.strip_prefix("//! "))
            .collect();
        match paragraph.last() {
            None => findings.push(format!("{path}:1: say the job of the file after `//! `")),
            Some(last) if !last.ends_with(['.', '?']) => {
                findings.push(format!("{path}:1: end the first sentence with a full stop"));
            }
            Some(_) => {}
        }
    }
    findings
}

fn roots(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in workspace.shipped() {
        if !path.ends_with("/src/lib.rs") {
            continue;
        }
        for item in items(&source.shipped_code()) {
            let (attributes, item) = split_attributes(&item);
            let item = item.strip_prefix("pub(crate) ").unwrap_or(&item);
            let item = item.strip_prefix("pub ").unwrap_or(item);
            let is_link =
                item.starts_with("use ") || (item.starts_with("mod ") && !item.contains('{'));
            let is_readme = attributes.contains("cfg(doctest)") && item.starts_with("struct ");
            if !is_link && !is_readme {
                findings.push(format!("{path}: `{}`: move it into a module", item.trim()));
            }
        }
    }
    findings
}

/// The items of a file on one line each: what ends at a `;` or at a `}` outside of braces.
fn items(code: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut item = String::new();
    let mut depth = 0_i32;
    for character in code.chars() {
        item.push(if character == '\n' { ' ' } else { character });
        match character {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            _ => {}
        }
        let is_use = item.contains("use ");
        let ends = character == ';' || (character == '}' && !is_use);
        if ends && depth == 0 {
            items.push(std::mem::take(&mut item).trim().to_owned());
        }
    }
    if !split_attributes(item.trim()).1.is_empty() {
        items.push(item.trim().to_owned());
    }
    items
}

/// Splits the attributes off an item.
fn split_attributes(item: &str) -> (String, String) {
    let mut rest = item.trim_start();
    while rest.starts_with("#[") || rest.starts_with("#![") {
        rest = rest
            .get(attribute_length(rest)..)
            .unwrap_or("")
            .trim_start();
    }
    let attributes = item.len() - rest.len();
    (
        item.get(..attributes).unwrap_or("").to_owned(),
        rest.to_owned(),
    )
}
