//! A service that fails ends the run with one line, exit code 1 and a stored session.

use phi_testkit::{ClosedPort, Response, Server};

use crate::support::{Ran, Scratch};

const KEY: &str = "sk-a-key-that-nobody-may-see";

const PROTOCOLS: [(&str, &str); 2] = [
    ("anthropic-messages", "ANTHROPIC_API_KEY"),
    ("openai-chat", "OPENAI_API_KEY"),
];

fn run(scratch: &Scratch, (protocol, variable): (&str, &str), base_url: &str) -> Ran {
    let start = [
        "run",
        "Hi.",
        "--session",
        protocol,
        "--model",
        "m",
        "--protocol",
        protocol,
    ];
    let mut command = scratch.command(start);
    command.args(["--base-url", base_url]).env(variable, KEY);
    Ran::of(command.output().unwrap())
}

#[track_caller]
fn failed(scratch: &Scratch, protocol: &str, ran: &Ran, words: &[&str]) {
    let line = ran.failure(1);
    for word in words {
        assert!(line.contains(word), "no {word:?}: {line}");
    }
    assert!(!ran.err.contains(KEY) && !ran.out.contains(KEY), "{ran:?}");
    assert_eq!(scratch.listed(protocol)["status"], "failed");
    assert_eq!(phi::replay(&scratch.stored(protocol)), Ok(1));
}

#[test]
fn a_wrong_key_names_its_variable_and_is_sent_once() {
    for protocol in PROTOCOLS {
        let scratch = Scratch::new();
        let body = format!("{{\"error\":{{\"message\":\"no such key: {KEY}\"}}}}");
        let server = Server::start([Response::json(401, body)]).unwrap();
        let ran = run(&scratch, protocol, &server.base_url());
        failed(&scratch, protocol.0, &ran, &["auth", protocol.1]);
        assert_eq!(server.received().len(), 1);
    }
}

#[test]
fn a_page_in_place_of_an_answer_points_to_the_base_url() {
    for protocol in PROTOCOLS {
        let scratch = Scratch::new();
        let page = "<!doctype html>\n<html><body>Welcome to the router</body></html>";
        let server = Server::start([Response::html(200, page)]).unwrap();
        let ran = run(&scratch, protocol, &server.base_url());
        failed(&scratch, protocol.0, &ran, &["web page", "--base-url"]);
    }
}

#[test]
fn a_model_that_the_service_does_not_have_points_to_its_option() {
    let scratch = Scratch::new();
    let body = r#"{"error":{"message":"no model m","type":"invalid_request_error"}}"#;
    let server = Server::start([Response::json(404, body)]).unwrap();
    let ran = run(&scratch, PROTOCOLS[1], &server.base_url());
    failed(&scratch, "openai-chat", &ran, &["no model m", "--model"]);
}

#[test]
fn an_answer_over_http_is_printed_and_headers_are_sent() {
    let scratch = Scratch::new();
    let event = |json: &str| format!("data: {json}\n\n");
    let server = Server::start([Response::events([
        event(r#"{"id":"1","choices":[{"index":0,"delta":{"content":"Hello."}}]}"#),
        event(r#"{"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#),
        event("[DONE]"),
    ])])
    .unwrap();
    let base_url = format!("{}/v1", server.base_url());
    let start = [
        "run",
        "Hi.",
        "--protocol",
        "openai-chat",
        "--model",
        "m",
        "--base-url",
        &base_url,
    ];
    // A service at an address of its own needs no key.
    let ran = scratch.phi(start.into_iter().chain(["--header", "x-team: blue"]));
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "Hello.\n"),
        "{ran:?}"
    );
    let received = server.received();
    assert_eq!(received[0].path, "/v1/chat/completions");
    assert_eq!(received[0].header("x-team"), Some("blue"));
    assert_eq!(received[0].header("authorization"), None);
}

#[test]
fn a_host_that_does_not_answer_is_named() {
    let scratch = Scratch::new();
    let port = ClosedPort::take().unwrap();
    let ran = run(&scratch, PROTOCOLS[0], &port.base_url());
    failed(
        &scratch,
        "anthropic-messages",
        &ran,
        &["127.0.0.1", "--base-url"],
    );
}
