//! Chat Completions.

use phi_provider::Wire;
use phi_types::{ProviderErrorKind as Kind, StopReason};

use crate::{PEAK_LOAD, PROMPT_FILTERED, check_credentials, message, resource, url};

fn stream(chunks: &[&str]) -> String {
    let framed: String = chunks
        .iter()
        .map(|chunk| format!("data: {chunk}\n\n"))
        .collect();
    framed + "data: [DONE]\n\n"
}

#[test]
fn z01_a_first_chunk_about_the_prompt_says_nothing() {
    let body = stream(&[
        r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}]}"#,
        r#"{"id":"c-1","model":"gpt","choices":[{"index":0,"delta":{"role":"assistant","content":"hi"}}]}"#,
        r#"{"id":"c-1","model":"gpt","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    ]);
    let message = message(&resource().chat(), 200, &body).unwrap();
    assert_eq!(message.text(), "hi");
    assert_eq!(message.origin.response_id.as_deref(), Some("c-1"));
}

#[test]
fn z01_what_an_asynchronous_filter_says_between_and_behind_says_nothing() {
    let offsets = r#"{"id":"","choices":[{"index":0,"finish_reason":null,"content_filter_results":{"hate":{"filtered":false}},"content_filter_offsets":{"check_offset":44,"start_offset":44,"end_offset":198}}]}"#;
    let body = stream(&[
        r#"{"id":"c-1","choices":[{"index":0,"delta":{"content":"hi"}}]}"#,
        offsets,
        r#"{"id":"c-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        offsets,
    ]);
    let message = message(&resource().chat(), 200, &body).unwrap();
    assert_eq!(message.text(), "hi");
    assert_eq!(message.stop_reason, StopReason::EndTurn);
}

#[test]
fn z02_the_address_names_the_deployment_or_the_newer_interface() {
    let resource = resource();
    assert_eq!(
        url(&resource.chat()),
        "https://acme.openai.azure.com/openai/v1/chat/completions"
    );
    assert_eq!(
        url(&resource.clone().with_api_version("preview").chat()),
        "https://acme.openai.azure.com/openai/v1/chat/completions?api-version=preview"
    );
    assert_eq!(
        url(&resource.with_deployment("my gpt", "2024-10-21").chat()),
        "https://acme.openai.azure.com/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"
    );
}

#[test]
fn z02_a_key_has_its_own_header_and_a_token_is_a_bearer() {
    assert_eq!(resource().chat().identity().provider, "azure");
    check_credentials(&resource().chat());
}

#[test]
fn z03_a_filter_refuses_the_prompt_or_ends_the_output() {
    let error = message(&resource().chat(), 400, PROMPT_FILTERED).unwrap_err();
    assert_eq!(error.kind, Kind::ContentFilter);
    let body = stream(&[
        r#"{"choices":[{"index":0,"delta":{"content":"so"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}"#,
    ]);
    let message = message(&resource().chat(), 200, &body).unwrap();
    assert_eq!(message.stop_reason, StopReason::ContentFilter);
    assert_eq!(message.text(), "so");
}

#[test]
fn z05_a_limit_that_sounds_like_an_overflow_is_a_limit() {
    let error = message(&resource().chat(), 429, PEAK_LOAD).unwrap_err();
    assert_eq!(error.kind, Kind::RateLimited);
}
