//! A secret that a service refuses is replaced once for all calls that had it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::join_all;
use phi_provider::{
    AwsKeys, Credential, CredentialError, CredentialSource, Environment, HttpProvider,
    IssuedSecret, Secret, Timeouts,
};
use phi_testkit::{Gate, Received, Response, Server, request};
use phi_types::{Provider, ProviderErrorKind};

use crate::support::{FINISH, InMemory, Words, error, provider_with, read, word};

type Issued = Result<IssuedSecret, CredentialError>;

/// Gives out what a test wrote down, and counts how often it is asked.
#[derive(Clone, Default)]
struct Source {
    answers: Arc<Mutex<VecDeque<Issued>>>,
    asked: Arc<AtomicUsize>,
    /// How many requests arrive before another secret is given out.
    waits: Option<(Arc<Server>, usize)>,
    gate: Option<Gate>,
    /// Opens when another secret is asked for and all of the requests arrived.
    begun: Gate,
}

impl Source {
    fn giving(answers: impl IntoIterator<Item = Issued>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            ..Self::default()
        }
    }

    fn waiting_for(mut self, server: &Arc<Server>, requests: usize) -> Self {
        self.waits = Some((Arc::clone(server), requests));
        self
    }

    fn waiting_at(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl CredentialSource for Source {
    async fn secret(&self) -> Issued {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let next = self.answers.lock().expect("no panic").pop_front();
        next.expect("an answer")
    }

    async fn refresh(&self, _stale: &Secret) -> Issued {
        if let Some((server, requests)) = &self.waits {
            server.until_received(*requests).await;
        }
        self.begun.open();
        if let Some(gate) = &self.gate {
            gate.passed().await;
        }
        self.secret().await
    }
}

fn key(key: &str) -> Issued {
    Ok(IssuedSecret::new(Secret::key(key)))
}

fn broken() -> Issued {
    Err(CredentialError::Source {
        reason: "the login expired".to_owned(),
    })
}

/// Takes the new key and refuses every other one.
fn refusing_old(_: usize, received: &Received) -> Response {
    match received.header("authorization") {
        Some("Bearer sk-new-secret") => Response::events([&*word("hi"), FINISH]),
        other => Response::text(401, format!("wrong key {other:?}, not sk-new-secret")),
    }
}

fn provider(server: &Server, source: &Source) -> HttpProvider {
    provider_with(server.base_url(), Credential::refreshing(source.clone()))
}

#[tokio::test]
async fn a_hundred_calls_that_are_refused_share_one_replacement() {
    let server = Arc::new(Server::from_fn(refusing_old).unwrap());
    let source = Source::giving([key("sk-old-secret"), key("sk-new-secret")]);
    let source = source.waiting_for(&server, 100);
    let provider = provider(&server, &source);
    let answers = join_all((0..100).map(|_| read(&provider))).await;
    for (text, end) in answers {
        assert_eq!((text.as_str(), end), ("hi", Ok(())));
    }
    assert_eq!(source.asked(), 2, "one first secret, one replacement");
    assert_eq!(server.received().len(), 200);
    assert_eq!(read(&provider).await.0, "hi");
    assert_eq!(server.received().len(), 201, "the new one is kept");
}

#[tokio::test]
async fn a_replacement_that_fails_fails_all_who_wait_for_it() {
    let server = Arc::new(Server::from_fn(refusing_old).unwrap());
    let source = Source::giving([key("sk-old-secret"), broken(), key("sk-new-secret")]);
    let source = source.waiting_for(&server, 20);
    let provider = provider(&server, &source);
    let errors = join_all((0..20).map(|_| error(&provider))).await;
    for error in errors {
        assert_eq!(
            (error.kind, error.status),
            (ProviderErrorKind::Auth, Some(401))
        );
        let message = format!(
            "{} refused the credential with status 401, and there is no other one: there is no \
             credential: the login expired",
            server.address()
        );
        assert_eq!(error.message, message);
    }
    assert_eq!(source.asked(), 2, "the failure is shared");
    assert_eq!(server.received().len(), 20);
    assert_eq!(read(&provider).await.0, "hi", "a later call tries anew");
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_end_the_replacement_of_the_others() {
    // One of them is the one that asked the source.
    for leaving in 0..3 {
        let server = Arc::new(Server::from_fn(refusing_old).unwrap());
        let source = Source::giving([key("sk-old-secret"), key("sk-new-secret")]);
        let (begun, gate) = (source.begun.clone(), Gate::new());
        let source = source.waiting_for(&server, 3).waiting_at(&gate);
        let provider = provider(&server, &source);
        let mut calls: Vec<_> = (0..3)
            .map(|_| Box::pin(provider.stream(request("go")).collect::<Vec<_>>()))
            .collect();
        {
            let waiting = join_all(calls.iter_mut());
            let _unfinished = futures_util::future::select(waiting, Box::pin(begun.passed())).await;
        }
        drop(calls.remove(leaving));
        gate.open();
        for answer in join_all(calls).await {
            assert!(answer.iter().all(Result::is_ok), "{answer:?}");
        }
        assert_eq!(source.asked(), 2);
    }
}

#[tokio::test]
async fn when_all_leave_the_next_call_asks_again() {
    let server = Arc::new(Server::from_fn(refusing_old).unwrap());
    let gate = Gate::new();
    let source = Source::giving([key("sk-old-secret"), key("sk-new-secret")]);
    let provider = provider(&server, &source.clone().waiting_at(&gate));
    let mut call = provider.stream(request("go"));
    {
        let first = Box::pin(call.next());
        let begun = Box::pin(source.begun.passed());
        let _unfinished = futures_util::future::select(first, begun).await;
    }
    drop(call);
    gate.open();
    assert_eq!(read(&provider).await.0, "hi");
    assert_eq!(source.asked(), 2);
}

#[tokio::test]
async fn a_secret_that_did_not_change_is_not_sent_again() {
    let server = Server::from_fn(refusing_old).unwrap();
    let variables = Environment::of(|name| (name == "THE_KEY").then(|| "sk-old-secret".to_owned()));
    let provider = provider_with(server.base_url(), variables.key("THE_KEY"));
    let error = error(&provider).await;
    let wanted = "wrong key Some(\"[credential]\"), not sk-new-secret";
    assert_eq!((&*error.message, error.status), (wanted, Some(401)));
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_request_is_sent_at_most_twice_and_no_error_shows_either_secret() {
    let server = Server::from_fn(|_, _| {
        Response::text(
            401,
            "neither sk-old-secret nor sk-other-secret, sk-other-sec...",
        )
    });
    let server = server.unwrap();
    let source = Source::giving([key("sk-old-secret"), key("sk-other-secret"), broken()]);
    let error = error(&provider(&server, &source)).await;
    assert_eq!(
        error.message,
        "neither [credential] nor [credential], [credential]..."
    );
    assert_eq!(server.received().len(), 2);
    assert_eq!(source.asked(), 2);
}

#[tokio::test]
async fn a_secret_is_replaced_before_it_expires() {
    let server = Server::from_fn(refusing_old).unwrap();
    let now = SystemTime::now();
    let old = |expires_at| key("sk-old-secret").map(|it| it.expiring_at(expires_at));
    let new = |expires_at| key("sk-new-secret").map(|it| it.expiring_at(expires_at));
    let day = Duration::from_secs(86_400);
    let source = Source::giving([old(now), new(now + day)]);
    let provider_of = |source: &Source| provider(&server, source);
    let expired = provider_of(&source);
    // The first secret is used as it came, although it expires at once.
    assert_eq!(read(&expired).await.0, "hi");
    assert_eq!(read(&expired).await.0, "hi");
    assert_eq!(source.asked(), 2);
    assert_eq!(server.received().len(), 3);

    let source = Source::giving([new(now + Duration::from_secs(20)), broken(), broken()]);
    let expiring = provider_of(&source);
    for _ in 0..3 {
        assert_eq!(read(&expiring).await.0, "hi", "it is still good");
    }
    assert_eq!(source.asked(), 3);

    let source = Source::giving([new(now), broken()]);
    let expired = provider_of(&source);
    assert_eq!(read(&expired).await.0, "hi");
    let error = error(&expired).await;
    assert_eq!(error.message, "there is no credential: the login expired");
}

#[tokio::test]
async fn a_missing_secret_is_an_error_before_anything_is_sent() {
    let server = Server::start([]).unwrap();
    let nothing = Environment::of(|_| None);
    for (credential, name) in [
        (nothing.key("THE_KEY"), "THE_KEY"),
        (nothing.token("THE_TOKEN"), "THE_TOKEN"),
        (
            nothing.aws(),
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_BEARER_TOKEN_BEDROCK",
        ),
    ] {
        let error = error(&provider_with(server.base_url(), credential)).await;
        let wanted = format!("there is no key for the service: set {name}");
        assert_eq!(
            (error.kind, error.message),
            (ProviderErrorKind::Auth, wanted)
        );
    }
    assert_eq!(server.received(), []);
}

#[tokio::test]
async fn keys_of_aws_are_replaced_when_they_expired_and_not_when_they_may_not() {
    let keys = |id: &str| {
        Ok(IssuedSecret::new(Secret::Aws(AwsKeys {
            access_key_id: id.to_owned(),
            secret_access_key: "very-secret-key".into(),
            session_token: None,
        })))
    };
    for (kind, requests) in [
        (Some("ExpiredTokenException:http://internal.amazon.com/"), 2),
        (None, 2),
        (Some("AccessDeniedException"), 1),
    ] {
        let server = Server::from_fn(move |_, received| {
            if received.header("x-id") == Some("new") {
                return Response::events([&*word("hi"), FINISH]);
            }
            let refused = Response::text(403, "no");
            match kind {
                Some(kind) => refused.with_header("x-amzn-errortype", kind),
                None => refused,
            }
        })
        .unwrap();
        let source = Source::giving([keys("old"), keys("new")]);
        let (text, _) = read(&provider(&server, &source)).await;
        assert_eq!(server.received().len(), requests, "{kind:?}");
        assert_eq!(text, if requests == 2 { "hi" } else { "" });
    }
}

#[tokio::test]
async fn a_403_of_a_key_and_other_errors_replace_nothing() {
    for status in [400, 403, 429, 500] {
        let server = Server::start([Response::text(status, "no")]).unwrap();
        let source = Source::giving([key("sk-old-secret")]);
        assert_eq!(
            error(&provider(&server, &source)).await.status,
            Some(status)
        );
        assert_eq!((source.asked(), server.received().len()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_is_a_timeout() {
    let base_url = "https://words.test".to_owned();
    let source = Source::giving([key("sk-old-secret")]).waiting_at(&Gate::new());
    let refusing = Arc::new(InMemory::new(401, []));
    let credential = Credential::refreshing(source);
    let provider = HttpProvider::new(Arc::new(Words { base_url }), refusing, credential);
    let timeouts = Timeouts::default().with_first_byte(Duration::from_secs(7));
    let error = error(&provider.with_timeouts(timeouts)).await;
    assert_eq!(error.kind, ProviderErrorKind::Timeout);
    let wanted = "the source of the credential gave none within 7s";
    assert_eq!(error.message, wanted);
}
