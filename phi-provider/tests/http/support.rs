//! A small wire, a transport in memory, and how a stream is read whole.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use phi_provider::{
    Credential, CredentialError, Decoder, EncodeError, Encoded, HttpOptions, HttpProvider,
    HttpRequest, HttpResponse, HttpTransport, Limits, ResponseHead, Secret, SecretHeader,
    SseDecoder, Timeouts, Transport, TransportError, Wire,
};
use phi_testkit::{Server, request};
use phi_types::{Delta, Identity, Provider, ProviderError, ProviderErrorKind, Request, StopReason};

/// An event that says a word.
pub(crate) fn word(word: &str) -> String {
    format!("data: {word}\n\n")
}

/// The event that ends an answer.
pub(crate) const FINISH: &str = "event: finish\ndata: x\n\n";

/// A protocol as small as can be: each event is a word, `ping` says nothing, `finish` is the end.
pub(crate) struct Words {
    pub(crate) base_url: String,
}

impl Wire for Words {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: "words",
            provider: "test",
        }
    }

    fn encode(&self, request: &Request) -> Result<Encoded, EncodeError> {
        if request.view.is_empty() {
            return Err(EncodeError::NothingToSend);
        }
        Ok(Encoded {
            request: HttpRequest {
                method: "POST",
                url: format!("{}/words?version=1", self.base_url),
                headers: vec![("content-type", "application/json".to_owned())],
                body: ["{\"say\":", "", "\"words\"", "}"].map(Bytes::from).into(),
            },
            losses: Vec::new(),
        })
    }

    fn decoder(&self, head: &ResponseHead) -> Box<dyn Decoder> {
        Box::new(WordsDecoder {
            head: head.clone(),
            events: SseDecoder::new(Limits::default()),
            body: Vec::new(),
            finished: false,
        })
    }

    fn authorize(
        &self,
        _request: &HttpRequest,
        secret: &Secret,
        _at: SystemTime,
    ) -> Result<Vec<SecretHeader>, CredentialError> {
        match secret {
            Secret::Key(key) => Ok(vec![SecretHeader::bearer(key)]),
            Secret::Aws(keys) => Ok(vec![SecretHeader::new("x-id", &*keys.access_key_id)]),
            other => Err(CredentialError::Unusable {
                protocol: "words",
                found: other.kind(),
                wanted: "a key or keys of AWS",
            }),
        }
    }
}

struct WordsDecoder {
    head: ResponseHead,
    events: SseDecoder,
    body: Vec<u8>,
    finished: bool,
}

impl Decoder for WordsDecoder {
    fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        if !self.head.is_success() {
            self.body.extend_from_slice(bytes);
            return Ok(());
        }
        let finished = &mut self.finished;
        self.events.push(bytes, |event| {
            match (event.name, event.data) {
                ("ping", _) => {}
                ("finish", _) => {
                    *finished = true;
                    deltas.push(Delta::finish(StopReason::EndTurn));
                }
                (_, "bad") => {
                    let error = ProviderError::new(ProviderErrorKind::Protocol, "a bad word");
                    return Err(error);
                }
                (_, word) => deltas.push(Delta::text(0, word)),
            }
            Ok(())
        })
    }

    fn end(&mut self, _deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        if !self.head.is_success() {
            let message = String::from_utf8_lossy(&self.body).into_owned();
            let error = ProviderError::new(ProviderErrorKind::Server, message);
            return Err(error.with_status(self.head.status));
        }
        if self.finished {
            return Ok(());
        }
        Err(ProviderError::new(
            ProviderErrorKind::Incomplete,
            "no finish",
        ))
    }
}

/// Timeouts that a test can wait for in real time.
pub(crate) fn short() -> Timeouts {
    let short = Duration::from_millis(80);
    Timeouts::default()
        .with_first_byte(short)
        .with_idle(short)
        .with_settle(short)
}

/// One transport for all tests, because reading the certificates of the system takes time.
pub(crate) fn transport() -> Arc<HttpTransport> {
    static TRANSPORT: OnceLock<Arc<HttpTransport>> = OnceLock::new();
    let transport = || Arc::new(HttpTransport::new(HttpOptions::default()).expect("a transport"));
    Arc::clone(TRANSPORT.get_or_init(transport))
}

