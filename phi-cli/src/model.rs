//! Which model answers: a service over HTTP, or a script.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use phi::provider::models::Models;
use phi::provider::translate::{Loss, LossKind};
use phi::provider::{
    Credential, CredentialError, Environment, HttpOptions, HttpProvider, HttpTransport,
    LossDecision,
};
use phi::types::Provider;
use phi_testkit::{ScriptedProvider, parse_script};

use crate::arguments::ModelArguments;
use crate::failure::{Failure, to_stderr};
use crate::files::read_text;
use crate::protocol::Protocol;

/// The model of a run.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) name: String,
    /// The variable of the key; `None` for a script.
    pub(crate) key_variable: Option<String>,
}

impl Model {
    /// Finds the model that the command line and the environment name.
    pub(crate) fn of(arguments: &ModelArguments) -> Result<Self, Failure> {
        let Some(script) = &arguments.script else {
            return Self::over_http(arguments);
        };
        let replies = parse_script(&read_text(script)?).map_err(|error| {
            Failure::refused(format!("cannot use `{}`: {error}", script.display()))
        })?;
        let name = arguments.model.clone();
        Ok(Self {
            provider: Arc::new(ScriptedProvider::new(replies)),
            name: name.unwrap_or_else(|| "scripted".to_owned()),
            key_variable: None,
        })
    }

    fn over_http(arguments: &ModelArguments) -> Result<Self, Failure> {
        let protocol = arguments.protocol.as_deref().ok_or_else(|| {
            let known = Protocol::known();
            Failure::refused(format!(
                "no protocol is given: add --protocol with one of {known}"
            ))
        })?;
        let protocol = Protocol::named(protocol)?;
        let name = arguments.model.clone();
        let name = name.filter(|name| !name.trim().is_empty()).ok_or_else(|| {
            Failure::refused("no model is given: add --model with the name that the service uses")
        })?;
        let base_url = base_url(arguments, protocol)?;
        let named = arguments.api_key_env.as_deref();
        let is_optional = base_url.is_some() || protocol.needs_no_key();
        let usual = protocol.key_variables(base_url.as_deref());
        let variables = named.map_or(usual, |named| vec![named.to_owned()]);
        let (credential, key_variable) =
            credential(protocol, &variables, named.is_some(), is_optional)?;
        let transport = HttpTransport::new(HttpOptions::default()).map_err(|error| {
            Failure::refused(format!(
                "{error}: correct the proxy variables of the environment"
            ))
        })?;
        let wire = protocol.wire(base_url.as_deref(), &name)?;
        let mut provider = HttpProvider::new(wire, Arc::new(transport), credential)
            .with_models(Arc::new(Models::builtin()))
            .with_losses(told_once());
        for header in &arguments.headers {
            let (name, value) = header_of(header)?;
            provider = provider.with_header(name, value.to_owned());
        }
        Ok(Self {
            provider: Arc::new(provider),
            name,
            key_variable: Some(key_variable),
        })
    }
}

/// Tells of each kind of loss once: most go on to be lost with every request.
fn told_once() -> impl Fn(&[Loss]) -> LossDecision + Send + Sync {
    let told = Mutex::new(HashSet::new());
    move |losses| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        for loss in losses {
            // Ids differ between services, and nobody misses one.
            if loss.kind != LossKind::CallIdChanged && told.insert(loss.kind.clone()) {
                to_stderr(&format!("warning: the model does not see all: {loss}"));
            }
        }
        LossDecision::Send
    }
}

fn base_url(arguments: &ModelArguments, protocol: Protocol) -> Result<Option<String>, Failure> {
    let url = match (&arguments.base_url, protocol.base_url_variable()) {
        (Some(url), _) => Some(url.clone()),
        (None, Some(variable)) => text_variable(variable)?.map(|value| protocol.address(value)),
        (None, None) => None,
    };
    match url {
        Some(url) if host(&url).is_none() => Err(Failure::refused(
            "the base URL is not valid: give one like http://localhost:8080/v1, without user or key",
        )),
        url => Ok(url),
    }
}

/// Finds the key, and returns the name of the variable that holds it or should.
fn credential(
    protocol: Protocol,
    variables: &[String],
    is_named: bool,
    is_optional: bool,
) -> Result<(Credential, String), Failure> {
    for variable in variables {
        let Some(key) = text_variable(variable)? else {
            continue;
        };
        let key = Credential::required(Some(&key), variable).map_err(|error| missing(&error))?;
        return Ok((protocol.credential(key, variable), variable.clone()));
    }
    let first = variables.first().cloned().unwrap_or_default();
    if !is_named && protocol.signs_requests() && text_variable("AWS_ACCESS_KEY_ID")?.is_some() {
        let keys = Environment::process().aws();
        return Ok((keys, "AWS_ACCESS_KEY_ID".to_owned()));
    }
    if !is_optional {
        return Err(missing(&CredentialError::Missing {
            source_name: variables.join(" or "),
        }));
    }
    if is_named {
        to_stderr(&format!("warning: {first} is not set, so no key is sent"));
    }
    Ok((Credential::Anonymous, first))
}

fn missing(error: &CredentialError) -> Failure {
    Failure::refused(format!(
        "{error}; --api-key-env names another variable, and with --base-url a key is optional"
    ))
}

/// Reads a variable that holds text; an empty one counts as not set.
pub(crate) fn text_variable(name: &str) -> Result<Option<String>, Failure> {
    let Some(value) = std::env::var_os(name) else {
        return Ok(None);
    };
    let text = value.into_string().map_err(|_| {
        Failure::refused(format!(
            "the value of {name} is not UTF-8: set it to plain text"
        ))
    })?;
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// Splits `name: value` into a header that can be sent.
pub(crate) fn header_of(header: &str) -> Result<(&str, &str), Failure> {
    let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    let split = header.split_once(':');
    let split = split.map(|(name, value)| (name.trim(), value.trim()));
    let valid = split.filter(|(name, value)| {
        let is_name = !name.is_empty() && name.bytes().all(token);
        is_name
            && value
                .bytes()
                .all(|c| c == b'\t' || (b' '..0x7f).contains(&c))
    });
    // The value may be a secret, so only the name is shown.
    valid.ok_or_else(|| {
        let name = split.map_or("", |(name, _)| name);
        Failure::refused(format!(
            "header `{name}` is not valid: write --header 'name: value'"
        ))
    })
}

/// Returns host and port of an address that can be a base URL.
pub(crate) fn host(url: &str) -> Option<&str> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = url.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })?;
    let host = rest.split(['/', '?', '#']).next()?;
    let is_host = !host.is_empty() && !host.contains(['@', '\\']) && !host.starts_with(':');
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    (is_host && is_plain).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_has_a_host_and_no_user() {
        assert_eq!(host("http://localhost:8080/v1"), Some("localhost:8080"));
        assert_eq!(host("HTTPS://api.openai.com"), Some("api.openai.com"));
        for bad in [
            "localhost:8080",
            "ftp://x",
            "http://",
            "http:///v1",
            "http://:1",
            "http://a@b",
            "http://a b",
        ] {
            assert_eq!(host(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_header_has_a_name_and_a_value_that_http_allows() {
        assert_eq!(header_of("X-A : b: c ").unwrap(), ("X-A", "b: c"));
        for bad in ["x", ": y", "a b: c", "a: b\nc", "a: ö"] {
            assert!(header_of(bad).is_err(), "{bad}");
        }
    }
}
