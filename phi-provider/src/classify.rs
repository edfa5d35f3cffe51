//! Says what a caller can do about an error: the HTTP status decides first, then the body.

use phi_types::{ProviderError, ProviderErrorKind as Kind};
use serde_json::Value;

use crate::error_body::ErrorBody;
use crate::retry_after::retry_after;
use crate::wire::ResponseHead;

/// Classifies a response whose status is not one of success, or whose body is not an answer.
///
/// The status decides first; then the words of the body, in every shape that services give an error,
/// choose among what the status leaves open. The wait is read from the headers and the body.
#[must_use]
pub fn classify(head: &ResponseHead, body: &[u8]) -> ProviderError {
    let mut body = ErrorBody::read(body);
    body.take_aws_code(head.header("x-amzn-errortype"));
    error_of(head, &body)
}

/// Classifies an error that a body reports after a status of success, in a stream or alone. `error`
/// is the JSON value that holds it.
#[must_use]
pub fn classify_reported(head: &ResponseHead, error: Value) -> ProviderError {
    error_of(head, &ErrorBody::of_json(error))
}

fn error_of(head: &ResponseHead, body: &ErrorBody) -> ProviderError {
    let stated = if head.is_success() {
        body.status
    } else {
        Some(head.status)
    };
    let mut kind = stated.map_or_else(|| kind_of_body(body), |status| of_status(status, body));
    match head.header("x-should-retry") {
        Some("true") if !kind.is_retryable() => kind = Kind::Server,
        Some("false") if kind.is_retryable() => {
            kind = match kind {
                Kind::RateLimited => Kind::Billing,
                _ => Kind::InvalidRequest,
            }
        }
        _ => {}
    }
    let mut error = ProviderError::new(kind, message_of(head, stated, body));
    error.status = stated;
    match retry_after(head, body.json.as_ref()) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

/// Returns the kind of an HTTP status; the body chooses only among what the status leaves open.
fn of_status(status: u16, body: &ErrorBody) -> Kind {
    match status {
        400 if body.has_code(THROTTLING_CODES) => Kind::RateLimited,
        400 | 404 | 405 | 406 | 410 | 415 | 422 => of_invalid_request(body),
        401 => Kind::Auth,
        402 => Kind::Billing,
        403 if is_content_filter(body) => Kind::ContentFilter,
        403 if is_billing(body) => Kind::Billing,
        403 => Kind::Auth,
        413 => Kind::ContextOverflow,
        408 | 504 | 524 => Kind::Timeout,
        429 if body.has_code(QUOTA_CODES) => Kind::Billing,
        429 => Kind::RateLimited,
        498 | 503 | 529 => Kind::Overloaded,
        409 | 425 => Kind::Server,
        // AWS: the model failed, not the request.
        424 if body.has_code(MODEL_ERROR_CODES) => Kind::Server,
        300..=399 => Kind::InvalidRequest,
        400..=499 => of_invalid_request(body),
        500..=599 if body.has_code(&["overloaded_error", "overloaded"]) => Kind::Overloaded,
        500..=599 if body.has_code(OVERFLOW_CODES) => Kind::ContextOverflow,
        500..=599 => Kind::Server,
        _ => Kind::Protocol,
    }
}

fn of_invalid_request(body: &ErrorBody) -> Kind {
    if is_overflow(body) {
        Kind::ContextOverflow
    } else if is_content_filter(body) {
        Kind::ContentFilter
    } else if is_billing(body) {
        Kind::Billing
    } else if is_auth(body) {
        Kind::Auth
    } else {
        Kind::InvalidRequest
    }
}

/// The words of services for what went wrong, and what it is.
const KINDS: &[(&[&str], Kind)] = &[
    (
        &[
            "overloaded_error",
            "overloaded",
            "unavailable",
            "serviceunavailableexception",
            "modelnotreadyexception",
        ],
        Kind::Overloaded,
    ),
    (THROTTLING_CODES, Kind::RateLimited),
    (MODEL_ERROR_CODES, Kind::Server),
    (
        &[
            "rate_limit_error",
            "rate_limit_exceeded",
            "rate_limited",
            "resource_exhausted",
            "throttling",
            "too_many_requests",
        ],
        Kind::RateLimited,
    ),
    (
        &[
            "api_error",
            "server_error",
            "internal_error",
            "internal_server_error",
            "internal",
            "internalserverexception",
            "internalservererror",
            "internalfailure",
            "internalerror",
        ],
        Kind::Server,
    ),
    (
        &[
            "timeout_error",
            "timeout",
            "deadline_exceeded",
            "modeltimeoutexception",
        ],
        Kind::Timeout,
    ),
    (&["billing_error"], Kind::Billing),
    (
        &[
            "authentication_error",
            "permission_error",
            "permission_denied",
            "unauthenticated",
            "forbidden",
        ],
        Kind::Auth,
    ),
    (&["request_too_large"], Kind::ContextOverflow),
];

/// The words of services for a request that cannot be granted.
const INVALID: &[&str] = &[
    "invalid_request_error",
    "not_found_error",
    "invalid_argument",
    "not_found",
    "model_not_found",
    "invalid_prompt",
    "invalid_image",
    "invalid_image_url",
    "invalid_image_format",
    "invalid_base64_image",
    "image_parse_error",
    "image_too_large",
    "image_file_too_large",
    "failed_to_download_image",
    "tool_use_failed",
    "badrequest",
    "badrequesterror",
    "bad request",
    "validationexception",
    "resourcenotfoundexception",
    "conflictexception",
];

/// Returns the kind of an error that came without a status.
fn kind_of_body(body: &ErrorBody) -> Kind {
    if body.has_code(QUOTA_CODES) {
        return Kind::Billing;
    }
    let named = KINDS.iter().find(|(words, _)| body.has_code(words));
    if let Some((_, kind)) = named {
        return *kind;
    }
    match of_invalid_request(body) {
        Kind::InvalidRequest if body.has_code(INVALID) => Kind::InvalidRequest,
        // A service that fails after it accepted the request had no fault to find with it.
        Kind::InvalidRequest => Kind::Server,
        exact => exact,
    }
}

const QUOTA_CODES: &[&str] = &[
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "insufficient_balance",
    "quota_exceeded",
    "servicequotaexceededexception",
    // The back end of ChatGPT: the plan is used up for hours or days.
    "usage_limit_reached",
    "usage_not_included",
];

/// The words of AWS for "too many requests".
const THROTTLING_CODES: &[&str] = &[
    "throttlingexception",
    "throttledexception",
    "toomanyrequestsexception",
];

/// The words of AWS for a model that failed while it answered.
const MODEL_ERROR_CODES: &[&str] = &["modelstreamerrorexception", "modelerrorexception"];

/// The words of AWS for keys and signatures that it does not accept.
const AWS_AUTH_CODES: &[&str] = &[
    "accessdeniedexception",
    "unrecognizedclientexception",
    "expiredtokenexception",
    "invalidsignatureexception",
    "incompletesignatureexception",
    "missingauthenticationtokenexception",
];

fn is_billing(body: &ErrorBody) -> bool {
    body.has_code(QUOTA_CODES)
        || body.has_code(&["billing_error", "payment_required"])
        || says(body, &["credit balance is too low"])
        || says(body, &["insufficient balance"])
        || says(body, &["insufficient credits"])
}

fn is_auth(body: &ErrorBody) -> bool {
    body.has_code(&["invalid_api_key", "authentication_error", "unauthenticated"])
        || body.has_code(AWS_AUTH_CODES)
        || says(body, &["api key not valid"])
        || says(body, &["api key expired"])
        || says(body, &["incorrect api key"])
        || says(body, &["invalid api key"])
}

fn is_content_filter(body: &ErrorBody) -> bool {
    body.has_code(&[
        "content_filter",
        "content_policy_violation",
        "responsibleaipolicyviolation",
        "data_inspection_failed",
        "moderation_blocked",
        "image_content_policy_violation",
        "bio_policy",
        "cyber_policy",
    ]) || says(body, &["content management policy"])
        || says(body, &["requires moderation", "flagged"])
        || says(body, &["output blocked by content filtering policy"])
}

const OVERFLOW_CODES: &[&str] = &[
    "context_length_exceeded",
    "model_context_window_exceeded",
    "exceed_context_size_error",
    "too_many_prompt_tokens",
    "too_many_tokens",
    "request_too_large",
];

/// The words of services for "the prompt does not fit the window"; the pieces of one entry appear
/// in this order. Facts of the services; more of them are added as they are seen.
const OVERFLOW_PHRASES: &[&[&str]] = &[
    &["prompt is too long"],
    &["input length and `max_tokens` exceed context limit"],
    &["input is too long for"],
    &["exceeds the context window"],
    &["exceed the context window"],
    &["context window exceeds"],
    &["maximum context length"],
    &["context length exceeded"],
    &["exceeded model token limit"],
    &["exceeds the maximum number of tokens"],
    &["input token count", "exceeds the maximum"],
    &["input token count is", "model only supports up to"],
    &["maximum prompt length"],
    &["reduce the length of the messages"],
    &["prompt token count", "exceeds the limit of"],
    &["exceeds the available context size"],
    &["greater than the context length"],
    &["longer than the model's context length"],
    &["too large for model with", "maximum context length"],
    &["prompt too long; exceeded", "context length"],
    &["range of input length should be"],
    &["total length of all messages is too long"],
    &["too many tokens", "prompt"],
    &["too many tokens: size limit exceeded"],
    &["must have less than", "tokens"],
    &["input tokens exceeded"],
    &["too many input tokens"],
    &["malformed input request: expected maxlength"],
    &["`inputs` tokens + `max_new_tokens` must be"],
    &["request_too_large"],
];

fn is_overflow(body: &ErrorBody) -> bool {
    body.has_code(OVERFLOW_CODES) || OVERFLOW_PHRASES.iter().any(|phrase| says(body, phrase))
}

/// Says whether the message holds the pieces in this order.
fn says(body: &ErrorBody, pieces: &[&str]) -> bool {
    let Some(message) = &body.message else {
        return false;
    };
    let message = message.to_ascii_lowercase();
    let mut rest = message.as_str();
    pieces.iter().all(|piece| match rest.split_once(piece) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

fn message_of(head: &ResponseHead, status: Option<u16>, body: &ErrorBody) -> String {
    let mut text = match (&body.message, status) {
        (Some(message), _) => message.clone(),
        (None, Some(status)) => format!("HTTP status {status} without a message"),
        (None, None) => "the service reported an error without a message".to_owned(),
    };
    let code = body.codes.first().filter(|code| !text.contains(*code));
    if let Some(code) = code {
        text.push_str(" (");
        text.push_str(code);
        text.push(')');
    }
    if (300..400).contains(&head.status) {
        let to = head.header("location").unwrap_or("somewhere else");
        text.push_str(": redirects are not followed: set the base URL to the final address, ");
        text.push_str(to);
    } else if text.starts_with("the answer is a web page") {
        text.push_str(": check the base URL and any proxy before it");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> Kind {
        classify(&ResponseHead::new(status), body.as_bytes()).kind
    }

    #[test]
    fn t13_the_status_decides_before_the_words_of_the_body() {
        let overflow = r#"{"error":{"message":"exceeded the maximum context length"}}"#;
        assert_eq!(kind(400, overflow), Kind::ContextOverflow);
        assert_eq!(kind(429, overflow), Kind::RateLimited);
        assert_eq!(kind(500, overflow), Kind::Server);
        assert_eq!(kind(401, overflow), Kind::Auth);
        let limited = r#"{"error":{"message":"rate limit reached","type":"rate_limit_error"}}"#;
        assert_eq!(kind(400, limited), Kind::InvalidRequest);
        let peak = "maximum usage size allowed during peak load";
        assert_eq!(kind(429, peak), Kind::RateLimited);
    }

    #[test]
    fn every_status_has_a_kind_also_without_a_body() {
        let expected = [
            (301, Kind::InvalidRequest),
            (400, Kind::InvalidRequest),
            (401, Kind::Auth),
            (402, Kind::Billing),
            (403, Kind::Auth),
            (404, Kind::InvalidRequest),
            (408, Kind::Timeout),
            (409, Kind::Server),
            (413, Kind::ContextOverflow),
            (418, Kind::InvalidRequest),
            (422, Kind::InvalidRequest),
            (429, Kind::RateLimited),
            (500, Kind::Server),
            (502, Kind::Server),
            (503, Kind::Overloaded),
            (504, Kind::Timeout),
            (529, Kind::Overloaded),
            (599, Kind::Server),
            (700, Kind::Protocol),
        ];
        for (status, expected) in expected {
            for body in ["", "<html>", "[]", "{}", "null", "nonsense"] {
                assert_eq!(kind(status, body), expected, "{status} {body:?}");
            }
            let error = classify(&ResponseHead::new(status), b"");
            assert_eq!(error.status, Some(status));
            assert!(error.message.contains(&status.to_string()), "{error}");
        }
    }

    #[test]
    fn an_error_in_a_body_of_success_is_classified_by_its_own_words() {
        let reported = |body: &str| {
            let value = serde_json::from_str(body).unwrap();
            classify_reported(&ResponseHead::new(200), value)
        };
        let error = reported(
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        );
        assert_eq!((error.kind, error.status), (Kind::Overloaded, None));
        assert_eq!(error.message, "Overloaded (overloaded_error)");
        let error = reported(r#"{"error":{"code":429,"message":"slow down"}}"#);
        assert_eq!((error.kind, error.status), (Kind::RateLimited, Some(429)));
        let error = reported(r#"{"error":{"code":503,"status":"UNAVAILABLE","message":"x"}}"#);
        assert_eq!(error.kind, Kind::Overloaded);
        let error = reported(r#"{"object":"error","message":"boom","type":"BadRequestError"}"#);
        assert_eq!(error.kind, Kind::InvalidRequest);
        let error = reported(r#"{"error":{"message":"This model's maximum context length is 1"}}"#);
        assert_eq!(error.kind, Kind::ContextOverflow);
        assert_eq!(reported(r#"{"error":{}}"#).kind, Kind::Server);
    }

    #[test]
    fn b1_the_words_of_aws_are_known_in_the_header_in_the_body_and_in_a_stream() {
        let with_header = |status, code: &str| {
            let code = format!("{code}:http://internal.amazon.com/coral/com.amazon.bedrock/");
            let head = ResponseHead::new(status).with_header("x-amzn-errortype", code);
            classify(&head, br#"{"message":"m"}"#)
        };
        for (status, code, expected) in [
            (429, "ThrottlingException", Kind::RateLimited),
            (400, "ThrottlingException", Kind::RateLimited),
            (400, "ValidationException", Kind::InvalidRequest),
            (400, "ExpiredTokenException", Kind::Auth),
            (400, "ServiceQuotaExceededException", Kind::Billing),
            (403, "AccessDeniedException", Kind::Auth),
            (404, "ResourceNotFoundException", Kind::InvalidRequest),
            (408, "ModelTimeoutException", Kind::Timeout),
            (424, "ModelErrorException", Kind::Server),
            (424, "Other", Kind::InvalidRequest),
            (500, "InternalServerException", Kind::Server),
            (503, "ServiceUnavailableException", Kind::Overloaded),
        ] {
            let error = with_header(status, code);
            assert_eq!(error.kind, expected, "{status} {code}");
            let named = format!("m ({})", code.to_lowercase());
            assert_eq!(error.message, named);
        }
        let body =
            r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","Message":"gone"}"#;
        let error = classify(&ResponseHead::new(400), body.as_bytes());
        assert_eq!(error.kind, Kind::Auth);
        assert_eq!(error.message, "gone (expiredtokenexception)");
        for (code, expected) in [
            ("throttlingException", Kind::RateLimited),
            ("modelStreamErrorException", Kind::Server),
            ("internalServerException", Kind::Server),
            ("serviceUnavailableException", Kind::Overloaded),
            ("modelTimeoutException", Kind::Timeout),
            ("validationException", Kind::InvalidRequest),
            ("accessDeniedException", Kind::Auth),
            ("unheardOfException", Kind::Server),
        ] {
            let value = serde_json::json!({"type": code, "message": "m"});
            let error = classify_reported(&ResponseHead::new(200), value);
            assert_eq!(error.kind, expected, "{code}");
        }
        for message in [
            "The model returned the following errors: Input is too long for requested model.",
            "Input Tokens Exceeded: Number of input tokens exceeds maximum length.",
            "400 Bad Request: Too many input tokens. Max input tokens: 8192",
            "Malformed input request: expected maxLength: 50000, actual: 67890, please reformat",
        ] {
            let value = serde_json::json!({"type": "validationException", "message": message});
            let error = classify_reported(&ResponseHead::new(200), value);
            assert_eq!(error.kind, Kind::ContextOverflow, "{message}");
        }
        let slow = "Too many tokens, please wait before trying again.";
        let value = serde_json::json!({"type": "throttlingException", "message": slow});
        let error = classify_reported(&ResponseHead::new(200), value);
        assert_eq!(error.kind, Kind::RateLimited);
    }

    #[test]
    fn t11_should_retry_overrules_the_kind() {
        let with = |status, value| {
            classify(
                &ResponseHead::new(status).with_header("x-should-retry", value),
                b"{}",
            )
            .kind
        };
        assert!(with(400, "true").is_retryable());
        assert!(!with(503, "false").is_retryable());
        assert_eq!(with(429, "false"), Kind::Billing);
        assert_eq!(with(429, "true"), Kind::RateLimited);
        assert_eq!(with(401, "false"), Kind::Auth);
    }

    #[test]
    fn a_quota_that_is_used_up_is_billing_and_not_a_rate_limit() {
        let body = r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#;
        assert_eq!(kind(429, body), Kind::Billing);
        let body = r#"{"error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API"}}"#;
        assert_eq!(kind(400, body), Kind::Billing);
    }

    #[test]
    fn a22_every_family_of_overflow_phrases_is_known() {
        for message in [
            "prompt is too long: 213462 tokens > 200000 maximum",
            "input length and `max_tokens` exceed context limit: 199000 + 4096 > 200000",
            "Your input exceeds the context window of this model",
            "This model's maximum context length is 8192 tokens. However, you requested 9000",
            "The input token count (1196265) exceeds the maximum number of tokens allowed",
            "request (2009 tokens) exceeds the available context size (512 tokens)",
            "tokens to keep from the initial prompt is greater than the context length",
            "Please reduce the length of the messages or completion",
        ] {
            let body = serde_json::json!({"error": {"message": message}}).to_string();
            assert_eq!(kind(400, &body), Kind::ContextOverflow, "{message}");
        }
        let body = r#"{"error":{"message":"max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens"}}"#;
        assert_eq!(kind(400, body), Kind::InvalidRequest);
    }

    #[test]
    fn a_page_and_a_redirect_name_the_remedy() {
        let error = classify(&ResponseHead::new(502), b"<html><title>Bad Gateway</title>");
        insta::assert_snapshot!(error, @"server: the answer is a web page: Bad Gateway: check the base URL and any proxy before it");
        let head = ResponseHead::new(308).with_header("location", "https://b/");
        insta::assert_snapshot!(classify(&head, b""), @"invalid_request: HTTP status 308 without a message: redirects are not followed: set the base URL to the final address, https://b/");
    }
}
