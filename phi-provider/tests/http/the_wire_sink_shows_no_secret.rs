//! The raw bytes of an exchange are shown, and no secret with them.

use std::io::Write;
use std::sync::{Arc, Mutex};

use phi_provider::{Credential, HttpProvider, TransportError, WireEvent, WireSink};
use phi_testkit::{ClosedPort, Response, Server};

use crate::support::{FINISH, Words, read, transport, word};

fn words(base_url: String, sink: WireSink) -> HttpProvider {
    let key = Credential::key("sk-test-secret");
    HttpProvider::new(Arc::new(Words { base_url }), Arc::new(sink), key)
}

#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<(u64, WireEvent)>>>);

impl Shown {
    fn sink(&self) -> WireSink {
        let log = self.clone();
        WireSink::new(transport(), move |exchange, event| {
            log.0
                .lock()
                .expect("no panic")
                .push((exchange, event.clone()));
        })
    }

    fn take(&self) -> Vec<(u64, WireEvent)> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

#[tokio::test]
async fn requests_heads_bodies_and_ends_are_shown_with_stars_for_secrets() {
    let echo = word("sk-test-secret");
    let server = Server::start([
        Response::events([&*word("one"), &*echo, FINISH])
            .in_pieces_of(3)
            .with_header("set-cookie", "a=b"),
        Response::events([FINISH]),
    ])
    .unwrap();
    let shown = Shown::default();
    let provider = words(server.base_url(), shown.sink());
    let (text, _) = read(&provider).await;
    assert_eq!(text, "onesk-test-secret", "the caller sees all");
    let events = shown.take();
    assert!(events.iter().all(|(exchange, _)| *exchange == 0));
    let (_, WireEvent::Request(request)) = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(request.body_bytes(), b"{\"say\":\"words\"}");
    let (_, WireEvent::Head(head)) = &events[1] else {
        panic!("{events:?}")
    };
    assert_eq!((head.status, head.header("set-cookie")), (200, None));
    let bytes = events.iter().filter_map(|(_, event)| match event {
        WireEvent::Bytes(bytes) => Some(&**bytes),
        _ => None,
    });
    let body = String::from_utf8(bytes.collect::<Vec<_>>().concat()).unwrap();
    assert_eq!(
        body,
        format!("{}{}{FINISH}", word("one"), word("**************"))
    );
    assert_eq!(events.last().unwrap().1, WireEvent::Ended(None));
    assert!(!format!("{events:?}").contains("sk-"), "{events:?}");
    read(&provider).await.1.unwrap();
    assert!(shown.take().iter().all(|(exchange, _)| *exchange == 1));
}

#[tokio::test]
async fn a_failure_is_an_end_too() {
    let closed = ClosedPort::take().unwrap();
    let shown = Shown::default();
    let provider = words(closed.base_url(), shown.sink());
    read(&provider).await.1.unwrap_err();
    let events = shown.take();
    let [
        (_, WireEvent::Request(_)),
        (_, WireEvent::Ended(Some(error))),
    ] = &*events
    else {
        panic!("{events:?}")
    };
    assert!(matches!(error, TransportError::Connect { .. }), "{error}");
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_writer_gets_an_exchange_as_text() {
    let server = Server::start([Response::events([&*word("sk-test-secret"), FINISH])]).unwrap();
    let buffer = Buffer::default();
    let sink = WireSink::to_writer(transport(), buffer.clone());
    read(&words(server.base_url(), sink)).await.1.unwrap();
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    let url = format!("#0 > POST {}/words?version=1\n", server.base_url());
    assert!(text.starts_with(&url), "{text}");
    for wanted in [
        "{\"say\":\"words\"}\n",
        "#0 < 200\n",
        "data: **************\n\n",
        "\n#0 end\n",
    ] {
        assert!(text.contains(wanted), "{text}");
    }
}
