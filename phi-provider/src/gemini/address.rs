//! The addresses of a service that speaks the protocol.

use crate::percent::percent_encoded;

/// Where the models of a service are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The address, which may end in a version path; that one counts then.
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
        let (base, version) = match base.rsplit_once('/') {
            Some((before, last)) if is_version(last) && !before.ends_with('/') => (before, last),
            _ => (base, self.version.trim_matches('/')),
        };
        // An address that names the project says all that stands before the publisher.
        let (version, parent) = match base.contains("/projects/") {
            true => ("", ""),
            false => (version, self.parent.as_str()),
        };
        let mut url = base.to_owned();
        let collection = COLLECTIONS.iter().find(|name| model.starts_with(**name));
        let name = collection.and_then(|name| model.strip_prefix(name));
        let collection = collection.unwrap_or(&"models/").trim_end_matches('/');
        let publisher = match collection {
            "endpoints" => "",
            _ => self.publisher,
        };
        for path in [version, parent, publisher, collection] {
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

/// Says whether a segment of a path is a version of the interface, as `v1` or `v1beta`.
fn is_version(segment: &str) -> bool {
    let rest = segment.strip_prefix('v').unwrap_or_default();
    rest.starts_with(|c: char| c.is_ascii_digit())
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Appends a segment of a path. The `@` before the version of a model stays as it is.
pub(crate) fn push_segment(url: &mut String, segment: &str) {
    url.push_str(&percent_encoded(segment).replace("%40", "@"));
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

    #[test]
    fn an_address_may_state_the_version_or_the_project() {
        let address = |base_url: &str| Address {
            base_url: base_url.to_owned(),
            version: "v1beta1".to_owned(),
            parent: "projects/p/locations/l".to_owned(),
            publisher: "publishers/google",
        };
        for (base_url, expected) in [
            ("http://x", "http://x/v1beta1/projects/p/locations/l"),
            ("http://x/v1/", "http://x/v1/projects/p/locations/l"),
            ("http://v1", "http://v1/v1beta1/projects/p/locations/l"),
            (
                "http://x/v1/projects/q/locations/m",
                "http://x/v1/projects/q/locations/m",
            ),
        ] {
            let url = format!("{expected}/publishers/google/models/m:g");
            assert_eq!(address(base_url).of("m", "g"), url, "{base_url}");
        }
    }
}
