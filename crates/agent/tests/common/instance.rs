//! A server that speaks the protocol of reports and misbehaves as a test tells it.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// The behaviour of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Accepts everything.
    Well,
    /// Never responds.
    Hang,
    /// Closes the connection.
    Close,
    /// Records everything, and closes the connection without a response.
    RecordAndClose,
    /// Responds with this status, these headers and this body.
    Say(u16, String, String),
    /// Gives this result for reports of unknown reservations.
    KnowsNothing,
    /// Gives this result for each report.
    Outcome(Value),
    /// Behaves like an older server, without figures and without reminders at each failure.
    Older,
    /// Sends a body that never ends.
    Endless,
}

/// What the server has received.
#[derive(Debug, Default)]
pub struct Came {
    /// Recorded reports, without repeats.
    pub reports: Vec<Value>,
    /// Bodies of `POST /reservation`.
    pub terms: Vec<Value>,
    /// Method, path and headers of each request.
    pub requests: Vec<(String, String)>,
    keys: HashSet<String>,
    reserved: HashSet<String>,
}

struct Shared {
    mode: Mutex<Mode>,
    came: Mutex<Came>,
}

/// The server.
pub struct Instance {
    address: SocketAddr,
    shared: Arc<Shared>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Instance {
    pub fn open() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    pub fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { mode: Mutex::new(Mode::Well), came: Mutex::default() });
        let instance = Self { address, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        instance
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn now(&self, mode: Mode) {
        *locked(&self.shared.mode) = mode;
    }

    pub fn came(&self) -> MutexGuard<'_, Came> {
        locked(&self.shared.came)
    }

    pub fn reports(&self) -> Vec<Value> {
        self.came().reports.clone()
    }

    /// The kinds of the reports, in the order of arrival.
    pub fn kinds(&self) -> Vec<String> {
        self.reports().iter().map(|report| report["kind"].as_str().unwrap().to_owned()).collect()
    }

    /// The only report of this kind.
    pub fn only(&self, kind: &str) -> Value {
        let found: Vec<Value> = self.reports().into_iter().filter(|report| report["kind"] == kind).collect();
        assert_eq!(found.len(), 1, "{kind}: {:?}", self.reports());
        found.into_iter().next().unwrap()
    }
}

fn serve(mut stream: &TcpStream, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let (mut length, mut headers) = (0, String::new());
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok().filter(|n| *n > 0)?;
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            headers.push_str(&header);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mode = locked(&shared.mode).clone();
        locked(&shared.came).requests.push((line.trim().to_owned(), headers));
        match mode {
            Mode::Older if refusal(&path, &body).is_some() => {
                let what = refusal(&path, &body)?;
                let problem = json!({"status": 400, "title": "Bad Request", "detail": what}).to_string();
                write!(stream, "HTTP/1.1 400 X\r\nContent-Length: {}\r\n\r\n{problem}", problem.len())
                    .ok()?;
            }
            Mode::Well | Mode::KnowsNothing | Mode::Outcome(_) | Mode::Older => {
                let answer = answer(&path, &body, &mode, &mut locked(&shared.came)).to_string();
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()).ok()?;
            }
            Mode::RecordAndClose => {
                answer(&path, &body, &Mode::Well, &mut locked(&shared.came));
                return None;
            }
            Mode::Close => return None,
            Mode::Hang => thread::sleep(Duration::from_secs(600)),
            Mode::Say(status, headers, text) => {
                write!(
                    stream,
                    "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{text}",
                    text.len()
                )
                .ok()?;
            }
            Mode::Endless => {
                write!(stream, "HTTP/1.1 200 OK\r\n\r\n{{\"reports\": [").ok()?;
                loop {
                    stream.write_all(&[b' '; 4096]).ok()?;
                }
            }
        }
    }
}

/// The error of an older server for terms that it does not know.
fn refusal(path: &str, body: &[u8]) -> Option<&'static str> {
    let body: Value = serde_json::from_slice(body).ok().filter(|_| path.ends_with("/reservation"))?;
    match (body.get("expect"), body["remind_every"].as_str()) {
        (Some(_), _) => Some("expect: is no field here; allowed: app, component, slug"),
        (None, Some("each")) => Some("remind_every: \"each\" is no duration; write 90s, 5m, 6h or 1d"),
        (None, _) => None,
    }
}

fn answer(path: &str, body: &[u8], mode: &Mode, came: &mut Came) -> Value {
    let body: Value = serde_json::from_slice(body).expect("a body of JSON");
    if path.ends_with("/reservation") {
        came.reserved.insert(format!("{}/{}", body["app"], body["component"]));
        came.terms.push(body);
        return json!("OK");
    }
    assert!(path.ends_with("/api/v1/checkins") || path.ends_with("/reports"), "{path}");
    let mut said = Vec::new();
    for report in body["reports"].as_array().expect("a list of reports") {
        if let Mode::Outcome(outcome) = mode {
            said.push(outcome.clone());
            continue;
        }
        let name = format!("{}/{}", report["app"], report["component"]);
        if *mode == Mode::KnowsNothing && !came.reserved.contains(&name) {
            said.push(json!({"status": "unknown"}));
            continue;
        }
        let is_new = came.keys.insert(report["key"].to_string());
        if is_new {
            came.reports.push(report.clone());
        }
        said.push(json!({"status": if is_new { "recorded" } else { "known" }}));
    }
    json!({"reports": said, "output_bytes": 10_000})
}
