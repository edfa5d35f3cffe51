//! Errors, in every shape in which the service reports them.

use phi_provider::{ResponseHead, Wire};
use phi_types::{ProviderError, ProviderErrorKind as Kind};
use serde_json::json;

use crate::{decode, parts, stream, text, wire};

fn refused(status: u16, body: &str) -> ProviderError {
    let mut decoder = wire().decoder(&ResponseHead::new(status));
    let mut deltas = Vec::new();
    decoder.push(body.as_bytes(), &mut deltas).unwrap();
    decoder.end(&mut deltas).unwrap_err()
}

#[test]
fn g15_an_error_may_be_a_list() {
    let error = json!({"error": {"code": 400, "message": "API key not valid. Please pass a valid \
        API key.", "status": "INVALID_ARGUMENT"}});
    for body in [
        error.to_string(),
        format!("[{error}]"),
        format!("[{error:#}\n]\n"),
    ] {
        assert_eq!(refused(400, &body).kind, Kind::Auth, "{body}");
        let (_, reported) = decode([body.as_bytes()]);
        assert_eq!(reported.unwrap().kind, Kind::Auth, "{body}");
    }
}

#[test]
fn t10_an_error_inside_a_stream_is_one() {
    let error = json!({"error": {"code": 503, "message": "The model is overloaded.",
        "status": "UNAVAILABLE"}});
    let first = parts(json!([text("h")]));
    for body in [
        stream(&[first.clone(), error.clone()]),
        format!("[{first},{error}]"),
        format!(
            "{}event: error\ndata: {error}\n\n",
            stream(std::slice::from_ref(&first))
        ),
    ] {
        let (deltas, reported) = decode([body.as_bytes()]);
        let reported = reported.unwrap();
        assert_eq!(reported.kind, Kind::Overloaded, "{body}");
        assert!(deltas.contains(&phi_types::Delta::text(0, "h")));
    }
}

#[test]
fn t11_the_service_says_in_the_body_how_long_to_wait() {
    let body = json!({"error": {"code": 429, "message": "Quota exceeded",
        "status": "RESOURCE_EXHAUSTED", "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure"},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "22.5s"}]}});
    for body in [body.to_string(), json!([body]).to_string()] {
        let error = refused(429, &body);
        assert_eq!(error.kind, Kind::RateLimited);
        assert_eq!(error.retry_after_ms, Some(22_500));
        let (_, reported) = decode([body.as_bytes()]);
        assert_eq!(reported.unwrap().retry_after_ms, Some(22_500));
    }
}

#[test]
fn every_status_of_the_service_has_its_kind() {
    for (status, word, message, kind) in [
        (
            400,
            "INVALID_ARGUMENT",
            "Function call is missing a thought_signature",
            Kind::InvalidRequest,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
            Kind::ContextOverflow,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "API key expired. Please renew the API key.",
            Kind::Auth,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "Unable to submit request because the input token count is 40000 but the model only supports \
             up to 32768.",
            Kind::ContextOverflow,
        ),
        (
            400,
            "FAILED_PRECONDITION",
            "User location is not supported",
            Kind::InvalidRequest,
        ),
        (
            401,
            "UNAUTHENTICATED",
            "Request had invalid credentials",
            Kind::Auth,
        ),
        (403, "PERMISSION_DENIED", "denied", Kind::Auth),
        (
            404,
            "NOT_FOUND",
            "models/x is not found",
            Kind::InvalidRequest,
        ),
        (
            429,
            "RESOURCE_EXHAUSTED",
            "Resource has been exhausted",
            Kind::RateLimited,
        ),
        (
            499,
            "CANCELLED",
            "The operation was cancelled.",
            Kind::InvalidRequest,
        ),
        (
            500,
            "INTERNAL",
            "An internal error has occurred",
            Kind::Server,
        ),
        (503, "UNAVAILABLE", "overloaded", Kind::Overloaded),
        (504, "DEADLINE_EXCEEDED", "too slow", Kind::Timeout),
    ] {
        let body = json!({"error": {"code": status, "message": message, "status": word}});
        let error = refused(status, &body.to_string());
        assert_eq!(error.kind, kind, "{status} {message}");
        assert_eq!(error.status, Some(status));
        assert!(error.message.starts_with(message), "{error}");
    }
}

#[test]
fn t09_a_page_is_no_answer() {
    let (_, error) = decode([b"<html><title>Sign in</title></html>".as_slice()]);
    assert_eq!(error.unwrap().kind, Kind::Protocol);
}
