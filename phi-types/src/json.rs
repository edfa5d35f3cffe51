//! Raw JSON kept byte for byte, and enums whose JSON carries their variant in a `type` key.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeOwned, DeserializeSeed, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// One JSON value as it was written: order of keys, spelling of numbers and unknown fields stay.
///
/// Line ends between tokens become spaces, so that a value always fits one line of a log.
/// Equality is equality of the text. A clone shares the text.
#[derive(Clone)]
pub struct RawJson(Arc<RawValue>);

impl RawJson {
    /// Parses text that must be exactly one JSON value.
    ///
    /// # Errors
    /// The error of `serde_json` with line and column.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// A value that JSON cannot hold, such as a map with keys that are not strings.
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(|raw| Self(Arc::from(raw)))
    }

    /// Returns the empty object, `{}`.
    #[must_use]
    pub fn empty_object() -> Self {
        static EMPTY: std::sync::OnceLock<RawJson> = std::sync::OnceLock::new();
        EMPTY
            .get_or_init(|| Self::parse("{}").expect("{} is JSON"))
            .clone()
    }

    /// Reads the value into a type.
    ///
    /// # Errors
    /// The error of `serde_json`, which names what was expected and where.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_str())
    }

    /// Returns the JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Says whether the value is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.as_str().trim_start().starts_with('{')
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RawJson {}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for RawJson {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if !raw.get().contains(['\n', '\r']) {
            return Ok(Self(Arc::from(raw)));
        }
        // Inside a JSON string a line end is always escaped, so these stand between tokens.
        let line = raw.get().replace(['\n', '\r'], " ");
        RawValue::from_string(line)
            .map(|raw| Self(Arc::from(raw)))
            .map_err(serde::de::Error::custom)
    }
}

/// Reads the `type` (or `role`) of a JSON object: at once where the key comes first, else by a scan.
pub(crate) fn tag_of<'a>(text: &'a str, key: &str) -> Option<Cow<'a, str>> {
    let first = text
        .strip_prefix("{\"")
        .and_then(|rest| rest.strip_prefix(key))
        .and_then(|rest| rest.strip_prefix("\":\""))
        .and_then(|rest| rest.split_once('"'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.contains('\\'));
    if let Some(tag) = first {
        return Some(Cow::Borrowed(tag));
    }
    let fields: std::collections::BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    serde_json::from_str(fields.get(key)?.get()).ok()
}

