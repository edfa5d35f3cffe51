//! The addresses of a service that speaks the protocol.

use std::fmt::Write as _;

/// Where the models of a service are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The address without the version path.
    pub(crate) base_url: String,
    /// The version path, as `v1beta`.
    pub(crate) version: String,
    /// What owns the models: nothing, or `projects/…/locations/…`.
    pub(crate) parent: String,
    /// Whose models they are: nothing, or `publishers/…`.
    pub(crate) publisher: &'static str,
}

/// The collections that the name of a model may begin with.
const COLLECTIONS: &[&str] = &["models/", "tunedModels/", "endpoints/"];

impl Address {
    /// Returns the address of a method of a model.
    ///
    /// The name of the model is one segment of the path, whatever it holds. An endpoint of Vertex AI
    /// has no publisher.
    pub(crate) fn of(&self, model: &str, method: &str) -> String {
        let base = self.base_url.trim_end_matches('/');
        let version = self.version.trim_matches('/');
        let stated = base.strip_suffix(version);
        let base = stated
            .and_then(|base| base.strip_suffix('/'))
            .unwrap_or(base);
        let mut url = base.to_owned();
        let collection = COLLECTIONS.iter().find(|name| model.starts_with(**name));
        let name = collection.and_then(|name| model.strip_prefix(name));
        let collection = collection.unwrap_or(&"models/").trim_end_matches('/');
        let publisher = match collection {
            "endpoints" => "",
            _ => self.publisher,
        };
        for path in [version, &self.parent, publisher, collection] {
            if !path.is_empty() {
                url.push('/');
                url.push_str(path);
            }
        }
        url.push('/');
        push_segment(&mut url, name.unwrap_or(model));
        url.push(':');
        url.push_str(method);
        url
    }
}

/// Appends a segment of a path; all but the unreserved characters (RFC 3986) and the `@` before the
/// version of a model are encoded.
pub(crate) fn push_segment(url: &mut String, segment: &str) {
    for byte in segment.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' => {
                url.push(char::from(byte));
            }
            _ => {
                let written = write!(url, "%{byte:02X}");
                debug_assert!(written.is_ok(), "a text takes what is written");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_model_is_one_segment() {
        let address = Address {
            base_url: "https://x.example/".to_owned(),
            version: "v1beta".to_owned(),
            parent: String::new(),
            publisher: "",
        };
        for (model, expected) in [
            ("gemini-2.5-pro", "models/gemini-2.5-pro"),
            ("models/gemini-2.5-pro", "models/gemini-2.5-pro"),
            ("tunedModels/mine", "tunedModels/mine"),
            ("a/../b?key=1#é", "models/a%2F..%2Fb%3Fkey%3D1%23%C3%A9"),
        ] {
            let url = format!("https://x.example/v1beta/{expected}:generateContent");
            assert_eq!(address.of(model, "generateContent"), url);
        }
        let stated = Address {
            base_url: "https://x.example/v1beta".to_owned(),
            ..address
        };
        let url = "https://x.example/v1beta/models/m:g";
        assert_eq!(stated.of("m", "g"), url);
        let other = Address {
            base_url: "https://x.example/apiv1beta".to_owned(),
            ..stated
        };
        let url = "https://x.example/apiv1beta/v1beta/models/m:g";
        assert_eq!(other.of("m", "g"), url);
    }
}
