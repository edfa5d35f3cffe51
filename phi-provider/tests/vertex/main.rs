//! The facts of Vertex AI: where Gemini and Claude are asked, and how.
#![cfg(feature = "vertex")]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail where the tests do"
)]

use std::sync::Arc;
use std::time::SystemTime;

use phi_provider::vertex::Vertex;
use phi_provider::{Delivery, HttpRequest, ResponseHead, Secret, Wire};
use phi_types::{Delta, Entry, History, Options, RawJson, Request, SessionId, UserMessage};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

fn request(model: &str) -> Request {
    Request {
        session: SessionId::new("s").unwrap(),
        model: model.into(),
        system: "be brief".into(),
        tools: Arc::from([]),
        view: [Entry::User(Arc::new(UserMessage::text("hi")))]
            .into_iter()
            .collect::<History>(),
        options: Arc::default(),
    }
}

fn sent(wire: &dyn Wire, model: &str) -> HttpRequest {
    wire.encode(&request(model)).unwrap().request
}

fn body(sent: &HttpRequest) -> Value {
    serde_json::from_slice(&sent.body_bytes()).unwrap()
}

fn header<'r>(sent: &'r HttpRequest, name: &str) -> Option<&'r str> {
    let mut headers = sent.headers.iter();
    let (_, value) = headers.find(|(given, _)| *given == name)?;
    Some(value)
}

