//! What a provider sends beside a part, in no more room than it takes.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize, Serializer};

use crate::json::RawJson;

/// What a provider sends beside a part and wants back with it unchanged: its [`Facts`], which it
/// reads and writes like. Most parts have none, so it is no larger than a pointer.
#[derive(Clone, Default, Deserialize)]
#[serde(from = "Facts")]
pub struct PartFacts(Option<Box<Facts>>);

/// What a provider may send beside a part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// A signature over the part.
    ///
    /// Anthropic: `signature` of a thinking block. Gemini: `thoughtSignature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The provider's id of the item, which is not the id of a tool call.
    ///
    /// OpenAI Responses: `id` of an output item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// Anything else, as an object: citations, phase, annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<RawJson>,
}

static NO_FACTS: Facts = Facts {
    signature: None,
    item_id: None,
    extra: None,
};

impl Serialize for PartFacts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl From<Facts> for PartFacts {
    fn from(facts: Facts) -> Self {
        Self((facts != NO_FACTS).then(|| Box::new(facts)))
    }
}

impl Deref for PartFacts {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        self.0.as_deref().unwrap_or(&NO_FACTS)
    }
}

impl DerefMut for PartFacts {
    fn deref_mut(&mut self) -> &mut Facts {
        self.0.get_or_insert_default()
    }
}

impl PartialEq for PartFacts {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for PartFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl PartFacts {
    /// Says whether the provider sent nothing beside the part.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        **self == NO_FACTS
    }

    /// Takes over what a later report states.
    pub fn replace_with(&mut self, later: Self) {
        let Some(later) = later.0 else {
            return;
        };
        self.signature = later.signature.or_else(|| self.signature.take());
        self.item_id = later.item_id.or_else(|| self.item_id.take());
        self.extra = later.extra.or_else(|| self.extra.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> Facts {
        Facts {
            signature: Some("s".to_owned()),
            ..Facts::default()
        }
    }

    #[test]
    fn facts_that_were_touched_and_hold_nothing_equal_none() {
        let mut touched = PartFacts::from(signed());
        assert_eq!(touched.signature.take().as_deref(), Some("s"));
        assert!(touched.is_empty());
        assert_eq!(touched, PartFacts::default());
        assert_eq!(PartFacts::from(Facts::default()).0, None);
    }

    #[test]
    fn facts_are_written_as_an_object_and_read_back() {
        let facts = PartFacts::from(signed());
        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(text, r#"{"signature":"s"}"#);
        assert_eq!(serde_json::from_str::<PartFacts>(&text).unwrap(), facts);
        let none: PartFacts = serde_json::from_str("{}").unwrap();
        assert_eq!((none.is_empty(), none.0), (true, None));
    }

    #[test]
    fn a_later_report_adds_and_replaces_and_never_takes_away() {
        let mut facts = PartFacts::from(signed());
        facts.replace_with(PartFacts::from(Facts {
            item_id: Some("i".to_owned()),
            ..Facts::default()
        }));
        facts.replace_with(PartFacts::default());
        let held = (facts.signature.as_deref(), facts.item_id.as_deref());
        assert_eq!(held, (Some("s"), Some("i")));
    }
}
