//! Raw JSON kept byte for byte, and enums whose JSON carries their variant in a `type` key.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
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
pub(crate) fn tag_of(text: &str, key: &str) -> Option<String> {
    let first = text
        .strip_prefix("{\"")
        .and_then(|rest| rest.strip_prefix(key))
        .and_then(|rest| rest.strip_prefix("\":\""))
        .and_then(|rest| rest.split_once('"'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.contains('\\'));
    if let Some(tag) = first {
        return Some(tag.to_owned());
    }
    let fields: std::collections::BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    serde_json::from_str(fields.get(key)?.get()).ok()
}

/// Implements `Deserialize` for an enum of newtype variants that is tagged inside its payload.
///
/// serde's own internal tagging buffers the payload and so cannot hold a `RawValue`; this reads the
/// payload from its text. With a final `else Variant`, an unknown tag is kept as [`RawJson`].
macro_rules! deserialize_tagged {
    ($name:ident, $key:literal { $($tag:literal => $variant:ident),+ $(,)? } $(else $unknown:ident)?) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use serde::de::Error as _;
                let raw = $crate::json::RawJson::deserialize(deserializer)?;
                let Some(tag) = $crate::json::tag_of(raw.as_str(), $key) else {
                    return Err(D::Error::custom(concat!("missing key `", $key, "`")));
                };
                match tag.as_str() {
                    $($tag => serde_json::from_str(raw.as_str())
                        .map(Self::$variant)
                        .map_err(|error| D::Error::custom(format_args!("{}: {error}", $tag))),)+
                    $(_ => Ok(Self::$unknown(raw)),)?
                    #[allow(unreachable_patterns, reason = "reached by enums without `else`")]
                    other => Err(D::Error::unknown_variant(other, &[$($tag),+])),
                }
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
