//! Probes from a configuration's text, and servers that behave as tests tell them.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod names;
pub mod tls;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};
use innkeeper_agent::probe::{self, Probe, ProbeOutcome, ProbeStatus, Probes};
use innkeeper_settings::Findings;

/// Reads a configuration. Also returns the problems that do not belong to a probe.
pub fn read(text: &str) -> (Probes, Findings) {
    read_for("host.example", text)
}

fn read_for(app: &str, text: &str) -> (Probes, Findings) {
    let mut findings = Findings::default();
    let mut root = innkeeper_settings::parse("agent.toml", text).expect("a text in TOML");
    let probes = probe::config::read(&mut root, app, &mut findings);
    assert!(root.is_empty(), "all of it is about probes: {root:?}");
    (probes, findings)
}

/// The only probe of a valid configuration.
pub fn probe(text: &str) -> Probe {
    probe_for("host.example", text)
}

fn probe_for(app: &str, text: &str) -> Probe {
    let (mut probes, findings) = read_for(app, &format!("[probe.test]\nevery = '1h'\n{text}"));
    assert_eq!((probes.broken.as_slice(), findings.problems.as_slice()), (&[][..], &[][..]));
    probes.probes.remove(0)
}

/// The problems of the only probe, one per line.
pub fn problems(text: &str) -> Vec<String> {
    let (probes, _) = read(&format!("[probe.test]\nevery = '1h'\n{text}"));
    assert!(probes.probes.is_empty(), "nothing is wrong with {text}");
    probes.broken[0].problems.iter().map(ToString::to_string).collect()
}

/// The outcome of one run of the only target.
pub fn check(text: &str) -> ProbeOutcome {
    check_at(text, Utc::now())
}

/// The outcome of a run at this time.
pub fn check_at(text: &str, now: DateTime<Utc>) -> ProbeOutcome {
    // A reservation of its own: no two runs of one go on at once.
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let app = format!("run {}", RUNS.fetch_add(1, Ordering::SeqCst));
    let probe = probe_for(&app, text);
    probe::run(&probe, &probe.targets[0], now)
}

/// Checks the status and that the summary contains this text.
#[track_caller]
pub fn assert_said(outcome: &ProbeOutcome, status: ProbeStatus, text: &str) {
    assert!(outcome.status == status && outcome.summary.contains(text), "{outcome:#?}");
}

/// A server on a free port with a thread per connection.
pub struct Server {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1:0", serve)
    }

    pub fn on(address: &str, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("the address of a listener");
        let connections = Arc::new(AtomicUsize::new(0));
        let (counted, serve) = (Arc::clone(&connections), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream));
            }
        });
        Self { address, connections }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Sends nothing and waits until the client closes the connection.
pub fn hang(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while let Ok(1..) = stream.read(&mut buffer) {}
}

/// Sends single bytes without end: each wait is short, but the whole is not.
pub fn drip(stream: &mut impl Write, bytes: &[u8]) {
    for byte in bytes.iter().cycle() {
        if stream.write_all(&[*byte]).and_then(|()| stream.flush()).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Reads the head of an HTTP request, and the body of the announced length.
pub fn request(stream: &mut impl Read) -> String {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => read.push(byte[0]),
            _ => return String::from_utf8_lossy(&read).into_owned(),
        }
    }
    let head = String::from_utf8_lossy(&read).into_owned();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)];
    let _ = stream.read_exact(&mut body);
    head + &String::from_utf8_lossy(&body)
}

/// A listener with a full backlog: connecting to it gets no answer.
pub fn full(address: IpAddr) -> (TcpListener, Vec<TcpStream>) {
    let family =
        if address.is_ipv4() { rustix::net::AddressFamily::INET } else { rustix::net::AddressFamily::INET6 };
    let socket = rustix::net::socket(family, rustix::net::SocketType::STREAM, None)
        .expect("a listener on a free port");
    rustix::net::bind(&socket, &SocketAddr::new(address, 0)).expect("a listener on a free port");
    rustix::net::listen(&socket, 0).expect("a listener on a free port");
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().expect("a listener on a free port");
    let limit = Duration::from_millis(300);
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, limit) {
        held.push(stream);
        assert!(held.len() < 100);
    }
    (listener, held)
}

/// Waits until another thread or process has done something.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