pub(crate) fn provider_at(base_url: String) -> HttpProvider {
    provider_with(base_url, Credential::key("sk-test-secret"))
}

pub(crate) fn provider_with(base_url: String, credential: Credential) -> HttpProvider {
    HttpProvider::new(Arc::new(Words { base_url }), transport(), credential)
}

pub(crate) fn provider(server: &Server) -> HttpProvider {
    provider_at(server.base_url())
}

/// Reads a stream to its end: the text, and the error if there was one. Nothing follows an error.
pub(crate) async fn read(provider: &impl Provider) -> (String, Result<(), ProviderError>) {
    read_request(provider, request("go")).await
}

/// Reads the stream of a request as [`read`] does.
pub(crate) async fn read_request(
    provider: &impl Provider,
    request: Request,
) -> (String, Result<(), ProviderError>) {
    let mut stream = provider.stream(request);
    let mut text = String::new();
    while let Some(delta) = stream.next().await {
        match delta {
            Ok(Delta::Text(delta)) => text.push_str(&delta.text),
            Ok(_) => {}
            Err(error) => {
                assert!(stream.next().await.is_none(), "something follows an error");
                return (text, Err(error));
            }
        }
    }
    (text, Ok(()))
}

/// Reads a stream to its error.
pub(crate) async fn error(provider: &impl Provider) -> ProviderError {
    let (text, end) = read(provider).await;
    end.expect_err(&format!("an error after {text:?}"))
}

/// What a transport in memory does.
pub(crate) enum Step {
    Give(String),
    Wait(Duration),
    Break,
    Hang,
}

/// A transport in memory that answers once.
pub(crate) struct InMemory {
    head: ResponseHead,
    before_head: Duration,
    steps: Mutex<Vec<Step>>,
    endless: Option<&'static str>,
}

impl InMemory {
    pub(crate) fn new(status: u16, steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            head: ResponseHead::new(status),
            before_head: Duration::ZERO,
            steps: Mutex::new(steps.into_iter().collect()),
            endless: None,
        }
    }

    /// Waits before the head.
    pub(crate) fn answering_after(mut self, before_head: Duration) -> Self {
        self.before_head = before_head;
        self
    }

    /// After the steps, has the same bytes ready whenever it is asked.
    pub(crate) fn then_endlessly(mut self, bytes: &'static str) -> Self {
        self.endless = Some(bytes);
        self
    }

    pub(crate) fn provider(self) -> HttpProvider {
        let base_url = "https://words.test".to_owned();
        self.provider_of(Arc::new(Words { base_url }))
    }

    pub(crate) fn provider_of(self, wire: Arc<dyn Wire>) -> HttpProvider {
        HttpProvider::new(wire, Arc::new(self), Credential::Anonymous)
    }
}

#[async_trait]
impl Transport for InMemory {
    async fn send(
        &self,
        _request: HttpRequest,
        _secrets: Vec<SecretHeader>,
    ) -> Result<HttpResponse, TransportError> {
        tokio::time::sleep(self.before_head).await;
        let steps = std::mem::take(&mut *self.steps.lock().expect("no panic"));
        let steps = stream::iter(steps).filter_map(|step| async {
            match step {
                Step::Give(text) => Some(Ok(Bytes::from(text))),
                Step::Wait(duration) => {
                    tokio::time::sleep(duration).await;
                    None
                }
                Step::Break => Some(Err(TransportError::Broken {
                    host: "words.test".to_owned(),
                    reason: "reset".to_owned(),
                })),
                Step::Hang => std::future::pending().await,
            }
        });
        let endless = stream::repeat_with({
            let bytes = self.endless.unwrap_or_default();
            move || Ok(Bytes::from_static(bytes.as_bytes()))
        });
        let endless = endless.take(if self.endless.is_some() {
            usize::MAX
        } else {
            0
        });
        Ok(HttpResponse {
            head: self.head.clone(),
            body: Box::pin(steps.chain(endless)),
        })
    }
}
