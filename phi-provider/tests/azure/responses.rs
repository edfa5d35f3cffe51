//! Responses.

use std::sync::Arc;

use phi_provider::{Azure, Wire};
use phi_types::{Entry, History, ProviderErrorKind as Kind, StopReason, UserMessage};
use serde_json::{Value, json};

use crate::{PEAK_LOAD, PROMPT_FILTERED, check_credentials, message, request, resource, url};

#[test]
fn z02_the_address_is_one_for_all_deployments_and_the_body_names_the_model() {
    for base in [
        "https://acme.openai.azure.com",
        "https://acme.openai.azure.com/",
        "https://acme.openai.azure.com/openai",
        "https://acme.openai.azure.com/openai/v1/",
    ] {
        let wire = Azure::new(base).responses();
        assert_eq!(
            url(&wire),
            "https://acme.openai.azure.com/openai/v1/responses"
        );
    }
    let classic = resource()
        .with_deployment("my-gpt", "2025-04-01-preview")
        .responses();
    let encoded = classic.encode(&request()).unwrap().request;
    assert_eq!(
        encoded.url,
        "https://acme.openai.azure.com/openai/responses?api-version=2025-04-01-preview"
    );
    let body: Value = serde_json::from_slice(&encoded.body_bytes()).unwrap();
    assert_eq!(body["model"], "my-gpt");
    assert_eq!(body["prompt_cache_key"], "s");
    let newer = resource().with_deployment("d", "1").with_api_version("2");
    assert_eq!(
        url(&newer.responses()),
        "https://acme.openai.azure.com/openai/responses?api-version=2"
    );
}

#[test]
fn z02_a_key_has_its_own_header_and_a_token_is_a_bearer() {
    assert_eq!(resource().responses().identity().provider, "azure");
    check_credentials(&resource().responses());
}

#[test]
fn z03_a_filter_refuses_the_prompt_or_ends_the_output() {
    let error = message(&resource().responses(), 400, PROMPT_FILTERED).unwrap_err();
    assert_eq!(error.kind, Kind::ContentFilter);
    let response = json!({"object": "response", "status": "incomplete",
        "incomplete_details": {"reason": "content_filter"},
        "content_filters": [{"blocked": true, "source_type": "completion"}],
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "so"}]}]});
    let message = message(&resource().responses(), 200, &response.to_string()).unwrap();
    assert_eq!(message.stop_reason, StopReason::ContentFilter);
    assert_eq!(message.text(), "so");
}

#[test]
fn z04_reasoning_goes_back_with_the_message_that_it_led_to_and_never_alone() {
    let wire = resource().responses();
    let reasoning = json!({"type": "reasoning", "id": "rs_1", "summary": [],
        "encrypted_content": "sealed"});
    let said = json!({"type": "message", "id": "msg_1", "role": "assistant",
        "status": "completed", "content": [{"type": "output_text", "text": "so", "annotations": []}]});
    let input = |output: Value| {
        let body = json!({"object": "response", "status": "completed", "output": output});
        let mut answer = message(&wire, 200, &body.to_string()).unwrap();
        let identity = wire.identity();
        answer.origin.protocol = identity.protocol.into();
        answer.origin.provider = identity.provider.into();
        answer.origin.model = "my-gpt".into();
        let mut request = request();
        let user = |text: &str| Entry::User(Arc::new(UserMessage::text(text)));
        let entries = [user("hi"), Entry::Assistant(Arc::new(answer)), user("and")];
        request.view = entries.into_iter().collect::<History>();
        let body = wire.encode(&request).unwrap().request.body_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        body.get("input").and_then(Value::as_array).unwrap().clone()
    };
    let (hi, and) = (
        json!({"role": "user", "content": "hi"}),
        json!({"role": "user", "content": "and"}),
    );
    assert_eq!(
        input(json!([reasoning, said])),
        [hi.clone(), reasoning.clone(), said.clone(), and.clone()]
    );
    assert_eq!(input(json!([said, reasoning])), [hi, said, and]);
}

#[test]
fn z05_a_limit_that_sounds_like_an_overflow_is_a_limit() {
    let error = message(&resource().responses(), 429, PEAK_LOAD).unwrap_err();
    assert_eq!(error.kind, Kind::RateLimited);
}
