//! The credential of a service, and where it comes from.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::credential::{AwsKeys, CredentialError, Secret, usable};
use crate::http_refresh::Refreshing;

/// The credential of a service. Its `Debug` does not show the secret. A clone shares what it got.
///
/// ```
/// use phi_provider::{Credential, Environment};
///
/// let fixed = Credential::required(Some("sk-example"), "THE_KEY")?;
/// let named = Environment::process().key("THE_KEY");
/// let signed = Environment::process().aws();
/// # let _ = (named, signed);
/// assert_eq!(format!("{fixed:?}"), "Fixed(a key)");
/// # Ok::<(), phi_provider::CredentialError>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum Credential {
    /// The service asks for none, as one on this machine.
    Anonymous,
    /// A secret that does not change.
    Fixed(Secret),
    /// A source of secrets: see [`Credential::refreshing`].
    Source(SharedSource),
}

/// A source of secrets and the secret that it gave last. A clone shares both.
#[derive(Clone)]
pub struct SharedSource(pub(crate) Arc<Refreshing>);

/// A source of secrets that change, such as access tokens.
///
/// A provider asks for a secret once and keeps it until it expires or a service refuses it (status
/// 401; also 403 for expired keys of AWS). Then it asks for another one, once for all calls that
/// were refused with the same secret, and sends a refused request a second time: the service had
/// taken nothing of it. Where the other secret is the same one, the answer of the service counts.
///
/// ```
/// use phi_provider::{Credential, CredentialError, CredentialSource, IssuedSecret, Secret};
///
/// struct Login;
///
/// #[async_trait::async_trait]
/// impl CredentialSource for Login {
///     async fn secret(&self) -> Result<IssuedSecret, CredentialError> {
///         Ok(IssuedSecret::new(Secret::token("from-the-login-service")))
///     }
/// }
///
/// let credential = Credential::refreshing(Login);
/// ```
#[async_trait]
pub trait CredentialSource: Send + Sync {
    /// Returns a secret to ask with.
    ///
    /// **Cancel safety:** the future is dropped when nobody waits for it any more.
    ///
    /// # Errors
    /// [`CredentialError`] where there is none; [`CredentialError::Source`] holds a reason of one's
    /// own.
    async fn secret(&self) -> Result<IssuedSecret, CredentialError>;

    /// Returns another secret in place of one that expired or was refused. The default asks again.
    ///
    /// **Cancel safety:** as for [`CredentialSource::secret`].
    ///
    /// # Errors
    /// [`CredentialError`] where there is none: every call that waits for it fails with it.
    async fn refresh(&self, _stale: &Secret) -> Result<IssuedSecret, CredentialError> {
        self.secret().await
    }
}

/// A secret, and how long it is good.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IssuedSecret {
    /// The secret.
    pub secret: Secret,
    /// When it expires, where that is known. It is replaced half a minute before.
    pub expires_at: Option<SystemTime>,
}

impl IssuedSecret {
    /// Makes a secret of which nobody knows how long it is good.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self {
            secret,
            expires_at: None,
        }
    }

    /// States when it expires.
    #[must_use]
    pub fn expiring_at(self, expires_at: SystemTime) -> Self {
        Self {
            expires_at: Some(expires_at),
            ..self
        }
    }
}

impl Credential {
    /// Makes the credential of a key that does not change.
    #[must_use]
    pub fn key(key: impl Into<SecretString>) -> Self {
        Self::Fixed(Secret::key(key))
    }

    /// Reads a key that is required. White space around it is no part of it.
    ///
    /// # Errors
    /// [`CredentialError`] names the source and never what it holds.
    pub fn required(value: Option<&str>, source_name: &str) -> Result<Self, CredentialError> {
        let key = usable(value.unwrap_or_default(), source_name)?;
        Ok(Self::Fixed(Secret::Key(key)))
    }

    /// Takes secrets from a source that may give another one later.
    #[must_use]
    pub fn refreshing(source: impl CredentialSource + 'static) -> Self {
        let refreshing = Refreshing::new(Arc::new(source));
        Self::Source(SharedSource(Arc::new(refreshing)))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Fixed(secret) => write!(f, "Fixed({})", secret.kind()),
            Self::Source(_) => f.write_str("Source"),
        }
    }
}

impl fmt::Debug for SharedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSource").finish_non_exhaustive()
    }
}

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Where variables are looked up: the environment of the process, or anything else with names.
///
/// A credential of it is read when it is first needed, and again when a service refuses it.
#[derive(Clone)]
pub struct Environment {
    lookup: Arc<Lookup>,
}

impl Environment {
    /// Looks variables up in the environment of the process.
    #[must_use]
    pub fn process() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    /// Looks variables up by a function.
    #[must_use]
    pub fn of(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self {
            lookup: Arc::new(lookup),
        }
    }

    /// Takes the key of a service from a variable.
    #[must_use]
    pub fn key(&self, variable: &str) -> Credential {
        self.credential(Variables::Key(variable.to_owned()))
    }

