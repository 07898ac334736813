//! An ingest process, and clients that give it no rest.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::json;

/// Reservations that the load checks in for: few, so that batches meet on the same rows.
pub const JOBS: usize = 5;

/// An ingest over this database, on a port of its own; `more` is appended to `[ingest]`.
pub fn ingest(url: &str, more: &str) -> Server {
    let config =
        format!("[database]\nurl = \"{url}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 2\n{more}\n");
    Server::start("ingest", &config, &[])
}

/// Makes the load's reservations.
pub fn reserve(server: &Server) {
    for job in 0..JOBS {
        let body = json!({
            "app": "load", "component": format!("job-{job}"), "owner": "test", "notify": "",
            "frequency": 1, "time_units": "days",
        });
        assert_eq!(Client::default().post(&server.url("/reservation"), &body).status, 200);
    }
}

/// One check-in, known by its note.
pub fn check_in(client: &Client, server: &str, job: usize, note: &str) -> Result<Response, String> {
    let body =
        json!({ "app": "load", "component": format!("job-{}", job % JOBS), "notes": note }).to_string();
    let headers = [("content-type", "application/json")];
    client
        .send("POST", &format!("{server}/checkin"), &headers, body.as_bytes())
        .map_err(|error| error.to_string())
}

/// What became of one check-in.
#[derive(Debug)]
pub struct Sent {
    /// Its note.
    pub note: String,
    /// The answer, or the connection's error.
    pub answer: Result<Response, String>,
    /// How long that took.
    pub took: Duration,
}

impl Sent {
    /// Whether it was acknowledged.
    pub fn acknowledged(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| (200..300).contains(&answer.status))
    }
}

/// Clients that check in one after another, each over a connection that it keeps.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<Sent>>>,
}

impl Load {
    /// Starts `clients` of them, each patient for `patience`; `name` makes their notes their own. A client ends when a
    /// connection fails.
    pub fn start(server: &Server, name: &'static str, clients: usize, patience: Duration) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let url = server.url("");
        let threads = (0..clients)
            .map(|client| {
                let (stop, answered, url) = (Arc::clone(&stop), Arc::clone(&answered), url.clone());
                std::thread::spawn(move || {
                    let connection = Client::new(patience);
                    let mut all = Vec::new();
                    while !stop.load(Ordering::SeqCst) {
                        let note = format!("{name}-{client}-{}", all.len());
                        let begun = Instant::now();
                        let answer = check_in(&connection, &url, client + all.len(), &note);
                        let failed = answer.is_err();
                        all.push(Sent { note, answer, took: begun.elapsed() });
                        answered.fetch_add(1, Ordering::SeqCst);
                        if failed {
                            break;
                        }
                    }
                    all
                })
            })
            .collect();
        Self { stop, answered, threads }
    }

    /// Waits until `count` more answers have come.
    pub fn wait_for(&self, count: usize) {
        let (goal, end) = (self.answered.load(Ordering::SeqCst) + count, Instant::now() + PATIENCE);
        while self.answered.load(Ordering::SeqCst) < goal {
            assert!(Instant::now() < end, "the clients do not come on");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends the load; returns all that was sent.
    pub fn finish(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("a client")).collect()
    }
}

/// How often each note stands in the history.
pub fn recorded(database: &TestDatabase) -> HashMap<String, usize> {
    let mut notes = HashMap::new();
    for note in database.texts("SELECT notes FROM checkins") {
        *notes.entry(note).or_default() += 1;
    }
    notes
}

/// Every acknowledged check-in is in the history, and the counts are the history's.
pub fn assert_kept(database: &TestDatabase, sent: &[Sent]) {
    let recorded = recorded(database);
    let lost: Vec<&Sent> =
        sent.iter().filter(|sent| sent.acknowledged() && !recorded.contains_key(&sent.note)).collect();
    assert!(lost.is_empty(), "{} acknowledged and lost: {lost:?}", lost.len());
    let wrong = database.texts(
        "SELECT r.component || ' counts ' || s.checkins || ', last ' || s.last_checkin_at
         FROM states s
         JOIN reservations r ON r.id = s.reservation_id
         WHERE s.checkins <> (SELECT COUNT(*) FROM checkins c WHERE c.reservation_id = s.reservation_id)
            OR s.last_checkin_at <> (SELECT MAX(c.at) FROM checkins c WHERE c.reservation_id = s.reservation_id)",
    );
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// None is there twice.
pub fn assert_once(database: &TestDatabase) {
    let twice: Vec<_> = recorded(database).into_iter().filter(|(_, count)| *count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// Sends a whole check-in, and does not wait for its answer.
pub fn say_check_in(server: &Server, n: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let body = format!(r#"{{"app":"load","component":"job-{}","notes":"{n}"}}"#, n % JOBS);
    write!(stream, "POST /checkin HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .expect("it is sent");
    stream
}

/// Waits until the server has taken in what was sent over these connections: nothing of it is left in the kernel.
pub fn wait_until_read(server: &Server, streams: &[TcpStream]) {
    let end = Instant::now() + PATIENCE;
    let port = format!(":{:04X}", server.address().port());
    while Instant::now() < end {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
        let established = table.lines().filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[1].ends_with(&port) && words[3] == "01").then(|| words[4].ends_with(":00000000"))
        });
        if established.clone().count() >= streams.len() && established.clone().all(|read| read) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the server does not read");
}

/// Everything that comes until the server closes.
pub fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}
