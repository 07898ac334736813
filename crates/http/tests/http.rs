//! A real listener on a port of its own, and a client that writes bytes.

#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use innkeeper_core::access::Permission;
use innkeeper_core::{Invalid, SystemClock};
use innkeeper_http::health::{Health, HealthQueries};
use innkeeper_http::{ApiError, Authenticator, Body, HttpError, HttpService, LARGEST_BODY, Routes};
use innkeeper_node::{Config, Role, Shutdown};
use innkeeper_store::{Store, StoreConfig, StoreError};

/// An authenticator that lets everybody through; it never asks its database, which is not there.
fn open_authenticator() -> Authenticator {
    let config = Config::from_toml(Role::Standalone, "").unwrap();
    let url = "sqlite:///nowhere/innkeeper.db".to_owned();
    let store = Store::connect(&StoreConfig { url, pool_size: 2 }).unwrap();
    Authenticator::new(&store, &config, Arc::new(SystemClock))
}

struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
    thread: Option<JoinHandle<Result<(), HttpError>>>,
}

impl Server {
    fn start(configure: impl Fn(&mut Routes<'_>) + Send + Sync + 'static) -> Self {
        Self::taking(100, configure)
    }

    /// One that takes so many connections at once.
    fn taking(connections: usize, configure: impl Fn(&mut Routes<'_>) + Send + Sync + 'static) -> Self {
        let shutdown = Shutdown::new();
        let (tell, told) = mpsc::channel();
        let service = HttpService::new("test", ([127, 0, 0, 1], 0).into(), open_authenticator(), configure)
            .workers(Some(2))
            .connections(connections)
            .on_listening(move |address| tell.send(address).unwrap());
        let thread = thread::spawn({
            let shutdown = shutdown.clone();
            move || service.run(&shutdown)
        });
        let address = told.recv_timeout(Duration::from_secs(20)).unwrap();
        Self { address, shutdown, thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// One request over a connection of its own: status, head, body.
    fn ask(&self, request: &str) -> (u16, String, String) {
        let mut stream = self.connect();
        write!(stream, "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        answer(&mut stream)
    }

    /// Asks for the stop; returns how long it took.
    fn stop(mut self) -> Duration {
        let asked = Instant::now();
        self.shutdown.request();
        self.thread.take().unwrap().join().unwrap().unwrap();
        asked.elapsed()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.request();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads until the other side closes.
fn answer(stream: &mut TcpStream) -> (u16, String, String) {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        // What was read before a reset still counts.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

/// Reads the head of one answer and leaves the connection open.
fn answer_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn message(body: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body:?}"));
    assert_eq!(body["success"], false, "{body}");
    body["message"].as_str().unwrap().to_owned()
}

/// Two roles on one port, as standalone composes them.
fn two_roles(routes: &mut Routes<'_>) {
    routes
        .post("/checkin", Permission::Nothing, |body: Body| async move { HttpResponse::Ok().body(body.0) })
        .route(Method::DELETE, "/reservation", Permission::Nothing, || async { HttpResponse::Ok().finish() })
        .post("/cron/{account}", Permission::Nothing, |account: web::Path<String>| async move {
            account.into_inner()
        });
    routes
        .get("/reservation", Permission::Nothing, || async {
            HttpResponse::Ok().json(serde_json::json!({ "n": 1 }))
        })
        .get(
            "/cron/{account}",
            Permission::Nothing,
            |account: web::Path<u32>| async move { account.to_string() },
        )
        .get("/bad", Permission::Nothing, || async {
            Err::<HttpResponse, ApiError>(Invalid::new("app", "is empty").into())
        });
}

#[test]
fn a_wrong_method_is_told_those_of_every_role() {
    let server = Server::start(two_roles);
    for (request, allow) in [
        ("PUT /reservation", "allow: delete, get, head, options"),
        ("POST /reservation?x=1", "allow: delete, get, head, options"),
        ("GET /checkin", "allow: options, post"),
        ("PATCH /cron/7", "allow: get, head, options, post"),
    ] {
        let (status, head, body) = server.ask(request);
        assert_eq!(status, 405, "{request}: {head}");
        assert!(head.contains(allow), "{request}: {head}");
        assert!(message(&body).contains("this path accepts only"), "{body}");
        let (status, head, body) =
            server.ask(&request.replacen(request.split(' ').next().unwrap(), "OPTIONS", 1));
        assert_eq!((status, body.as_str()), (204, ""), "{head}");
        assert!(head.contains(allow), "{request}: {head}");
    }
}

#[test]
fn an_unknown_path_is_not_found_whatever_the_method() {
    let server = Server::start(two_roles);
    for request in
        ["GET /nothing", "DELETE /", "OPTIONS /reservation/x", "GET /reservation/", "GET /%2e%2e/x%00"]
    {
        let (status, head, body) = server.ask(request);
        assert_eq!(status, 404, "{request}: {head}");
        message(&body);
        assert!(head.contains("content-type: application/json"), "{head}");
    }
}

#[test]
fn head_is_get_without_its_body() {
    let server = Server::start(two_roles);
    let (status, head, body) = server.ask("GET /reservation");
    assert_eq!((status, body.as_str()), (200, "{\"n\":1}"));
    assert!(
        head.contains("x-content-type-options: nosniff") && head.contains("cache-control: no-store"),
        "{head}"
    );
    let (status, head, body) = server.ask("HEAD /reservation");
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-length: 7"), "{head}");
}

#[test]
fn errors_of_input_are_json_that_names_the_field() {
    let server = Server::start(two_roles);
    for (request, field) in [("GET /bad", "app"), ("GET /cron/x", "path")] {
        let (status, head, body) = server.ask(request);
        assert_eq!(status, 400, "{head}");
        assert!(body.contains(&format!("\"field\":\"{field}\"")), "{body}");
    }
}

#[test]
fn a_body_has_a_bound() {
    let server = Server::start(two_roles);
    let post = |body: &[u8], length: &str| {
        let mut stream = server.connect();
        write!(stream, "POST /checkin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n\r\n").unwrap();
        // The server may have answered and closed before all is written.
        let _ = stream.write_all(body);
        answer(&mut stream)
    };
    let most = vec![b'x'; LARGEST_BODY];
    let (status, _, body) = post(&most, &format!("Content-Length: {LARGEST_BODY}"));
    assert_eq!((status, body.len()), (200, LARGEST_BODY));
    let (status, _, body) = post(&[b'x'; LARGEST_BODY + 1], &format!("Content-Length: {}", LARGEST_BODY + 1));
    assert_eq!(status, 413);
    assert!(message(&body).contains("65536 bytes"), "{body}");
    let mut chunked = format!("{:x}\r\n", LARGEST_BODY + 1).into_bytes();
    chunked.extend([b'x'; LARGEST_BODY + 1]);
    chunked.extend(b"\r\n0\r\n\r\n");
    assert_eq!(post(&chunked, "Transfer-Encoding: chunked").0, 413);
    let megabytes = vec![b'x'; 5_000_000];
    assert_eq!(
        post(&megabytes, "Content-Length: 5000000").0,
        413,
        "the answer survives what was still on its way"
    );
}

#[test]
fn an_idle_connection_does_not_hold_up_the_stop() {
    let server = Server::start(two_roles);
    let mut idle = server.connect();
    write!(idle, "HEAD /reservation HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(answer_head(&mut idle).starts_with("HTTP/1.1 200"));
    let silent = server.connect();
    let mut halting = server.connect();
    write!(halting, "GET /reservation HTT").unwrap();
    let address = server.address;
    let took = server.stop();
    assert!(took < Duration::from_secs(5), "{took:?}");
    println!("stopped in {took:?} with idle connections");
    assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0, "it is closed");
    assert!(TcpStream::connect(address).is_err());
    drop((silent, halting));
}

#[test]
fn a_request_under_way_is_answered_before_the_stop() {
    let (begun, began) = mpsc::channel();
    let go_on = Arc::new(AtomicBool::new(false));
    let server = Server::start({
        let go_on = Arc::clone(&go_on);
        move |routes| {
            let (begun, go_on) = (begun.clone(), Arc::clone(&go_on));
            routes.get("/slow", Permission::Nothing, move || {
                let (begun, go_on) = (begun.clone(), Arc::clone(&go_on));
                async move {
                    begun.send(()).unwrap();
                    while !go_on.load(Ordering::SeqCst) {
                        actix_web::rt::time::sleep(Duration::from_millis(5)).await;
                    }
                    "answered"
                }
            });
        }
    });
    let mut slow = server.connect();
    write!(slow, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    began.recv_timeout(Duration::from_secs(20)).unwrap();
    let shutdown = server.shutdown.clone();
    let stopping = thread::spawn(move || server.stop());
    shutdown.wait();
    thread::sleep(Duration::from_millis(300));
    assert!(!stopping.is_finished(), "it waits for the request");
    go_on.store(true, Ordering::SeqCst);
    let (status, _, body) = answer(&mut slow);
    assert_eq!((status, body.as_str()), (200, "answered"));
    let took = stopping.join().unwrap();
    println!("stopped in {took:?} with a slow request");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// Whether the other side has closed it; what it said before is read.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    loop {
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

#[test]
fn idle_connections_live_for_seconds_and_shorter_in_a_crowd() {
    let (quiet, crowded) = (Server::taking(100, two_roles), Server::taking(8, two_roles));
    let mut kept = quiet.connect();
    write!(kept, "HEAD /reservation HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(answer_head(&mut kept).starts_with("HTTP/1.1 200"));
    let mut silent = quiet.connect();
    let mut crowd: Vec<TcpStream> = (0..16).map(|_| crowded.connect()).collect();
    // More than it takes stand before it, and it is reached all the same, before an idle connection ends where there is no crowd.
    assert_eq!(crowded.ask("GET /reservation").0, 200);
    assert!(!is_closed(&mut kept) && !is_closed(&mut silent), "they have five seconds");
    let until = Instant::now() + Duration::from_secs(60);
    while !(is_closed(&mut kept) && is_closed(&mut silent) && crowd.iter_mut().all(is_closed)) {
        assert!(Instant::now() < until, "idle connections are closed");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_connection_with_a_request_under_way_is_not_idle() {
    let server = Server::start(|routes| {
        routes.get("/slow", Permission::Nothing, || async {
            actix_web::rt::time::sleep(Duration::from_secs(7)).await;
            "answered"
        });
    });
    let mut slow = server.connect();
    write!(slow, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(answer_head(&mut slow).starts_with("HTTP/1.1 200"));
    slow.read_exact(&mut [0; 8]).unwrap();
    write!(slow, "GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(answer(&mut slow).0, 200, "it can be used again");
}

#[test]
fn bytes_that_lead_nowhere_do_not_keep_a_connection() {
    let server = Server::start(two_roles);
    let mut dripping = server.connect();
    write!(dripping, "GET /reservation HTTP/1.1\r\n").unwrap();
    let begun = Instant::now();
    while write!(dripping, "X: y\r\n").is_ok() && !is_closed(&mut dripping) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is closed");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn bodies_that_never_come_do_not_keep_ingest_busy() {
    let server = Server::taking(8, two_roles);
    let mut crowd: Vec<TcpStream> = (0..32)
        .map(|_| {
            let mut stream = server.connect();
            write!(stream, "POST /checkin HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{").unwrap();
            stream
        })
        .collect();
    let asked = Instant::now();
    assert_eq!(server.ask("GET /reservation").0, 200);
    println!("answered in {:?}", asked.elapsed());
    let until = Instant::now() + Duration::from_secs(60);
    while !crowd.iter_mut().all(is_closed) {
        assert!(Instant::now() < until, "they are closed");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_address_in_use_is_named() {
    let server = Server::start(two_roles);
    let second = HttpService::new("second", server.address, open_authenticator(), two_roles);
    let error = second.run(&Shutdown::new()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {}", server.address));
}

#[derive(Clone, Default)]
struct Fake {
    hangs: Arc<AtomicBool>,
    away: Arc<AtomicBool>,
}

impl HealthQueries for Fake {
    fn ping(&self) -> Result<(), StoreError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("host db-7 refused".to_owned()));
        }
        while self.hangs.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn version(&self) -> Result<(String, String), StoreError> {
        self.ping().map(|()| ("postgres".to_owned(), "15.8".to_owned()))
    }
}

#[test]
fn health_is_whether_the_database_answers_in_time() {
    let database = Fake::default();
    let health = Health::new(database.clone(), "1.2.3");
    let server = Server::start(move |routes| health.mount(routes));

    let (status, _, body) = server.ask("GET /healthcheck");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"success\":true"), "{body}");
    let (status, _, body) = server.ask("GET /version");
    assert_eq!(status, 200, "{body}");
    let version: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        version,
        serde_json::json!({ "version": "1.2.3", "database": { "type": "postgres", "version": "15.8" } })
    );

    database.away.store(true, Ordering::SeqCst);
    let (status, _, body) = server.ask("GET /healthcheck");
    assert_eq!(status, 500);
    assert_eq!(message(&body), "the database is not available");
    assert_eq!(server.ask("GET /version").0, 503);
    database.away.store(false, Ordering::SeqCst);

    database.hangs.store(true, Ordering::SeqCst);
    let asked = Instant::now();
    let askers: Vec<_> = (0..12)
        .map(|_| {
            let mut stream = server.connect();
            write!(stream, "GET /healthcheck HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            stream
        })
        .collect();
    for mut asker in askers {
        let (status, _, body) = answer(&mut asker);
        assert_eq!((status, message(&body).as_str()), (500, "the database does not answer"));
    }
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    database.hangs.store(false, Ordering::SeqCst);
    let until = Instant::now() + Duration::from_secs(10);
    while server.ask("GET /healthcheck").0 != 200 {
        assert!(Instant::now() < until, "it recovers");
    }
}
