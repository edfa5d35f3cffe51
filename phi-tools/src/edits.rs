//! Applies edits to the bytes of a text, and leaves every other byte as it was.

use std::ops::Range;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::text;

/// How many matches of a text that is not unique are counted.
const MATCHES_MAX: usize = 1_000;

/// One replacement.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// The text to replace, exactly as the file has it, and only once in the file.
    pub(crate) old_text: String,
    /// The text to put in its place.
    pub(crate) new_text: String,
}

/// Why edits do not apply. `edit` counts from 0, as in the arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    #[error(
        "edits[{edit}].old_text is empty: quote the text to replace, or use write_file for a new file"
    )]
    Empty { edit: usize },
    #[error("edits[{edit}].new_text is the same as its old_text: leave the edit out")]
    Same { edit: usize },
    #[error(
        "edits[{edit}].old_text was not found{hint}: quote it exactly as read_file shows it, without line numbers, with its indentation"
    )]
    NotFound { edit: usize, hint: String },
    #[error(
        "edits[{edit}].old_text was found {count} times, at lines {lines}: quote more of the lines around it until it is unique"
    )]
    NotUnique {
        edit: usize,
        count: String,
        lines: String,
    },
    #[error(
        "edits[{first}] and edits[{second}] overlap: every edit applies to the text as it was read; join them into one"
    )]
    Overlap { first: usize, second: usize },
}

/// The text after the edits, and where they fell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edited {
    /// The new content.
    pub(crate) content: Vec<u8>,
    /// For each edit, in the order of the text, the line of the old text where it began.
    pub(crate) lines: Vec<usize>,
}

/// The text with line ends as `\n`, and where each of its bytes was.
struct Normal {
    bytes: Vec<u8>,
    /// Positions in `bytes` of line ends that were `\r\n`.
    carriage_returns: Vec<usize>,
}

impl Normal {
    fn of(content: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(content.len());
        let mut carriage_returns = Vec::new();
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\r\n") {
                Some(body) => {
                    bytes.extend_from_slice(body);
                    carriage_returns.push(bytes.len());
                    bytes.push(b'\n');
                }
                None => bytes.extend_from_slice(line),
            }
        }
        Self {
            bytes,
            carriage_returns,
        }
    }

    /// How many carriage returns stood before a position.
    fn before(&self, position: usize) -> usize {
        self.carriage_returns.partition_point(|at| *at < position)
    }

    fn original(&self, range: &Range<usize>) -> Range<usize> {
        range.start + self.before(range.start)..range.end + self.before(range.end)
    }
}

/// Applies all edits to one text, or none. Each is matched against the text as it was.
///
/// Where the text has `\r\n` line ends, edits are matched and written with them: a model writes
/// `\n`. A replacement takes the line end that the replaced text had, else that of the first line.
pub(crate) fn apply(content: &[u8], edits: &[Edit]) -> Result<Edited, EditError> {
    let normal = Normal::of(content);
    let crlf = !normal.carriage_returns.is_empty();
    let mut found: Vec<(Range<usize>, usize)> = Vec::with_capacity(edits.len());
    for (edit, it) in edits.iter().enumerate() {
        let old = if crlf {
            it.old_text.replace("\r\n", "\n")
        } else {
            it.old_text.clone()
        };
        if old.is_empty() {
            return Err(EditError::Empty { edit });
        }
        if it.old_text == it.new_text {
            return Err(EditError::Same { edit });
        }
        let start = only_match(&normal.bytes, old.as_bytes(), edit)?;
        found.push((start..start + old.len(), edit));
    }
    found.sort_by_key(|(range, _)| range.start);
    for pair in found.windows(2) {
        if let [(before, first), (after, second)] = pair
            && before.end > after.start
        {
            return Err(EditError::Overlap {
                first: *first.min(second),
                second: *first.max(second),
            });
        }
    }
    let mut result = Vec::with_capacity(content.len());
    let mut lines = Vec::with_capacity(edits.len());
    let mut done = 0;
    for (range, edit) in found {
        let original = normal.original(&range);
        result.extend_from_slice(content.get(done..original.start).unwrap_or_default());
        let replaced = content.get(original.clone()).unwrap_or_default();
        let new = edits.get(edit).map_or("", |it| it.new_text.as_str());
        if crlf && wants_crlf(replaced, content) {
            result.extend_from_slice(new.replace("\r\n", "\n").replace('\n', "\r\n").as_bytes());
        } else {
            result.extend_from_slice(new.as_bytes());
        }
        lines.push(line_of(&normal.bytes, range.start));
        done = original.end;
    }
    result.extend_from_slice(content.get(done..).unwrap_or_default());
    Ok(Edited {
        content: result,
        lines,
    })
}

/// The ending of the first line of what is replaced, or else of the whole text.
fn wants_crlf(replaced: &[u8], content: &[u8]) -> bool {
    let first = |bytes: &[u8]| {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        Some(bytes.get(..end)?.ends_with(b"\r"))
    };
    first(replaced).or_else(|| first(content)).unwrap_or(false)
}

fn only_match(bytes: &[u8], old: &[u8], edit: usize) -> Result<usize, EditError> {
    let mut matches = occurrences(bytes, old);
    let Some(start) = matches.next() else {
        return Err(EditError::NotFound {
            edit,
            hint: hint(bytes, old),
        });
    };
    let others: Vec<usize> = matches.by_ref().take(4).collect();
    if others.is_empty() {
        return Ok(start);
    }
    let count = 1 + others.len() + matches.take(MATCHES_MAX).count();
    let shown = std::iter::once(start).chain(others);
    let mut lines: Vec<String> = shown.map(|at| line_of(bytes, at).to_string()).collect();
    if count > lines.len() {
        lines.push("...".to_owned());
    }
    Err(EditError::NotUnique {
        edit,
        count: match count {
            MATCHES_MAX.. => format!("{MATCHES_MAX} or more"),
            count => count.to_string(),
        },
        lines: lines.join(", "),
    })
}

