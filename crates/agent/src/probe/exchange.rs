//! One HTTP request and response over an open connection.

use std::io::ErrorKind;

use ureq_proto::client::{Call, RecvBodyResult, RecvResponseResult, SendRequestResult, state};
use ureq_proto::http::{HeaderMap, Request, StatusCode};

use super::attempt::{PhaseLimits, ProbeAttempt};
use super::lines::{Stream, write};
use super::outcome::{Failure, Phase};

/// Largest head of a response, in bytes.
const LARGEST_HEAD: usize = 128 * 1024;
/// Largest head of a request, in bytes.
const LARGEST_REQUEST_HEAD: usize = 256 * 1024;

/// A response.
#[derive(Debug)]
pub(crate) struct ProbeAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Whether the body is longer than the limit and was cut.
    pub is_cut: bool,
}

/// A request.
pub(crate) struct ProbeRequest<'a> {
    /// Method, URL and headers.
    pub request: Request<()>,
    pub body: &'a [u8],
    /// Whether the request goes to a proxy, which needs the whole URL.
    pub is_to_proxy: bool,
    /// Most bytes of the response's body that are read.
    pub body_limit: usize,
}

/// Sends the request and reads the response.
pub(crate) fn exchange(
    stream: &mut impl Stream,
    asked: ProbeRequest<'_>,
    limits: &PhaseLimits,
    attempt: &mut ProbeAttempt,
) -> Result<ProbeAnswer, Failure> {
    let whole = asked.request.uri().to_string();
    let body_limit = asked.body_limit;
    let (mut head, mut call) = prepared(asked.request, asked.body)?;
    if asked.is_to_proxy {
        head = with_whole_address(&head, &whole);
    }
    let mut input = Vec::new();
    attempt.phase(Phase::FirstByte, limits, |bound| {
        stream.set_bound(*bound);
        // Head and body are sent in one write: some servers respond to a head that arrives alone before they have
        // read the body.
        write(stream, &[&head[..], asked.body].concat())?;
        match read_more(stream, &mut input)? {
            true => Ok(()),
            false => Err(Failure::critical("the server closed the connection without an answer")),
        }
    })?;
    attempt.phase(Phase::Body, limits, |bound| {
        stream.set_bound(*bound);
        let response = loop {
            let (used, response) = call.try_response(&input, false).map_err(not_http)?;
            input.drain(..used);
            if let Some(response) = response {
                break response;
            }
            if used > 0 {
                continue;
            }
            if input.len() > LARGEST_HEAD {
                return Err(Failure::critical("the headers of the answer are too large"));
            }
            if !read_more(stream, &mut input)? {
                return Err(Failure::critical(
                    "the server closed the connection within the headers of its answer",
                ));
            }
        };
        let (body, is_cut) = match call.proceed() {
            Some(RecvResponseResult::RecvBody(call)) => read_body(stream, call, input, body_limit)?,
            _ => (Vec::new(), false),
        };
        let (parts, ()) = response.into_parts();
        Ok(ProbeAnswer { status: parts.status, headers: parts.headers, body, is_cut })
    })
}

/// The head of the request as bytes, and the state of the connection while it waits for the response.
fn prepared(request: Request<()>, body: &[u8]) -> Result<(Vec<u8>, Call<state::RecvResponse>), Failure> {
    let unsendable =
        |error: ureq_proto::Error| Failure::unknown(format!("the request cannot be sent: {error}"));
    let mut call = Call::new(request).map_err(unsendable)?;
    call.allow_non_standard_methods(true);
    if !body.is_empty() {
        call.force_send_body();
    }
    let mut call = call.proceed();
    let mut head = vec![0; LARGEST_REQUEST_HEAD];
    let mut length = 0;
    while !call.can_proceed() {
        let written = call.write(&mut head[length..]).map_err(unsendable)?;
        length += written;
        if written == 0 {
            return Err(Failure::unknown("the request cannot be sent: its headers are too large"));
        }
    }
    head.truncate(length);
    let call = match call.proceed().map_err(unsendable)? {
        Some(SendRequestResult::RecvResponse(call)) => Some(call),
        Some(SendRequestResult::SendBody(mut call)) => {
            call.consume_direct_write(body.len()).map_err(unsendable)?;
            call.proceed()
        }
        _ => None,
    };
    let call = call.ok_or_else(|| Failure::unknown("the request cannot be sent"))?;
    Ok((head, call))
}

