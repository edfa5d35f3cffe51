//! What a client sees of each fault, byte for byte.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use futures_util::FutureExt;
use phi_testkit::{ClosedPort, Gate, Response, Server, block_on};

fn send(server: &Server) -> TcpStream {
    let mut client = TcpStream::connect(server.address()).expect("the server listens");
    let request = b"POST /v1/chat HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    client.write_all(request).expect("the server reads");
    client
}

fn read_to_end(client: &mut TcpStream) -> (String, io::Result<usize>) {
    let mut all = Vec::new();
    let end = client.read_to_end(&mut all);
    (String::from_utf8(all).expect("text"), end)
}

fn read_exactly(client: &mut TcpStream, bytes: usize) -> String {
    let mut all = vec![0; bytes];
    client.read_exact(&mut all).expect("so many bytes come");
    String::from_utf8(all).expect("text")
}

/// What a client reads of one response until the connection ends.
fn body(response: Response) -> String {
    let server = Server::start([response.until_close()]).expect("a free port");
    let (all, end) = read_to_end(&mut send(&server));
    end.expect("a clean end");
    let (_, body) = all.split_once("\r\n\r\n").expect("a head");
    body.to_owned()
}

#[test]
fn each_framing_ends_as_http_says_and_connections_are_kept_alive() {
    let server = Server::start([
        Response::json(200, "{}"),
        Response::events(["data: 1\n\n", "data: 22222\n\n"]),
        Response::text(429, "slow down")
            .with_header("retry-after", "7")
            .until_close(),
    ])
    .unwrap();
    let mut client = send(&server);
    let first =
        "HTTP/1.1 200 Scripted\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(read_exactly(&mut client, first.len()), first);
    client
        .write_all(b"GET /two HTTP/1.1\r\n\r\nGET /three HTTP/1.1\r\n\r\n")
        .unwrap();
    let (rest, end) = read_to_end(&mut client);
    end.unwrap();
    assert_eq!(
        rest,
        "HTTP/1.1 200 Scripted\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
         9\r\ndata: 1\n\n\r\nd\r\ndata: 22222\n\n\r\n0\r\n\r\n\
         HTTP/1.1 429 Scripted\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 7\r\n\
         connection: close\r\n\r\nslow down"
    );
    let paths: Vec<String> = server.received().into_iter().map(|it| it.path).collect();
    assert_eq!(paths, ["/v1/chat", "/two", "/three"]);
    assert!(server.received().iter().all(|it| it.connection == 0));
    let first = &server.received()[0];
    assert_eq!((&*first.method, &*first.body_text()), ("POST", "{}"));
}

#[test]
fn pieces_are_cut_doubled_and_exchanged() {
    let pieces = || Response::new(200).with_pieces(["one ", "two ", "three "]);
    assert_eq!(body(pieces().in_pieces_of(1)), "one two three ");
    assert_eq!(
        body(pieces().duplicating(1).duplicating(9)),
        "one two two three "
    );
    assert_eq!(
        body(pieces().swapping(0, 2).swapping(0, 9)),
        "three two one "
    );
    assert_eq!(body(pieces().cut_after(6)), "one tw");
    assert_eq!(body(pieces().cut_after(0)), "");
}

#[test]
fn a_cut_is_a_clean_end_and_a_reset_is_not() {
    let response = || Response::events(["data: 1\n\n", "data: 2\n\n"]);
    let server = Server::start([
        response().cut_after(9),
        response().reset_after(9),
        response().closing_before_head(),
    ])
    .unwrap();
    let (cut, end) = read_to_end(&mut send(&server));
    end.unwrap();
    assert!(cut.ends_with("\r\n\r\n9\r\ndata: 1\n\n\r\n"), "{cut}");
    let (_, end) = read_to_end(&mut send(&server));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let (nothing, end) = read_to_end(&mut send(&server));
    assert_eq!((&*nothing, end.unwrap()), ("", 0));
}

#[test]
fn a_gate_holds_the_rest_back_and_a_stall_lasts_until_the_client_goes() {
    let gate = Gate::new();
    let response = || Response::new(200).with_body("onetwo");
    let server = Server::start([
        response().gated_after(3, &gate),
        response().stalling_after(3),
        response().never(),
    ])
    .unwrap();
    let head = "HTTP/1.1 200 Scripted\r\ncontent-length: 6\r\n\r\n";
    let mut client = send(&server);
    let first = read_exactly(&mut client, head.len() + 3);
    assert_eq!(first, format!("{head}one"));
    gate.open();
    assert_eq!(read_exactly(&mut client, 3), "two");
    let mut client = send(&server);
    assert_eq!(read_exactly(&mut client, head.len() + 3), first);
    assert_eq!(server.until_abandoned(1).now_or_never(), None);
    drop(client);
    block_on(server.until_abandoned(1));
    drop(send(&server));
    block_on(server.until_abandoned(2));
    block_on(server.until_received(3));
}

#[test]
fn keep_alive_comments_come_until_the_client_goes() {
    let every = Duration::from_millis(1);
    let response = Response::new(200)
        .until_close()
        .then_endlessly(": hi\n\n", every);
    let server = Server::start([response]).unwrap();
    let mut client = send(&server);
    let all = read_exactly(&mut client, 200);
    assert!(all.contains(": hi\n\n: hi\n\n: hi\n\n"), "{all}");
    drop(client);
    block_on(server.until_abandoned(1));
}

#[test]
fn a_dropped_server_lets_go_of_every_client() {
    let gate = Gate::new();
    let every = Duration::from_secs(1_000_000);
    let server = Server::start([
        Response::new(200).never(),
        Response::new(200).with_body("x").gated_after(0, &gate),
        Response::new(200).then_endlessly("x", every),
    ])
    .unwrap();
    let mut clients: Vec<TcpStream> = (1..=3)
        .map(|n| {
            let client = send(&server);
            block_on(server.until_received(n));
            client
        })
        .collect();
    let idle = TcpStream::connect(server.address()).unwrap();
    drop(server);
    for client in &mut clients {
        drop(read_to_end(client));
    }
    drop(idle);
}

#[test]
fn a_request_beyond_the_script_and_what_is_no_request_are_told_so() {
    let server = Server::start([]).unwrap();
    let (answer, _) = {
        let mut client = send(&server);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        read_to_end(&mut client)
    };
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(
        answer.ends_with("no response left for request 0: add one"),
        "{answer}"
    );
    let mut client = TcpStream::connect(server.address()).unwrap();
    client.write_all(b"hello\r\n\r\n").unwrap();
    let (answer, _) = read_to_end(&mut client);
    assert!(answer.ends_with("\"hello\" is no request line"), "{answer}");
}

#[test]
fn a_function_answers_by_what_was_asked() {
    let server = Server::from_fn(|n, received| {
        Response::text(
            200,
            format!("{n} {}", received.header("Host").unwrap_or("-")),
        )
        .until_close()
    })
    .unwrap();
    for n in 0..2 {
        let (answer, _) = read_to_end(&mut send(&server));
        assert!(answer.ends_with(&format!("\r\n\r\n{n} x")), "{answer}");
    }
}

#[test]
fn a_closed_port_refuses_connections() {
    let port = ClosedPort::take().unwrap();
    let url = port.base_url();
    let refused = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
