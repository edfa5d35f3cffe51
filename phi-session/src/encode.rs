//! Values written as JSON: the bytes of serde_json, with text looked at eight bytes at a time.
//!
//! serde_json looks at every byte of every key and string on its own, which takes longer than all
//! else that is done to an event before it is in the log.

use serde::Serialize;
use serde::ser::{
    Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::Error;

/// Writes a value as JSON after what a buffer holds.
pub(crate) fn push_json<T: Serialize + ?Sized>(
    value: &T,
    buffer: &mut Vec<u8>,
) -> Result<(), Error> {
    value.serialize(Json(buffer))
}

/// Where JSON is written.
struct Json<'a>(&'a mut Vec<u8>);

/// An object, a list or a variant that is being written.
struct Nested<'a> {
    buffer: &'a mut Vec<u8>,
    /// What stands before the next item.
    before: &'static [u8],
    /// What ends it.
    end: &'static [u8],
    /// The name of a struct in which serde_json hides a value of its own.
    hidden: Option<&'static str>,
}

/// How the structs are named in which serde_json hides raw JSON.
const HIDDEN: &str = "$serde_json::private::";

/// A struct as serde_json hides a value in it, for serde_json.
struct Hidden<'a, T: ?Sized> {
    name: &'static str,
    key: &'static str,
    value: &'a T,
}

impl<T: Serialize + ?Sized> Serialize for Hidden<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = serializer.serialize_struct(self.name, 1)?;
        written.serialize_field(self.key, self.value)?;
        written.end()
    }
}

impl<'a> Json<'a> {
    fn nest(self, begin: &'static [u8], end: &'static [u8]) -> Nested<'a> {
        self.0.extend_from_slice(begin);
        Nested {
            buffer: self.0,
            before: b"",
            end,
            hidden: None,
        }
    }

    /// Begins an object whose only value is a variant's.
    fn variant(self, name: &str) -> Self {
        self.0.push(b'{');
        push_text(name, self.0);
        self.0.push(b':');
        self
    }
}

impl Nested<'_> {
    fn push_item<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
        self.buffer.extend_from_slice(self.before);
        self.before = b",";
        push_json(item, self.buffer)
    }

    fn push_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        if let Some(name) = self.hidden {
            return serde_json::to_writer(&mut *self.buffer, &Hidden { name, key, value });
        }
        let quote: &[u8] = if self.before.is_empty() {
            b"\""
        } else {
            b",\""
        };
        self.before = b",";
        debug_assert!(!key.bytes().any(is_escaped), "a name of a field");
        self.buffer.extend_from_slice(quote);
        self.buffer.extend_from_slice(key.as_bytes());
        self.buffer.extend_from_slice(b"\":");
        push_json(value, self.buffer)
    }

    fn finish(self) -> Result<(), Error> {
        self.buffer.extend_from_slice(self.end);
        Ok(())
    }
}

/// Hands simple values to serde_json.
macro_rules! plain {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, value: $type) -> Result<(), Error> {
            serde_json::to_writer(self.0, &value)
        })*
    };
}

impl<'a> Serializer for Json<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Nested<'a>;
    type SerializeTuple = Nested<'a>;
    type SerializeTupleStruct = Nested<'a>;
    type SerializeTupleVariant = Nested<'a>;
    type SerializeMap = Nested<'a>;
    type SerializeStruct = Nested<'a>;
    type SerializeStructVariant = Nested<'a>;

    plain! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
        serialize_bytes: &[u8],
    }

    fn serialize_str(self, text: &str) -> Result<(), Error> {
        push_text(text, self.0);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let Json(buffer) = self.variant(variant);
        push_json(value, buffer)?;
        buffer.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Nested<'a>, Error> {
        Ok(self.nest(b"[", b"]"))
    }

    fn serialize_tuple(self, _len: usize) -> Result<Nested<'a>, Error> {
        Ok(self.nest(b"[", b"]"))
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Nested<'a>, Error> {
        Ok(self.nest(b"[", b"]"))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Nested<'a>, Error> {
        Ok(self.variant(variant).nest(b"[", b"]}"))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Nested<'a>, Error> {
        Ok(self.nest(b"{", b"}"))
    }

    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<Nested<'a>, Error> {
        if name.starts_with(HIDDEN) {
            let hidden = Some(name);
            return Ok(Nested {
                hidden,
                ..self.nest(b"", b"")
            });
        }
        Ok(self.nest(b"{", b"}"))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Nested<'a>, Error> {
        Ok(self.variant(variant).nest(b"{", b"}}"))
    }
}

