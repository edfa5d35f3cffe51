//! Reads fields that services spell in more than one way, without a tree and without copies.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::surrogates::unescaped;

/// Text, or a number as its text; anything else reads as nothing.
#[derive(Debug, Default)]
pub(crate) struct Str<'a>(Option<Cow<'a, str>>);

impl<'a> Str<'a> {
    /// Returns the text, unless there is none.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }

    pub(crate) fn into_cow(self) -> Cow<'a, str> {
        self.0.unwrap_or_default()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        Ok(Self(match json.as_bytes().first() {
            Some(b'"') => Some(unescaped(json)),
            Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(json)),
            _ => None,
        }))
    }
}

/// A count; `null`, a negative number and what is no number read as "not stated".
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count(pub(super) Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counts;
        impl<'de> Visitor<'de> for Counts {
            type Value = Option<u64>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count")
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Some(number))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(u64::try_from(number).ok())
            }
            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                const MAX: f64 = 9_007_199_254_740_992.0;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "the range is checked and a fraction of a token means nothing"
                )]
                let count = (0.0..=MAX).contains(&number).then_some(number as u64);
                Ok(count)
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(text.parse().ok())
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                skip_items(items).map(|()| None)
            }
            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                skip_fields(fields).map(|()| None)
            }
        }
        deserializer.deserialize_any(Counts).map(Self)
    }
}

/// An object; `null` and what is no object read as nothing.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(super) Option<T>);

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Objects<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Objects<T> {
            type Value = Option<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Some)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                skip_items(items).map(|()| None)
            }
            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }
        }
        deserializer.deserialize_any(Objects(PhantomData)).map(Self)
    }
}

/// A list; `null` and what is no list read as empty.
#[derive(Debug)]
pub(crate) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Items::new()).map(Self)
    }
}

/// A list whose first item costs no allocation, for lists that mostly have one.
#[cfg(any(feature = "cohere", feature = "gemini", feature = "openai-chat"))]
#[derive(Debug)]
pub(crate) struct Few<T> {
    first: Option<T>,
    rest: Vec<T>,
}

#[cfg(any(feature = "gemini", feature = "openai-chat"))]
impl<T> Few<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

#[cfg(any(feature = "cohere", feature = "gemini", feature = "openai-chat"))]
impl<T> Default for Few<T> {
    fn default() -> Self {
        Self {
            first: None,
            rest: Vec::new(),
        }
    }
}

#[cfg(any(feature = "cohere", feature = "gemini", feature = "openai-chat"))]
impl<T> Extend<T> for Few<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        let mut items = items.into_iter();
        if self.first.is_none() {
            self.first = items.next();
        }
        self.rest.extend(items);
    }
}

#[cfg(any(feature = "cohere", feature = "gemini", feature = "openai-chat"))]
impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

#[cfg(any(feature = "cohere", feature = "gemini", feature = "openai-chat"))]
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Items::new())
    }
}

/// Reads the items of a list, or the one item that stands for it.
struct Items<C, T>(PhantomData<(C, T)>);

impl<C, T> Items<C, T> {
    fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, C: Default + Extend<T>, T: Deserialize<'de>> Visitor<'de> for Items<C, T> {
    type Value = C;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<C, A::Error> {
        let mut list = C::default();
        while let Some(item) = items.next_element::<Object<T>>()? {
            list.extend(item.0);
        }
        Ok(list)
    }
    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<C, A::Error> {
        let mut list = C::default();
        list.extend([T::deserialize(MapAccessDeserializer::new(fields))?]);
        Ok(list)
    }
    fn visit_str<E>(self, _: &str) -> Result<C, E> {
        Ok(C::default())
    }
    fn visit_u64<E>(self, _: u64) -> Result<C, E> {
        Ok(C::default())
    }
    fn visit_i64<E>(self, _: i64) -> Result<C, E> {
        Ok(C::default())
    }
    fn visit_f64<E>(self, _: f64) -> Result<C, E> {
        Ok(C::default())
    }
    fn visit_bool<E>(self, _: bool) -> Result<C, E> {
        Ok(C::default())
    }
    fn visit_unit<E>(self) -> Result<C, E> {
        Ok(C::default())
    }
}

/// Returns other spellings of a JSON value that could not be read, the gentlest first: half of a
/// surrogate pair is no character, and of a field that comes twice the last one counts.
#[cfg(any(
    feature = "bedrock",
    feature = "cohere",
    feature = "gemini",
    feature = "ollama",
    feature = "openai-responses"
))]
pub(crate) fn repairs(json: &str) -> impl Iterator<Item = String> {
    let whole = crate::surrogates::without_lone_surrogates(json).into_owned();
    let value = serde_json::from_str::<serde_json::Value>(&whole);
    let value = value.map(|value| value.to_string());
    std::iter::once(whole).chain(value.ok())
}

fn skip_items<'de, A: SeqAccess<'de>>(mut items: A) -> Result<(), A::Error> {
    while items.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn skip_fields<'de, A: MapAccess<'de>>(mut fields: A) -> Result<(), A::Error> {
    while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_another_type_reads_as_nothing() {
        for (text, expected) in [
            (r#""a""#, "a"),
            (r#""\u0061b""#, "ab"),
            ("7", "7"),
            ("null", ""),
            ("true", ""),
            ("[1,[2]]", ""),
            (r#"{"a":{}}"#, ""),
        ] {
            let read: Str<'_> = serde_json::from_str(text).unwrap();
            assert_eq!(read.as_str(), expected, "{text}");
        }
        for (text, expected) in [
            ("3", Some(3)),
            ("3.0", Some(3)),
            (r#""3""#, Some(3)),
            ("-3", None),
            ("null", None),
            ("{}", None),
        ] {
            let read: Count = serde_json::from_str(text).unwrap();
            assert_eq!(read.0, expected, "{text}");
        }
    }

    #[test]
    fn a_list_may_be_null_hold_nulls_or_be_its_only_item() {
        #[derive(serde::Deserialize)]
        struct Item {
            n: u8,
        }
        for (text, expected) in [
            ("null", vec![]),
            ("[]", vec![]),
            (r#"[null,{"n":1},{"n":2}]"#, vec![1, 2]),
            (r#"{"n":3}"#, vec![3]),
            (r#""""#, vec![]),
        ] {
            let list: List<Item> = serde_json::from_str(text).unwrap();
            assert_eq!(
                list.0.iter().map(|item| item.n).collect::<Vec<_>>(),
                expected
            );
            #[cfg(feature = "openai-chat")]
            {
                let few: Few<Item> = serde_json::from_str(text).unwrap();
                assert_eq!(
                    few.into_iter().map(|item| item.n).collect::<Vec<_>>(),
                    expected
                );
            }
        }
    }
}
