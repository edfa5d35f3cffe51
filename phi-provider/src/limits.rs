//! How much of a response is held in memory at most.

use phi_types::{ProviderError, ProviderErrorKind};

/// The most bytes that a decoder holds. Beyond them a response is a typed error, never a cut one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest line of an event stream, in bytes. Default: 32 MiB.
    pub line_bytes_max: usize,
    /// The longest event, all its lines together, in bytes. Default: 32 MiB.
    pub event_bytes_max: usize,
    /// The longest body that comes as one JSON value, in bytes. Default: 64 MiB.
    pub body_bytes_max: usize,
    /// The most bytes of an error body that are read; what follows is ignored. Default: 64 KiB.
    pub error_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes_max: 32 << 20,
            event_bytes_max: 32 << 20,
            body_bytes_max: 64 << 20,
            error_bytes_max: 64 << 10,
        }
    }
}

/// A buffer that refuses to grow beyond its cap instead of losing bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Capped {
    bytes: Vec<u8>,
}

impl Capped {
    /// Appends bytes, or says that `what` is longer than `bytes_max`.
    pub(crate) fn extend(
        &mut self,
        bytes: &[u8],
        bytes_max: usize,
        what: &str,
    ) -> Result<(), ProviderError> {
        if bytes.len() > bytes_max.saturating_sub(self.bytes.len()) {
            return Err(too_long(what, bytes_max));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets the content and keeps the memory, unless it is much.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(64 << 10);
    }
}

/// Says that something is longer than it may be.
pub(crate) fn too_long(what: &str, bytes_max: usize) -> ProviderError {
    let message = format!("{what} is longer than {bytes_max} bytes: raise the limit to accept it");
    ProviderError::new(ProviderErrorKind::Protocol, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_buffer_refuses_and_keeps_what_it_has() {
        let mut buffer = Capped::default();
        buffer.extend(b"abc", 4, "a line").unwrap();
        let error = buffer.extend(b"de", 4, "a line").unwrap_err();
        assert_eq!(
            error.to_string(),
            "protocol: a line is longer than 4 bytes: raise the limit to accept it"
        );
        assert_eq!(buffer.as_slice(), b"abc");
        buffer.extend(b"d", 4, "a line").unwrap();
    }
}
