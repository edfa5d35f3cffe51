//! Rules about code that hides something: an error, a lint, a task, a thing left to do.

use crate::rule::{Rule, append, caught, code, replace, write};
use crate::source::{Source, attribute_length};
use crate::workspace::{Workspace, part_of};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "a lint is quieted by `expect` with a reason",
        check: quieted_lints,
        caught: &[
            caught(|it| code(it, "#[allow(dead_code)]\nfn a() {}"), "allow"),
            caught(
                |it| code(it, "#![allow(\n    dead_code,\n    reason = \"x\",\n)]"),
                "allow",
            ),
            caught(
                |it| code(it, "#[cfg_attr(test, allow(dead_code))]\nfn a() {}"),
                "allow",
            ),
            caught(|it| code(it, "#[expect(dead_code)]\nfn a() {}"), "reason"),
            caught(
                |it| {
                    code(
                        it,
                        "macro_rules! a {\n    () => {\n        #[allow(b)]\n    };\n}",
                    );
                },
                "allow",
            ),
        ],
        fine: &[
            |it| {
                let text =
                    "//! A world.\n#![allow(dead_code, reason = \"each test uses a part\")]\n";
                write(it, "phi/tests/support/mod.rs", text);
            },
            |it| code(it, "#[expect(dead_code, reason = \"the ABI\")]\nfn a() {}"),
            |it| {
                code(
                    it,
                    "#[expect(\n    dead_code,\n    reason = \"the ABI\"\n)]\nfn a() {}",
                );
            },
            |it| {
                code(
                    it,
                    "macro_rules! a {\n    () => {\n        #[allow(b, reason = \"c\")]\n    };\n}",
                );
            },
        ],
    },
    Rule {
        name: "nothing is left to be done",
        check: leftovers,
        caught: &[
            caught(|it| code(it, concat!("// TO", "DO: more")), "left"),
            caught(
                |it| code(it, concat!("fn a() {\n    to", "do!()\n}")),
                "left",
            ),
            caught(|it| code(it, "fn a() {\n    unimplemented!()\n}"), "left"),
            caught(
                |it| {
                    append(
                        it,
                        "phi/src/message.rs",
                        concat!("#[ig", "nore]\nfn a() {}"),
                    );
                },
                "left",
            ),
            caught(
                |it| append(it, "phi/src/message.rs", concat!("/// ```ig", "nore\n")),
                "left",
            ),
            caught(
                |it| write(it, "scripts/a.sh", concat!("# FIX", "ME later")),
                "left",
            ),
        ],
        fine: &[|it| code(it, concat!("// `\\uXXXX`\nconst A: &str = \"TO", "DO\";"))],
    },
    Rule {
        name: "no error is swallowed",
        check: swallowed,
        caught: &[
            caught(|it| code(it, "fn a() {\n    send().ok();\n}"), ".ok()"),
            caught(
                |it| {
                    code(
                        it,
                        "fn a() {\n    sender\n        .send()\n        .ok();\n}",
                    );
                },
                ".ok()",
            ),
            caught(|it| code(it, "fn a() {\n    let _ = send();\n}"), "let _"),
        ],
        fine: &[
            |it| {
                code(
                    it,
                    "fn a() {\n    let x = send().ok();\n    self.x = send()\n        .ok();\n    return b().ok();\n}",
                );
            },
            |it| {
                code(
                    it,
                    "#[cfg(test)]\nmod tests {\n    fn a() {\n        let _ = b();\n    }\n}",
                );
            },
            |it| code(it, "fn a() {\n    let _guard = b();\n}"),
        ],
    },
    Rule {
        name: "imports are named",
        check: globs,
        caught: &[
            caught(|it| code(it, "use crate::message::*;"), "message::*"),
            caught(
                |it| append(it, "phi/src/lib.rs", "pub use message::*;\n"),
                "message::*",
            ),
            caught(
                |it| code(it, "use crate::{a, message::{\n    self::*,\n}};"),
                "self::*",
            ),
        ],
        fine: &[
            |it| code(it, "#[cfg(test)]\nmod tests {\n    use super::*;\n}"),
            |it| {
                write(
                    it,
                    "phi/tests/laws_hold_for_all.rs",
                    "//! Laws.\n\nuse proptest::prelude::*;\n",
                );
            },
            |it| code(it, "fn a(b: u8) -> u8 {\n    b::<u8>() * c::d * 2\n}"),
        ],
    },
    Rule {
        name: "shipped code has no unreachable place",
        check: unreachable,
        caught: &[caught(
            |it| code(it, "fn a() {\n    unreachable!()\n}"),
            "unreachable",
        )],
        fine: &[|it| {
            code(
                it,
                "#[cfg(test)]\nmod tests {\n    fn a() {\n        unreachable!()\n    }\n}",
            );
        }],
    },
    Rule {
        name: "a library detaches no task and makes no unbounded channel",
        check: detached,
        caught: &[
            caught(
                |it| code(it, "fn a() {\n    tokio::spawn(b());\n}"),
                "tokio::spawn",
            ),
            caught(
                |it| code(it, "fn a() {\n    mpsc::unbounded_channel();\n}"),
                "unbounded_channel",
            ),
            caught(
                |it| {
                    code(
                        it,
                        "fn a() {\n    let (b, c) = std::sync::mpsc::channel();\n}",
                    );
                },
                "mpsc::channel()",
            ),
        ],
        fine: &[
            |it| {
                code(
                    it,
                    "fn a() {\n    let (b, c) = mpsc::channel(16);\n    set.spawn(b);\n}",
                );
            },
            |it| {
                write(
                    it,
                    "phi-cli/src/run.rs",
                    "//! Runs.\n\nfn a() {\n    tokio::spawn(b());\n}\n",
                );
            },
        ],
    },
    Rule {
        name: "the errors of a library are types",
        check: untyped_errors,
        caught: &[
            caught(
                |it| code(it, "fn a() -> Result<(), Box<dyn Error>> {}"),
                "Box<dyn",
            ),
            caught(
                |it| {
                    code(
                        it,
                        "fn a() -> Result<(), Box<dyn std::error::Error + Send>> {}",
                    );
                },
                "Box<dyn",
            ),
            caught(
                |it| code(it, "pub fn a() -> Result<(), String> {}"),
                "String",
            ),
        ],
        fine: &[|it| {
            replace(
                it,
                "phi/src/message.rs",
                "mod tests {",
                "mod tests {\n    fn a() -> Result<(), Box<dyn Error>> {}",
            );
        }],
    },
];

