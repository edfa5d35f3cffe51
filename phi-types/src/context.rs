//! Changes of what a model reads, on request: what is asked for, and the events that record it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::facts::{CompactionBlock, PrunedResult};
use crate::id::{EffectId, LoopId};

/// Names an entry of the history by its place, or one result of it: `n12`, `n12.1`.
///
/// The name never changes, whatever overlays the view has. [`Tags`] shows it to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag {
    /// The place of the entry in the history, from 0.
    pub entry: u64,
    /// The place of one result in the entry, from 0; `None` for the whole entry.
    pub result: Option<u32>,
}

impl Tag {
    /// Names a whole entry.
    #[must_use]
    pub fn entry(entry: u64) -> Self {
        Self {
            entry,
            result: None,
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.result {
            None => write!(f, "n{}", self.entry),
            Some(result) => write!(f, "n{}.{result}", self.entry),
        }
    }
}

/// Says that a text is no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no tag: write it as n12, or as n12.1 for one result of n12")]
pub struct InvalidTag(String);

impl FromStr for Tag {
    type Err = InvalidTag;

    /// Reads a tag as a model writes it: with its brackets or without.
    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let invalid = || InvalidTag(text.chars().take(64).collect());
        let bare = text.trim();
        let bare = bare
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(bare);
        let digits = bare.strip_prefix('n').ok_or_else(invalid)?;
        let (entry, result) = match digits.split_once('.') {
            Some((entry, result)) => (entry, Some(result)),
            None => (digits, None),
        };
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(entry) || !result.is_none_or(all_digits) {
            return Err(invalid());
        }
        Ok(Self {
            entry: entry.parse().map_err(|_| invalid())?,
            result: result
                .map(|it| it.parse().map_err(|_| invalid()))
                .transpose()?,
        })
    }
}

impl TryFrom<String> for Tag {
    type Error = InvalidTag;

    fn try_from(text: String) -> Result<Self, InvalidTag> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.to_string()
    }
}

/// How long the model reads the tags of messages of the user and of tool results: each begins with
/// its [`Tag`] in brackets, `[n12]`, and every result of an entry that has several with its own,
/// `[n12.0]`.
///
/// Tags are part of the view, so the digest of a request covers them and its tokens count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tags {
    /// Always. It costs about three tokens an entry and breaks no cache.
    Stay,
    /// While the entry is among so many newest ones of the history.
    ///
    /// What loses its tag changes, so that almost every request departs from the one before at that
    /// entry: a provider's cache of prompts serves what is older, and the newest entries are read
    /// anew each time.
    Newest(u32),
}

impl Tags {
    /// Says whether an entry shows its tag in a history of that length.
    pub(crate) fn show(self, entry: usize, len: usize) -> bool {
        match self {
            Self::Stay => true,
            Self::Newest(newest) => usize::try_from(newest)
                .ok()
                .and_then(|newest| entry.checked_add(newest))
                .is_none_or(|end| end >= len),
        }
    }
}

/// What somebody wants changed in what the model reads.
///
/// What the user said is the caller's to take back: for a model it stays, as it is or in what stands
/// for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContextChange {
    /// Tool results shall go.
    Prune(Prune),
    /// Everything after an entry shall go.
    Revert(Revert),
}

/// Tool results shall go; the calls stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prune {
    /// The results, one by one or all of an entry; at least one.
    pub tags: Vec<Tag>,
    /// What the model reads in the place of the oldest of them; a fixed note stands for the others,
    /// and for all without a memo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
}

/// Everything after an entry shall go, but for the answer whose calls are open or ask for this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revert {
    /// The newest entry that stays.
    pub to: Tag,
    /// Why.
    pub category: RevertCategory,
    /// What the model reads in the place of what goes; not blank.
    pub summary: String,
}

/// Why a part of a conversation leaves the view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevertCategory {
    /// It led nowhere.
    DeadEnd,
    /// Something better took its place.
    Superseded,
    /// It is done, and its summary is all that matters.
    Done,
    /// Anything else, in a few words.
    Other(String),
}

