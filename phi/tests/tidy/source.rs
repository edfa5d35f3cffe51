//! A Rust file as the rules read it: each line split into code and comment, strings blanked.

/// A Rust file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub(crate) lines: Vec<Line>,
    /// The number of lines before the unit tests.
    pub(crate) shipped: usize,
}

/// A line of a Rust file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// The code; what stands in strings and characters is left out.
    pub(crate) code: String,
    /// The text of comments, with their marks.
    pub(crate) comment: String,
}

/// A function with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The line of its `fn`, from 0.
    pub(crate) line: usize,
    /// The number of its lines, from `fn` to the closing brace.
    pub(crate) length: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Code,
    Comment { line: bool, depth: u32 },
    Text { hashes: Option<usize> },
}

impl Source {
    /// Splits the text of a file that rustfmt accepts.
    pub(crate) fn split(text: &str) -> Self {
        let mut lines = Vec::new();
        let mut state = State::Code;
        for line in text.lines() {
            let (split, next) = split_line(line, state);
            lines.push(split);
            state = next;
        }
        let is_tests = |at: usize| {
            let after: Option<&Line> = lines.get(at + 1);
            after.is_some_and(|it| it.code.starts_with("mod "))
        };
        let shipped = (0..lines.len())
            .find(|at| lines[*at].code == "#[cfg(test)]" && is_tests(*at))
            .unwrap_or(lines.len());
        Self { lines, shipped }
    }

    /// The lines before the unit tests, with their number from 1.
    pub(crate) fn shipped_lines(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.numbered().take(self.shipped)
    }

    /// All lines, with their number from 1.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, &Line)> {
        (1..).zip(&self.lines)
    }

    /// The code of all lines before the unit tests, joined.
    pub(crate) fn shipped_code(&self) -> String {
        let lines = self.lines.iter().take(self.shipped);
        lines.map(|it| it.code.clone() + "\n").collect()
    }

    /// The functions that have a body, nested ones included.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let starts = (0..self.lines.len()).filter_map(|at| {
            let name = declared(&self.lines[at].code, "fn")?;
            Some((at, name.to_owned()))
        });
        starts
            .filter_map(|(line, name)| {
                let length = self.body_end(line)? + 1 - line;
                Some(Function { name, line, length })
            })
            .collect()
    }

    /// The text of a declaration up to its body, on one line.
    pub(crate) fn signature(&self, from: usize) -> String {
        let lines = self.lines.iter().skip(from).map(|it| it.code.trim());
        let mut signature = String::new();
        for line in lines {
            signature.push_str(line);
            signature.push(' ');
            if line.ends_with(['{', ';', '}']) {
                break;
            }
        }
        signature
    }

    /// Says whether one of some lines has a comment that starts with a mark.
    pub(crate) fn marked(&self, from: usize, lines: usize, mark: &str) -> bool {
        let lines = self.lines.iter().skip(from).take(lines);
        lines.into_iter().any(|it| it.comment.starts_with(mark))
    }

    /// The line of the brace that closes the first one opened from a line on; `None` if a `;`
    /// comes first.
    pub(crate) fn body_end(&self, from: usize) -> Option<usize> {
        let (mut braces, mut brackets) = (0_i32, 0_i32);
        for (at, line) in self.lines.iter().enumerate().skip(from) {
            for character in line.code.chars() {
                match character {
                    '{' => braces += 1,
                    '}' => braces -= 1,
                    '(' | '[' => brackets += 1,
                    ')' | ']' => brackets -= 1,
                    ';' if braces == 0 && brackets == 0 => return None,
                    _ => {}
                }
                if character == '}' && braces == 0 {
                    return Some(at);
                }
            }
        }
        None
    }
}

/// The name that a line declares with a keyword, as `fn name` or `struct Name`.
pub(crate) fn declared<'a>(code: &'a str, keyword: &str) -> Option<&'a str> {
    let mut rest = code.trim_start();
    loop {
        let (word, after) = rest.split_once(' ')?;
        if word == keyword {
            let end = after.find(|it: char| !it.is_alphanumeric() && it != '_');
            return after
                .get(..end.unwrap_or(after.len()))
                .filter(|it| !it.is_empty());
        }
        let is_modifier = word.starts_with("pub")
            || matches!(
                word,
                "async" | "const" | "unsafe" | "extern" | "\"\"" | "default"
            );
        if !is_modifier {
            return None;
        }
        rest = after.trim_start();
    }
}

