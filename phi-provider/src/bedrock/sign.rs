//! Signs requests with the keys of AWS: Signature Version 4.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use secrecy::ExposeSecret;

use crate::credential::{AwsKeys, CredentialError, SecretHeader};
use crate::wire::HttpRequest;

/// For what a signature is valid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// Returns the headers that prove who asks: `authorization`, the date, and the session token.
///
/// The host, the content type and the body are signed, and the path as it stands in the address,
/// with each of its `%` escaped once more, as every service but S3 wants it.
pub(super) fn headers(
    request: &HttpRequest,
    keys: &AwsKeys,
    scope: Scope<'_>,
    at: SystemTime,
) -> Result<Vec<SecretHeader>, CredentialError> {
    let unsignable = |error: &dyn std::error::Error| CredentialError::Unsignable {
        reason: error.to_string(),
    };
    let token = keys.session_token.as_ref();
    let identity = Credentials::new(
        &*keys.access_key_id,
        keys.secret_access_key.expose_secret(),
        token.map(|token| token.expose_secret().to_owned()),
        None,
        "phi",
    )
    .into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(scope.region)
        .name(scope.service)
        .time(at)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| unsignable(&error))?
        .into();
    // A proxy may change the others.
    let signed = request
        .headers
        .iter()
        .filter(|(name, _)| *name == "content-type")
        .map(|(name, value)| (*name, value.as_str()));
    let body = request.body_bytes();
    let signable = SignableRequest::new(
        request.method,
        &*request.url,
        signed,
        SignableBody::Bytes(&body),
    )
    .map_err(|error| unsignable(&error))?;
    let (instructions, _) = sign(signable, &params)
        .map_err(|error| unsignable(&error))?
        .into_parts();
    let (headers, _) = instructions.into_parts();
    let headers = headers.into_iter();
    Ok(headers
        .map(|header| SecretHeader::new(header.name(), header.value()))
        .collect())
}