/// Where a text occurs, overlaps counted.
fn occurrences<'a>(bytes: &'a [u8], old: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let finder = memchr::memmem::Finder::new(old);
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + finder.find(bytes.get(from..)?)?;
        from = at + 1;
        Some(at)
    })
}

fn line_of(bytes: &[u8], position: usize) -> usize {
    let before = bytes.get(..position).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// Names a line that is like the first line of what was looked for, but for its white space.
fn hint(bytes: &[u8], old: &[u8]) -> String {
    let wanted = old
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .find(|line| !line.is_empty());
    let mut lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let near = wanted.and_then(|wanted| lines.find(|(_, line)| line.trim_ascii() == wanted));
    near.map_or_else(String::new, |(index, line)| {
        let line = text::front(line, 120, text::Origin::File).text;
        format!(" (line {} is near it: {line:?})", index + 1)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edit(old: &str, new: &str) -> Edit {
        Edit {
            old_text: old.to_owned(),
            new_text: new.to_owned(),
        }
    }

    fn applied(content: &str, edits: &[Edit]) -> Result<String, EditError> {
        apply(content.as_bytes(), edits).map(|it| String::from_utf8(it.content).unwrap())
    }

    #[test]
    fn edits_apply_to_the_text_as_it_was() {
        let swapped = applied("one two", &[edit("one", "two"), edit("two", "one")]);
        assert_eq!(swapped.unwrap(), "two one");
    }

    #[test]
    fn line_ends_stay_as_they_were() {
        let content = "\u{feff}a\r\nb\r\nc\nd\r\n";
        assert_eq!(
            applied(content, &[edit("a\nb", "x\ny\nz")]).unwrap(),
            "\u{feff}x\r\ny\r\nz\r\nc\nd\r\n"
        );
        assert_eq!(
            applied(content, &[edit("c\n", "1\n2\n")]).unwrap(),
            "\u{feff}a\r\nb\r\n1\n2\nd\r\n"
        );
        assert_eq!(
            applied(content, &[edit("d", "1\n2")]).unwrap(),
            "\u{feff}a\r\nb\r\nc\n1\r\n2\r\n"
        );
    }

    #[test]
    fn what_does_not_apply_says_why() {
        let cases = [
            (vec![edit("", "x")], EditError::Empty { edit: 0 }),
            (vec![edit("a", "a")], EditError::Same { edit: 0 }),
            (
                vec![edit("aa", "x")],
                EditError::NotUnique {
                    edit: 0,
                    count: "2".to_owned(),
                    lines: "1, 1".to_owned(),
                },
            ),
            (
                vec![edit("two three", "x"), edit("\n  two", "y")],
                EditError::Overlap {
                    first: 0,
                    second: 1,
                },
            ),
            (
                vec![edit("two three", "x"), edit("\ttwo three", "y")],
                EditError::NotFound {
                    edit: 1,
                    hint: " (line 2 is near it: \"  two three\")".to_owned(),
                },
            ),
        ];
        for (edits, error) in cases {
            assert_eq!(applied("aaa\n  two three\n", &edits), Err(error));
        }
    }

    proptest! {
        /// The law: bytes outside of the match stay, whatever they are.
        #[test]
        fn an_edit_changes_its_match_and_nothing_else(
            before in proptest::collection::vec(any::<u8>(), 0..80),
            after in proptest::collection::vec(any::<u8>(), 0..80),
            old in "[a-c]{1,6}",
            new in "[a-z]{0,6}",
        ) {
            let old = format!("<{old}>");
            prop_assume!(old != new);
            let mut content = before.clone();
            content.extend_from_slice(old.as_bytes());
            content.extend_from_slice(&after);
            let result = apply(&content, &[edit(&old, &new)]);
            let unique = occurrences(&content, old.as_bytes()).count() == 1;
            match result {
                Ok(edited) => {
                    let mut expected = before;
                    expected.extend_from_slice(new.as_bytes());
                    expected.extend_from_slice(&after);
                    prop_assert!(unique);
                    prop_assert_eq!(edited.content, expected);
                }
                Err(error) => {
                    let not_unique = matches!(error, EditError::NotUnique { .. });
                    prop_assert!(!unique && not_unique);
                }
            }
        }

        /// The law: edits of distinct lines are the same in any order and one by one.
        #[test]
        fn edits_of_distinct_lines_commute(
            lines in proptest::collection::vec("[a-z]{0,5}", 2..12),
            endings in proptest::collection::vec(any::<bool>(), 12),
            picks in proptest::collection::btree_map(0_usize..12, "[A-Z\n]{0,4}", 1..5),
        ) {
            let mut content = String::new();
            for (index, line) in lines.iter().enumerate() {
                let ending = if endings[index] { "\r\n" } else { "\n" };
                content.push_str(&format!("{index}:{line}{ending}"));
            }
            let edits: Vec<Edit> = picks.iter()
                .filter(|(index, _)| **index < lines.len())
                .map(|(index, new)| edit(&format!("{index}:{}", lines[*index]), new))
                .filter(|it| content.matches(&it.old_text).count() == 1)
                .collect();
            let together = applied(&content, &edits).unwrap();
            let reversed: Vec<Edit> = edits.iter().rev().cloned().collect();
            prop_assert_eq!(&together, &applied(&content, &reversed).unwrap());
            prop_assert_eq!(
                together.matches("\r\n").count() >= content.matches("\r\n").count(),
                true
            );
        }
    }
}
