//! The minimum of HTTP that the load generators need: it writes check-ins and finds the end of a response.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The request by which a job checks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// `POST /checkin` with JSON.
    CheckIn,
    /// `GET /ping/<uuid>`.
    Ping,
    /// `GET /ping/<uuid>/start`.
    Start,
    /// A start, and the success after it.
    StartAndEnd,
    /// The same with a run id of its own.
    RunWithId,
    /// `POST /ping/<uuid>/0` with 1 kB of output.
    ExitStatus,
    /// `POST /checkin` with three figures.
    Figures,
    /// gocron's `GET /?cronname=…`, the same each time.
    Gocron,
    /// By the job: 60 % of the jobs check in plainly, 25 % send a start and a success, 10 % an exit status with output,
    /// 5 % fail with output.
    Mix,
}

impl Ask {
    /// The one that each job sends once before this one is measured, so that what ingest remembers is warm. It begins no
    /// run that never ends.
    pub fn before(self) -> Self {
        match self {
            Self::StartAndEnd | Self::RunWithId | Self::ExitStatus => Self::Ping,
            other => other,
        }
    }
}

/// Appends to `out` the request by which `job-NUMBER` checks in. Of those that take turns it is the first.
pub fn write_request(out: &mut Vec<u8>, ask: Ask, number: u64) {
    let post = |path: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
    let request = match ask {
        Ask::Mix if number % 20 >= 12 => get(&format!("/ping/{}", key(number))),
        Ask::CheckIn | Ask::Mix => {
            post("/checkin", &format!("{{\"app\":\"bench\",\"component\":\"job-{number}\"}}"))
        }
        Ask::Figures => post(
            "/checkin",
            &format!(
                "{{\"app\":\"bench\",\"component\":\"job-{number}\",\"figures\":{{\"rows\":{number},\"bytes\":1e6,\"errors\":0}}}}"
            ),
        ),
        Ask::Ping => get(&format!("/ping/{}", key(number))),
        Ask::Start | Ask::StartAndEnd => get(&format!("/ping/{}/start", key(number))),
        Ask::RunWithId => {
            get(&format!("/ping/{}/start?rid=00000000-0000-4000-8000-{number:012x}", key(number)))
        }
        Ask::ExitStatus => post(&format!("/ping/{}/0", key(number)), &"0".repeat(1000)),
        Ask::Gocron => get(&gocron(number)),
    };
    out.extend_from_slice(request.as_bytes());
}

/// The address by which gocron's `job-NUMBER` checks in.
pub fn gocron(number: u64) -> String {
    format!("/?cronname=job-{number}&account=bench&email=log&frequency=300")
}

/// The key of `job-NUMBER`, as world/loader.rs makes it.
fn key(number: u64) -> String {
    format!("{:08x}-0000-4000-8000-{number:012x}", number * 2_654_435_761 % 4_294_967_296)
}

/// The length of the request at the beginning of `bytes`; none if it is incomplete.
pub fn whole_request(bytes: &[u8]) -> Option<usize> {
    let head_ends = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let whole = head_ends + length_in(&bytes[..head_ends])?;
    (bytes.len() >= whole).then_some(whole)
}

/// The `Content-Length` in a head.
fn length_in(head: &[u8]) -> Option<usize> {
    let said = std::str::from_utf8(head)
        .ok()?
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    Some(said.unwrap_or(0))
}

/// The status and the length of the response at the beginning of `bytes`; none if it is incomplete.
pub fn whole_answer(bytes: &[u8]) -> Option<(u16, usize)> {
    let head_ends = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..head_ends]).ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    let whole = head_ends + length_in(head.as_bytes())?;
    (bytes.len() >= whole).then_some((status, whole))
}

/// Sends a check-in of `job-NUMBER` over a new connection and returns the status of the response.
pub fn check_in(address: SocketAddr, number: u64) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut bytes = Vec::new();
    write_request(&mut bytes, Ask::CheckIn, number);
    stream.write_all(&bytes)?;
    bytes.clear();
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
        if let Some((status, _)) = whole_answer(&bytes) {
            return Ok(status);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_its_body() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: x\r\n\r\nOK";
        assert_eq!(whole_answer(answer), Some((200, answer.len())));
        assert_eq!(whole_answer(&answer[..answer.len() - 1]), None);
        assert_eq!(whole_answer(&answer[..20]), None);
    }

    #[test]
    fn a_checkin_says_how_long_it_is() {
        let mut out = Vec::new();
        write_request(&mut out, Ask::CheckIn, 42);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "{\"app\":\"bench\",\"component\":\"job-42\"}");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
    }
}
