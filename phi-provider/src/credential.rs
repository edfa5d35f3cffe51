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
    /// The request cannot be signed.
    #[error("the request cannot be signed: {reason}")]
    Unsignable {
        /// What the signer said.
        reason: String,
    },
    /// The program that should print the key did not.
    #[error("`{program}` gave no key: {reason}; run it by hand to see why")]
    Command {
        /// The program, without its arguments.
        program: String,
        /// What went wrong, without anything that it printed.
        reason: String,
    },
    /// A source of one's own has no secret.
    #[error("there is no credential: {reason}")]
    Source {
        /// What went wrong and what would help; it holds no secret.
        reason: String,
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

/// Takes a text as a key of a service: white space around it is no part of it.
#[cfg(feature = "transport")]
pub(crate) fn usable(value: &str, source_name: &str) -> Result<SecretString, CredentialError> {
    let source_name = source_name.to_owned();
    let key = value.trim();
    if key.is_empty() {
        return Err(CredentialError::Missing { source_name });
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CredentialError::Unsendable { source_name });
    }
    Ok(SecretString::from(key))
}

impl Secret {
    /// Makes a key of a service.
    #[must_use]
    pub fn key(key: impl Into<SecretString>) -> Self {
        Self::Key(key.into())
    }

    /// Makes an access token.
    #[must_use]
    pub fn token(token: impl Into<SecretString>) -> Self {
        Self::Token(token.into())
    }

    /// Iterates over what nobody may see.
    #[cfg(feature = "transport")]
    pub(crate) fn values(&self) -> impl Iterator<Item = &SecretString> {
        let (first, second) = match self {
            Self::Key(secret) | Self::Token(secret) => (secret, None),
            Self::Aws(keys) => (&keys.secret_access_key, keys.session_token.as_ref()),
        };
        [first].into_iter().chain(second)
    }

    /// Says whether another secret is the very same.
    #[cfg(feature = "transport")]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let id = |secret: &Self| match secret {
            Self::Key(_) | Self::Token(_) => String::new(),
            Self::Aws(keys) => keys.access_key_id.clone(),
        };
        let shown = |secret: &SecretString| secret.expose_secret().to_owned();
        self.kind() == other.kind()
            && id(self) == id(other)
            && self.values().map(shown).eq(other.values().map(shown))
    }

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
    #[cfg(feature = "wires")]
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
#[cfg(feature = "wires")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyHeader {
    /// As `authorization: Bearer …`.
    Bearer,
    /// As it is, in the header of this name.
    Named(&'static str),
}