impl fmt::Display for RevertCategory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeadEnd => "dead end",
            Self::Superseded => "superseded",
            Self::Done => "done",
            Self::Other(words) => words,
        })
    }
}

/// Names an overlay of the view: the loop and the `seq` of the event that laid it, which is a
/// [`ContextPruned`], a [`ContextReverted`] or a [`crate::CompactionEnded`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OverlayId {
    /// The loop.
    pub loop_id: LoopId,
    /// The `seq` of the event in that loop.
    pub seq: u64,
}

impl fmt::Display for OverlayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.loop_id, self.seq)
    }
}

/// Who asked for a change of what the model reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AskedBy {
    /// A tool call of the model.
    Call {
        /// The effect of the call.
        effect: EffectId,
    },
    /// The caller of the loop.
    Caller {},
}

/// Tool results left the view; the history keeps them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContextPruned {
    /// Who asked for it.
    pub by: AskedBy,
    /// What the model reads in their places; they name entries of the view before.
    pub results: Vec<PrunedResult>,
    /// Tokens of the next request after: an estimate, corrected by what was reported.
    pub tokens: u64,
}

/// The entries after one of them left the view; the history keeps them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContextReverted {
    /// Who asked for it.
    pub by: AskedBy,
    /// The newest entry that stayed.
    pub to: Tag,
    /// Why.
    pub category: RevertCategory,
    /// What was said of them.
    pub summary: String,
    /// The entries of the view before that left it, and the message that the model reads instead.
    pub block: CompactionBlock,
    /// Tokens of the next request after: an estimate, corrected by what was reported.
    pub tokens: u64,
}

/// An overlay was taken off the view: what it hid is back, unless another overlay hides it too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextRestored {
    /// Who asked for it.
    pub by: AskedBy,
    /// The overlay, of this loop or of one before it.
    pub overlay: OverlayId,
    /// Tokens of the next request after: an estimate, corrected by what was reported.
    pub tokens: u64,
}

impl ContextReverted {
    /// Returns the message that the model reads in the place of what left the view.
    #[must_use]
    pub fn message(&self) -> Option<&Arc<crate::message::UserMessage>> {
        self.block.replacement.first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_reads_back_however_a_model_writes_it() {
        let whole = Tag::entry(12);
        let one = Tag {
            entry: 12,
            result: Some(1),
        };
        for (text, tag) in [
            ("n12", whole),
            ("[n12]", whole),
            (" n12\n", whole),
            ("n12.1", one),
            ("[n12.1]", one),
        ] {
            assert_eq!(text.parse(), Ok(tag), "{text:?}");
        }
        for tag in [whole, one] {
            assert_eq!(tag.to_string().parse(), Ok(tag));
        }
        for bad in [
            "",
            "n",
            "12",
            "n+1",
            "n1.",
            "n.1",
            "n1.+2",
            "[n1",
            "n1.1.1",
            "n-1",
            "n99999999999999999999",
            "n1.4294967296",
            "N1",
            "n 1",
            "n\u{0661}",
        ] {
            assert!(bad.parse::<Tag>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn changes_read_back_in_a_form_that_people_read() {
        let change = ContextChange::Revert(Revert {
            to: Tag::entry(3),
            category: RevertCategory::Other("wrong file".into()),
            summary: "Nothing of use.".into(),
        });
        let text = serde_json::to_string(&change).unwrap();
        assert_eq!(
            text,
            r#"{"type":"revert","to":"n3","category":{"other":"wrong file"},"summary":"Nothing of use."}"#
        );
        assert_eq!(
            serde_json::from_str::<ContextChange>(&text).unwrap(),
            change
        );
        assert!(serde_json::from_str::<Tag>("\"x\"").is_err());
    }

    #[test]
    fn the_newest_entries_show_their_tags() {
        let shown = |newest, len| -> Vec<usize> {
            (0..len)
                .filter(|at| Tags::Newest(newest).show(*at, len))
                .collect()
        };
        assert_eq!(shown(0, 3), [0; 0]);
        assert_eq!(shown(2, 5), [3, 4]);
        assert_eq!(shown(u32::MAX, 2), [0, 1]);
        assert!(Tags::Stay.show(0, usize::MAX));
    }
}
