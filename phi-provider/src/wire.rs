//! What a wire is: a pure codec between a request of phi and one HTTP exchange of one protocol.

use std::time::SystemTime;

use bytes::Bytes;
use phi_types::{Delta, Identity, ProviderError, ProviderErrorKind, Request};

use crate::credential::{CredentialError, Secret, SecretHeader};
use crate::translate::Loss;

/// A codec for one protocol. It reads no clock, opens no connection and holds no credential.
///
/// What a provider does with it: [`Wire::encode`], add the headers of [`Wire::authorize`], send,
/// make a [`ResponseHead`] of what comes back, and feed the body to [`Wire::decoder`].
pub trait Wire: Send + Sync {
    /// Names the protocol and the service.
    fn identity(&self) -> Identity<'_>;

    /// Writes a request, after [translating](crate::translate()) its view for whoever is asked. The
    /// same request gives the same bytes, and a conversation that only grew gives a body whose
    /// beginning did not change.
    ///
    /// # Errors
    /// [`EncodeError`] where the protocol cannot say what the request asks for.
    fn encode(&self, request: &Request) -> Result<Encoded, EncodeError>;

    /// Makes the reader of one response body: a stream of events, one JSON value, or an error,
    /// as the status, the content type and the first bytes say.
    fn decoder(&self, head: &ResponseHead) -> Box<dyn Decoder>;

    /// Writes the headers that prove who asks. A credential never is part of a URL. `at` is the time
    /// of the request, for protocols that sign it.
    ///
    /// # Errors
    /// [`CredentialError::Unusable`] where the protocol does not take this kind of secret.
    fn authorize(
        &self,
        request: &HttpRequest,
        secret: &Secret,
        at: SystemTime,
    ) -> Result<Vec<SecretHeader>, CredentialError>;
}

/// Reads one response body, in pieces of any size.
///
/// What comes out does not depend on where the pieces are cut.
pub trait Decoder: Send {
    /// Takes the next bytes and appends what they say.
    ///
    /// # Errors
    /// What the service reports, or what is wrong with the bytes. Deltas that were decoded before
    /// the error are appended all the same. After an error every call returns it again.
    fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), ProviderError>;

    /// Takes the end of the body, whether it was closed or broke off.
    ///
    /// # Errors
    /// [`ProviderErrorKind::Incomplete`] if the finish reason was not seen, and the error of a
    /// response whose body is an error.
    fn end(&mut self, deltas: &mut Vec<Delta>) -> Result<(), ProviderError>;

    /// Says whether the service has said that nothing more comes, so that nobody waits for a
    /// connection that stays open. The default does not know.
    fn is_over(&self) -> bool {
        false
    }
}

/// One HTTP request without its credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method, as `POST`.
    pub method: &'static str,
    /// The absolute address. It never holds a credential.
    pub url: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(&'static str, String)>,
    /// The body as chunks in order.
    pub body: Vec<Bytes>,
}

impl HttpRequest {
    /// Returns the length of the body in bytes.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }

    /// Joins the chunks of the body.
    #[must_use]
    pub fn body_bytes(&self) -> Vec<u8> {
        self.body.concat()
    }
}

/// A request as a protocol writes it, and what the protocol could not say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// What is sent.
    pub request: HttpRequest,
    /// What the translation of the view cost, oldest entry first.
    pub losses: Vec<Loss>,
}

/// What came before the body of a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// The HTTP status.
    pub status: u16,
    /// Header names, in any case, and values.
    ///
    /// Points in time, as in `retry-after`, are read relative to the `date` header. A transport
    /// adds that header from its own clock where a server sent none.
    pub headers: Vec<(String, String)>,
}

impl ResponseHead {
    /// Makes a head without headers.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Returns the first header of a name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// Returns the media type of the body in lower case without its parameters, or `""`.
    #[must_use]
    pub fn content_type(&self) -> String {
        let value = self.header("content-type").unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    }

    /// Says whether the status is one of success.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Says why a request cannot be written in a protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The extra fields of the options are not an object.
    #[error("`options.extra` is {found}: give a JSON object whose fields join the request body")]
    ExtraNotAnObject {
        /// What was given, in words.
        found: &'static str,
    },
    /// The schema of a tool is not an object.
    #[error("the input schema of tool `{tool}` is not a JSON object: give a schema of type object")]
    SchemaNotAnObject {
        /// The tool.
        tool: String,
    },
    /// The protocol has no word for an option.
    #[error("{protocol} cannot say `{option}` of the options: {remedy}")]
    Unsayable {
        /// The protocol.
        protocol: &'static str,
        /// The option.
        option: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// The conversation has nothing that the protocol could send.
    #[error("the conversation holds no message for the model: add a user message")]
    NothingToSend,
    /// A message cannot be written as JSON.
    #[error("message {index} cannot be written as JSON: {reason}")]
    Unwritable {
        /// The index of the entry in the view.
        index: usize,
        /// What the JSON writer said.
        reason: String,
    },
}

impl From<EncodeError> for ProviderError {
    fn from(error: EncodeError) -> Self {
        Self::new(ProviderErrorKind::InvalidRequest, error.to_string())
    }
}

/// Whether a wire asks for a stream of events or for one whole answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Delivery {
    /// As it is produced.
    #[default]
    Streamed,
    /// All at once.
    Whole,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_whatever_their_case() {
        let head = ResponseHead::new(200)
            .with_header("Content-Type", "Text/Event-Stream; charset=utf-8")
            .with_header("Retry-After", " 3 ");
        assert_eq!(head.content_type(), "text/event-stream");
        assert_eq!(head.header("retry-after"), Some("3"));
        assert_eq!(head.header("x"), None);
    }
}
