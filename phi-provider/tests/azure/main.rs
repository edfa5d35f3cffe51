//! The facts of Azure OpenAI, for both of its protocols.
#![cfg(any(feature = "openai-chat", feature = "openai-responses"))]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail where the tests do"
)]

#[cfg(feature = "openai-chat")]
mod chat;
#[cfg(feature = "openai-responses")]
mod responses;

use std::sync::Arc;
use std::time::SystemTime;

use phi_provider::{Azure, ResponseHead, Secret, Wire};
use phi_types::{
    Assembler, AssistantMessage, Entry, History, Origin, ProviderError, Request, SessionId,
    UserMessage,
};
use secrecy::ExposeSecret;

fn resource() -> Azure {
    Azure::new("https://acme.openai.azure.com")
}

/// Decodes a body to a message.
fn message(wire: &dyn Wire, status: u16, body: &str) -> Result<AssistantMessage, ProviderError> {
    let mut decoder = wire.decoder(&ResponseHead::new(status));
    let mut deltas = Vec::new();
    decoder.push(body.as_bytes(), &mut deltas)?;
    decoder.end(&mut deltas)?;
    let mut assembler = Assembler::new();
    for delta in &deltas {
        assembler.push(delta).unwrap();
    }
    Ok(assembler.into_message(Origin::default()).unwrap())
}

fn request() -> Request {
    let entry = Entry::User(Arc::new(UserMessage::text("hi")));
    Request {
        session: SessionId::new("s").unwrap(),
        model: "my-gpt".into(),
        system: "".into(),
        tools: Arc::from([]),
        view: [entry].into_iter().collect::<History>(),
        options: Arc::default(),
    }
}

fn url(wire: &dyn Wire) -> String {
    wire.encode(&request()).unwrap().request.url
}

/// Checks that a key and a token travel in their headers and nowhere else.
fn check_credentials(wire: &dyn Wire) {
    let encoded = wire.encode(&request()).unwrap().request;
    for (secret, name, value) in [
        (Secret::Key("k-1".into()), "api-key", "k-1"),
        (Secret::Token("k-1".into()), "authorization", "Bearer k-1"),
    ] {
        let headers = wire.authorize(&encoded, &secret, SystemTime::UNIX_EPOCH);
        let [header] = headers.unwrap().try_into().unwrap();
        assert_eq!(header.name, name);
        assert_eq!(header.value.expose_secret(), value);
        assert!(!format!("{header:?}{secret:?}{encoded:?}").contains("k-1"));
    }
}

/// The body of an error as the service writes it.
const PROMPT_FILTERED: &str = r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"jailbreak":{"filtered":true,"detected":true}}}}}"#;

const PEAK_LOAD: &str = r#"{"error":{"code":"429","message":"Your requests to gpt have exceeded the maximum usage size allowed during peak load. Please retry after 6 seconds: maximum context length."}}"#;