/// Writes lists, under each of serde's names for them.
macro_rules! list {
    ($($port:ident: $method:ident),* $(,)?) => {
        $(impl $port for Nested<'_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
                self.push_item(item)
            }

            fn end(self) -> Result<(), Error> {
                self.finish()
            }
        })*
    };
}

list! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

/// Writes structs, under both of serde's names for them.
macro_rules! object {
    ($($port:ident),*) => {
        $(impl $port for Nested<'_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                self.push_field(key, value)
            }

            fn end(self) -> Result<(), Error> {
                self.finish()
            }
        })*
    };
}

object!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Nested<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let start = self.buffer.len() + self.before.len();
        self.push_item(key)?;
        match self.buffer.get(start) {
            Some(b'"') => Ok(()),
            Some(b't' | b'f' | b'-' | b'0'..=b'9') => {
                self.buffer.insert(start, b'"');
                self.buffer.push(b'"');
                Ok(())
            }
            Some(_) | None => Err(Error::custom("key must be a string")),
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.buffer.push(b':');
        push_json(value, self.buffer)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

/// Writes a text with its quotes.
fn push_text(text: &str, buffer: &mut Vec<u8>) {
    buffer.push(b'"');
    let (text, mut copied) = (text.as_bytes(), 0);
    let mut escape = |at: usize, byte: u8| {
        buffer.extend_from_slice(text.get(copied..at).unwrap_or_default());
        push_escape(byte, buffer);
        copied = at + 1;
    };
    let (words, rest) = text.as_chunks::<8>();
    for (start, word) in (0..).step_by(8).zip(words) {
        let mut marks = escape_marks(u64::from_le_bytes(*word));
        while marks != 0 {
            let place = marks.trailing_zeros() as usize / 8;
            escape(start + place, word.get(place).copied().unwrap_or(0));
            marks &= marks - 1;
        }
    }
    for (at, byte) in (words.len() * 8..).zip(rest) {
        if is_escaped(*byte) {
            escape(at, *byte);
        }
    }
    buffer.extend_from_slice(text.get(copied..).unwrap_or_default());
    buffer.push(b'"');
}

fn is_escaped(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'\\')
}

/// Sets the highest bit of each of eight bytes that JSON escapes.
fn escape_marks(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const LOW: u64 = ONES * 0x7f;
    // No sum of seven bits and seven bits reaches the next byte.
    let is_below = |word: u64, bound: u64| !(((word & LOW) + ONES * (0x80 - bound)) | word);
    let is_quote = is_below(word ^ (ONES * u64::from(b'"')), 1);
    let is_backslash = is_below(word ^ (ONES * u64::from(b'\\')), 1);
    (is_below(word, 0x20) | is_quote | is_backslash) & !LOW
}

