//! An answer that breaks off before its finish is incomplete; after its finish it is whole.

use phi_testkit::{ClosedPort, Response, Server};
use phi_types::ProviderErrorKind;

use crate::support::{FINISH, InMemory, Step, error, provider, provider_at, read, word};

fn events() -> Response {
    Response::events([&*word("one"), FINISH])
}

#[tokio::test]
async fn before_the_finish_a_break_of_any_kind_is_incomplete() {
    let first = word("one").len();
    let bodies = [
        (events().cut_after(first), "one"),
        (events().reset_after(first), "one"),
        (events().until_close().cut_after(first), "one"),
        (events().until_close().cut_after(first + 5), "one"),
        (Response::new(200).with_body(word("one")), "one"),
        (
            Response::new(200).with_body("x".repeat(99)).cut_after(9),
            "",
        ),
        (Response::new(200), ""),
    ];
    for (body, wanted) in bodies {
        let shown = format!("{body:?}");
        let server = Server::start([body]).unwrap();
        let (text, end) = read(&provider(&server)).await;
        let error = end.expect_err(&shown);
        assert_eq!(error.kind, ProviderErrorKind::Incomplete, "{error} {shown}");
        assert_eq!(text, wanted, "{shown}");
    }
}

#[tokio::test]
async fn after_the_finish_a_break_changes_nothing() {
    let whole = word("one").len() + FINISH.len();
    let with_rest = || Response::events([&*word("one"), FINISH, ": rest\n\n"]);
    let server = Server::start([
        with_rest().cut_after(whole),
        with_rest().reset_after(whole),
        with_rest().until_close().cut_after(whole),
    ])
    .unwrap();
    for _ in 0..3 {
        let (text, end) = read(&provider(&server)).await;
        end.unwrap();
        assert_eq!(text, "one");
    }
}

#[tokio::test]
async fn what_broke_is_named_with_its_host() {
    let body = [Step::Give(word("one")), Step::Break];
    let error = error(&InMemory::new(200, body).provider()).await;
    assert_eq!(error.kind, ProviderErrorKind::Incomplete);
    assert_eq!(
        error.message,
        "no finish (the connection to words.test broke: reset; send the request again)"
    );
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_named_with_the_remedy() {
    let port = ClosedPort::take().unwrap();
    let url = port.base_url();
    let error = error(&provider_at(url.clone())).await;
    assert_eq!(error.kind, ProviderErrorKind::Network);
    let host = url.strip_prefix("http://").unwrap();
    let start = format!("cannot connect to {host}: ");
    assert!(error.message.starts_with(&start), "{error}");
    let end = "check the base URL and the network";
    assert!(error.message.ends_with(end), "{error}");
    assert!(error.message.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_server_that_closes_without_an_answer_or_speaks_no_tls_is_a_network_error() {
    let server = Server::start([Response::new(200).closing_before_head()]).unwrap();
    let closed = error(&provider(&server)).await;
    assert_eq!(closed.kind, ProviderErrorKind::Network, "{closed}");
    let url = server.base_url().replace("http:", "https:");
    let plain = error(&provider_at(url)).await;
    assert_eq!(plain.kind, ProviderErrorKind::Network, "{plain}");
}

#[tokio::test]
async fn deltas_before_an_error_of_the_decoder_are_delivered() {
    let body = Response::events([word("one") + &word("bad") + &word("two")]);
    let server = Server::start([body]).unwrap();
    let (text, end) = read(&provider(&server)).await;
    assert_eq!(text, "one");
    assert_eq!(end.unwrap_err().kind, ProviderErrorKind::Protocol);
}

#[tokio::test]
async fn a_doubled_or_moved_piece_is_decoded_as_it_came() {
    let events = || Response::events([&*word("one"), &*word("two"), FINISH]);
    let server = Server::start([events().duplicating(0), events().swapping(0, 1)]).unwrap();
    assert_eq!(read(&provider(&server)).await.0, "oneonetwo");
    assert_eq!(read(&provider(&server)).await.0, "twoone");
}
