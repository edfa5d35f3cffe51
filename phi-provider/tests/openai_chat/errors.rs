//! Errors in every spelling and place.

use phi_provider::{ResponseHead, Wire};
use phi_types::{ProviderError, ProviderErrorKind as Kind};
use serde_json::json;

use crate::{delta, message, open_stream, wire};

/// Decodes a body under a head.
fn error(head: &ResponseHead, body: &str) -> ProviderError {
    let mut decoder = wire().decoder(head);
    let mut deltas = Vec::new();
    let pushed = decoder.push(body.as_bytes(), &mut deltas);
    pushed.and_then(|()| decoder.end(&mut deltas)).unwrap_err()
}

#[test]
fn t09_an_error_body_under_a_status_of_success_is_an_error() {
    for (body, kind) in [
        (
            json!({"error": {"message": "gone", "code": 502}}),
            Kind::Server,
        ),
        (
            json!({"id": "x", "error": {"message": "slow", "code": 429}, "choices": []}),
            Kind::RateLimited,
        ),
        (
            json!({"object": "error", "message": "too long", "code": 400,
                "type": "invalid_request_error"}),
            Kind::InvalidRequest,
        ),
    ] {
        let error = message(&body.to_string()).unwrap_err();
        assert_eq!(error.kind, kind, "{body}: {error}");
    }
}

#[test]
fn t09_a_page_is_a_protocol_error_that_says_what_it_is() {
    let page = "<!doctype html><html><head><title>Sign in</title></head></html>";
    let head = ResponseHead::new(200).with_header("content-type", "text/html");
    for head in [head, ResponseHead::new(200)] {
        let error = error(&head, page);
        assert_eq!(error.kind, Kind::Protocol);
        assert!(error.message.contains("Sign in"), "{error}");
    }
}

#[test]
fn t10_errors_in_a_stream_in_every_spelling() {
    let shown = open_stream(&[delta(json!({"content": "so far"}))]);
    for (event, kind) in [
        (
            "data: {\"error\":{\"message\":\"gone\",\"code\":503}}\n\n",
            Kind::Overloaded,
        ),
        (
            "data: {\"error\":{\"message\":\"gone\",\"type\":\"server_error\",\"code\":null}}\n\n",
            Kind::Server,
        ),
        ("data: {\"error\":\"gone\"}\n\n", Kind::Server),
        (
            "data: {\"object\":\"error\",\"message\":\"gone\",\"code\":400}\n\n",
            Kind::InvalidRequest,
        ),
        (
            "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\
             \"message\":\"gone\"}}\n\n",
            Kind::Overloaded,
        ),
        (
            "event: error\ndata: {\"message\":\"gone\",\"code\":429}\n\n",
            Kind::RateLimited,
        ),
        ("event: error\ndata: gone\n\n", Kind::Server),
        (
            "data: [{\"error\":{\"code\":503,\"message\":\"gone\",\"status\":\"UNAVAILABLE\"}}]\n\n",
            Kind::Overloaded,
        ),
        (
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\
             \"error\",\"error\":{\"code\":502,\"message\":\"gone\"}}]}\n\n",
            Kind::Server,
        ),
        (
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\"}],\
             \"error\":{\"code\":502,\"message\":\"gone\"}}\n\n",
            Kind::Server,
        ),
        (
            "data: {\"message\":\"gone\",\"code\":500}\n\n",
            Kind::Server,
        ),
        ("data: {\"detail\":\"gone\"}\n\n", Kind::Server),
        (
            "data: {\"choices\":[],\"x_groq\":{\"id\":\"x\",\"error\":\"gone\"}}\n\n",
            Kind::Server,
        ),
    ] {
        let (deltas, error) = crate::deltas(&format!("{shown}{event}"));
        let error = error.unwrap();
        assert!(error.message.contains("gone"), "{event}: {error}");
        assert_eq!(error.kind, kind, "{event}: {error}");
        assert!(deltas.contains(&phi_types::Delta::text(0, "so far")));
    }
}

#[test]
fn an_error_after_the_finish_is_an_error() {
    let body = open_stream(&[
        delta(json!({"content": "so far"})),
        crate::finish("length"),
        json!({"error": {"code": 400, "message": "Token limit reached"}, "choices": []}),
    ]);
    assert!(message(&body).is_err());
}

#[test]
fn an_error_stays() {
    let mut decoder = wire().decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    let event = b"data: {\"error\":{\"message\":\"gone\"}}\n\n";
    let first = decoder.push(event, &mut deltas).unwrap_err();
    assert_eq!(
        decoder.push(b"data: [DONE]\n\n", &mut deltas),
        Err(first.clone())
    );
    assert_eq!(decoder.end(&mut deltas), Err(first));
    assert_eq!(deltas, []);
}

#[test]
fn a_chunk_that_is_no_json_is_a_protocol_error_that_says_where() {
    for event in [
        "data: {\"choices\":[\n\n",
        "data: hello\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":7}}]}\n\n",
    ] {
        let error = message(event).unwrap_err();
        assert_eq!(error.kind, Kind::Protocol, "{event}");
        assert!(error.message.contains("column"), "{error}");
    }
}

#[test]
fn t11_how_long_to_wait_is_read_from_the_header() {
    let head = ResponseHead::new(429)
        .with_header("content-type", "application/json")
        .with_header("retry-after", "7");
    let error = error(&head, "{\"error\":{\"message\":\"slow down\"}}");
    assert_eq!(
        (error.kind, error.retry_after_ms),
        (Kind::RateLimited, Some(7_000))
    );
}

#[test]
fn t13_the_status_decides_before_the_words() {
    let body = "{\"error\":{\"message\":\"this exceeds the maximum usage size allowed during peak \
                load: maximum context length\"}}";
    assert_eq!(error(&ResponseHead::new(429), body).kind, Kind::RateLimited);
    let overflow = "{\"error\":{\"code\":\"context_length_exceeded\",\"message\":\"This model's \
                    maximum context length is 8192 tokens.\"}}";
    assert_eq!(
        error(&ResponseHead::new(400), overflow).kind,
        Kind::ContextOverflow
    );
}

#[test]
fn an_empty_body_of_an_error_still_says_the_status() {
    let error = error(&ResponseHead::new(503), "");
    assert_eq!((error.kind, error.status), (Kind::Overloaded, Some(503)));
}