/// Turns `GET /path HTTP/1.1` into `GET http://host/path HTTP/1.1`.
fn with_whole_address(head: &[u8], whole: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(head);
    let (first, rest) = text.split_once("\r\n").unwrap_or((&text, ""));
    let method = first.split(' ').next().unwrap_or_default();
    format!("{method} {whole} HTTP/1.1\r\n{rest}").into_bytes()
}

/// Reads the next bytes; false at the end of the stream.
fn read_more(stream: &mut impl Stream, input: &mut Vec<u8>) -> Result<bool, Failure> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => {
                input.extend_from_slice(&buffer[..length]);
                return Ok(true);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Many servers end a TLS connection without `close_notify`. Whether the response is complete is known
            // from its body.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(stream.bound().failure("", &error)),
        }
    }
}

fn read_body(
    stream: &mut impl Stream,
    mut call: Call<state::RecvBody>,
    mut input: Vec<u8>,
    limit: usize,
) -> Result<(Vec<u8>, bool), Failure> {
    let mut body = Vec::new();
    let mut output = vec![0; 16 * 1024];
    loop {
        let (used, written) = call.read(&input, &mut output).map_err(not_http)?;
        input.drain(..used);
        body.extend_from_slice(&output[..written]);
        if body.len() > limit {
            body.truncate(limit);
            return Ok((body, true));
        }
        if used > 0 || written > 0 {
            continue;
        }
        let ends_with_connection = matches!(call.body_mode(), ureq_proto::BodyMode::CloseDelimited);
        if call.can_proceed() && !ends_with_connection {
            return Ok((body, false));
        }
        if !read_more(stream, &mut input)? {
            // The last chunk has arrived, but not the trailer.
            let is_whole = ends_with_connection || call.is_ended_chunked();
            return match is_whole || matches!(call.proceed(), Some(RecvBodyResult::Cleanup(_))) {
                true => Ok((body, false)),
                false => Err(Failure::critical(format!(
                    "the server closed the connection within the body, after {} bytes of it",
                    body.len()
                ))),
            };
        }
    }
}

fn not_http(error: ureq_proto::Error) -> Failure {
    Failure::critical(format!("what the server answers is not HTTP: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor, Read, Write};
    use std::time::Duration;

    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;
    use crate::probe::attempt::Bound;

    /// A server whose response is complete and is read in pieces of this size.
    struct Answered {
        answer: Cursor<Vec<u8>>,
        piece: usize,
        bound: Bound,
    }

    impl Read for Answered {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(self.piece);
            self.answer.read(&mut buffer[..length])
        }
    }

    impl Write for Answered {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Answered {
        fn bound(&self) -> Bound {
            self.bound
        }

        fn set_bound(&mut self, bound: Bound) {
            self.bound = bound;
        }
    }

    fn answered(answer: &[u8], piece: usize) -> Result<ProbeAnswer, Failure> {
        let mut attempt = ProbeAttempt::new(String::new(), DateTime::UNIX_EPOCH, Duration::from_secs(60));
        let mut stream = Answered { answer: Cursor::new(answer.to_vec()), piece, bound: attempt.whole() };
        let request = Request::get("http://a.example/").body(()).unwrap();
        let asked = ProbeRequest { request, body: b"", is_to_proxy: false, body_limit: 1000 };
        exchange(&mut stream, asked, &PhaseLimits::default(), &mut attempt)
    }

    const ANSWERS: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
    ];

    #[test]
    fn answers_come_in_pieces_of_any_size() {
        for answer in ANSWERS {
            for piece in [1, 2, 3, 7, 1000] {
                let read = answered(answer, piece).unwrap();
                assert_eq!((read.status, &*read.body, read.is_cut), (StatusCode::OK, &b"hello"[..], false));
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_a_server_answers_there_is_an_end(
            which in 0..ANSWERS.len(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            piece in 1..40_usize,
        ) {
            let mut answer = ANSWERS[which].to_vec();
            for (at, byte) in changes {
                let at = at.index(answer.len());
                answer[at] = byte;
            }
            let read = answered(&answer, piece);
            prop_assert!(read.is_err() || read.is_ok_and(|read| read.body.len() <= 1000));
        }
    }
}
