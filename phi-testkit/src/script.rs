//! A script as a file: a JSON array of replies.

use std::time::Duration;

use phi_types::{ProviderError, ProviderErrorKind, RawJson};
use serde::Deserialize;

use crate::reply::{Reply, ScriptedCall};

/// Says what is wrong with a script, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// It is no JSON, or its shape is not the one of a script.
    #[error(
        "the script is not valid: {0}; a script is a JSON array of replies {{\"text\"?, \
         \"thinking\"?, \"tool_calls\"?: [{{\"name\", \"arguments\"}}], \"delay_ms\"?, \
         \"errors\"?: [{{\"kind\", \"message\"}}]}}"
    )]
    Shape(String),
    /// A tool call has no name.
    #[error("tool call {call} of reply {reply} has an empty name: name the tool (both from 0)")]
    NamelessCall {
        /// The reply, from 0.
        reply: usize,
        /// The call in its reply, from 0.
        call: usize,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyForm {
    #[serde(default)]
    text: String,
    #[serde(default)]
    thinking: String,
    #[serde(default)]
    tool_calls: Vec<CallForm>,
    #[serde(default)]
    delay_ms: u64,
    #[serde(default)]
    errors: Vec<ErrorForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallForm {
    name: String,
    arguments: RawJson,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorForm {
    kind: ProviderErrorKind,
    message: String,
}

/// Reads a script: a JSON array of replies `{"text"?, "thinking"?, "tool_calls"?: [{"name",
/// "arguments"}], "delay_ms"?, "errors"?: [{"kind", "message"}]}`.
///
/// `errors` are given one per attempt before the reply; `delay_ms` precedes the first delta. The
/// arguments are usually an object; a string is taken as the text that the model writes, which
/// need not be JSON.
///
/// # Errors
/// [`ScriptError`] names the line and the column.
pub fn parse_script(json: &str) -> Result<Vec<Reply>, ScriptError> {
    let forms: Vec<ReplyForm> =
        serde_json::from_str(json).map_err(|error| ScriptError::Shape(error.to_string()))?;
    let replies = forms.into_iter().enumerate();
    replies.map(|(n, form)| form.reply(n)).collect()
}

impl ReplyForm {
    fn reply(self, n: usize) -> Result<Reply, ScriptError> {
        let mut reply = Reply::new()
            .with_text(self.text)
            .with_thinking(self.thinking)
            .with_delay(Duration::from_millis(self.delay_ms));
        for (call, CallForm { name, arguments }) in self.tool_calls.into_iter().enumerate() {
            if name.is_empty() {
                return Err(ScriptError::NamelessCall { reply: n, call });
            }
            reply = reply.with_call(match arguments.read::<String>() {
                Ok(text) => ScriptedCall::new(name, text),
                Err(_) => ScriptedCall::json(name, &arguments),
            });
        }
        for ErrorForm { kind, message } in self.errors {
            reply = reply.after_error(ProviderError::new(kind, message));
        }
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use phi_types::{Delta, StopReason};

    use super::*;

    fn error(json: &str) -> String {
        parse_script(json).unwrap_err().to_string()
    }

    #[test]
    fn every_key_of_the_form_is_read() {
        let replies = parse_script(
            r#"[{"text":"hi","thinking":"hm","tool_calls":[
                {"name":"read_file","arguments":{"path":"a"}},{"name":"bash","arguments":"{oops"}],
                "delay_ms":5,"errors":[{"kind":"rate_limited","message":"slow down"}]}, {}]"#,
        )
        .unwrap();
        let expected = Reply::text("hi")
            .with_thinking("hm")
            .with_call(ScriptedCall::new("read_file", "{\"path\":\"a\"}"))
            .with_call(ScriptedCall::new("bash", "{oops"))
            .with_delay(Duration::from_millis(5))
            .after_error(ProviderError::new(
                ProviderErrorKind::RateLimited,
                "slow down",
            ));
        assert_eq!(format!("{:?}", replies[0]), format!("{expected:?}"));
        let last = replies[1].deltas(1).pop();
        assert_eq!(last, Some(Delta::finish(StopReason::EndTurn)));
    }

    #[test]
    fn an_error_names_what_and_where_and_what_would_be_right() {
        let message = error("[{\"text\":\"hi\"},\n {\"txt\":\"hi\"}]");
        assert!(message.contains("unknown field `txt`"), "{message}");
        assert!(message.contains("line 2 column 7"), "{message}");
        assert!(message.contains("\"tool_calls\"?"), "{message}");
        for (json, wanted) in [
            ("", "EOF"),
            ("{}", "expected a sequence"),
            ("[{\"text\":1}]", "expected a string"),
            ("[{\"delay_ms\":-1}]", "u64"),
            (
                "[{\"tool_calls\":[{\"name\":\"a\"}]}]",
                "missing field `arguments`",
            ),
            (
                "[{\"errors\":[{\"kind\":\"tired\",\"message\":\"\"}]}]",
                "`overloaded`",
            ),
            (
                "[{},{\"tool_calls\":[{\"name\":\"\",\"arguments\":{}}]}]",
                "tool call 0 of reply 1",
            ),
        ] {
            assert!(error(json).contains(wanted), "{json}: {}", error(json));
        }
    }
}
