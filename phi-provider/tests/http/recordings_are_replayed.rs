//! What passed through a transport is recorded without secrets, and replayed byte for byte.

use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use phi_provider::{
    Cassette, CassetteError, Credential, HttpProvider, HttpRequest, ResponseHead, SecretHeader,
    Transport, TransportError,
};
use phi_testkit::{ClosedPort, Response, Server, request};
use phi_types::{Provider, ProviderErrorKind};
use tempfile::TempDir;

use crate::support::{FINISH, InMemory, Step, Words, error, read, transport, word};

fn folder() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("words.jsonl");
    (folder, path)
}

fn words(base_url: &str, transport: impl Transport + 'static) -> HttpProvider {
    let base_url = base_url.to_owned();
    let key = Credential::key("sk-test-secret");
    HttpProvider::new(Arc::new(Words { base_url }), Arc::new(transport), key)
}

fn sent(url: &str, body: &str) -> HttpRequest {
    HttpRequest {
        method: "POST",
        url: url.to_owned(),
        headers: vec![
            ("content-type", "text/plain".to_owned()),
            ("x-api-key", "sk-x".to_owned()),
        ],
        body: vec![body.to_owned().into()],
    }
}

type Answer = Result<(ResponseHead, Vec<Result<Vec<u8>, TransportError>>), TransportError>;

/// Sends a request and reads the pieces of its answer.
async fn pieces(transport: &impl Transport, request: HttpRequest) -> Answer {
    let secret = SecretHeader::new("authorization", "Bearer sk-test-secret");
    let response = transport.send(request, vec![secret]).await?;
    let body = response.body.map(|piece| piece.map(|bytes| bytes.to_vec()));
    Ok((response.head, body.collect().await))
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).expect("a file");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

#[tokio::test]
async fn a_provider_reads_from_a_recording_what_it_read_from_the_network() {
    let (_folder, path) = folder();
    let server = Server::start([
        Response::events([&*word("one"), ": ping\n\n", &*word("two"), FINISH]),
        Response::text(429, "slow down").with_header("retry-after", "2"),
        Response::events([word("half")]).cut_after(10),
    ])
    .unwrap();
    let recorder = Cassette::record(transport(), &path);
    let live = words(&server.base_url(), recorder.clone());
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(read(&live).await);
    }
    recorder.finished().unwrap();
    drop(server);
    let replay = Cassette::replay(&path).unwrap();
    let unused = Err(CassetteError::Unused { count: 3 });
    assert_eq!(replay.finished(), unused);
    let dry = words(&live_url(&path), replay.clone());
    for wanted in heard {
        assert_eq!(read(&dry).await, wanted);
    }
    replay.finished().unwrap();
    let error = error(&dry).await;
    assert_eq!(error.kind, ProviderErrorKind::InvalidRequest);
    assert!(
        error
            .message
            .starts_with("the recording has no exchange left for POST http://127")
    );
}

/// Returns the base address of the first exchange.
fn live_url(path: &Path) -> String {
    let lines = lines(path);
    let url = lines
        .get(1)
        .and_then(|line| line.pointer("/request/url")?.as_str());
    let url = url.expect("an address");
    let (base, _) = url.split_once("/words").expect("a path");
    base.to_owned()
}

#[tokio::test]
async fn pieces_and_bytes_stay_as_they_came() {
    let (_folder, path) = folder();
    let url = "https://words.test/x";
    let inner = InMemory::new(
        200,
        ["a\u{e9}", "", "b\r\n"].map(|it| Step::Give(it.to_owned())),
    );
    let recorder = Cassette::record(Arc::new(inner), &path);
    let recorded = pieces(&recorder, sent(url, "\u{1F600}")).await.unwrap();
    let replay = Cassette::replay(&path).unwrap();
    let replayed = pieces(&replay, sent(url, "\u{1F600}")).await.unwrap();
    assert_eq!(recorded, replayed);
    assert_eq!(replayed.1.len(), 3);

    let server =
        Server::start([Response::new(200).with_pieces([&b"\xff\xfe"[..], b"\xc3", b"\xa9"])]);
    let server = server.unwrap();
    let recorder = Cassette::record(transport(), &path);
    let recorded = pieces(&recorder, sent(&server.base_url(), "x"))
        .await
        .unwrap();
    let replay = Cassette::replay(&path).unwrap();
    assert_eq!(
        pieces(&replay, sent(&server.base_url(), "x"))
            .await
            .unwrap(),
        recorded
    );
}

