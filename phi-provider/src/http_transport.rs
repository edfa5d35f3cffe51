//! The transport on reqwest: HTTP/1.1 over TCP or rustls.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http_body::{Frame, SizeHint};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::ExposeSecret;

use crate::credential::SecretHeader;
use crate::transport::{HttpResponse, Transport, TransportError};
use crate::wire::{HttpRequest, ResponseHead};

/// Sends requests by reqwest. A clone shares its connections.
///
/// - HTTP/1.1, plain or over rustls; certificates are checked against those that the system trusts
///   (on Linux also `SSL_CERT_FILE` and `SSL_CERT_DIR`).
/// - Redirects are not followed, nothing is sent a second time, answers are asked for uncompressed.
/// - The proxies of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` are used, but never for
///   a host on this machine (`localhost`, 127.0.0.0/8, `::1`).
/// - An address with a user name or a password in it is refused.
///
/// It needs a tokio runtime with time and I/O.
#[derive(Clone)]
pub struct HttpTransport {
    remote: Client,
    local: Client,
    connect_timeout: Duration,
    /// Why no certificate of the system is trusted.
    distrust: Option<Arc<str>>,
}

/// What can be chosen of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpOptions {
    /// How long a connection may take, the lookup of the name and TLS included. Default: 10
    /// seconds.
    pub connect_timeout: Duration,
    /// Which proxies are used.
    pub proxies: Proxies,
}

/// Which proxies a transport uses for hosts that are not on this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Proxies {
    /// Those that the environment names.
    #[default]
    Environment,
    /// None.
    Direct,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            proxies: Proxies::Environment,
        }
    }
}

impl HttpOptions {
    /// Sets how long a connection may take.
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self {
            connect_timeout,
            ..self
        }
    }

    /// Sets which proxies are used.
    #[must_use]
    pub fn with_proxies(self, proxies: Proxies) -> Self {
        Self { proxies, ..self }
    }
}

impl HttpTransport {
    /// Makes a transport. One is enough for all providers of a process.
    ///
    /// It reads the certificates that the system trusts, which takes some milliseconds. Where there
    /// are none, `http` addresses still work.
    ///
    /// # Errors
    /// [`TransportError::Client`] where a proxy of the environment has no valid address.
    pub fn new(options: HttpOptions) -> Result<Self, TransportError> {
        let (tls, distrust) = tls_config().map_err(|error| client_error(&error))?;
        let client = |proxies| {
            let mut builder = Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .connect_timeout(options.connect_timeout)
                .user_agent(concat!("phi/", env!("CARGO_PKG_VERSION")));
            if proxies == Proxies::Direct {
                builder = builder.no_proxy();
            }
            builder.build().map_err(|error| client_error(&error))
        };
        Ok(Self {
            remote: client(options.proxies)?,
            local: client(Proxies::Direct)?,
            connect_timeout: options.connect_timeout,
            distrust,
        })
    }

    fn request(
        &self,
        request: HttpRequest,
        secrets: &[SecretHeader],
    ) -> Result<(reqwest::RequestBuilder, String), TransportError> {
        let url = Url::parse(&request.url).map_err(|error| address(error.to_string()))?;
        let host = host_of(&url)?;
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| address(format!("{:?} is no HTTP method", request.method)))?;
        let client = if is_local(&url) {
            &self.local
        } else {
            &self.remote
        };
        let headers = headers(&request, secrets)?;
        let body = reqwest::Body::wrap(Chunks::new(request.body));
        let builder = client.request(method, url).headers(headers).body(body);
        Ok((builder, host))
    }

    fn failed_to_send(&self, host: String, error: reqwest::Error) -> TransportError {
        let is_timeout = error.is_timeout();
        let is_connect = error.is_connect();
        let mut reason = reason_of(error);
        match (is_connect, is_timeout) {
            (true, true) => TransportError::ConnectTimeout {
                host,
                after: self.connect_timeout,
            },
            (true, false) => {
                if let Some(distrust) = &self.distrust {
                    reason = format!(
                        "{reason} (no certificate of this system is trusted: {distrust}; install \
                         its CA certificates or set SSL_CERT_FILE)"
                    );
                }
                TransportError::Connect { host, reason }
            }
            (false, _) => TransportError::Broken { host, reason },
        }
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(
        &self,
        request: HttpRequest,
        secrets: Vec<SecretHeader>,
    ) -> Result<HttpResponse, TransportError> {
        let (builder, host) = self.request(request, &secrets)?;
        let answer = builder.send().await;
        let response = match answer {
            Ok(response) => response,
            Err(error) => return Err(self.failed_to_send(host, error)),
        };
        let mut head = ResponseHead::new(response.status().as_u16());
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            head.headers.push((name.as_str().to_owned(), value.into()));
        }
        let body = stream::unfold(Some((response, host)), |state| async move {
            let (mut response, host) = state?;
            match response.chunk().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some((response, host)))),
                Ok(None) => None,
                Err(error) => {
                    let reason = reason_of(error);
                    Some((Err(TransportError::Broken { host, reason }), None))
                }
            }
        });
        let body = Box::pin(body);
        Ok(HttpResponse { head, body })
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport")
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