fn quieted_lints(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in &workspace.sources {
        let code: String = source
            .lines
            .iter()
            .map(|it| it.code.clone() + "\n")
            .collect();
        for (at, _) in code.match_indices('#') {
            let rest = code.get(at..).unwrap_or("");
            if !rest.starts_with("#[") && !rest.starts_with("#![") {
                continue;
            }
            let attribute = rest.get(..attribute_length(rest)).unwrap_or("");
            let has_reason = attribute.contains("reason =");
            let before = code.get(..at).unwrap_or("");
            let is_quiet = has_reason && (in_macro(before) || is_shared_by_tests(path));
            let finding = if attribute.contains("allow(") && !is_quiet {
                "`allow`: say `expect` with a reason"
            } else if attribute.contains("expect(") && !has_reason {
                "`expect` without a reason: say why"
            } else {
                continue;
            };
            findings.push(format!(
                "{path}:{}: {finding}",
                before.matches('\n').count() + 1
            ));
        }
    }
    findings
}

/// Says whether a file is a module that several test files include, each using a part of it, so that
/// `expect` would be wrong for those that use all.
fn is_shared_by_tests(path: &str) -> bool {
    part_of(path) == "tests" && path.ends_with("/mod.rs")
}

/// Says whether the end of a text is inside a macro's definition, where `expect` would be wrong for
/// the uses that need no quieting.
fn in_macro(before: &str) -> bool {
    let definition = before.rfind("macro_rules!");
    definition
        .and_then(|at| before.get(at..))
        .is_some_and(|text| text.matches('{').count() > text.matches('}').count())
}

fn leftovers(workspace: &Workspace) -> Vec<String> {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), "XXX"];
    let macros = [
        concat!("to", "do!"),
        "unimplemented!",
        concat!("#[ig", "nore"),
    ];
    let mut findings = Vec::new();
    let mut find = |path: &str, number: usize| {
        findings.push(format!(
            "{path}:{number}: something is left to be done: do it, or drop it"
        ));
    };
    for (path, source) in &workspace.sources {
        for (number, line) in source.numbered() {
            let in_comment = has_word(&line.comment, &words);
            let is_skipped = line.comment.contains(concat!("```ig", "nore"));
            if in_comment || is_skipped || macros.iter().any(|it| line.code.contains(it)) {
                find(path, number);
            }
        }
    }
    for (path, text) in &workspace.files {
        let is_script = path.starts_with("scripts/") || path.starts_with(".ci/");
        for (number, line) in (1..).zip(text.lines()).filter(|_| is_script) {
            if has_word(line, &words) {
                find(path, number);
            }
        }
    }
    findings
}

