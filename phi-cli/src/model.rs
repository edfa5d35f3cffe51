//! Which model answers: a service over HTTP, or a script.

use std::sync::Arc;

use phi::provider::openai_chat::OpenAiChat;
use phi::provider::{
    AnthropicMessages, Credential, HttpOptions, HttpProvider, HttpTransport, Wire,
};
use phi::types::Provider;
use phi_testkit::{ScriptedProvider, parse_script};

use crate::arguments::ModelArguments;
use crate::failure::{Failure, to_stderr};
use crate::files::read_text;

/// A protocol that is spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Anthropic Messages.
    AnthropicMessages,
    /// OpenAI Chat Completions.
    OpenAiChat,
}

/// The model of a run.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) name: String,
    /// The variable of the key; `None` for a script.
    pub(crate) key_variable: Option<String>,
}

impl Protocol {
    const ALL: [Self; 2] = [Self::AnthropicMessages, Self::OpenAiChat];

    /// Finds a protocol by its name.
    pub(crate) fn named(name: &str) -> Result<Self, Failure> {
        let found = Self::ALL.into_iter().find(|it| it.name() == name);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(" or ");
            Failure::refused(format!("protocol `{name}` is not available: use {known}"))
        })
    }

    /// Returns the codec, for the service itself or for one at another address.
    pub(crate) fn wire(self, base_url: Option<&str>) -> Arc<dyn Wire> {
        let service = base_url.and_then(host);
        match (self, base_url, service) {
            (Self::AnthropicMessages, Some(url), Some(service)) => {
                let wire = AnthropicMessages::new().with_base_url(url);
                match service {
                    "api.anthropic.com" => Arc::new(wire),
                    _ => Arc::new(wire.with_provider(service)),
                }
            }
            (Self::OpenAiChat, Some(url), Some(service)) => match service {
                "api.openai.com" => Arc::new(OpenAiChat::new(url)),
                _ => Arc::new(OpenAiChat::compatible(url, service)),
            },
            (Self::AnthropicMessages, ..) => Arc::new(AnthropicMessages::new()),
            (Self::OpenAiChat, ..) => Arc::new(OpenAiChat::new("https://api.openai.com/v1")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::AnthropicMessages => "anthropic-messages",
            Self::OpenAiChat => "openai-chat",
        }
    }

    fn key_variable(self) -> &'static str {
        match self {
            Self::AnthropicMessages => "ANTHROPIC_API_KEY",
            Self::OpenAiChat => "OPENAI_API_KEY",
        }
    }
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
            let known = Protocol::ALL.map(Protocol::name).join(" or ");
            Failure::refused(format!("no protocol is given: add --protocol {known}"))
        })?;
        let protocol = Protocol::named(protocol)?;
        let name = arguments.model.clone();
        let name = name.filter(|name| !name.trim().is_empty()).ok_or_else(|| {
            Failure::refused("no model is given: add --model with the name that the service uses")
        })?;
        let base_url = base_url(arguments, protocol)?;
        let named = arguments.api_key_env.as_deref();
        let key_variable = named.unwrap_or(protocol.key_variable()).to_owned();
        let credential = match base_url {
            None => required_key(&key_variable)?,
            Some(_) => optional_key(&key_variable, named)?,
        };
        let transport = HttpTransport::new(HttpOptions::default()).map_err(|error| {
            Failure::refused(format!(
                "{error}: correct the proxy variables of the environment"
            ))
        })?;
        let wire = protocol.wire(base_url.as_deref());
        let mut provider = HttpProvider::new(wire, Arc::new(transport), credential);
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

fn base_url(arguments: &ModelArguments, protocol: Protocol) -> Result<Option<String>, Failure> {
    let url = match (&arguments.base_url, protocol) {
        (Some(url), _) => Some(url.clone()),
        (None, Protocol::OpenAiChat) => text_variable("OPENAI_BASE_URL")?,
        (None, Protocol::AnthropicMessages) => None,
    };
    match &url {
        Some(url) if host(url).is_none() => Err(Failure::refused(
            "the base URL is not valid: give one like http://localhost:8080/v1, without user or key",
        )),
        Some(_) | None => Ok(url),
    }
}

fn required_key(variable: &str) -> Result<Credential, Failure> {
    let key = text_variable(variable)?;
    Credential::required(key.as_deref(), variable).map_err(|error| {
        Failure::refused(format!(
            "{error}; --api-key-env names another variable, and with --base-url a key is optional"
        ))
    })
}

/// Reads the key of a service at an address of its own, which may do without.
fn optional_key(variable: &str, named: Option<&str>) -> Result<Credential, Failure> {
    if text_variable(variable)?.is_some() {
        return required_key(variable);
    }
    if named.is_some() {
        to_stderr(&format!(
            "warning: {variable} is not set, so no key is sent"
        ));
    }
    Ok(Credential::Anonymous)
}

/// Reads a variable that holds text; an empty one counts as not set.
fn text_variable(name: &str) -> Result<Option<String>, Failure> {
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
fn host(url: &str) -> Option<&str> {
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
