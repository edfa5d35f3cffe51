//! A request is sent once and whole, connections are shared, and a dropped stream closes its own.

use futures_util::{FutureExt, StreamExt};
use phi_testkit::{Response, Server, request};
use phi_types::Provider;

use crate::support::{FINISH, error, provider, read, word};

#[tokio::test]
async fn the_chunks_of_a_body_are_one_body_with_a_length() {
    let server = Server::start([Response::events([FINISH])]).unwrap();
    read(&provider(&server)).await.1.unwrap();
    let received = &server.received()[0];
    assert_eq!(
        (&*received.method, &*received.path),
        ("POST", "/words?version=1")
    );
    assert_eq!(received.body_text(), "{\"say\":\"words\"}");
    assert_eq!(received.header("content-length"), Some("15"));
    assert_eq!(received.header("transfer-encoding"), None);
    assert_eq!(received.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection() {
    let server = Server::from_fn(|_, _| Response::events([FINISH])).unwrap();
    let provider = provider(&server);
    for _ in 0..3 {
        read(&provider).await.1.unwrap();
    }
    let connections: Vec<usize> = server.received().iter().map(|it| it.connection).collect();
    assert_eq!(connections, [0, 0, 0]);
}

#[tokio::test]
async fn a_failed_request_is_not_sent_again() {
    let server = Server::from_fn(|n, _| match n {
        0 => Response::events([FINISH]),
        1 => Response::text(503, "busy"),
        _ => Response::new(200).closing_before_head(),
    })
    .unwrap();
    let provider = provider(&server);
    read(&provider).await.1.unwrap();
    error(&provider).await;
    error(&provider).await;
    assert_eq!(server.received().len(), 3);
}

#[tokio::test]
async fn a_stream_that_is_not_polled_sends_nothing() {
    let server = Server::start([]).unwrap();
    drop(provider(&server).stream(request("go")));
    assert_eq!(server.until_received(1).now_or_never(), None);
}

#[tokio::test]
async fn a_dropped_stream_closes_its_connection() {
    let server = Server::start([
        Response::events([word("one")]).stalling_after(word("one").len()),
        Response::new(200).never(),
    ])
    .unwrap();
    let provider = provider(&server);
    let mut reading = provider.stream(request("go"));
    reading.next().await.unwrap().unwrap();
    drop(reading);
    server.until_abandoned(1).await;
    let mut sending = provider.stream(request("go"));
    tokio::select! {
        delta = sending.next() => panic!("an answer that was never sent: {delta:?}"),
        () = server.until_received(2) => {}
    }
    drop(sending);
    server.until_abandoned(2).await;
}