/// The chunks of a body, sent as they are under their common length.
struct Chunks {
    chunks: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl Chunks {
    fn new(chunks: Vec<Bytes>) -> Self {
        let length = |chunk: &Bytes| u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        let left = chunks.iter().map(length).sum();
        Self {
            chunks: chunks.into_iter(),
            left,
        }
    }
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let chunk = self.chunks.find(|chunk| !chunk.is_empty());
        if let Some(chunk) = &chunk {
            let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            self.left = self.left.saturating_sub(length);
        }
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Makes the TLS configuration; where no certificate can be read, it trusts none and says why.
fn tls_config() -> Result<(ClientConfig, Option<Arc<str>>), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
    };
    match builder()?.with_platform_verifier() {
        Ok(builder) => Ok((builder.with_no_client_auth(), None)),
        Err(error) => {
            let trusting_none = builder()?.with_root_certificates(RootCertStore::empty());
            let distrust = Arc::from(error.to_string());
            Ok((trusting_none.with_no_client_auth(), Some(distrust)))
        }
    }
}

fn headers(request: &HttpRequest, secrets: &[SecretHeader]) -> Result<HeaderMap, TransportError> {
    let mut headers = HeaderMap::new();
    // A service that compresses an answer all the same is told apart by its head.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in &request.headers {
        let (name, value) = header(name, value)?;
        headers.insert(name, value);
    }
    for secret in secrets {
        let (name, mut value) = header(&secret.name, secret.value.expose_secret())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), TransportError> {
    let header = HeaderName::from_bytes(name.as_bytes()).ok();
    header
        .zip(HeaderValue::from_str(value).ok())
        .ok_or_else(|| TransportError::Header {
            name: name.escape_debug().to_string(),
        })
}

/// Names the host with its port, or says why nothing can be sent there.
fn host_of(url: &Url) -> Result<String, TransportError> {
    if !matches!(url.scheme(), "http" | "https") {
        let scheme = url.scheme();
        return Err(address(format!(
            "its scheme is {scheme}: use https or http"
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let reason = "it holds a user name or a password: give the credential as a key";
        return Err(address(reason.to_owned()));
    }
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| address("it names no host".to_owned()))?;
    Ok(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || address.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

fn address(reason: String) -> TransportError {
    TransportError::Address { reason }
}

fn client_error(error: &dyn Error) -> TransportError {
    TransportError::Client {
        reason: error.to_string(),
    }
}

/// Says what went wrong without the address, which may hold more than a log should.
fn reason_of(error: reqwest::Error) -> String {
    let error = error.without_url();
    // The outermost layers say only that sending or reading failed; the innermost says why.
    let mut reasons: Vec<String> = Vec::new();
    let mut source = error.source();
    while let Some(it) = source {
        let text = it.to_string();
        if !reasons.iter().any(|known| known.contains(&text)) {
            reasons.push(text);
        }
        source = it.source();
    }
    if reasons.is_empty() {
        return error.to_string();
    }
    reasons.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(url: &str) -> Result<String, String> {
        let url = Url::parse(url).unwrap();
        host_of(&url).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_names_a_host_and_no_credential() {
        assert_eq!(host("https://api.test/v1?a=b"), Ok("api.test".to_owned()));
        assert_eq!(host("http://[::1]:8080/"), Ok("[::1]:8080".to_owned()));
        let error = host("https://me:hunter2@api.test/").unwrap_err();
        assert!(error.contains("give the credential as a key"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!(host("ftp://api.test/").unwrap_err().contains("use https"));
    }

    #[test]
    fn hosts_of_this_machine_are_known() {
        for (url, local) in [
            ("http://localhost:1", true),
            ("http://127.8.9.1/", true),
            ("http://[::1]/", true),
            ("http://localhost.test", false),
            ("https://10.0.0.1", false),
        ] {
            assert_eq!(is_local(&Url::parse(url).unwrap()), local, "{url}");
        }
    }

    #[test]
    fn a_secret_header_replaces_one_of_its_name_and_is_not_shown() {
        let request = HttpRequest {
            method: "POST",
            url: String::new(),
            headers: vec![("x-key", "old".to_owned()), ("accept", "a".to_owned())],
            body: Vec::new(),
        };
        let secret = |name: &'static str, value: &str| SecretHeader {
            name: name.into(),
            value: value.into(),
        };
        let map = headers(&request, &[secret("x-key", "sk-secret")]).unwrap();
        assert_eq!(map.get("x-key").unwrap(), "sk-secret");
        assert!(!format!("{map:?}").contains("sk-secret"));
        let error = headers(&request, &[secret("x-key", "sk-se\ncret")]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the header `x-key` cannot be sent")
        );
        assert!(!error.to_string().contains("sk-"), "{error}");
    }
}
