//! One response as a test writes it down, and what goes wrong with it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::gate::Gate;

/// One response, and what goes wrong with it.
///
/// The body is sent piece by piece: a piece is one write, and one chunk where the body is chunked.
/// Places are counted in bytes of the body as it is sent.
#[derive(Debug, Clone)]
pub struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) pieces: Vec<Vec<u8>>,
    pub(super) framing: Framing,
    pub(super) before_head: Option<Fault>,
    pub(super) faults: BTreeMap<usize, Fault>,
    pub(super) endless: Option<(Vec<u8>, Duration)>,
}

/// How the client learns where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length,
    Chunked,
    Close,
}

/// What happens at a place of a response.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    Close,
    Reset,
    Stall,
    Gate(Gate),
}

impl Response {
    /// Makes a response without headers and body.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            pieces: Vec::new(),
            framing: Framing::Length,
            before_head: None,
            faults: BTreeMap::new(),
            endless: None,
        }
    }

    /// Makes a response with a JSON body.
    #[must_use]
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self::typed(status, "application/json", body.into())
    }

    /// Makes a response with a body of plain text.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self::typed(status, "text/plain; charset=utf-8", body.into())
    }

    /// Makes a response with a body of HTML, as proxies give.
    #[must_use]
    pub fn html(status: u16, body: impl Into<String>) -> Self {
        Self::typed(status, "text/html; charset=utf-8", body.into())
    }

    /// Makes a chunked event stream with status 200, one piece for each event.
    #[must_use]
    pub fn events<E: Into<Vec<u8>>>(events: impl IntoIterator<Item = E>) -> Self {
        Self::new(200)
            .with_header("content-type", "text/event-stream")
            .with_pieces(events)
            .chunked()
    }

    /// Makes a redirect.
    #[must_use]
    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self::new(status).with_header("location", location)
    }

    /// Adds a header, also a false one such as `content-encoding: gzip` on a plain body.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body as one piece.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.pieces = vec![body.into()];
        self
    }

    /// Sets the body as pieces.
    #[must_use]
    pub fn with_pieces<P: Into<Vec<u8>>>(mut self, pieces: impl IntoIterator<Item = P>) -> Self {
        self.pieces = pieces.into_iter().map(Into::into).collect();
        self
    }

    /// Cuts the body into pieces of so many bytes; zero counts as one.
    #[must_use]
    pub fn in_pieces_of(mut self, bytes: usize) -> Self {
        let body = self.pieces.concat();
        self.pieces = body.chunks(bytes.max(1)).map(<[u8]>::to_vec).collect();
        self
    }

    /// Sends the n-th piece, from 0, a second time after itself. A piece that is not there is not
    /// sent.
    #[must_use]
    pub fn duplicating(mut self, piece: usize) -> Self {
        if let Some(twice) = self.pieces.get(piece).cloned() {
            self.pieces.insert(piece, twice);
        }
        self
    }

    /// Exchanges two pieces, counted from 0. A piece that is not there stays where it is.
    #[must_use]
    pub fn swapping(mut self, one: usize, other: usize) -> Self {
        if one.max(other) < self.pieces.len() {
            self.pieces.swap(one, other);
        }
        self
    }

    /// Sends the body in chunks.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Sends the body without a length: it ends where the connection is closed.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::Close;
        self
    }

    /// Closes the connection after so many bytes of the body.
    #[must_use]
    pub fn cut_after(self, bytes: usize) -> Self {
        self.with_fault(bytes, Fault::Close)
    }

    /// Resets the connection after so many bytes of the body.
    #[must_use]
    pub fn reset_after(self, bytes: usize) -> Self {
        self.with_fault(bytes, Fault::Reset)
    }

    /// Sends nothing more after so many bytes of the body, until the client goes away.
    #[must_use]
    pub fn stalling_after(self, bytes: usize) -> Self {
        self.with_fault(bytes, Fault::Stall)
    }

    /// Waits after so many bytes of the body until the gate is open.
    #[must_use]
    pub fn gated_after(self, bytes: usize, gate: &Gate) -> Self {
        self.with_fault(bytes, Fault::Gate(gate.clone()))
    }

    /// Takes the request and never answers.
    #[must_use]
    pub fn never(mut self) -> Self {
        self.before_head = Some(Fault::Stall);
        self
    }

    /// Takes the request and closes the connection without an answer.
    #[must_use]
    pub fn closing_before_head(mut self) -> Self {
        self.before_head = Some(Fault::Close);
        self
    }

    /// After the body, sends the same bytes again and again, as keep-alive comments are sent.
    #[must_use]
    pub fn then_endlessly(mut self, bytes: impl Into<Vec<u8>>, every: Duration) -> Self {
        self.endless = Some((bytes.into(), every));
        self
    }

    /// Returns the length of the body in bytes, without what is sent endlessly.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    fn typed(status: u16, content_type: &str, body: String) -> Self {
        Self::new(status)
            .with_header("content-type", content_type)
            .with_body(body)
    }

    fn with_fault(mut self, at: usize, fault: Fault) -> Self {
        self.faults.insert(at, fault);
        self
    }

    /// Writes status line and headers.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &match self.framing {
            Framing::Length => format!("content-length: {}\r\n", self.body_len()),
            Framing::Chunked => "transfer-encoding: chunked\r\n".to_owned(),
            Framing::Close => "connection: close\r\n".to_owned(),
        };
        head += "\r\n";
        head.into_bytes()
    }
}