#[test]
fn g16_gemini_is_asked_in_its_project_and_location() {
    let vertex = Vertex::new("p-1", "europe-west4");
    let streamed = sent(&vertex.gemini(), "gemini-2.5-flash").url;
    assert_eq!(
        streamed,
        "https://europe-west4-aiplatform.googleapis.com/v1beta1/projects/p-1/locations/europe-west4\
         /publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    );
    let whole = vertex.gemini().with_delivery(Delivery::Whole);
    assert!(
        sent(&whole, "gemini-2.5-flash")
            .url
            .ends_with("/models/gemini-2.5-flash:generateContent")
    );
    let identity = whole.identity();
    assert_eq!((identity.protocol, identity.provider), ("gemini", "vertex"));
}

#[test]
fn g16_each_location_has_its_host() {
    for (location, host) in [
        ("global", "https://aiplatform.googleapis.com/"),
        ("us", "https://aiplatform.us.rep.googleapis.com/"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com/"),
        ("us-east5", "https://us-east5-aiplatform.googleapis.com/"),
    ] {
        let url = sent(&Vertex::new("p", location).claude(), "m").url;
        assert!(url.starts_with(host), "{url}");
        assert!(url.contains(&format!("/locations/{location}/")), "{url}");
    }
    let elsewhere = Vertex::new("p", "x.example/?#").gemini();
    let url = sent(&elsewhere, "m").url;
    assert!(
        url.starts_with("https://xexample-aiplatform.googleapis.com/"),
        "{url}"
    );
    assert!(url.contains("/locations/x.example%2F%3F%23/"), "{url}");
}

#[test]
fn g16_address_and_version_may_be_set() {
    let vertex = Vertex::new("p", "global")
        .with_base_url("https://proxy.example/vertex/")
        .with_version("v1");
    assert_eq!(
        sent(&vertex.gemini().with_delivery(Delivery::Whole), "m").url,
        "https://proxy.example/vertex/v1/projects/p/locations/global/publishers/google/models/m\
         :generateContent"
    );
    assert_eq!(
        sent(&vertex.claude(), "claude-sonnet-4@20250514").url,
        "https://proxy.example/vertex/v1/projects/p/locations/global/publishers/anthropic/models\
         /claude-sonnet-4@20250514:streamRawPredict"
    );
}

#[test]
fn an_endpoint_has_no_publisher() {
    let gemini = Vertex::new("p", "us-central1").gemini();
    assert_eq!(
        sent(&gemini, "endpoints/123").url,
        "https://us-central1-aiplatform.googleapis.com/v1beta1/projects/p/locations/us-central1\
         /endpoints/123:streamGenerateContent?alt=sse"
    );
}

#[test]
fn express_mode_names_no_project() {
    assert_eq!(
        sent(&Vertex::express().gemini(), "gemini-2.5-pro").url,
        "https://aiplatform.googleapis.com/v1beta1/publishers/google/models/gemini-2.5-pro\
         :streamGenerateContent?alt=sse"
    );
}

#[test]
fn g16_claude_states_the_version_in_the_body_and_the_model_in_the_address() {
    let vertex = Vertex::new("p", "global");
    let streamed = sent(&vertex.claude(), "claude-opus-4-1");
    assert!(
        streamed
            .url
            .ends_with("/publishers/anthropic/models/claude-opus-4-1:streamRawPredict")
    );
    assert_eq!(header(&streamed, "anthropic-version"), None);
    let asked = body(&streamed);
    assert_eq!(asked["anthropic_version"], "vertex-2023-10-16");
    assert_eq!(asked.get("model"), None);
    assert_eq!(asked["stream"], true);
    assert_eq!(asked["messages"][0]["role"], "user");
    let whole = vertex
        .claude()
        .with_delivery(Delivery::Whole)
        .with_beta("context-1m");
    let whole = sent(&whole, "claude-opus-4-1");
    assert!(whole.url.ends_with("models/claude-opus-4-1:rawPredict"));
    assert_eq!(header(&whole, "anthropic-beta"), Some("context-1m"));
    assert_eq!(body(&whole).get("stream"), None);
}

#[test]
fn claude_answers_in_its_own_protocol() {
    let claude = Vertex::new("p", "global").claude();
    let identity = claude.identity();
    assert_eq!(identity.protocol, "anthropic-messages");
    assert_eq!(identity.provider, "vertex");
    let answer = json!({"type": "message", "id": "msg_vrtx_1", "model": "claude-opus-4-1",
        "role": "assistant", "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}});
    let mut decoder = claude.decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    decoder
        .push(answer.to_string().as_bytes(), &mut deltas)
        .unwrap();
    decoder.end(&mut deltas).unwrap();
    assert!(deltas.contains(&Delta::text(0, "hi")));
}

#[test]
fn g14_tokens_are_bearers_and_keys_stand_in_a_header() {
    let secret = || SecretString::from("the-secret");
    let vertex = Vertex::new("p", "global");
    let wires: [Box<dyn Wire>; 2] = [Box::new(vertex.gemini()), Box::new(vertex.claude())];
    for wire in wires {
        let request = sent(&*wire, "m");
        for (given, name, value) in [
            (
                Secret::Token(secret()),
                "authorization",
                "Bearer the-secret",
            ),
            (Secret::Key(secret()), "x-goog-api-key", "the-secret"),
        ] {
            let headers = wire.authorize(&request, &given, SystemTime::UNIX_EPOCH);
            let headers = headers.unwrap();
            assert_eq!(headers.len(), 1);
            assert_eq!(headers[0].name, name);
            assert_eq!(headers[0].value.expose_secret(), value);
            let shown = format!("{request:?}{headers:?}");
            assert!(!shown.contains("the-secret"), "{shown}");
        }
    }
}

#[test]
fn g12_functions_and_tools_of_the_service_are_not_declared_mixed() {
    let extra = json!({"tools": [{"googleSearch": {}},
        {"functionDeclarations": [{"name": "f"}]}]});
    let options = Options {
        extra: Some(RawJson::from_value(&extra).unwrap()),
        ..Options::default()
    };
    let request = Request {
        options: options.into(),
        ..request("gemini-3-pro-preview")
    };
    let gemini = Vertex::new("p", "global").gemini();
    let sent = gemini.encode(&request).unwrap().request;
    assert_eq!(body(&sent).get("toolConfig"), None);
}
