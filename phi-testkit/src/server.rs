//! A loopback HTTP/1.1 server that serves what a test wrote down, faults included.

mod exchange;
mod received;
mod response;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use self::exchange::serve;
pub use self::received::Received;
pub use self::response::Response;
use crate::gate::Gate;
use crate::watch::Watch;

/// The most connections at once; a further one is closed at once.
const CONNECTIONS_MAX: usize = 1_024;

/// The most failures of `accept` in a row before the server gives up.
const ACCEPT_FAILURES_MAX: u32 = 1_000;

/// The most requests that are kept; older ones are forgotten first.
const RECEIVED_MAX: usize = 65_536;

/// An HTTP/1.1 server on a free port of the loopback interface.
///
/// Requests get the scripted responses in the order of their arrival, whatever connection they come
/// by, and are recorded. Connections are kept alive unless a response says otherwise. Dropping the
/// server closes every connection and joins its threads.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// let server = phi_testkit::Server::start([phi_testkit::Response::json(200, "{}").cut_after(1)])?;
/// let mut client = TcpStream::connect(server.address())?;
/// client.write_all(b"GET /models HTTP/1.1\r\n\r\n")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.ends_with("content-length: 2\r\n\r\n{"), "{answer}");
/// assert_eq!(server.received()[0].path, "/models");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Server {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

type ResponseFunction = dyn Fn(usize, &Received) -> Response + Send + Sync;

enum Script {
    List(VecDeque<Response>),
    Function(Arc<ResponseFunction>),
}

/// A port of the loopback interface that is taken and where nobody listens: connections to it are
/// refused as long as the value lives.
#[derive(Debug)]
pub struct ClosedPort {
    address: SocketAddr,
    _socket: Socket,
}

impl ClosedPort {
    /// Takes a free port.
    ///
    /// # Errors
    /// No free port.
    pub fn take() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket.local_addr()?.as_socket();
        let address = address.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        Ok(Self {
            address,
            _socket: socket,
        })
    }

    /// Returns the address as `http://127.0.0.1:PORT`, without a slash at its end.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// What the threads share.
struct Shared {
    address: SocketAddr,
    stopped: Gate,
    log: Arc<Watch<Log>>,
}

struct Log {
    script: Script,
    received: VecDeque<Received>,
    total: usize,
    /// Connections that the client closed while a response was not finished.
    abandoned: usize,
    open: Vec<Weak<TcpStream>>,
}

impl Server {
    /// Starts a server with a list of responses. A request beyond the list gets a 500 that says so.
    ///
    /// # Errors
    /// No free port, or no thread.
    pub fn start(responses: impl IntoIterator<Item = Response>) -> io::Result<Self> {
        Self::of(Script::List(responses.into_iter().collect()))
    }

    /// Starts a server with a function from the number of a request, from 0, and the request to
    /// its response.
    ///
    /// # Errors
    /// No free port, or no thread.
    pub fn from_fn(
        respond: impl Fn(usize, &Received) -> Response + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::of(Script::Function(Arc::new(respond)))
    }

    /// Returns the address to connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Returns the address as `http://127.0.0.1:PORT`, without a slash at its end.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// Returns the requests in the order of their arrival; the newest 65,536 of them.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        let log = &self.shared.log;
        log.read(|log| log.received.iter().cloned().collect())
    }

    /// Waits until so many requests have arrived.
    ///
    /// **Cancel safety:** dropping the future changes nothing.
    pub fn until_received(&self, requests: usize) -> impl Future<Output = ()> + Send + use<> {
        self.shared.log.until(move |log| log.total >= requests)
    }

    /// Waits until clients have closed so many connections before their response was finished.
    ///
    /// **Cancel safety:** dropping the future changes nothing.
    pub fn until_abandoned(&self, connections: usize) -> impl Future<Output = ()> + Send + use<> {
        let log = &self.shared.log;
        log.until(move |log| log.abandoned >= connections)
    }

    fn of(script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let log = Log {
            script,
            received: VecDeque::new(),
            total: 0,
            abandoned: 0,
            open: Vec::new(),
        };
        let shared = Arc::new(Shared {
            address: listener.local_addr()?,
            stopped: Gate::new(),
            log: Arc::new(Watch::new(log)),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = std::thread::Builder::new()
            .name("phi-testkit server".to_owned())
            .spawn(move || accepting.accept(&listener))?;
        Ok(Self {
            shared,
            acceptor: Some(acceptor),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.open();
        // The connection wakes the acceptor, which then closes the others and joins their threads.
        let woken = TcpStream::connect_timeout(&self.shared.address, Duration::from_secs(5));
        if let (Ok(_), Some(acceptor)) = (woken, self.acceptor.take()) {
            // A panic in there was printed already, and a drop must not panic.
            drop(acceptor.join());
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.shared.address)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        let mut failures = 0;
        let mut connections = 0;
        while failures < ACCEPT_FAILURES_MAX {
            let accepted = listener.accept();
            if self.stopped.is_open() {
                break;
            }
            let Ok((connection, _)) = accepted else {
                failures += 1;
                continue;
            };
            failures = 0;
            threads.retain(|thread| !thread.is_finished());
            if threads.len() < CONNECTIONS_MAX {
                threads.extend(self.start_connection(connection, connections));
                connections += 1;
            }
        }
        let open = self.log.update(|log| std::mem::take(&mut log.open));
        for connection in open.iter().filter_map(Weak::upgrade) {
            // An error says that it was closed already.
            drop(connection.shutdown(Shutdown::Both));
        }
        for thread in threads {
            drop(thread.join());
        }
    }

    fn start_connection(
        self: &Arc<Self>,
        connection: TcpStream,
        number: usize,
    ) -> Option<JoinHandle<()>> {
        let connection = Arc::new(connection);
        self.log.update(|log| {
            log.open.retain(|open| open.strong_count() > 0);
            log.open.push(Arc::downgrade(&connection));
        });
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new().name("phi-testkit connection".to_owned());
        // Without a thread the connection is dropped, which the client sees.
        thread
            .spawn(move || serve(&shared, &connection, number))
            .ok()
    }

    /// Records a request and takes its response.
    fn respond(&self, received: &Received) -> Response {
        let (n, from_list) = self.log.update(|log| {
            let n = log.total;
            log.total += 1;
            if log.received.len() == RECEIVED_MAX {
                log.received.pop_front();
            }
            log.received.push_back(received.clone());
            let next = match &mut log.script {
                Script::List(responses) => Ok(responses.pop_front()),
                Script::Function(respond) => Err(Arc::clone(respond)),
            };
            (n, next)
        });
        match from_list {
            Ok(Some(response)) => response,
            Ok(None) => Response::text(
                500,
                format!("the server of the test has no response left for request {n}: add one"),
            ),
            Err(respond) => respond(n, received),
        }
    }

    fn note_abandoned(&self) {
        self.log.update(|log| log.abandoned += 1);
    }
}
