//! A delta is delivered when the server has sent it, not when the answer is over.

use futures_util::StreamExt;
use phi_testkit::{Gate, Response, Server, request};
use phi_types::{Delta, Provider, StopReason};

use crate::support::{FINISH, provider, read, word};

#[tokio::test]
async fn the_first_delta_comes_while_the_rest_is_not_sent_yet() {
    let gate = Gate::new();
    let first = word("one");
    let held = Response::events([&*first, FINISH]).gated_after(first.len(), &gate);
    let server = Server::start([held]).unwrap();
    let mut stream = provider(&server).stream(request("go"));
    // The gate is closed: the server can send no more until this delta was seen.
    assert_eq!(stream.next().await, Some(Ok(Delta::text(0, "one"))));
    gate.open();
    let finish = Delta::finish(StopReason::EndTurn);
    assert_eq!(stream.next().await, Some(Ok(finish)));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn what_is_decoded_does_not_depend_on_how_the_body_is_split_and_framed() {
    let events = || Response::events([&*word("zwölf "), ": hi\n\n", &*word("€"), FINISH]);
    let server = Server::start([
        events(),
        events().in_pieces_of(1),
        events().in_pieces_of(3).until_close(),
    ])
    .unwrap();
    for _ in 0..3 {
        let (text, end) = read(&provider(&server)).await;
        end.unwrap();
        assert_eq!(text, "zwölf €");
    }
}
