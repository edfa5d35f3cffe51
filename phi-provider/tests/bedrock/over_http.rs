//! Over HTTP: what was signed is what is sent, and what comes back is decoded as it comes.

use std::sync::Arc;

use futures_util::StreamExt;
use phi_provider::{Credential, HttpOptions, HttpProvider, HttpTransport, Secret};
use phi_testkit::{Response, Server};
use phi_types::{Delta, Options, Provider, ProviderErrorKind};
use serde_json::json;

use crate::frames;
use crate::signing::{Signed, keys};
use crate::support::{delta, finish, hi, metadata, request, stream, user, wire};

fn provider(server: &Server, secret: Secret) -> HttpProvider {
    let wire = Arc::new(wire().with_base_url(server.base_url()));
    let transport = Arc::new(HttpTransport::new(HttpOptions::default()).unwrap());
    HttpProvider::new(wire, transport, Credential::Fixed(secret))
}

fn answer() -> Response {
    let events = [
        hi(),
        delta(0, &json!({"text": "!"})),
        finish("end_turn"),
        metadata(),
    ];
    Response::new(200)
        .with_header("content-type", "application/vnd.amazon.eventstream")
        .with_body(stream(&events))
        .in_pieces_of(7)
}

const MODELS: [&str; 4] = [
    "us.amazon.nova-lite-v1:0",
    "arn:aws:bedrock:us-east-1:012345678901:inference-profile/us.anthropic.claude-sonnet-4-6",
    "a/b//c/../d e%2F",
    "é~_-.",
];

#[tokio::test]
async fn b04_the_path_arrives_as_it_was_signed() {
    let server = Server::from_fn(|_, _| answer()).unwrap();
    let provider = provider(&server, keys(Some("token")));
    for model in MODELS {
        let request = request(model, vec![user("q")], Options::default());
        let deltas: Vec<_> = provider.stream(request).collect().await;
        assert!(deltas.contains(&Ok(Delta::text(0, "hi"))), "{deltas:?}");
    }
    let received = server.received();
    assert_eq!(received.len(), MODELS.len());
    for received in received {
        let header = |name| received.header(name).unwrap();
        let signed = Signed {
            host: header("host"),
            path: &received.path,
            date: header("x-amz-date"),
            region: "us-east-1",
            token: header("x-amz-security-token"),
            body: &received.body,
        };
        let authorization = header("authorization");
        assert!(
            authorization.ends_with(&signed.signature()),
            "{}",
            received.path
        );
        assert_eq!(header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn b01_an_exception_in_the_stream_reaches_the_caller_after_what_was_said() {
    let thrown = frames::exception("throttlingException", br#"{"message":"slow down"}"#);
    let body = [stream(&[hi()]), thrown].concat();
    let server = Server::start([Response::new(200).with_body(body)]).unwrap();
    let request = request("m", vec![user("q")], Options::default());
    let provider = provider(&server, Secret::key("bedrock-api-key"));
    let mut deltas: Vec<_> = provider.stream(request).collect().await;
    let error = deltas.pop().unwrap().unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::RateLimited);
    assert_eq!(deltas.last(), Some(&Ok(Delta::text(0, "hi"))));
    let received = &server.received()[0];
    assert_eq!(
        received.header("authorization"),
        Some("Bearer bedrock-api-key")
    );
}
