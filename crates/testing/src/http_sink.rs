//! An HTTP server that records every request and responds as the test tells it.
//!
//! ```
//! use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
//!
//! let sink = HttpSink::start();
//! sink.next(SinkResponse::status(429).header("Retry-After", "7"));
//! // … something posts to `sink.url("/hook")` twice: it is answered 429, then 200 …
//! assert!(sink.requests().is_empty());
//! ```

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::tcp_server::{Stream, TcpServer, hang, locked};

/// The reaction of the server to a request.
#[derive(Debug, Clone)]
pub enum SinkResponse {
    /// Responds with a status, headers and a body.
    Status {
        /// The status.
        code: u16,
        /// Headers besides `Content-Length`.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// Does not respond and keeps the connection open.
    Hang,
    /// Closes the connection without a response.
    Close,
    /// Closes the connection in the middle of the response's head.
    CutHead,
    /// Closes the connection in the middle of the body of a response with this status.
    CutBody(u16),
}

impl SinkResponse {
    /// A response with this status and no body.
    pub fn status(code: u16) -> Self {
        Self::Status { code, headers: Vec::new(), body: String::new() }
    }

    /// Adds a header; only for a [`Status`](Self::Status).
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Status { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Sets the body; only for a [`Status`](Self::Status).
    #[must_use]
    pub fn body(mut self, text: &str) -> Self {
        if let Self::Status { body, .. } = &mut self {
            text.clone_into(body);
        }
        self
    }
}

/// A received request.
#[derive(Debug, Clone)]
pub struct Received {
    /// The method, such as `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// In the order of arrival, with names as they were written.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
}

impl Received {
    /// The value of the first header with this name, ignoring case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON. Panics if it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }
}

/// The server. Stopped when dropped.
pub struct HttpSink {
    server: TcpServer,
    shared: Arc<Shared>,
    scheme: &'static str,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    came: Condvar,
}

struct State {
    received: Vec<Received>,
    next: VecDeque<SinkResponse>,
    otherwise: SinkResponse,
}

impl Default for State {
    fn default() -> Self {
        Self { received: Vec::new(), next: VecDeque::new(), otherwise: SinkResponse::status(200).body("ok") }
    }
}

impl HttpSink {
    /// Starts a server without TLS.
    pub fn start() -> Self {
        Self::serve(None)
    }

    /// Starts a server with TLS and the certificate in `config`.
    pub fn start_tls(config: Arc<ServerConfig>) -> Self {
        Self::serve(Some(config))
    }

    fn serve(tls: Option<Arc<ServerConfig>>) -> Self {
        let shared = Arc::new(Shared::default());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let server = TcpServer::start({
            let shared = Arc::clone(&shared);
            move |stream, _| {
                // An error means that the client has closed the connection.
                let _ = serve(stream, tls.as_ref(), &shared);
            }
        });
        Self { server, shared, scheme }
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The URL of `path` on this server.
    pub fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.port())
    }

    /// Queues the response to one request. When the queue is empty, [`otherwise`](Self::otherwise) applies.
    pub fn next(&self, answer: SinkResponse) {
        locked(&self.shared.state).next.push_back(answer);
    }

    /// Sets the response for requests without a queued one. It is 200 with "ok" at first.
    pub fn otherwise(&self, answer: SinkResponse) {
        locked(&self.shared.state).otherwise = answer;
    }

    /// All requests so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Received> {
        locked(&self.shared.state).received.clone()
    }

    /// Waits until `count` requests have arrived. Panics after `patience`.
    pub fn wait_for(&self, count: usize, patience: Duration) -> Vec<Received> {
        let mut state = locked(&self.shared.state);
        self.shared.came.wait_while_for(&mut state, |state| state.received.len() < count, patience);
        assert!(
            state.received.len() >= count,
            "{} of {count} requests in {patience:?}",
            state.received.len()
        );
        state.received.clone()
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Closes all open connections.
    pub fn hang_up(&self) {
        self.server.hang_up();
    }
}

fn serve(stream: TcpStream, tls: Option<&Arc<ServerConfig>>, shared: &Shared) -> io::Result<()> {
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(config) => {
            let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
            Box::new(StreamOwned::new(connection, stream))
        }
    };
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream)? {
        let answer = {
            let mut state = locked(&shared.state);
            state.received.push(request);
            shared.came.notify_all();
            state.next.pop_front().unwrap_or_else(|| state.otherwise.clone())
        };
        let out = stream.get_mut();
        match answer {
            SinkResponse::Status { code, headers, body } => {
                let headers: String =
                    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let length = body.len();
                write!(out, "HTTP/1.1 {code} Told\r\n{headers}Content-Length: {length}\r\n\r\n{body}")?;
                out.flush()?;
            }
            SinkResponse::Hang => {
                hang(out);
                return Ok(());
            }
            SinkResponse::Close => return Ok(()),
            SinkResponse::CutHead => {
                write!(out, "HTTP/1.1 200 OK\r\nContent-Le")?;
                return out.flush();
            }
            SinkResponse::CutBody(code) => {
                write!(out, "HTTP/1.1 {code} Told\r\nContent-Length: 1000\r\n\r\ncut")?;
                return out.flush();
            }
        }
    }
    Ok(())
}

/// Reads the next request; none if the client has closed the connection.
fn read(stream: &mut impl BufRead) -> io::Result<Option<Received>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Received { method, path, headers, body: Vec::new() };
    if request.header("transfer-encoding").is_some() {
        request.body = read_chunks(stream)?;
    } else if let Some(length) = request.header("content-length").and_then(|length| length.parse().ok()) {
        request.body.resize(length, 0);
        stream.read_exact(&mut request.body)?;
    }
    Ok(Some(request))
}

fn read_chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let read = stream.by_ref().take(size).read_to_end(&mut body)?;
        stream.read_line(&mut line)?;
        if size == 0 || read == 0 {
            return Ok(body);
        }
    }
}
