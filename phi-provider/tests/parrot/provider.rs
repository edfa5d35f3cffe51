//! Parrot over HTTP.

// region: provider
use std::sync::Arc;

use futures_util::StreamExt;
use phi_provider::{Credential, HttpOptions, HttpProvider, HttpTransport};
use phi_testkit::{Response, Server, request};
use phi_types::{Assembler, Origin, Provider};

use crate::wire::Parrot;

#[tokio::test]
async fn parrot_answers_over_http() {
    let server = Server::start([Response::events([
        "event: say\ndata: {\"part\":0,\"text\":\"Hello\"}\n\n",
        "event: stop\ndata: {\"why\":\"done\"}\n\n",
    ])])
    .unwrap();
    let wire = Arc::new(Parrot::new(&server.base_url()));
    let transport = Arc::new(HttpTransport::new(HttpOptions::default()).unwrap());
    let provider = HttpProvider::new(wire, transport, Credential::key("squawk"));
    let mut stream = provider.stream(request("Say hello"));
    let mut assembler = Assembler::new();
    while let Some(delta) = stream.next().await {
        assembler.push(&delta.unwrap()).unwrap();
    }
    let message = assembler.into_message(Origin::default()).unwrap();
    assert_eq!(message.text(), "Hello");
}
// endregion: provider