/// The length of the attribute at the start of a text.
pub(crate) fn attribute_length(text: &str) -> usize {
    let mut depth = 0_i32;
    for (at, character) in text.char_indices() {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

fn split_line(line: &str, before: State) -> (Line, State) {
    let characters: Vec<char> = line.chars().collect();
    let mut split = Line::default();
    let mut state = before;
    let mut at = 0;
    while at < characters.len() {
        at += match state {
            State::Code => step_in_code(&characters, at, &mut split, &mut state),
            State::Comment { line, depth } => {
                step_in_comment(&characters, at, (line, depth), &mut split, &mut state)
            }
            State::Text { hashes } => {
                let step = step_in_text(&characters, at, hashes, &mut state);
                if state == State::Code {
                    split.code.push('"');
                }
                step
            }
        };
    }
    if let State::Comment { line: true, .. } = state {
        state = State::Code;
    }
    split.code.truncate(split.code.trim_end().len());
    (split, state)
}

/// Takes what stands at a place of code and says how many characters it was.
fn step_in_code(line: &[char], at: usize, split: &mut Line, state: &mut State) -> usize {
    let rest = &line[at..];
    let before = at.checked_sub(1).map(|it| line[it]);
    match rest {
        ['/', '/', ..] => {
            *state = State::Comment {
                line: true,
                depth: 0,
            }
        }
        ['/', '*', ..] => {
            *state = State::Comment {
                line: false,
                depth: 0,
            }
        }
        ['"', ..] => {
            *state = State::Text { hashes: None };
            split.code.push('"');
            return 1;
        }
        ['r', after @ ..] if !before.is_some_and(|it| it.is_alphanumeric() && it != 'b') => {
            let hashes = after.iter().take_while(|it| **it == '#').count();
            if after.get(hashes) == Some(&'"') {
                *state = State::Text {
                    hashes: Some(hashes),
                };
                split.code.push('"');
                return hashes + 2;
            }
            split.code.push('r');
            return 1;
        }
        ['\'', '\\', after @ ..] => {
            split.code.push_str("''");
            let end = after.iter().skip(1).position(|it| *it == '\'');
            return end.map_or(rest.len(), |it| it + 4);
        }
        ['\'', _, '\'', ..] => {
            split.code.push_str("''");
            return 3;
        }
        [character, ..] => {
            split.code.push(*character);
            return 1;
        }
        [] => {}
    }
    0
}

fn step_in_comment(
    line: &[char],
    at: usize,
    (to_the_end, depth): (bool, u32),
    split: &mut Line,
    state: &mut State,
) -> usize {
    if to_the_end {
        split.comment.extend(&line[at..]);
        return line.len() - at;
    }
    match &line[at..] {
        ['/', '*', ..] => {
            *state = State::Comment {
                line: false,
                depth: depth + 1,
            };
            split.comment.push_str("/*");
            2
        }
        ['*', '/', ..] => {
            *state = match depth {
                0 | 1 => State::Code,
                _ => State::Comment {
                    line: false,
                    depth: depth - 1,
                },
            };
            split.comment.push_str("*/");
            2
        }
        _ => {
            split.comment.push(line[at]);
            1
        }
    }
}

fn step_in_text(line: &[char], at: usize, hashes: Option<usize>, state: &mut State) -> usize {
    let rest = &line[at..];
    let closing = hashes.unwrap_or(0);
    match rest {
        ['\\', ..] if hashes.is_none() => 2,
        ['"', after @ ..] if after.iter().take_while(|it| **it == '#').count() >= closing => {
            *state = State::Code;
            1 + closing
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<String> {
        let lines = Source::split(text).lines;
        lines.into_iter().map(|it| it.code).collect()
    }

    #[test]
    fn strings_and_comments_are_no_code() {
        assert_eq!(
            codes("let a = \"// {\"; // }\nlet b = r#\"\" { \"#;"),
            ["let a = \"\";", "let b = \"\";"]
        );
        assert_eq!(
            codes("f('\"', '{', '\\'', b'\\\\', '\\u{7d}', 'a: loop {})"),
            ["f('', '', '', b'', '', 'a: loop {})"]
        );
        assert_eq!(
            codes("a /* { /* } */ */ b\n\"x\n{\" c"),
            ["a  b", "\"", "\" c"]
        );
    }

    #[test]
    fn comments_keep_their_text() {
        let source = Source::split("/// The `{`.\nlet a; // why\n/* x\ny */");
        let comments: Vec<&str> = source.lines.iter().map(|it| it.comment.as_str()).collect();
        assert_eq!(comments, ["/// The `{`.", "// why", "/* x", "y */"]);
    }

    #[test]
    fn functions_end_at_their_brace() {
        let text = "trait A {\n    fn a(&self) -> [u8; 2];\n    async fn b() {\n        x(\"}\");\n    }\n}\npub(crate) const fn c() {}\n";
        let function = |name: &str, line, length| Function {
            name: name.to_owned(),
            line,
            length,
        };
        let functions = Source::split(text).functions();
        assert_eq!(functions, [function("b", 2, 3), function("c", 6, 1)]);
    }

    #[test]
    fn unit_tests_are_not_shipped() {
        let source = Source::split("#[cfg(test)]\nuse a;\nfn b() {}\n#[cfg(test)]\nmod tests {}\n");
        assert_eq!(source.shipped, 3);
    }
}
