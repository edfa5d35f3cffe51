//! Tells reasoning in `<think>` tags at the beginning of the text from the answer.

use std::mem;

const OPENING: &str = "<think>";
const CLOSING: &str = "</think>";

/// More white space than this before the tag is text.
const BEFORE_BYTES_MAX: usize = 64;

/// Where the text of one answer stands in respect of the tags.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum ThinkScan {
    /// Tags are text, or the answer has begun.
    #[default]
    Text,
    /// What came may be the beginning of the opening tag.
    Before(String),
    /// Inside; what is held may be the beginning of the closing tag.
    Inside(String),
}

/// What a piece of text says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) thinking: String,
    pub(super) text: String,
}

impl ThinkScan {
    /// Says whether every piece of text is text.
    pub(super) fn is_text(&self) -> bool {
        *self == Self::Text
    }

    /// Takes a piece of text and holds back what may be a tag.
    pub(super) fn take(&mut self, piece: &str) -> Told {
        let mut told = Told::default();
        match mem::take(self) {
            Self::Text => piece.clone_into(&mut told.text),
            Self::Before(mut held) => {
                held.push_str(piece);
                let begun = held.trim_start();
                if let Some(inside) = begun.strip_prefix(OPENING) {
                    *self = Self::Inside(String::new());
                    return self.take(inside);
                }
                if OPENING.starts_with(begun) && held.len() <= BEFORE_BYTES_MAX {
                    *self = Self::Before(held);
                } else {
                    told.text = held;
                }
            }
            Self::Inside(mut held) => {
                held.push_str(piece);
                if let Some((thinking, text)) = held.split_once(CLOSING) {
                    thinking.clone_into(&mut told.thinking);
                    text.clone_into(&mut told.text);
                } else {
                    let at = held.len() - closing_begun(&held);
                    let rest = held.split_off(at);
                    told.thinking = held;
                    *self = Self::Inside(rest);
                }
            }
        }
        told
    }

    /// Gives out what is held: nothing more comes.
    pub(super) fn finish(&mut self) -> Told {
        match mem::take(self) {
            Self::Text => Told::default(),
            Self::Before(text) => Told {
                text,
                ..Told::default()
            },
            Self::Inside(thinking) => Told {
                thinking,
                ..Told::default()
            },
        }
    }
}

/// Returns how many of the last bytes may be the beginning of the closing tag.
fn closing_begun(text: &str) -> usize {
    let begins = |len: &usize| CLOSING.get(..*len).is_some_and(|tag| text.ends_with(tag));
    (1..CLOSING.len()).rev().find(begins).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_however_they_are_cut() {
        for (text, thinking, answer) in [
            ("<think>hm</think>so", "hm", "so"),
            (
                "\n <think>\nh<m</thin</think>\n\nso </think>",
                "\nh<m</thin",
                "\n\nso </think>",
            ),
            ("<think></think>", "", ""),
            ("<think>never ends</thi", "never ends</thi", ""),
            ("<thing>so", "", "<thing>so"),
            ("so <think>hm</think>", "", "so <think>hm</think>"),
            ("<thi", "", "<thi"),
            ("", "", ""),
        ] {
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let mut scan = ThinkScan::Before(String::new());
                    let mut whole = Told::default();
                    let pieces = [&text[..first], &text[first..second], &text[second..]];
                    let told = pieces.map(|piece| scan.take(piece));
                    for told in told.into_iter().chain([scan.finish()]) {
                        whole.thinking.push_str(&told.thinking);
                        whole.text.push_str(&told.text);
                    }
                    assert_eq!(
                        (&*whole.thinking, &*whole.text),
                        (thinking, answer),
                        "{text}"
                    );
                }
            }
        }
    }

    #[test]
    fn white_space_without_end_is_not_held() {
        let mut scan = ThinkScan::Before(String::new());
        assert_eq!(scan.take(&" ".repeat(1_000)).text.len(), 1_000);
        assert!(scan.is_text());
    }
}