    /// Takes an access token from a variable.
    #[must_use]
    pub fn token(&self, variable: &str) -> Credential {
        self.credential(Variables::Token(variable.to_owned()))
    }

    /// Takes what AWS calls its credentials: the API key of Bedrock from
    /// `AWS_BEARER_TOKEN_BEDROCK`, or else the keys from `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY` and, for temporary ones, `AWS_SESSION_TOKEN`.
    #[must_use]
    pub fn aws(&self) -> Credential {
        self.credential(Variables::Aws)
    }

    fn credential(&self, variables: Variables) -> Credential {
        Credential::refreshing(FromEnvironment {
            environment: self.clone(),
            variables,
        })
    }

    /// Returns what a variable holds; white space alone is nothing.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// The variables of one credential.
enum Variables {
    Key(String),
    Token(String),
    Aws,
}

struct FromEnvironment {
    environment: Environment,
    variables: Variables,
}

impl FromEnvironment {
    fn read(&self) -> Result<Secret, CredentialError> {
        let read = |name: &str| {
            let value = self.environment.value(name);
            usable(&value.unwrap_or_default(), name)
        };
        match &self.variables {
            Variables::Key(name) => read(name).map(Secret::Key),
            Variables::Token(name) => read(name).map(Secret::Token),
            Variables::Aws => self.aws(),
        }
    }

    fn aws(&self) -> Result<Secret, CredentialError> {
        const BEARER: &str = "AWS_BEARER_TOKEN_BEDROCK";
        const ID: &str = "AWS_ACCESS_KEY_ID";
        const KEY: &str = "AWS_SECRET_ACCESS_KEY";
        const SESSION: &str = "AWS_SESSION_TOKEN";
        let value = |name| self.environment.value(name);
        if let Some(token) = value(BEARER) {
            return usable(&token, BEARER).map(Secret::Token);
        }
        let (Some(id), Some(key)) = (value(ID), value(KEY)) else {
            let source_name = format!("{ID} and {KEY}, or {BEARER}");
            return Err(CredentialError::Missing { source_name });
        };
        let session = value(SESSION);
        usable(&id, ID)?;
        Ok(Secret::Aws(AwsKeys {
            access_key_id: id.trim().to_owned(),
            secret_access_key: usable(&key, KEY)?,
            session_token: session.map(|it| usable(&it, SESSION)).transpose()?,
        }))
    }
}

#[async_trait]
impl CredentialSource for FromEnvironment {
    async fn secret(&self) -> Result<IssuedSecret, CredentialError> {
        self.read().map(IssuedSecret::new)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_key_is_trimmed_and_what_is_no_key_is_refused_without_showing_it() {
        let key = Credential::required(Some(" sk-one\n"), "THE_KEY").unwrap();
        let Credential::Fixed(Secret::Key(secret)) = &key else {
            panic!("no key: {key:?}")
        };
        assert_eq!(secret.expose_secret(), "sk-one");
        assert!(!format!("{key:?}").contains("sk-one"));
        for (value, wanted) in [
            (None, "there is no key for the service: set THE_KEY"),
            (Some("  "), "there is no key for the service: set THE_KEY"),
            (Some("sk-o\nne"), "the key in THE_KEY holds a space"),
            (Some("sk-öne"), "the key in THE_KEY holds a space"),
        ] {
            let error = Credential::required(value, "THE_KEY").unwrap_err();
            assert!(error.to_string().starts_with(wanted), "{error}");
            assert!(!error.to_string().contains("sk-"), "{error}");
        }
    }

    fn aws(variables: &'static [(&str, &str)]) -> Result<Secret, CredentialError> {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let source = FromEnvironment {
            environment: Environment::of(lookup),
            variables: Variables::Aws,
        };
        source.read()
    }

    #[test]
    fn keys_of_aws_come_from_their_variables() {
        let keys = [
            ("AWS_ACCESS_KEY_ID", " AKIA "),
            ("AWS_SECRET_ACCESS_KEY", "a/b+c"),
            ("AWS_SESSION_TOKEN", ""),
        ];
        let Secret::Aws(keys) = aws(Box::leak(Box::new(keys))).unwrap() else {
            panic!("no keys")
        };
        assert_eq!(keys.access_key_id, "AKIA");
        assert!(keys.session_token.is_none());
        let token = aws(&[
            ("AWS_BEARER_TOKEN_BEDROCK", "token"),
            ("AWS_ACCESS_KEY_ID", "AKIA"),
            ("AWS_SECRET_ACCESS_KEY", "key"),
        ]);
        assert!(matches!(token, Ok(Secret::Token(_))), "{token:?}");
        assert_eq!(
            aws(&[("AWS_ACCESS_KEY_ID", "AKIA")])
                .unwrap_err()
                .to_string(),
            "there is no key for the service: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
             AWS_BEARER_TOKEN_BEDROCK"
        );
    }
}
