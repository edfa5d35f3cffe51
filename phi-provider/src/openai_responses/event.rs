//! The shape of an event of a stream, and of the response that it may hold.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::usage::ReportedUsage;
use crate::lenient::{Count, Object, Str};
use crate::surrogates::without_lone_surrogates;

/// One event of a stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event<'a> {
    // Wide: an event of the service, with every field that some kind of event has.
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    #[serde(borrow)]
    pub(super) item_id: Str<'a>,
    pub(super) output_index: Count,
    pub(super) content_index: Count,
    pub(super) summary_index: Count,
    /// What is new, where it is text.
    #[serde(borrow)]
    pub(super) delta: Str<'a>,
    /// The whole of a text.
    #[serde(borrow)]
    pub(super) text: Str<'a>,
    #[serde(borrow)]
    pub(super) refusal: Str<'a>,
    #[serde(borrow)]
    pub(super) arguments: Option<&'a RawValue>,
    /// The whole input of a call that takes text instead of JSON.
    #[serde(borrow)]
    pub(super) input: Str<'a>,
    #[serde(borrow)]
    pub(super) item: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) response: Option<&'a RawValue>,
}

/// A response, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Response<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow)]
    pub(super) model: Str<'a>,
    #[serde(borrow)]
    pub(super) object: Str<'a>,
    #[serde(borrow)]
    pub(super) status: Str<'a>,
    #[serde(borrow)]
    pub(super) output: Option<&'a RawValue>,
    pub(super) usage: Object<ReportedUsage>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) incomplete_details: Object<IncompleteDetails<'a>>,
    /// The options of the request, except where mistral.rs puts the reasoning itself here.
    #[serde(borrow)]
    pub(super) reasoning: Str<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct IncompleteDetails<'a> {
    #[serde(borrow)]
    pub(super) reason: Str<'a>,
}

impl<'a> Response<'a> {
    /// Reads a response; what is none reads as one that states nothing.
    pub(super) fn read(json: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str::<Object<Self>>(json).map(|read| read.0.unwrap_or_default())
    }

    /// Returns the items of the output.
    pub(super) fn output(&self) -> Vec<&'a RawValue> {
        list(self.output.map_or("", RawValue::get))
    }

    /// Returns why the response is incomplete.
    pub(super) fn reason(&self) -> &str {
        let details = self.incomplete_details.0.as_ref();
        details.map_or("", |details| details.reason.as_str())
    }
}

/// Returns the values of a list; what is no list has none.
pub(super) fn list(json: &str) -> Vec<&RawValue> {
    serde_json::from_str(json).unwrap_or_default()
}

/// An item of the output, or a piece of one: its fields in order, each as its text.
#[derive(Debug)]
pub(super) struct ItemFields<'a> {
    pub(super) json: &'a str,
    fields: Vec<(String, &'a str)>,
}

impl<'a> ItemFields<'a> {
    /// Reads an item; what is no object is none.
    pub(super) fn read(json: &'a RawValue) -> Option<Self> {
        let json = json.get();
        let fields = serde_json::from_str::<Fields<'a>>(json).ok()?.0;
        Some(Self { json, fields })
    }

    /// Returns the text of a field; a field that holds no text reads as empty.
    pub(super) fn text(&self, name: &str) -> Cow<'_, str> {
        text_of(self.raw(name))
    }

    /// Returns the values of a list.
    pub(super) fn list(&self, name: &str) -> Vec<&RawValue> {
        list(self.raw(name))
    }

    /// Returns the JSON of a field, or nothing. Of one that comes twice the last one counts.
    pub(super) fn raw(&self, name: &str) -> &'a str {
        let mut fields = self.fields.iter();
        let field = fields.rfind(|(given, _)| given == name);
        field.map_or("", |(_, value)| value)
    }

    /// Iterates over the fields.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.fields
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
    }
}

/// The fields of an object, of which one may come twice.
struct Fields<'a>(Vec<(String, &'a str)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visited;
        impl<'de> Visitor<'de> for Visited {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    fields.push((name, value.get()));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Visited)
    }
}

/// Returns the text of a JSON string.
pub(super) fn text_of(json: &str) -> Cow<'_, str> {
    serde_json::from_str::<Str<'_>>(json).map_or(Cow::Borrowed(""), Str::into_cow)
}

/// Returns the text of arguments. Some services send the object itself instead.
pub(super) fn arguments_of(json: &str) -> Cow<'_, str> {
    match json.as_bytes().first() {
        Some(b'"') => text_of(json),
        Some(b'{') => without_lone_surrogates(json),
        _ => Cow::Borrowed(""),
    }
}
