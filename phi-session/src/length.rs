//! How long a value is as JSON, without the text.

use std::io::{self, Write};

use serde::Serialize;

/// Counts the bytes of a value as JSON; one that cannot be written has none.
pub(crate) fn json_length(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    let written = serde_json::to_writer(&mut count, value);
    written.map_or(0, |()| count.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_the_text() {
        let value = serde_json::json!({ "a": ["ü\n", 1.5, null] });
        assert_eq!(json_length(&value), value.to_string().len());
    }
}
