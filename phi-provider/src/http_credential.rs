//! The credential of a service.

use secrecy::{ExposeSecret, SecretString};

use crate::credential::CredentialError;

/// The credential of a service. Its `Debug` does not show the key.
#[derive(Debug, Clone)]
pub enum Credential {
    /// The service asks for none, as one on this machine.
    Anonymous,
    /// A key that does not change.
    Key(SecretString),
}

impl Credential {
    /// Reads a key that is required. White space around it is no part of it.
    ///
    /// # Errors
    /// [`CredentialError`] names the source and never what it holds.
    pub fn required(value: Option<&str>, source_name: &str) -> Result<Self, CredentialError> {
        let source_name = source_name.to_owned();
        let key = value.unwrap_or_default().trim();
        if key.is_empty() {
            return Err(CredentialError::Missing { source_name });
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CredentialError::Unsendable { source_name });
        }
        Ok(Self::Key(SecretString::from(key)))
    }
}

/// The shortest secret that is looked for in a message: a shorter one is a word of many texts.
const SECRET_LENGTH_MIN: usize = 8;

/// Takes secrets out of a message that a service wrote.
pub(crate) fn scrub<'a>(message: &str, secrets: impl Iterator<Item = &'a SecretString>) -> String {
    let mut scrubbed = message.to_owned();
    for secret in secrets {
        // Services repeat the key itself, without the scheme of its header.
        let value = secret.expose_secret();
        let key = value.rsplit(' ').next().unwrap_or(value);
        for it in [value, key] {
            if it.len() >= SECRET_LENGTH_MIN && scrubbed.contains(it) {
                scrubbed = scrubbed.replace(it, "[credential]");
            }
        }
    }
    scrubbed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_trimmed_and_what_is_no_key_is_refused_without_showing_it() {
        let key = Credential::required(Some(" sk-one\n"), "THE_KEY").unwrap();
        let Credential::Key(secret) = &key else {
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

    #[test]
    fn a_secret_is_taken_out_of_a_message_with_and_without_its_scheme() {
        let secrets = [SecretString::from("Bearer sk-very-secret"), "short".into()];
        let message = "wrong key sk-very-secret in `Bearer sk-very-secret`, in short";
        assert_eq!(
            scrub(message, secrets.iter()),
            "wrong key [credential] in `[credential]`, in short"
        );
    }
}
