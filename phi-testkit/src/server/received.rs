//! One request as the server received it.

use std::io::{self, BufRead, Read};

/// The longest head, in bytes.
const HEAD_MAX: u64 = 1 << 16;

/// The longest body, in bytes.
const BODY_MAX: u64 = 1 << 26;

/// The first byte of everything that a TLS client sends first.
const TLS_HANDSHAKE: u8 = 0x16;

/// One request as the server received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The number of the connection that it came by, from 0.
    pub connection: usize,
    /// The method, as `POST`.
    pub method: String,
    /// The path with its query, as it stood in the request line.
    pub path: String,
    /// Header names as they came, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// Returns the first header of a name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns the body as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads one request; `None` where the client closed the connection before one.
    pub(super) fn read(from: &mut impl BufRead, connection: usize) -> io::Result<Option<Self>> {
        // The greeting of TLS may hold no line end: waiting for one would last forever.
        if from
            .fill_buf()?
            .first()
            .is_some_and(|byte| *byte == TLS_HANDSHAKE)
        {
            return Err(invalid("the client speaks TLS, and this server does not"));
        }
        let mut head = from.by_ref().take(HEAD_MAX);
        let line = loop {
            match read_line(&mut head)? {
                None => return Ok(None),
                // A client may send empty lines before a request.
                Some(line) if line.is_empty() => {}
                Some(line) => break line,
            }
        };
        let mut words = line.split(' ');
        let (Some(method), Some(path), Some(_version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(invalid(format!("{line:?} is no request line")));
        };
        let mut received = Self {
            connection,
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = read_line(&mut head)?.ok_or_else(|| invalid("the head is cut off"))?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| invalid(format!("{line:?} is no header")))?;
            let header = (name.to_owned(), value.trim().to_owned());
            received.headers.push(header);
        }
        received.body = received.read_body(from)?;
        Ok(Some(received))
    }

    fn read_body(&self, from: &mut impl BufRead) -> io::Result<Vec<u8>> {
        let chunked = self.header("transfer-encoding");
        if chunked.is_some_and(|it| it.eq_ignore_ascii_case("chunked")) {
            return read_chunks(from);
        }
        let length = match self.header("content-length") {
            Some(length) => length
                .parse()
                .map_err(|_| invalid(format!("{length:?} is no length")))?,
            None => 0,
        };
        let mut body = Vec::new();
        read_exactly(from, length, &mut body)?;
        Ok(body)
    }
}

fn read_chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut lines = from.by_ref().take(HEAD_MAX);
        let line = read_line(&mut lines)?.ok_or_else(|| invalid("the body is cut off"))?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16)
            .map_err(|_| invalid(format!("{size:?} is no chunk size")))?;
        if size == 0 {
            // Trailers, then an empty line.
            while read_line(&mut lines)?.is_some_and(|line| !line.is_empty()) {}
            return Ok(body);
        }
        read_exactly(from, size, &mut body)?;
        read_line(&mut from.by_ref().take(2))?;
    }
}

fn read_exactly(from: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let so_far = u64::try_from(body.len()).unwrap_or(u64::MAX);
    if length.saturating_add(so_far) > BODY_MAX {
        return Err(invalid(format!("the body is longer than {BODY_MAX} bytes")));
    }
    let read = from.by_ref().take(length).read_to_end(body)?;
    if u64::try_from(read).is_ok_and(|read| read == length) {
        return Ok(());
    }
    Err(invalid("the body is cut off"))
}

/// Reads one line without its end; `None` at the end of what there is.
fn read_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(invalid("a line is cut off or too long"));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> io::Result<Option<Received>> {
        Received::read(&mut bytes, 0)
    }

    #[test]
    fn both_framings_give_the_same_body() {
        let counted = read(b"POST /a?b HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello").unwrap();
        let chunked = b"POST /a?b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
            2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n";
        let (counted, chunked) = (counted.unwrap(), read(chunked).unwrap().unwrap());
        assert_eq!((&*counted.method, &*counted.path), ("POST", "/a?b"));
        assert_eq!(counted.header("CONTENT-length"), Some("5"));
        assert_eq!(counted.body_text(), "hello");
        assert_eq!(chunked.body_text(), "hello");
    }

    #[test]
    fn what_is_no_request_is_an_error_and_silence_is_none() {
        assert_eq!(read(b"").unwrap(), None);
        for bad in [
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\nno header\r\n\r\n",
            "GET / HTTP/1.1\r\n",
            "\x16\x03\x01 a greeting of TLS",
            "GET / HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort",
            "GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            &format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(70_000)),
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad:.60}");
        }
    }
}
