//! What a service takes as proof of who asks, as secrets that never print.

use std::borrow::Cow;

use phi_types::{ProviderError, ProviderErrorKind};
use secrecy::{ExposeSecret, SecretString};

/// What a request is sent with as proof of who asks. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Secret {
    /// A key of the service, which travels in the header that the protocol names for it.
    Key(SecretString),
    /// An access token of OAuth 2.0, which travels as `authorization: Bearer …` (RFC 6750).
    Token(SecretString),
    /// The keys of an AWS account or role, which sign the request and do not travel.
    Aws(AwsKeys),
}

/// The keys of an AWS account or role. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct AwsKeys {
    /// The access key id, which travels with the signature.
    pub access_key_id: String,
    /// The secret access key, which never travels.
    pub secret_access_key: SecretString,
    /// The session token of temporary keys.
    pub session_token: Option<SecretString>,
}

/// A header whose value is nobody's business: its `Debug` does not show it.
#[derive(Debug, Clone)]
pub struct SecretHeader {
    /// The name in lower case.
    pub name: Cow<'static, str>,
    /// The value.
    pub value: SecretString,
}

impl SecretHeader {
    /// Makes a header.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, value: impl Into<SecretString>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }

    /// Makes `authorization: Bearer …` (RFC 6750).
    #[must_use]
    pub fn bearer(token: &SecretString) -> Self {
        Self::new("authorization", format!("Bearer {}", token.expose_secret()))
    }
}

/// Says why there is no credential, or none that can be used. It names the source and never what
/// it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Nothing was given.
    #[error("there is no key for the service: set {source_name}")]
    Missing {
        /// Where the key was looked for, as the name of a variable.
        source_name: String,
    },
    /// What was given cannot be a key.
    #[error(
        "the key in {source_name} holds a space, a line end or a character beyond ASCII: a key of a \
         service has none; copy it again"
    )]
    Unsendable {
        /// Where the key was found.
        source_name: String,
    },
    /// The protocol cannot be asked with a credential of this kind.
    #[error("{protocol} cannot be asked with {found}: give {wanted}")]
    Unusable {
        /// The protocol.
        protocol: &'static str,
        /// What was given, in words.
        found: &'static str,
        /// What would be right, in words.
        wanted: &'static str,
    },
}

impl From<CredentialError> for ProviderError {
    fn from(error: CredentialError) -> Self {
        Self::new(ProviderErrorKind::Auth, error.to_string())
    }
}

impl Secret {
    /// Names the kind of the secret in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Key(_) => "a key",
            Self::Token(_) => "an access token",
            Self::Aws(_) => "keys of AWS",
        }
    }

    /// Writes the one header of a protocol that takes keys in the header `key_header` and access
    /// tokens as bearers.
    pub(crate) fn header(
        &self,
        protocol: &'static str,
        key_header: KeyHeader,
    ) -> Result<SecretHeader, CredentialError> {
        match (self, key_header) {
            (Self::Key(key), KeyHeader::Named(name)) => Ok(SecretHeader {
                name: Cow::Borrowed(name),
                value: key.clone(),
            }),
            (Self::Key(secret), KeyHeader::Bearer) | (Self::Token(secret), _) => {
                Ok(SecretHeader::bearer(secret))
            }
            (Self::Aws(_), _) => Err(CredentialError::Unusable {
                protocol,
                found: self.kind(),
                wanted: "a key or an access token",
            }),
        }
    }
}

/// In which header a protocol takes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyHeader {
    /// As `authorization: Bearer …`.
    Bearer,
    /// As it is, in the header of this name.
    Named(&'static str),
}
