//! JSON as text that a person reads: keys and values in lines, long strings as they are, in bounded
//! space.

/// The deepest indentation, in steps of two spaces.
const DEPTH_MAX: usize = 40;
/// The longest escape sequence in a JSON string, in bytes: a pair of surrogates.
const ESCAPE_BYTES_MAX: usize = 12;

/// How much of a value is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of one string.
    pub(super) string: usize,
    /// Bytes of everything, about.
    pub(super) whole: usize,
}

/// Writes JSON as readable text; `Err` holds what was written of a value that is longer.
///
/// The text must be JSON, as `serde_json` writes it. It is walked without recursion.
pub(super) fn readable(json: &str, limits: Limits) -> Result<String, String> {
    let mut writer = Writer {
        json,
        at: 0,
        out: String::new(),
        open: Vec::new(),
        limits,
        after_dash: false,
    };
    while writer.out.len() < limits.whole {
        if !writer.token() {
            let text = writer.out.trim_matches('\n').to_owned();
            return Ok(text);
        }
    }
    Err(writer.out.trim_start_matches('\n').to_owned())
}

struct Writer<'a> {
    json: &'a str,
    at: usize,
    out: String,
    /// What is open: whether it is a list, and whether something is in it.
    open: Vec<Open>,
    limits: Limits,
    /// Whether the last thing written is the dash of an item.
    after_dash: bool,
}

#[derive(Clone, Copy)]
struct Open {
    is_list: bool,
    is_empty: bool,
    /// Whether a key was written whose value comes.
    has_key: bool,
}

impl Writer<'_> {
    /// Writes the next token; false at the end.
    fn token(&mut self) -> bool {
        let rest = self.json.get(self.at..).unwrap_or_default();
        let Some(first) = rest.bytes().next() else {
            return false;
        };
        match first {
            b' ' | b'\n' | b'\r' | b'\t' | b',' | b':' => self.at += 1,
            b'{' | b'[' => {
                self.before_value();
                self.at += 1;
                self.open.push(Open {
                    is_list: first == b'[',
                    is_empty: true,
                    has_key: false,
                });
            }
            b'}' | b']' => {
                self.at += 1;
                let closed = self.open.pop();
                if closed.is_some_and(|it| it.is_empty) {
                    self.separate();
                    self.out
                        .push_str(if first == b'[' || closed.is_some_and(|it| it.is_list) {
                            "[]"
                        } else {
                            "{}"
                        });
                }
            }
            b'"' => self.string(rest),
            _ => {
                let end = rest.find([',', '}', ']', ' ', '\n', '\r', '\t']);
                let word = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
                self.before_value();
                self.separate();
                self.out.push_str(word);
                self.at += word.len();
            }
        }
        true
    }

    /// Writes a key, or a string value.
    fn string(&mut self, rest: &str) {
        let inside = rest.get(1..).unwrap_or_default();
        let length = string_length(inside);
        let raw = inside.get(..length).unwrap_or(inside);
        self.at += raw.len() + 2;
        let is_key = self
            .open
            .last()
            .is_some_and(|it| !it.is_list && !it.has_key);
        let (text, cut) = decoded(raw, self.limits.string);
        if is_key {
            self.line();
            self.out.push_str(&text);
            self.out.push(':');
            self.note_item(true);
            return;
        }
        self.before_value();
        if text.contains('\n') {
            self.block(&text);
        } else {
            self.separate();
            self.out.push_str(&plain(&text));
        }
        if cut > 0 {
            self.out.push_str(&format!(" … ({cut} more bytes)"));
        }
    }

    /// Writes a text of several lines below its key.
    fn block(&mut self, text: &str) {
        self.after_dash = false;
        let indent = "  ".repeat(self.open.len().min(DEPTH_MAX));
        for line in text.lines() {
            self.out.push('\n');
            self.out.push_str(&indent);
            self.out.push_str(line);
        }
    }

    /// Notes that a value comes: an item of a list begins a line.
    fn before_value(&mut self) {
        let Some(open) = self.open.last_mut() else {
            return;
        };
        open.is_empty = false;
        open.has_key = false;
        if open.is_list {
            self.line();
            self.out.push('-');
            self.after_dash = true;
        }
    }

    fn note_item(&mut self, has_key: bool) {
        if let Some(open) = self.open.last_mut() {
            open.is_empty = false;
            open.has_key = has_key;
        }
    }

    fn line(&mut self) {
        // The first key of an item of a list stands behind its dash.
        if std::mem::take(&mut self.after_dash) {
            self.out.push(' ');
            return;
        }
        let depth = self.open.len().saturating_sub(1).min(DEPTH_MAX);
        self.out.push('\n');
        self.out.push_str(&"  ".repeat(depth));
    }

    fn separate(&mut self) {
        self.after_dash = false;
        if !self.out.is_empty() {
            self.out.push(' ');
        }
    }
}

/// Returns how many bytes the inside of a JSON string has.
fn string_length(inside: &str) -> usize {
    let bytes = inside.as_bytes();
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
    bytes.len()
}

/// Decodes the inside of a JSON string up to a length; says how many bytes are left out.
fn decoded(raw: &str, max: usize) -> (String, usize) {
    let decode = |raw: &str| serde_json::from_str::<String>(&format!("\"{raw}\"")).ok();
    if raw.len() <= max {
        let text = decode(raw).unwrap_or_else(|| raw.to_owned());
        return (text, 0);
    }
    // The cut must not fall into a character or an escape sequence.
    let cuts = (0..=ESCAPE_BYTES_MAX).map(|back| max.saturating_sub(back));
    let mut whole = cuts.filter_map(|cut| Some((decode(raw.get(..cut)?)?, raw.len() - cut)));
    whole.next().unwrap_or((String::new(), raw.len()))
}

/// Quotes a text that could be taken for something else.
fn plain(text: &str) -> String {
    let is_padded = text.trim() != text;
    let is_other = text.is_empty() || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if is_padded || is_other || text.starts_with('-') {
        return serde_json::Value::from(text).to_string();
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Limits = Limits {
        string: 1_000,
        whole: 10_000,
    };

    #[test]
    fn keys_and_values_stand_in_lines() {
        let json = r#"{"type":"tool_ended","index":0,"n":1.50,"s":"1","e":"","l":[1,"a-",[],{}],
            "result":{"content":[{"type":"text","text":"one\ntwo\n"},{"x":{}}],"is_error":false}}"#;
        let text = "type: tool_ended
index: 0
n: 1.50
s: \"1\"
e: \"\"
l:
  - 1
  - a-
  - []
  - {}
result:
  content:
    - type: text
      text:
        one
        two
    - x: {}
  is_error: false";
        assert_eq!(readable(json, WIDE).unwrap(), text);
    }

    #[test]
    fn a_long_string_is_cut_between_characters_and_says_so() {
        let json = serde_json::json!({ "a": "ü\n😀".repeat(1_000), "b": 1 }).to_string();
        for string in 20..40 {
            let limits = Limits {
                string,
                whole: 9_999,
            };
            let text = readable(&json, limits).unwrap();
            assert!(text.contains("more bytes)\nb: 1"), "{text}");
            assert!(text.len() < 200, "{text}");
        }
    }

    #[test]
    fn what_is_nested_deeply_is_cut_and_breaks_nothing() {
        let json = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let text = readable(&json, WIDE).unwrap_err();
        assert!(text.len() < 11_000, "{}", text.len());
        for garbage in ["", "\"", "\"\\", "{\"a\"", "]]]", "{]"] {
            assert!(readable(garbage, WIDE).is_ok(), "{garbage}");
        }
    }
}
