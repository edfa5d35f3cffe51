//! Cuts a JSON array into its items while it arrives.

use phi_types::{ProviderError, ProviderErrorKind};

use crate::limits::{Capped, Limits, too_long};

/// Cuts a JSON array whose items are objects, and whose bytes may be cut anywhere.
///
/// The cost is linear in the bytes. An item that arrived in one piece is handed out without a copy.
#[derive(Debug, Default)]
pub(crate) struct ItemDecoder {
    /// The beginning of an item whose end did not come yet.
    partial: Capped,
    place: Place,
}

/// What the next byte belongs to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The array did not begin.
    #[default]
    Before,
    /// Between two items.
    Between,
    /// Inside an item, this many braces and brackets deep.
    Item(usize),
    /// Inside a text of an item.
    Text(usize),
    /// Behind a backslash in a text.
    Escape(usize),
    /// The array has ended: what follows is not read.
    After,
}

impl ItemDecoder {
    /// Takes the next bytes and hands every item that they complete to `each`.
    ///
    /// # Errors
    /// An item beyond its limit or one that is no object, and the first error of `each`.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        limits: Limits,
        mut each: impl FnMut(&str) -> Result<(), ProviderError>,
    ) -> Result<(), ProviderError> {
        let mut rest = bytes;
        while !rest.is_empty() && self.place != Place::After {
            if matches!(self.place, Place::Before | Place::Between) {
                rest = self.skip(rest)?;
                continue;
            }
            let (item, after) = rest.split_at(self.scan(rest));
            rest = after;
            let is_whole = self.place == Place::Between;
            if is_whole && self.partial.is_empty() {
                if item.len() > limits.event_bytes_max {
                    return Err(too_long("an item", limits.event_bytes_max));
                }
                each(&String::from_utf8_lossy(item))?;
                continue;
            }
            self.partial
                .extend(item, limits.event_bytes_max, "an item")?;
            if is_whole {
                let mut whole = std::mem::take(&mut self.partial);
                each(&String::from_utf8_lossy(whole.as_slice()))?;
                whole.clear();
                self.partial = whole;
            }
        }
        Ok(())
    }

    /// Reads over what stands between items, up to the next one.
    fn skip<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], ProviderError> {
        let is_between = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
        let start = bytes.iter().position(|byte| !is_between(byte));
        let (_, rest) = bytes.split_at(start.unwrap_or(bytes.len()));
        self.place = match (rest.first(), self.place) {
            (None, place) => place,
            (Some(b'['), Place::Before) => Place::Between,
            (Some(b']'), _) => Place::After,
            (Some(b'{'), _) => {
                self.place = Place::Item(0);
                return Ok(rest);
            }
            (Some(_), _) => {
                let message = "the answer is a list of something else than objects";
                return Err(ProviderError::new(ProviderErrorKind::Protocol, message));
            }
        };
        let (_, after) = rest.split_at(rest.len().min(1));
        Ok(after)
    }

    /// Returns how many bytes belong to the item that is open.
    fn scan(&mut self, bytes: &[u8]) -> usize {
        for (at, byte) in bytes.iter().enumerate() {
            self.place = match (self.place, byte) {
                (Place::Text(depth), b'\\') => Place::Escape(depth),
                (Place::Text(depth), b'"') => Place::Item(depth),
                (Place::Text(depth) | Place::Escape(depth), _) | (Place::Item(depth), b'"') => {
                    Place::Text(depth)
                }
                (Place::Item(depth), b'{' | b'[') => Place::Item(depth.saturating_add(1)),
                (Place::Item(0 | 1), b'}' | b']') => {
                    self.place = Place::Between;
                    return at + 1;
                }
                (Place::Item(depth), b'}' | b']') => Place::Item(depth - 1),
                (place, _) => place,
            };
        }
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str, size: usize) -> Result<Vec<String>, ProviderError> {
        let mut decoder = ItemDecoder::default();
        let mut items = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            decoder.push(piece, Limits::default(), |item| {
                items.push(item.to_owned());
                Ok(())
            })?;
        }
        Ok(items)
    }

    #[test]
    fn items_come_as_they_are_complete_wherever_the_bytes_are_cut() {
        let text = "[{\"a\":\"}\\\"]é\"}\r\n,\n{\"b\":[{},[1]]},{} ] {\"c\":1}";
        for size in [1, 2, 3, 7, 100] {
            let expected = ["{\"a\":\"}\\\"]é\"}", "{\"b\":[{},[1]]}", "{}"];
            assert_eq!(items(text, size).unwrap(), expected);
        }
        assert_eq!(items("[{\"a\":1},{\"b\":", 4).unwrap(), ["{\"a\":1}"]);
    }

    #[test]
    fn a_list_of_something_else_is_an_error() {
        for text in ["[1]", "[[{}]]", "[{},null]", "[{}}"] {
            for size in [1, 100] {
                let error = items(text, size).unwrap_err();
                assert_eq!(error.kind, ProviderErrorKind::Protocol, "{text}");
            }
        }
    }

    #[test]
    fn an_item_beyond_its_limit_is_an_error() {
        let limits = Limits {
            event_bytes_max: 8,
            ..Limits::default()
        };
        for size in [1, 100] {
            let run = |text: &str| {
                let mut decoder = ItemDecoder::default();
                text.as_bytes()
                    .chunks(size)
                    .try_for_each(|piece| decoder.push(piece, limits, |_| Ok(())))
            };
            assert_eq!(run("[{\"a\":12},{\"a\":12}]"), Ok(()));
            assert!(run("[{\"a\":123}]").is_err());
        }
    }
}