#[tokio::test]
async fn a_recording_holds_no_secret() {
    let (_folder, path) = folder();
    let steps = ["you sent Bearer sk-te", "st-secret and sk-test-secret"];
    let inner = InMemory::new(200, steps.map(|it| Step::Give(it.to_owned())));
    let recorder = Cassette::record(Arc::new(inner), &path);
    let asked = sent(
        "https://words.test/x?k=sk-test-secret",
        "it is sk-test-secret",
    );
    let (_, heard) = pieces(&recorder, asked.clone()).await.unwrap();
    assert_eq!(
        heard[0].as_ref().unwrap(),
        b"you sent Bearer sk-te",
        "the caller sees all"
    );
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        !text.contains("sk-") && !text.contains("authorization"),
        "{text}"
    );
    let exchange = &lines(&path)[1];
    let headers = serde_json::json!([["content-type", "text/plain"]]);
    assert_eq!(exchange["request"]["headers"], headers);
    let chunks = serde_json::json!(["you sent ************", "********* and **************"]);
    assert_eq!(exchange["answer"]["response"]["chunks"], chunks);
    let replay = Cassette::replay(&path).unwrap();
    assert!(
        pieces(&replay, asked).await.is_ok(),
        "the same request is found"
    );
}

#[tokio::test]
async fn failures_of_the_network_and_broken_bodies_are_replayed() {
    let (_folder, path) = folder();
    let closed = ClosedPort::take().unwrap();
    let recorder = Cassette::record(transport(), &path);
    let refused = pieces(&recorder, sent(&closed.base_url(), "x"))
        .await
        .unwrap_err();
    let replay = Cassette::replay(&path).unwrap();
    let again = pieces(&replay, sent(&closed.base_url(), "x"))
        .await
        .unwrap_err();
    assert_eq!(refused, again);
    assert!(matches!(again, TransportError::Connect { .. }), "{again}");

    let inner = InMemory::new(200, [Step::Give("a".to_owned()), Step::Break]);
    let recorder = Cassette::record(Arc::new(inner), &path);
    let url = "https://words.test/x";
    pieces(&recorder, sent(url, "x")).await.unwrap();
    let replay = Cassette::replay(&path).unwrap();
    let (_, heard) = pieces(&replay, sent(url, "x")).await.unwrap();
    assert!(
        matches!(heard[1], Err(TransportError::Broken { .. })),
        "{heard:?}"
    );
}

#[tokio::test]
async fn requests_are_found_in_any_order_or_kept_to_theirs() {
    let (_folder, path) = folder();
    let url = "https://words.test/x";
    let answering = |text: &str| {
        let inner = InMemory::new(200, [Step::Give(text.to_owned())]);
        Cassette::record(Arc::new(inner), &path)
    };
    // One transport in memory answers once, so each exchange has its file, and they are joined.
    let mut all = String::new();
    for (asked, answer) in [("a", "1"), ("b", "2"), ("a", "3")] {
        pieces(&answering(answer), sent(url, asked)).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let (first, exchange) = text.split_once('\n').unwrap();
        if all.is_empty() {
            all.push_str(first);
            all.push('\n');
        }
        all.push_str(exchange);
    }
    std::fs::write(&path, all).unwrap();
    let free = Cassette::replay(&path).unwrap();
    for (asked, answer) in [("b", "2"), ("a", "1"), ("a", "3")] {
        let (_, heard) = pieces(&free, sent(url, asked)).await.unwrap();
        assert_eq!(heard, [Ok(answer.as_bytes().to_vec())]);
    }
    let strict = Cassette::replay(&path).unwrap().in_order();
    let error = pieces(&strict, sent(url, "b")).await.unwrap_err();
    let mismatch = CassetteError::Mismatch {
        number: 1,
        difference: "the body differs at byte 0: recorded `a`, asked `b`".to_owned(),
    };
    assert_eq!(error, TransportError::Recording(mismatch));
    assert!(pieces(&strict, sent(url, "a")).await.is_ok());
}

