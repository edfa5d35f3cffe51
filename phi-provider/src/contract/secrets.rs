//! The rules of credentials.

use std::time::{Duration, UNIX_EPOCH};

use secrecy::{ExposeSecret, SecretString};

use super::card::{Failure, Outcome};
use super::conversation::Conversation;
use super::decoding::{decode, passed};
use super::watch::Progress;
use super::{SECRET, Subject};
use crate::credential::{AwsKeys, Secret, SecretHeader};
use crate::wire::{HttpRequest, ResponseHead, Wire};

fn secrets(subject: &Subject) -> Vec<Secret> {
    match &subject.secret {
        Some(secret) => vec![secret.clone()],
        None => vec![
            Secret::Key(SecretString::from(SECRET)),
            Secret::Token(SecretString::from(SECRET)),
            Secret::Aws(AwsKeys {
                access_key_id: "AKIACONTRACT".to_owned(),
                secret_access_key: SecretString::from(SECRET),
                session_token: None,
            }),
        ],
    }
}

fn request_of(subject: &Subject, wire: &dyn Wire) -> Result<HttpRequest, Failure> {
    let conversation = Conversation::of(wire, &subject.model);
    let encoded = wire.encode(&conversation.request(conversation.plain(3)));
    let encoded = encoded.map_err(|error| {
        Failure::new(
            "a plain conversation",
            format!("it is not encoded: {error}"),
        )
    })?;
    Ok(encoded.request)
}

pub(super) fn credential(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    let request = request_of(subject, &*wire)?;
    let mut refused = Vec::new();
    let mut taken = false;
    for secret in secrets(subject) {
        let name = format!("authorize with {}", secret.kind());
        progress.trying(&name, None);
        let headers = match authorize(&*wire, &request, &secret) {
            Ok(headers) => headers,
            Err(error) => {
                refused.push(error);
                continue;
            }
        };
        taken = true;
        if headers.is_empty() {
            return Err(Failure::new(name, "no header holds the credential"));
        }
        for SecretHeader {
            name: header,
            value,
        } in &headers
        {
            let value = value.expose_secret();
            let is_name = |it: char| it.is_ascii_graphic() && !it.is_ascii_uppercase();
            let is_value = |it: char| it == ' ' || it.is_ascii_graphic();
            if !header.chars().all(is_name) || !value.chars().all(is_value) {
                let what = format!("the header {header:?} cannot be sent as it is");
                return Err(Failure::new(name, what));
            }
        }
        let travels = headers
            .iter()
            .any(|it| it.value.expose_secret().contains(SECRET));
        let is_aws = matches!(secret, Secret::Aws(_));
        if is_aws && travels {
            return Err(Failure::new(name, "the secret access key travels"));
        }
        if !is_aws && subject.secret.is_none() && !travels {
            return Err(Failure::new(name, "no header holds the credential"));
        }
        let again = authorize(&*wire, &request, &secret);
        if again.is_ok_and(|again| plain(&again) != plain(&headers)) {
            return Err(Failure::new(name, "the same time gives other headers"));
        }
    }
    if !taken {
        let what = format!(
            "every kind of credential is refused: {}",
            refused.join("; ")
        );
        return Err(Failure::new("authorize", what));
    }
    Ok(passed(progress))
}

fn authorize(
    wire: &dyn Wire,
    request: &HttpRequest,
    secret: &Secret,
) -> Result<Vec<SecretHeader>, String> {
    let at = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    let headers = wire.authorize(request, secret, at);
    headers.map_err(|error| format!("{error} {error:?}"))
}

fn plain(headers: &[SecretHeader]) -> Vec<(&str, &str)> {
    let headers = headers.iter();
    headers
        .map(|header| (&*header.name, header.value.expose_secret()))
        .collect()
}

/// The wire may have been made with [`SECRET`]: then it is nowhere in what can be seen.
pub(super) fn no_leak(subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    let wire = subject.wire();
    let request = request_of(subject, &*wire)?;
    let mut seen = vec![
        ("the URL", request.url.clone()),
        (
            "the headers of the encoded request",
            format!("{:?}", request.headers),
        ),
        (
            "the body",
            String::from_utf8_lossy(&request.body_bytes()).into_owned(),
        ),
        ("`Debug` of the request", format!("{request:?}")),
    ];
    for secret in secrets(subject) {
        match authorize(&*wire, &request, &secret) {
            Ok(headers) => seen.push(("`Debug` of the headers", format!("{headers:?}"))),
            Err(error) => seen.push(("the error of authorize", error)),
        }
    }
    for (status, body) in [
        (401, "{\"error\":{\"message\":\"no\"}}"),
        (500, ""),
        (200, "<p>"),
    ] {
        let decoded = decode(&*wire, &ResponseHead::new(status), [body.as_bytes()]);
        seen.push(("an error", format!("{:?}", decoded.error)));
    }
    for (place, text) in seen {
        progress.trying(place, None);
        if text.contains(SECRET) {
            return Err(Failure::new(place, "it shows the credential"));
        }
    }
    let user = request.url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = user.split(['/', '?']).next().unwrap_or_default();
    progress.trying("the URL", None);
    if authority.contains('@') {
        return Err(Failure::new("the URL", "it names a user"));
    }
    Ok(passed(progress))
}
