//! Reads what an error body states, in every shape that services give it.

use serde_json::Value;

/// What an error body states. Everything may be missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ErrorBody {
    /// What went wrong, in the service's words, on one line.
    pub(crate) message: Option<String>,
    /// The words for its kind: `error.type`, `error.code`, `error.status` and the like.
    pub(crate) codes: Vec<String>,
    /// The HTTP status that the body names.
    pub(crate) status: Option<u16>,
    /// The parsed body.
    pub(crate) json: Option<Value>,
}

impl ErrorBody {
    /// Reads a body: a JSON object, array or string, an event stream, a page, text, or nothing.
    pub(crate) fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let text = text.trim_start_matches('\u{feff}').trim();
        if let Ok(json) = serde_json::from_str::<Value>(text) {
            return Self::of_json(json);
        }
        if let Some(json) = first_event(text) {
            return Self::of_json(json);
        }
        let message = if text.starts_with('<') {
            Some(format!("the answer is a web page: {}", page_text(text)))
        } else {
            one_line(text)
        };
        Self {
            message,
            ..Self::default()
        }
    }

    /// Reads a parsed body.
    pub(crate) fn of_json(json: Value) -> Self {
        let mut facts = Self::default();
        facts.take(json.get(0).unwrap_or(&json), 0);
        facts.json = Some(json);
        facts
    }

    /// Takes what one level states, the inner levels first because they are more exact.
    fn take(&mut self, value: &Value, depth: usize) {
        const DEPTH_MAX: usize = 4;
        if depth > DEPTH_MAX {
            return;
        }
        match value {
            Value::String(text) => self.message = self.message.take().or_else(|| one_line(text)),
            Value::Array(items) => {
                if let Some(first) = items.first() {
                    self.take(first, depth + 1);
                }
            }
            Value::Object(fields) => {
                for inner in ["error", "errors"] {
                    if let Some(inner) = fields.get(inner) {
                        self.take(inner, depth + 1);
                    }
                }
                for name in ["code", "status", "raw_status_code", "type", "error_type"] {
                    self.take_code(fields.get(name));
                }
                self.take_aws_code(fields.get("__type").and_then(Value::as_str));
                for name in [
                    "message",
                    "msg",
                    "detail",
                    "error_description",
                    "title",
                    "Message",
                ] {
                    if self.message.is_none()
                        && let Some(inner) = fields.get(name)
                    {
                        self.take(inner, depth + 1);
                    }
                }
                if let Some(raw) = fields.get("metadata").and_then(|meta| meta.get("raw")) {
                    self.take_upstream(raw);
                }
                // What a model wrote instead of a call: Groq.
                if let Some(written) = fields.get("failed_generation") {
                    self.take_upstream(written);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn take_code(&mut self, code: Option<&Value>) {
        let (number, word) = match code {
            Some(Value::Number(number)) => (number.as_u64(), None),
            Some(Value::String(word)) => (word.parse().ok(), one_line(word)),
            _ => return,
        };
        let status = number.and_then(|number| u16::try_from(number).ok());
        let status = status.filter(|status| (400..600).contains(status));
        self.status = self.status.or(status);
        if let Some(word) = word.filter(|word| word != "error" && number.is_none()) {
            self.codes.push(word.to_ascii_lowercase());
        }
    }

    /// Takes the word of AWS for an error: a shape perhaps with its namespace before it and an
    /// address after it, as `ValidationException:http://…` or `com.amazon.…#ValidationException`.
    pub(crate) fn take_aws_code(&mut self, code: Option<&str>) {
        let code = code.unwrap_or_default();
        let code = code.split(':').next().unwrap_or_default();
        let code = code.rsplit('#').next().and_then(one_line);
        self.codes
            .extend(code.map(|code| code.to_ascii_lowercase()));
    }

    /// A gateway quotes the service behind it, a service its model, beside a message that says
    /// little.
    fn take_upstream(&mut self, raw: &Value) {
        let quoted = match raw {
            Value::String(text) => one_line(text),
            other => one_line(&other.to_string()),
        };
        if let Some(quoted) = quoted {
            let message = self.message.take().unwrap_or_default();
            self.message = one_line(&format!("{message}: {quoted}"));
        }
    }

    /// Says whether one of the codes is one of the words.
    pub(crate) fn has_code(&self, words: &[&str]) -> bool {
        self.codes.iter().any(|code| words.contains(&code.as_str()))
    }
}

/// Finds the JSON of the first event that has some: some servers answer an error as a stream.
fn first_event(text: &str) -> Option<Value> {
    let mut data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    data.find_map(|data| serde_json::from_str(data.trim()).ok())
}

/// Collapses white space and control characters, and caps the length.
pub(crate) fn one_line(text: &str) -> Option<String> {
    const CHARS_MAX: usize = 2_000;
    let mut line = String::new();
    let mut chars = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
            chars += 1;
        }
        for c in word.chars() {
            if chars >= CHARS_MAX {
                line.push('…');
                return Some(line);
            }
            line.push(c);
            chars += 1;
        }
    }
    (!line.is_empty()).then_some(line)
}

/// Returns the title of a page, or its first words.
fn page_text(page: &str) -> String {
    const CHARS_MAX: usize = 200;
    let lower = page.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|at| {
        let (_, rest) = page.split_at_checked(at)?;
        let (_, rest) = rest.split_once('>')?;
        let (title, _) = rest.split_once('<')?;
        one_line(title)
    });
    let text = title.unwrap_or_else(|| {
        let mut inside_tag = false;
        let visible: String = page
            .chars()
            .map(|c| match c {
                '<' => {
                    inside_tag = true;
                    ' '
                }
                '>' if inside_tag => {
                    inside_tag = false;
                    ' '
                }
                _ if inside_tag => ' ',
                c => c,
            })
            .collect();
        one_line(&visible).unwrap_or_else(|| "without text".to_owned())
    });
    text.chars().take(CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> String {
        ErrorBody::read(body.as_bytes()).message.unwrap_or_default()
    }

    #[test]
    fn the_message_is_found_in_every_shape() {
        for body in [
            r#"{"type":"error","error":{"type":"x","message":"gone"}}"#,
            r#"[{"error":{"code":400,"message":"gone","status":"INVALID_ARGUMENT"}}]"#,
            r#"{"error":"gone"}"#,
            r#"{"message":"gone"}"#,
            r#"{"object":"error","message":"gone","code":400}"#,
            r#"{"detail":"gone"}"#,
            r#"{"detail":[{"loc":["body"],"msg":"gone"}]}"#,
            r#"{"errors":[{"message":"gone"}]}"#,
            r#""gone""#,
            "gone\n",
            "event: error\ndata: {\"error\":{\"message\":\"gone\"}}\n\n",
        ] {
            assert_eq!(message(body), "gone", "{body}");
        }
    }

    #[test]
    fn the_words_and_the_status_are_found_inside_and_outside() {
        let facts = ErrorBody::read(
            br#"{"type":"error","error":{"code":"429","type":"Rate_Limit","message":"m"}}"#,
        );
        assert_eq!(facts.codes, ["rate_limit"]);
        assert_eq!(facts.status, Some(429));
    }

    #[test]
    fn a_page_says_its_title_and_garbage_stays_short() {
        let page = "<!doctype html><html><head><TITLE>502 Bad\nGateway</TITLE></head></html>";
        assert_eq!(message(page), "the answer is a web page: 502 Bad Gateway");
        assert_eq!(
            message("<p>busy <b>now"),
            "the answer is a web page: busy now"
        );
        assert_eq!(message(&"x".repeat(100_000)).chars().count(), 2_001);
        assert_eq!(ErrorBody::read(b" \n"), ErrorBody::default());
    }

    #[test]
    fn a_gateway_quotes_the_service_behind_it() {
        let body = r#"{"error":{"message":"Provider returned error","metadata":{"raw":"busy"}}}"#;
        assert_eq!(message(body), "Provider returned error: busy");
    }
}