fn push_escape(byte: u8, buffer: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\t' => b't',
        b'\r' => b'r',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let digit = |half: u8| {
                if half < 10 {
                    b'0' + half
                } else {
                    b'a' + half - 10
                }
            };
            let digits = [digit(byte >> 4), digit(byte & 0xf)];
            buffer.extend_from_slice(b"\\u00");
            buffer.extend_from_slice(&digits);
            return;
        }
    };
    buffer.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use phi_types::{Event, RawJson};
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use serde_json::json;

    fn written<T: Serialize + ?Sized>(value: &T) -> Option<String> {
        let mut buffer = b"before".to_vec();
        push_json(value, &mut buffer).ok()?;
        let text = String::from_utf8(buffer.split_off(6)).unwrap();
        assert_eq!(buffer, b"before");
        Some(text)
    }

    fn assert_same<T: Serialize + ?Sized>(value: &T) {
        assert_eq!(written(value), serde_json::to_string(value).ok());
    }

    #[derive(Serialize)]
    struct Unit;

    #[derive(Serialize)]
    struct Newtype(u8);

    #[derive(Serialize)]
    struct Pair(i8, &'static str);

    #[derive(Serialize)]
    struct Fields {
        plain: Option<&'static str>,
        #[serde(rename = "another key")]
        odd: Vec<Variant>,
        #[serde(skip_serializing_if = "Option::is_none")]
        left_out: Option<bool>,
        raw: RawJson,
    }

    #[derive(Serialize)]
    enum Variant {
        Unit,
        Newtype(f64),
        Tuple(u8, char),
        Struct { a: i128, b: () },
    }

    #[derive(Serialize)]
    #[serde(tag = "type")]
    enum Tagged {
        Unit,
        Newtype(BTreeMap<String, u8>),
        Struct {
            a: f32,
        },
        #[serde(untagged)]
        Raw(RawJson),
    }

    #[test]
    fn every_kind_of_value_reads_as_serde_json_writes_it() {
        let raw = || RawJson::parse(r#"{ "a" : 1.50, "b\/":"\u0041" }"#).unwrap();
        assert_same(&(true, 1_u8, -2_i64, 1.5_f32, f64::NAN, 'ß', '"', u128::MAX));
        assert_same(&(Unit, Newtype(3), Pair(-4, "\"")));
        let odd = || {
            let odd = [
                Variant::Unit,
                Variant::Newtype(0.1),
                Variant::Tuple(1, '\n'),
            ];
            odd.into_iter().chain([Variant::Struct { a: -1, b: () }])
        };
        for odd in [odd().collect(), Vec::new()] {
            assert_same(&Fields {
                plain: Some("x"),
                odd,
                left_out: None,
                raw: raw(),
            });
        }
        assert_same(&[
            Tagged::Unit,
            Tagged::Newtype(BTreeMap::from([("k".to_owned(), 1)])),
            Tagged::Struct { a: 0.1 },
            Tagged::Raw(raw()),
        ]);
        assert_same(&json!({"": [], "a": {}, "b": [null, {"c": [[1], ["2"]]}]}));
        assert_same(
            serde_json::value::RawValue::from_string("[ 1 ]".to_owned())
                .unwrap()
                .as_ref(),
        );
    }

    #[test]
    fn keys_that_are_no_text_are_quoted_or_refused() {
        fn map<K: Ord>(keys: [K; 2]) -> BTreeMap<K, u8> {
            keys.into_iter().zip(1..).collect()
        }
        assert_same(&map([-1, 2]));
        assert_same(&map([true, false]));
        assert_same(&map(['a', '"']));
        assert_same(&map([Some("a"), Some("b")]));
        assert_same(&map([None, Some("b")]));
        assert_same(&map([(1, 2), (3, 4)]));
        assert_same(&map([(), ()]));
    }

    #[test]
    fn every_byte_is_escaped_as_serde_json_escapes_it_wherever_it_stands() {
        for byte in 0..=0xff_u8 {
            let character = char::from(byte);
            for at in 0..20 {
                for after in ["", "x", "\u{0}", "\"", "ß€\u{1f600}"] {
                    assert_same(&format!("{}{character}{after}", "y".repeat(at)));
                }
            }
        }
    }

    #[test]
    fn the_events_of_every_log_are_written_as_serde_json_writes_them() {
        let mut count = 0;
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
        let mut folders = vec![std::path::PathBuf::from(golden)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|it| it == "jsonl") {
                    let text = std::fs::read_to_string(path).unwrap();
                    for event in text
                        .lines()
                        .filter_map(|it| serde_json::from_str::<Event>(it).ok())
                    {
                        assert_same(&event);
                        count += 1;
                    }
                }
            }
        }
        assert!(count > 50, "{count}");
    }

    proptest! {
        #[test]
        fn any_text_is_written_as_serde_json_writes_it(text: String, bytes: Vec<u8>) {
            for text in [text.as_str(), &String::from_utf8_lossy(&bytes)] {
                prop_assert_eq!(written(text), serde_json::to_string(text).ok());
            }
        }

        #[test]
        fn eight_bytes_at_once_are_told_as_one_by_one(
            mut bytes in any::<[u8; 8]>(),
            places in any::<[u8; 3]>(),
        ) {
            for (place, byte) in places.into_iter().zip(*b"\"\\\x1f") {
                bytes[usize::from(place % 8)] = byte;
            }
            let marked = escape_marks(u64::from_le_bytes(bytes)).to_le_bytes();
            let expected = bytes.map(|byte| if is_escaped(byte) { 0x80 } else { 0 });
            prop_assert_eq!(marked, expected);
        }
    }
}
