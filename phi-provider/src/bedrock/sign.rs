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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use secrecy::SecretString;

    use super::*;

    /// The cases of the test suite that AWS publishes for its signers; each is named as there.
    #[test]
    fn b04_the_published_test_vectors_are_signed_as_published() {
        const TOKEN: &str = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
        const UNRESERVED: &str =
            "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let query = format!("/?{UNRESERVED}={UNRESERVED}");
        let path = format!("/{UNRESERVED}");
        let cases = [
            (
                "get-vanilla",
                "GET",
                "/",
                None,
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "post-vanilla",
                "POST",
                "/",
                None,
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "get-vanilla-with-session-token",
                "GET",
                "/",
                Some(TOKEN),
                "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
            ),
            (
                "get-vanilla-query-order-key-case",
                "GET",
                "/?Param2=value2&Param1=value1",
                None,
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-vanilla-query-unreserved",
                "GET",
                &query,
                None,
                "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
            ),
            (
                "get-unreserved",
                "GET",
                &path,
                None,
                "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            ),
            (
                "get-relative-normalized",
                "GET",
                "/example/..",
                None,
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "get-slashes-normalized",
                "GET",
                "//example//",
                None,
                "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
            ),
            (
                "post-vanilla-query",
                "POST",
                "/?Param1=value1",
                None,
                "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            ),
        ];
        for (name, method, target, token, signature) in cases {
            let request = HttpRequest {
                method,
                url: format!("https://example.amazonaws.com{target}"),
                headers: Vec::new(),
                body: Vec::new(),
            };
            let keys = AwsKeys {
                access_key_id: "AKIDEXAMPLE".to_owned(),
                secret_access_key: SecretString::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
                session_token: token.map(SecretString::from),
            };
            let scope = Scope {
                region: "us-east-1",
                service: "service",
            };
            // 2015-08-30T12:36:00Z.
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
            let headers = headers(&request, &keys, scope, at).unwrap();
            let authorization = headers.iter().find(|header| header.name == "authorization");
            let authorization = authorization.unwrap().value.expose_secret();
            let expected = format!("Signature={signature}");
            assert!(
                authorization.ends_with(&expected),
                "{name}: {authorization}"
            );
        }
    }
}
