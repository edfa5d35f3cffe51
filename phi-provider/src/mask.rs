//! Takes secrets out of bytes that are kept or shown.

use secrecy::{ExposeSecret, SecretString};

use crate::credential::SecretHeader;

/// The shortest secret that is looked for: a shorter one is a word of many texts.
const SECRET_BYTES_MIN: usize = 8;

/// Headers that hold a secret or say who asks.
const PRIVATE_HEADERS: &[&str] = &[
    "anthropic-organization-id",
    "api-key",
    "authorization",
    "cookie",
    "openai-organization",
    "openai-project",
    "proxy-authorization",
    "set-cookie",
    "x-amz-security-token",
    "x-api-key",
    "x-goog-api-key",
];

/// Says whether a header is kept from everybody.
pub(crate) fn is_private(header: &str) -> bool {
    let mut private = PRIVATE_HEADERS.iter();
    private.any(|name| header.eq_ignore_ascii_case(name))
}

/// The secrets of one exchange, which become stars of the same length.
#[derive(Clone)]
pub(crate) struct Mask {
    secrets: Vec<SecretString>,
    /// Bytes at the end of a stream that may be the beginning of a secret.
    held: Vec<u8>,
}

impl Mask {
    pub(crate) fn new(headers: &[SecretHeader]) -> Self {
        let mut secrets = Vec::new();
        for header in headers {
            // Services repeat the key itself, without the scheme of its header.
            let value = header.value.expose_secret();
            let key = value.rsplit(' ').next().unwrap_or(value);
            for it in [value, key] {
                if it.len() >= SECRET_BYTES_MIN {
                    secrets.push(SecretString::from(it));
                }
            }
        }
        Self {
            secrets,
            held: Vec::new(),
        }
    }

    /// Masks bytes that are whole.
    pub(crate) fn mask(&self, bytes: &mut [u8]) {
        for secret in &self.secrets {
            let secret = secret.expose_secret().as_bytes();
            let found: Vec<usize> = memchr::memmem::find_iter(bytes, secret).collect();
            for at in found {
                for byte in bytes.iter_mut().skip(at).take(secret.len()) {
                    *byte = b'*';
                }
            }
        }
    }

    /// Masks a text.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        self.mask(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Masks the next bytes of a stream. The last of them come later if they may begin a secret.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        self.mask(&mut all);
        let begins = |length: &usize| {
            let (_, end) = all.split_at(all.len() - length);
            let mut secrets = self.secrets.iter();
            secrets.any(|secret| secret.expose_secret().as_bytes().starts_with(end))
        };
        let longest = self.secrets.iter().map(|it| it.expose_secret().len()).max();
        let longest = longest.unwrap_or_default().saturating_sub(1).min(all.len());
        let held = (1..=longest).rev().find(begins).unwrap_or_default();
        self.held = all.split_off(all.len() - held);
        all
    }

    /// Returns what was held back.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask() -> Mask {
        Mask::new(&[
            SecretHeader::new("authorization", "Bearer sk-aabaab-secret"),
            SecretHeader::new("x", "short"),
        ])
    }

    #[test]
    fn a_secret_becomes_stars_wherever_a_stream_is_cut() {
        let text = b"key sk-aabaab-secret, sk-aab, short, Bearer sk-aabaab-secret; sk-";
        let mut whole = text.to_vec();
        mask().mask(&mut whole);
        let wanted = "key ****************, sk-aab, short, ***********************; sk-";
        assert_eq!(String::from_utf8(whole).unwrap(), wanted);
        for cut in 0..=text.len() {
            let (first, rest) = text.split_at(cut);
            let mut stream = mask();
            let mut out = stream.push(first);
            out.extend(stream.push(rest));
            out.extend(stream.end());
            assert_eq!(String::from_utf8(out).unwrap(), wanted, "cut at {cut}");
        }
        let mut stream = mask();
        let mut out: Vec<u8> = text.chunks(1).flat_map(|it| stream.push(it)).collect();
        out.extend(stream.end());
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn headers_that_say_who_asks_are_private() {
        assert!(is_private("Set-Cookie") && is_private("authorization"));
        assert!(!is_private("retry-after"));
    }
}
