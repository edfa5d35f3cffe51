//! Follows the text of a call's arguments to the brace that ends them.

/// Where the text of a JSON object stands, in constant memory.
///
/// An object says itself where it ends: no beginning of one is another one. That is how a call is
/// known to be complete before anything else is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ObjectScan {
    /// White space alone came.
    #[default]
    Empty,
    /// Inside the object.
    Open {
        /// How many braces and brackets are open.
        depth: u32,
        /// Whether a string is open.
        string: StringScan,
    },
    /// The last brace came.
    Complete,
    /// The text is no object.
    Other,
}

/// Where the text stands in respect of strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StringScan {
    Outside,
    Inside,
    AfterBackslash,
}

impl ObjectScan {
    /// Takes more text and returns the length of what belongs to the arguments.
    pub(super) fn take(&mut self, text: &str) -> usize {
        for (at, byte) in text.bytes().enumerate() {
            *self = match *self {
                Self::Empty if byte.is_ascii_whitespace() => Self::Empty,
                Self::Empty if byte == b'{' => Self::Open {
                    depth: 1,
                    string: StringScan::Outside,
                },
                Self::Empty | Self::Other => {
                    *self = Self::Other;
                    return text.len();
                }
                Self::Open { depth, string } => Self::within(depth, string, byte),
                Self::Complete => return at,
            };
        }
        text.len()
    }

    fn within(depth: u32, string: StringScan, byte: u8) -> Self {
        let string = match (string, byte) {
            (StringScan::Inside, b'\\') => StringScan::AfterBackslash,
            (StringScan::Inside, b'"') => StringScan::Outside,
            (StringScan::Inside | StringScan::AfterBackslash, _) => StringScan::Inside,
            (StringScan::Outside, b'"') => StringScan::Inside,
            (StringScan::Outside, b'{' | b'[') => {
                let depth = depth.saturating_add(1);
                return Self::Open { depth, string };
            }
            (StringScan::Outside, b'}' | b']') if depth == 1 => return Self::Complete,
            (StringScan::Outside, b'}' | b']') => {
                let depth = depth - 1;
                return Self::Open { depth, string };
            }
            (StringScan::Outside, _) => StringScan::Outside,
        };
        Self::Open { depth, string }
    }
}

/// Says whether a text is nothing but special tokens of a model and white space, as
/// `<|endoftext|>`: they leak behind the arguments where a server does not cut them off.
pub(super) fn is_special_tokens(text: &str) -> bool {
    let mut rest = text.trim();
    while !rest.is_empty() {
        let Some((token, after)) = rest.strip_prefix('<').and_then(|it| it.split_once('>')) else {
            return false;
        };
        let barred = [('|', '|'), ('｜', '｜')]
            .iter()
            .any(|&(first, last)| token.starts_with(first) && token.ends_with(last));
        let named = matches!(
            token,
            "/s" | "eos" | "end_of_turn" | "/tool_call" | "tool_call|"
        );
        if !barred && !named {
            return false;
        }
        rest = after.trim_start();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_object_is_found_whatever_it_holds() {
        for (text, end) in [
            ("{}", 2),
            (" {\"a\":{\"b\":[1,{}]}} x", 19),
            (r#"{"a":"}\"}"}{"#, 12),
            (r#"{"a":"\\"}<|im_end|>"#, 10),
        ] {
            for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                let mut scan = ObjectScan::default();
                let mut taken = scan.take(&text[..cut]);
                if taken == cut {
                    taken += scan.take(&text[cut..]);
                }
                assert_eq!(
                    (taken, scan),
                    (end, ObjectScan::Complete),
                    "{text} at {cut}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_object_is_taken_whole() {
        for text in ["null", "[1]", "\"{}\"", "x{}"] {
            let mut scan = ObjectScan::default();
            assert_eq!(scan.take(text), text.len());
            assert_eq!(scan, ObjectScan::Other);
        }
    }

    #[test]
    fn special_tokens_are_told_from_text() {
        for text in [
            "",
            "<|endoftext|>",
            " <|im_end|>\n</s>",
            "<｜end▁of▁sentence｜>",
        ] {
            assert!(is_special_tokens(text), "{text}");
        }
        for text in ["}", "{}", "<b>", "<|endoftext", "<|a|> and"] {
            assert!(!is_special_tokens(text), "{text}");
        }
    }
}