#[tokio::test]
async fn the_first_difference_is_shown_of_what_is_most_alike() {
    let (_folder, path) = folder();
    let inner = InMemory::new(200, [Step::Give("x".to_owned())]);
    let recorder = Cassette::record(Arc::new(inner), &path);
    let long = format!("{}1{}", "a".repeat(100), "b".repeat(100));
    pieces(&recorder, sent("https://words.test/x", &long))
        .await
        .unwrap();
    let replay = Cassette::replay(&path).unwrap();
    let other = long.replace('1', "2");
    for (url, body, wanted) in [
        (
            "https://words.test/x",
            &*other,
            format!(
                "the body differs at byte 100: recorded `...{a}1{b}...`, asked `...{a}2{b}...`",
                a = "a".repeat(24),
                b = "b".repeat(47)
            ),
        ),
        (
            "https://words.test/x",
            &long[..200],
            format!(
                "the body differs at byte 200: recorded `...{b}b`, asked `...{b}`",
                b = "b".repeat(24)
            ),
        ),
        (
            "https://words.test/y",
            &*long,
            "it went to https://words.test/x, and https://words.test/y is asked".to_owned(),
        ),
    ] {
        let error = pieces(&replay, sent(url, body)).await.unwrap_err();
        let mismatch = CassetteError::Mismatch {
            number: 1,
            difference: wanted,
        };
        assert_eq!(error, TransportError::Recording(mismatch));
    }
    assert!(
        pieces(&replay, sent("https://words.test/x", &long))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_body_that_was_left_is_recorded_as_far_as_it_was_read() {
    let (_folder, path) = folder();
    let inner = InMemory::new(200, [Step::Give(word("one")), Step::Hang]);
    let recorder = Cassette::record(Arc::new(inner), &path);
    let provider = words("https://words.test", recorder);
    let mut stream = provider.stream(request("go"));
    assert!(stream.next().await.is_some());
    assert!(!path.exists(), "nothing is over yet");
    drop(stream);
    let answer = &lines(&path)[1]["answer"]["response"];
    assert_eq!(
        (answer["end"].as_str(), answer["chunks"][0].as_str()),
        (Some("left"), Some("data: one\n\n"))
    );
}

#[tokio::test]
async fn what_cannot_be_read_or_written_is_told() {
    let (folder, path) = folder();
    let nowhere = folder.path().join("no/such/folder.jsonl");
    let inner = InMemory::new(200, [Step::Give("x".to_owned())]);
    let recorder = Cassette::record(Arc::new(inner), &nowhere);
    assert!(
        pieces(&recorder, sent("https://words.test", "x"))
            .await
            .is_ok()
    );
    let error = recorder.finished().unwrap_err();
    assert!(matches!(error, CassetteError::Unwritable { .. }), "{error}");
    let next = pieces(&recorder, sent("https://words.test", "x")).await;
    assert_eq!(next.unwrap_err(), TransportError::Recording(error));
    let unreadable = |text: &str| {
        std::fs::write(&path, text).expect("a file");
        Cassette::replay(&path).unwrap_err().to_string()
    };
    for (text, wanted) in [
        ("", "line 1: it does not say that it is a recording"),
        (
            "{\"format\":\"phi-cassette\",\"version\":2}",
            "of version 2, and",
        ),
        (
            "{\"format\":\"phi-cassette\",\"version\":1}\n{}",
            "line 2: missing field `request`",
        ),
    ] {
        let error = unreadable(text);
        assert!(error.contains(wanted), "{error}");
    }
    assert!(Cassette::replay(&nowhere).is_err());
}
