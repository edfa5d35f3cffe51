//! One connection of the server: requests in, scripted bytes out.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use futures_util::future::select;
use socket2::SockRef;

use super::Shared;
use super::received::Received;
use super::response::{Fault, Framing, Response};
use crate::executor::block_on;
use crate::gate::Gate;

/// What becomes of a connection after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    KeepAlive,
    Close,
    Reset,
    Abandoned,
}

/// Serves one connection until it is over.
pub(super) fn serve(shared: &Shared, connection: &TcpStream, number: usize) {
    // Each piece is to be a packet of its own; where that cannot be, the pieces still arrive.
    drop(connection.set_nodelay(true));
    let mut requests = BufReader::new(connection);
    let after = loop {
        let response = match Received::read(&mut requests, number) {
            Ok(Some(received)) => shared.respond(&received),
            Ok(None) => break After::Close,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Response::text(400, error.to_string()).until_close()
            }
            Err(_) => break After::Close,
        };
        let wire = Wire {
            connection,
            stopped: &shared.stopped,
            framing: response.framing,
        };
        match wire.send(&response).unwrap_or(After::Abandoned) {
            After::KeepAlive => {}
            over => break over,
        }
    };
    match after {
        // Closing with a linger time of zero sends a reset; the socket closes with its last owner.
        After::Reset => drop(SockRef::from(connection).set_linger(Some(Duration::ZERO))),
        After::Abandoned if !shared.stopped.is_open() => shared.note_abandoned(),
        After::KeepAlive | After::Close | After::Abandoned => {
            drop(connection.shutdown(Shutdown::Both));
        }
    }
}

/// The way out of one response.
struct Wire<'a> {
    connection: &'a TcpStream,
    stopped: &'a Gate,
    framing: Framing,
}

impl Wire<'_> {
    fn send(&self, response: &Response) -> io::Result<After> {
        if let Some(over) = self.suffer(response.before_head.as_ref())? {
            return Ok(over);
        }
        self.write(&response.head())?;
        let mut sent = 0;
        if let Some(over) = self.suffer(response.faults.get(&0))? {
            return Ok(over);
        }
        for piece in &response.pieces {
            let mut rest = piece.as_slice();
            while !rest.is_empty() {
                let next = response.faults.range(sent + 1..=sent + rest.len()).next();
                let length = next.map_or(rest.len(), |(at, _)| at - sent);
                let (now, later) = rest.split_at(length);
                self.write_piece(now)?;
                (sent, rest) = (sent + length, later);
                if let Some(over) = self.suffer(next.map(|(_, fault)| fault))? {
                    return Ok(over);
                }
            }
        }
        if let Some((bytes, every)) = &response.endless {
            return self.send_endlessly(bytes, *every);
        }
        if self.framing == Framing::Chunked {
            self.write(b"0\r\n\r\n")?;
        }
        Ok(match self.framing {
            Framing::Length | Framing::Chunked => After::KeepAlive,
            Framing::Close => After::Close,
        })
    }

    fn send_endlessly(&self, bytes: &[u8], every: Duration) -> io::Result<After> {
        // Reading with a timeout is a wait that the client's departure ends. Zero is no timeout.
        let every = every.max(Duration::from_millis(1));
        self.connection.set_read_timeout(Some(every))?;
        while !self.stopped.is_open() {
            self.write_piece(bytes)?;
            if self.client_is_gone() {
                break;
            }
        }
        Ok(After::Abandoned)
    }

    /// Does what a fault says; an answer ends the response.
    fn suffer(&self, fault: Option<&Fault>) -> io::Result<Option<After>> {
        match fault {
            None => Ok(None),
            Some(Fault::Close) => Ok(Some(After::Close)),
            Some(Fault::Reset) => Ok(Some(After::Reset)),
            Some(Fault::Gate(gate)) => {
                block_on(select(
                    Box::pin(gate.passed()),
                    Box::pin(self.stopped.passed()),
                ));
                Ok(None)
            }
            Some(Fault::Stall) => {
                self.connection.set_read_timeout(None)?;
                while !self.client_is_gone() {}
                Ok(Some(After::Abandoned))
            }
        }
    }

    /// Reads what the client should not send now: an end or an error says that it has gone.
    fn client_is_gone(&self) -> bool {
        let mut connection = self.connection;
        match connection.read(&mut [0; 1_024]) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => !matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
            ),
        }
    }

    fn write_piece(&self, piece: &[u8]) -> io::Result<()> {
        if self.framing != Framing::Chunked {
            return self.write(piece);
        }
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        chunk.extend_from_slice(piece);
        chunk.extend_from_slice(b"\r\n");
        self.write(&chunk)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut connection = self.connection;
        connection.write_all(bytes)
    }
}
