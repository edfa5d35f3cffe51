//! Vertex AI: Gemini and Claude at the addresses of Google Cloud.

use crate::anthropic::AnthropicMessages;
use crate::gemini::Gemini;
use crate::gemini::address::{Address, push_segment};

/// Makes the wires of Vertex AI: [`Vertex::gemini`] and [`Vertex::claude`].
///
/// Both name the service `vertex` in the origin of messages. A [`Secret::Token`](crate::Secret) is
/// an access token of OAuth, which lives for an hour; a key goes into the header `x-goog-api-key`.
///
/// ```
/// use phi_provider::Wire;
/// use phi_provider::vertex::Vertex;
///
/// let vertex = Vertex::new("my-project", "global");
/// assert_eq!(vertex.gemini().identity().protocol, "gemini");
/// assert_eq!(vertex.claude().identity().protocol, "anthropic-messages");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vertex {
    place: Option<Place>,
    base_url: Option<String>,
    version: Option<String>,
}

/// Who asks, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    project: String,
    location: String,
}

impl Vertex {
    /// Asks in a project and a location: a region as `europe-west4`, a group of regions as `eu`, or
    /// `global`.
    #[must_use]
    pub fn new(project: impl Into<String>, location: impl Into<String>) -> Self {
        Self {
            place: Some(Place {
                project: project.into(),
                location: location.into(),
            }),
            ..Self::default()
        }
    }

    /// Asks in express mode, where the key names the project.
    #[must_use]
    pub fn express() -> Self {
        Self::default()
    }

    /// Sets the address of the service without the version path. Default: that of the location.
    #[must_use]
    pub fn with_base_url(self, base_url: impl Into<String>) -> Self {
        Self {
            base_url: Some(base_url.into()),
            ..self
        }
    }

    /// Sets the version path. Default: `v1beta1` for Gemini and `v1` for Claude, as the clients of
    /// the makers have it.
    #[must_use]
    pub fn with_version(self, version: impl Into<String>) -> Self {
        Self {
            version: Some(version.into()),
            ..self
        }
    }

    /// Makes the wire of Gemini, streamed.
    #[must_use]
    pub fn gemini(&self) -> Gemini {
        Gemini::at_vertex(self.address("publishers/google", "v1beta1"))
    }

    /// Makes the wire of Claude by raw prediction, streamed: the version of the protocol stands in
    /// the body, and the model in the address.
    #[must_use]
    pub fn claude(&self) -> AnthropicMessages {
        AnthropicMessages::at_vertex(self.address("publishers/anthropic", "v1"))
    }

    fn address(&self, publisher: &'static str, version: &str) -> Address {
        let mut parent = String::new();
        if let Some(Place { project, location }) = &self.place {
            parent.push_str("projects/");
            push_segment(&mut parent, project);
            parent.push_str("/locations/");
            push_segment(&mut parent, location);
        }
        Address {
            base_url: self.base_url.clone().unwrap_or_else(|| self.host()),
            version: self.version.clone().unwrap_or_else(|| version.to_owned()),
            parent,
            publisher,
        }
    }

    /// Returns the address of the location.
    fn host(&self) -> String {
        let location = self.place.as_ref().map(|place| place.location.as_str());
        match location {
            None | Some("global") => "https://aiplatform.googleapis.com".to_owned(),
            Some(group @ ("us" | "eu")) => format!("https://aiplatform.{group}.rep.googleapis.com"),
            Some(region) => {
                let mut url = String::from("https://");
                // A region is one label of the name, whatever it holds.
                let label = region
                    .chars()
                    .filter(|c| c.is_ascii_alphanumeric() || *c == '-');
                url.extend(label);
                url.push_str("-aiplatform.googleapis.com");
                url
            }
        }
    }
}
