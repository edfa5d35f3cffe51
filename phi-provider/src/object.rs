//! Reads and writes JSON objects whose fields keep their order and their text.

use std::borrow::Cow;
use std::fmt;
use std::io;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The fields of an object in the order in which they stand there, each as its text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object<'a> {
    fields: Vec<(String, Cow<'a, str>)>,
}

impl<'a> Object<'a> {
    /// Reads an object; a field that comes twice keeps its last value.
    pub(crate) fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[cfg(any(
        test,
        feature = "anthropic",
        feature = "bedrock",
        feature = "gemini",
        feature = "openai-responses"
    ))]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let (_, value) = fields.find(|(given, _)| given == name)?;
        Some(value)
    }

    /// Replaces a field where it stands, or appends it.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        match self.fields.iter_mut().find(|(given, _)| given == name) {
            Some((_, old)) => *old = value,
            None => self.fields.push((name.to_owned(), value)),
        }
    }

    /// Takes a field out.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Cow<'a, str>> {
        let at = self.fields.iter().position(|(given, _)| given == name)?;
        Some(self.fields.remove(at).1)
    }

    pub(crate) fn into_fields(self) -> Vec<(String, Cow<'a, str>)> {
        self.fields
    }

    #[cfg(any(feature = "ollama", feature = "openai-responses"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Writes the object.
    #[cfg(any(
        test,
        feature = "anthropic",
        feature = "bedrock",
        feature = "gemini",
        feature = "ollama",
        feature = "openai-responses"
    ))]
    pub(crate) fn text(&self) -> String {
        let mut out = String::from("{");
        for (at, (name, value)) in self.fields.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            push_string(&mut out, name);
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
        out
    }
}

/// Appends a text as a JSON string, without memory of its own.
pub(crate) fn push_string(out: &mut String, text: &str) {
    struct Appending<'a>(&'a mut String);
    impl io::Write for Appending<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // The JSON writer hands over whole pieces of text.
            let piece = std::str::from_utf8(bytes).map_err(io::Error::other)?;
            self.0.push_str(piece);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let written = serde_json::to_writer(Appending(out), text);
    debug_assert!(written.is_ok(), "a text is always JSON");
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<'a>(Object<'a>);
        impl<'de: 'a, 'a> Visitor<'de> for Fields<'a> {
            type Value = Object<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Object<'a>, A::Error> {
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    self.0.set(&name, value.get());
                }
                Ok(self.0)
            }
        }
        deserializer.deserialize_map(Fields(Object::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_as_the_json_library_writes_it() {
        let all: String = (0..0x300).filter_map(char::from_u32).collect();
        for text in ["", "plain", "\"\\\n\u{0}\u{1f}\u{7f}é🎲", &all] {
            let mut out = String::new();
            push_string(&mut out, text);
            assert_eq!(out, serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn fields_keep_their_order_and_their_text() {
        let mut object = Object::read(r#"{"z": 1.0, "a": {"y" :2}, "z2":null}"#).unwrap();
        assert_eq!(object.field("z"), Some("1.0"));
        object.set("a", "true");
        object.set("n\"", "[]");
        assert_eq!(object.remove("z2").as_deref(), Some("null"));
        assert_eq!(object.text(), r#"{"z":1.0,"a":true,"n\"":[]}"#);
        assert!(Object::read("[1]").is_err());
    }
}
