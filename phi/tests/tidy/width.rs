//! Rules about how much one item takes or holds: parameters and fields.

use crate::rule::{Rule, caught, code};
use crate::source::{Source, declared};
use crate::workspace::Workspace;

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "a function takes at most 4 parameters, or a comment that starts `Wide:` says why",
        check: parameters,
        caught: &[
            caught(
                |it| code(it, "fn five(a: u8, b: u8, c: u8, d: u8, e: u8) {}"),
                "`five` takes 5",
            ),
            caught(
                |it| {
                    code(
                        it,
                        "fn five<F: Fn(u8)>(\n    &self,\n    a: F,\n    b: (u8, u8),\n    c: A<u8, u8>,\n    d: [u8; 2],\n    e: u8,\n) -> u8 {\n    1\n}",
                    );
                },
                "`five` takes 5",
            ),
            caught(
                |it| code(it, "fn two(a: u8, b: u8) {\n    // Wide: two.\n}"),
                "needless",
            ),
        ],
        fine: &[
            |it| {
                code(
                    it,
                    "fn four<'a>(&'a mut self, a: u8, b: (u8, u8), c: impl Fn(u8, u8) -> u8, d: u8) {}",
                );
            },
            |it| {
                code(
                    it,
                    "fn five(a: u8, b: u8, c: u8, d: u8, e: u8) {\n    // Wide: the signature of a trait of serde.\n}",
                );
            },
        ],
    },
    Rule {
        name: "a public function takes no bool",
        check: switches,
        caught: &[
            caught(|it| code(it, "pub fn a(b: u8, deep: bool) {}"), "`a`"),
            caught(
                |it| code(it, "pub async fn a(\n    &self,\n    deep: bool,\n) {}"),
                "`a`",
            ),
        ],
        fine: &[
            |it| code(it, "fn a(deep: bool) {}\npub fn b(c: u8) -> bool {}"),
            |it| code(it, "pub fn a(b: impl Fn(bool) -> bool, c: Option<bool>) {}"),
        ],
    },
    Rule {
        name: "a struct has at most 9 fields, or a comment that starts `Wide:` says why",
        check: fields,
        caught: &[
            caught(|it| code(it, &wide("", 10)), "`Ten` has 10"),
            caught(
                |it| code(it, &wide("    // Wide: it is not.\n", 2)),
                "needless",
            ),
        ],
        fine: &[
            |it| code(it, &wide("", 9)),
            |it| code(it, &wide("    // Wide: the object of a provider.\n", 12)),
        ],
    },
];

/// The parameters that a function may take beside `self`.
const PARAMETERS_MAX: usize = 4;

/// The fields that a struct may have.
const FIELDS_MAX: usize = 9;

fn wide(comment: &str, fields: usize) -> String {
    let fields = "    /// A field.\n    pub(crate) it: Map<A::B, (u8, u8)>,\n".repeat(fields);
    format!("pub struct Ten<T: Send> {{\n{comment}{fields}}}")
}

fn parameters(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in workspace.shipped() {
        for function in source.functions() {
            if function.line >= source.shipped {
                break;
            }
            let count = parameters_of(&source.signature(function.line)).len();
            let says_why = source.marked(function.line, function.length, "// Wide: ");
            let place = format!("{path}:{}: `{}`", function.line + 1, function.name);
            if count > PARAMETERS_MAX && !says_why {
                findings.push(format!(
                    "{place} takes {count} parameters: make a struct of them"
                ));
            } else if says_why && count <= PARAMETERS_MAX {
                findings.push(format!("{place}: the comment `// Wide: ` is needless"));
            }
        }
    }
    findings
}

fn switches(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in workspace.shipped() {
        for (number, line) in source.shipped_lines() {
            let name = declared(&line.code, "fn");
            let Some(name) = name.filter(|_| line.code.trim_start().starts_with("pub ")) else {
                continue;
            };
            let parameters = parameters_of(&source.signature(number - 1));
            if parameters.iter().any(|it| it.ends_with(": bool")) {
                findings.push(format!(
                    "{path}:{number}: `{name}` takes a bool: make it an enum"
                ));
            }
        }
    }
    findings
}

fn fields(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, source) in workspace.shipped() {
        for (number, line) in source.shipped_lines() {
            let name = declared(&line.code, "struct");
            let Some((name, end)) = name.zip(source.body_end(number - 1)) else {
                continue;
            };
            let length = end + 2 - number;
            let count = fields_of(source, number, length);
            let says_why = source.marked(number - 1, length, "// Wide: ");
            let place = format!("{path}:{number}: `{name}`");
            if count > FIELDS_MAX && !says_why {
                findings.push(format!(
                    "{place} has {count} fields: split it, it holds two ideas"
                ));
            } else if says_why && count <= FIELDS_MAX {
                findings.push(format!("{place}: the comment `// Wide: ` is needless"));
            }
        }
    }
    findings
}

/// Counts the fields of a struct as rustfmt writes them: one step deeper than its brace.
fn fields_of(source: &Source, number: usize, length: usize) -> usize {
    let indent = |code: &str| code.len() - code.trim_start().len();
    let lines = source.lines.iter().skip(number - 1).take(length);
    let mut lines = lines.map(|it| it.code.as_str());
    let depth = lines.next().map_or(0, indent) + 4;
    let is_field = |code: &&str| {
        let start = code.split(": ").next().unwrap_or("");
        let name = start.trim_start().rsplit(' ').next().unwrap_or("");
        let is_name = name.chars().all(|it| it.is_alphanumeric() || it == '_');
        indent(code) == depth && is_name && !name.is_empty() && code.contains(": ")
    };
    lines.filter(is_field).count()
}

/// The parameters of a signature without `self`.
fn parameters_of(signature: &str) -> Vec<String> {
    let mut parameters = vec![String::new()];
    let (mut angles, mut depth) = (0_i32, 0_i32);
    let mut before = ' ';
    for character in signature.chars() {
        match character {
            '<' => angles += 1,
            '>' if !matches!(before, '-' | '=') => angles -= 1,
            '(' | '[' if depth > 0 || angles == 0 => depth += 1,
            ')' | ']' if depth > 0 => depth -= 1,
            _ => {}
        }
        if character == ')' && depth == 0 && angles == 0 {
            break;
        }
        let is_top = depth == 1 && angles == 0;
        if is_top && character == ',' {
            parameters.push(String::new());
        } else if depth > 0
            && !(is_top && character == '(')
            && let Some(parameter) = parameters.last_mut()
        {
            parameter.push(character);
        }
        before = character;
    }
    let trimmed = parameters.iter().map(|it| it.trim().to_owned());
    let is_self = |it: &str| {
        it == "self" || it.ends_with(" self") || it.ends_with("&self") || it.starts_with("self:")
    };
    trimmed
        .filter(|it| !it.is_empty() && !is_self(it))
        .collect()
}