/// A word that is one of those that are looked for, or another one.
pub(crate) enum Word {
    Known(&'static str),
    Other(String),
}

/// Reads a word and looks it up among these, so that a known one is not copied.
pub(crate) struct WordOf(pub(crate) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for WordOf {
    type Value = Word;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Word, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for WordOf {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Word, E> {
        let known = self.0.iter().find(|known| **known == word);
        Ok(known.map_or_else(|| Word::Other(word.to_owned()), |known| Word::Known(known)))
    }
}

/// Writes the fields of an object as the object.
pub(crate) fn object_of(fields: &[(String, RawJson)]) -> String {
    let mut text = String::from("{");
    for (key, value) in fields {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&serde_json::Value::from(key.as_str()).to_string());
        text.push(':');
        text.push_str(value.as_str());
    }
    text.push('}');
    text
}

/// Implements `Deserialize` for an enum of newtype variants that is tagged inside its payload.
///
/// serde's own internal tagging buffers the payload and so cannot hold a `RawValue`. Where the tag is
/// the first key, the payload is read from what follows it; else it is read from its text. With a
/// final `else Variant`, an unknown tag is kept as [`RawJson`], for which the text is needed first.
macro_rules! deserialize_tagged {
    ($name:ident, $key:literal { $($tag:literal => $variant:ident),+ $(,)? }) => {
        impl $name {
            #[doc = concat!("The words that the key `", $key, "` can have in its JSON.")]
            pub const TAGS: &'static [&'static str] = &[$($tag),+];
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Tagged;

                impl<'de> serde::de::Visitor<'de> for Tagged {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("an object with the key `", $key, "`"))
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<$name, A::Error> {
                        use serde::de::{Error as _, value::MapAccessDeserializer};
                        use $crate::json::{Word, WordOf, object_of};
                        let (mut tag, mut before) = (None, Vec::new());
                        while let Some(key) = map.next_key_seed(WordOf(&[$key]))? {
                            match key {
                                Word::Other(key) => before.push((key, map.next_value()?)),
                                Word::Known(_) => {
                                    let found = map.next_value_seed(WordOf(&[$($tag),+]))?;
                                    let tag = tag.get_or_insert(found);
                                    if !before.is_empty() {
                                        continue;
                                    }
                                    return match tag {
                                        $(Word::Known($tag) => serde::Deserialize::deserialize(
                                            MapAccessDeserializer::new(map),
                                        )
                                        .map($name::$variant)
                                        .map_err(|error| {
                                            A::Error::custom(format_args!("{}: {error}", $tag))
                                        }),)+
                                        Word::Known(other) => {
                                            Err(A::Error::unknown_variant(other, &[$($tag),+]))
                                        }
                                        Word::Other(other) => {
                                            Err(A::Error::unknown_variant(other, &[$($tag),+]))
                                        }
                                    };
                                }
                            }
                        }
                        let text = object_of(&before);
                        match tag {
                            $(Some(Word::Known($tag)) => serde_json::from_str(&text)
                                .map($name::$variant)
                                .map_err(|error| {
                                    A::Error::custom(format_args!("{}: {error}", $tag))
                                }),)+
                            Some(Word::Known(other)) => {
                                Err(A::Error::unknown_variant(other, &[$($tag),+]))
                            }
                            Some(Word::Other(other)) => {
                                Err(A::Error::unknown_variant(&other, &[$($tag),+]))
                            }
                            None => Err(A::Error::missing_field($key)),
                        }
                    }
                }

                deserializer.deserialize_map(Tagged)
            }
        }
    };
    ($name:ident, $key:literal { $($tag:literal => $variant:ident),+ $(,)? } else $unknown:ident) => {
        impl $name {
            #[doc = concat!("The words that the key `", $key, "` can have in its JSON.")]
            pub const TAGS: &'static [&'static str] = &[$($tag),+];
        }

        impl $name {
            /// Reads a value from its JSON text, like `Deserialize` and without a copy of the text.
            ///
            /// # Errors
            /// The error of `serde_json`, which names what was expected.
            pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
                use serde::de::Error as _;
                let Some(tag) = $crate::json::tag_of(text, $key) else {
                    return Err(serde_json::Error::missing_field($key));
                };
                match tag.as_ref() {
                    $($tag => serde_json::from_str(text)
                        .map(Self::$variant)
                        .map_err(|error| {
                            serde_json::Error::custom(format_args!("{}: {error}", $tag))
                        }),)+
                    _ => $crate::json::RawJson::parse(text).map(Self::$unknown),
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
                Self::from_json(text.get()).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use deserialize_tagged;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_key_order_survive_and_line_ends_do_not() {
        let raw = RawJson::parse("{\"b\":1.0,\n\"a\":123456789012345678901234567890}").unwrap();
        assert_eq!(
            raw.as_str(),
            "{\"b\":1.0, \"a\":123456789012345678901234567890}"
        );
        assert_eq!(serde_json::to_string(&raw).unwrap(), raw.as_str());
    }

    #[test]
    fn a_tag_is_found_wherever_it_stands() {
        assert_eq!(
            tag_of(r#"{"type":"a","x":1}"#, "type").as_deref(),
            Some("a")
        );
        assert_eq!(
            tag_of(r#"{"x":{"type":"b"}, "type": "a"}"#, "type").as_deref(),
            Some("a")
        );
        assert_eq!(tag_of(r#"{"type":"\u0061"}"#, "type").as_deref(), Some("a"));
        assert_eq!(tag_of(r#"{"x":1}"#, "type"), None);
        assert_eq!(tag_of("[]", "type"), None);
    }
}
