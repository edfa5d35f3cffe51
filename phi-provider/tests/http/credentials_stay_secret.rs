//! A credential travels in its header and shows nowhere else.

use phi_provider::{Credential, HttpProvider};
use phi_testkit::{Response, Server};
use phi_types::ProviderErrorKind;

use crate::support::{FINISH, Words, error, provider, read, transport, word};

#[tokio::test]
async fn it_is_sent_in_the_header_that_the_wire_names_and_nowhere_else() {
    let server = Server::start([Response::events([&*word("one"), FINISH])]).unwrap();
    read(&provider(&server)).await.1.unwrap();
    let received = &server.received()[0];
    let bearer = Some("Bearer sk-test-secret");
    assert_eq!(received.header("authorization"), bearer);
    let mut rest = received.clone();
    rest.headers
        .retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
    assert!(!format!("{rest:?}").contains("sk-test"), "{rest:?}");
    assert!(!rest.body_text().contains("sk-test"));
}

#[tokio::test]
async fn a_service_that_repeats_it_does_not_bring_it_into_the_error() {
    let server = Server::from_fn(|_, received| {
        let echo = received.header("authorization").unwrap_or_default();
        Response::text(
            401,
            format!("wrong header {echo:?}, wrong key sk-test-secret"),
        )
    })
    .unwrap();
    let error = error(&provider(&server)).await;
    assert_eq!(
        error.message,
        "wrong header \"[credential]\", wrong key [credential]"
    );
}

#[tokio::test]
async fn no_debug_text_shows_it() {
    let server = Server::start([]).unwrap();
    let provider = provider(&server).with_header("X-Extra", "sk-other-secret");
    let shown = format!(
        "{provider:?} {:?} {:?}",
        transport(),
        Credential::key("sk-a")
    );
    assert!(!shown.contains("sk-"), "{shown}");
}

#[tokio::test]
async fn a_header_of_the_user_replaces_the_one_of_the_credential() {
    let server = Server::start([Response::events([FINISH]), Response::events([FINISH])]).unwrap();
    let custom = provider(&server).with_header("Authorization", "Basic abc");
    read(&custom).await.1.unwrap();
    let wire = std::sync::Arc::new(Words {
        base_url: server.base_url(),
    });
    let anonymous = HttpProvider::new(wire, transport(), Credential::Anonymous);
    read(&anonymous).await.1.unwrap();
    let received = server.received();
    assert_eq!(received[0].header("authorization"), Some("Basic abc"));
    assert_eq!(received[1].header("authorization"), None);
}

#[tokio::test]
async fn a_header_that_http_does_not_allow_is_named_without_its_value() {
    let server = Server::start([]).unwrap();
    for (name, value) in [("x-key", "sk-one\r\ntwo: 2"), ("x key", "sk-one")] {
        let error = error(&provider(&server).with_header(name, value)).await;
        assert_eq!(error.kind, ProviderErrorKind::InvalidRequest);
        assert!(error.message.contains(name), "{error}");
        assert!(!error.message.contains("sk-"), "{error}");
    }
    assert_eq!(server.received(), []);
}