fn has_word(text: &str, words: &[&str]) -> bool {
    let mut split = text.split(|it: char| !it.is_alphanumeric());
    split.any(|it| words.contains(&it))
}

fn swallowed(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in workspace.shipped() {
        for (number, line) in source.shipped_lines() {
            let code = line.code.as_str();
            if code.trim_start().starts_with("let _ =") {
                findings.push(format!(
                    "{path}:{number}: `let _ =` may drop an error: handle it"
                ));
            }
            if code.ends_with(".ok();") && is_dropped(&statement(source, number - 1)) {
                findings.push(format!(
                    "{path}:{number}: `.ok();` drops an error: handle it"
                ));
            }
        }
    }
    findings
}

/// The statement that ends on a line.
fn statement(source: &Source, last: usize) -> String {
    let before = source.lines.iter().take(last).rev();
    let lines = before
        .map(|it| it.code.trim())
        .take_while(|code| !code.ends_with([';', '{', '}']));
    let mut lines: Vec<&str> = lines.collect();
    lines.reverse();
    lines.push(source.lines.get(last).map_or("", |it| it.code.trim()));
    lines.join(" ")
}

fn is_dropped(statement: &str) -> bool {
    !statement.contains(" = ")
        && !statement.starts_with("return ")
        && !statement.contains("=> return")
}

fn globs(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in &workspace.sources {
        let is_test = part_of(path) == "tests";
        for (number, line) in source.numbered() {
            let Some(at) = glob(&line.code) else { continue };
            let code = line.code.trim();
            let is_tests = is_test || number > source.shipped;
            let is_usual = code == "use super::*;" || code.ends_with("prelude::*;");
            if !(is_tests && is_usual) {
                findings.push(format!("{path}:{number}: `{at}`: name what is imported"));
            }
        }
    }
    findings
}

/// The path that ends in a star, if a line imports one.
fn glob(code: &str) -> Option<&str> {
    let end = code.find("::*")? + 3;
    let after = code.get(end..)?;
    let is_import = after.is_empty() || after.starts_with([';', ',', '}']);
    let path = code
        .get(..end)?
        .trim_start()
        .trim_start_matches("pub ")
        .trim_start_matches("use ");
    is_import.then_some(path)
}

fn unreachable(workspace: &Workspace) -> Vec<String> {
    find_in_libraries(
        workspace,
        &["unreachable!("],
        "let the types say it, or return an error",
    )
}

fn detached(workspace: &Workspace) -> Vec<String> {
    let patterns = &[
        "tokio::spawn(",
        "unbounded_channel",
        "mpsc::unbounded",
        "mpsc::channel()",
    ];
    find_in_libraries(
        workspace,
        patterns,
        "tasks have an owner and queues a limit",
    )
}

fn untyped_errors(workspace: &Workspace) -> Vec<String> {
    let patterns = &[
        "Box<dyn Error",
        "Box<dyn std::error::Error",
        "Box<dyn error::Error",
    ];
    let mut findings = find_in_libraries(workspace, patterns, "name the errors in an enum");
    for (path, source) in workspace.shipped().filter(|(path, _)| is_library(path)) {
        for (number, line) in source.shipped_lines() {
            if line.code.contains("pub fn ") && line.code.contains(", String> {") {
                findings.push(format!(
                    "{path}:{number}: String as an error: name the errors in an enum"
                ));
            }
        }
    }
    findings
}

fn is_library(path: &str) -> bool {
    !path.starts_with("phi-cli/") && !path.starts_with("phi-acp/")
}

fn find_in_libraries(workspace: &Workspace, patterns: &[&str], remedy: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in workspace.shipped().filter(|(path, _)| is_library(path)) {
        for (number, line) in source.shipped_lines() {
            for pattern in patterns.iter().filter(|it| line.code.contains(**it)) {
                findings.push(format!("{path}:{number}: `{pattern}`: {remedy}"));
            }
        }
    }
    findings
}
