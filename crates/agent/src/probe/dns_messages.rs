//! Sends DNS queries and receives the responses, without interpreting their content.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::attempt::Bound;
use super::lines::{Stream, read, write};
use super::outcome::Failure;

/// Interval after which a query over UDP is sent again.
const AGAIN: Duration = Duration::from_secs(2);

/// Whether `message` is the response to our query: a response with the same id and the same question.
fn is_answer(message: &[u8], id: u16, question: &[u8]) -> bool {
    let asked = question.get(12..).unwrap_or_default();
    message.len() >= 12
        && message[..2] == id.to_be_bytes()
        && message[2] & 0x80 != 0
        && (message[4..6] == [0, 0]
            || message.get(12..12 + asked.len()).is_some_and(|own| own.eq_ignore_ascii_case(asked)))
}

/// Sends a query over UDP, and again every two seconds, until a response arrives.
pub(crate) fn over_udp(
    server: SocketAddr,
    id: u16,
    question: &[u8],
    bound: &Bound,
) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| bound.failure("", &error);
    let own: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(own).map_err(failed)?;
    socket.connect(server).map_err(failed)?;
    let mut buffer = vec![0; 65_535];
    loop {
        socket.send(question).map_err(failed)?;
        let again = Instant::now() + AGAIN;
        loop {
            let left = bound.left().map_err(|_| bound.timeout())?;
            let wait = left.min(again.saturating_duration_since(Instant::now()));
            if wait.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(wait)).map_err(failed)?;
            match socket.recv(&mut buffer) {
                Ok(length) if is_answer(&buffer[..length], id, question) => {
                    return Ok(buffer[..length].to_vec());
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// Sends a query over a stream, on which a length precedes each message.
pub(crate) fn over_stream(
    stream: &mut impl Stream,
    id: u16,
    question: &[u8],
    bound: &Bound,
) -> Result<Vec<u8>, Failure> {
    stream.set_bound(*bound);
    let length = u16::try_from(question.len()).unwrap_or_default();
    write(stream, &[length.to_be_bytes().as_slice(), question].concat())?;
    let mut length = [0; 2];
    read(stream, &mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    read(stream, &mut answer)?;
    match is_answer(&answer, id, question) {
        true => Ok(answer),
        false => Err(Failure::critical("it answers a different query")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, TYPE};

    #[test]
    fn foreign_messages_are_no_answers() {
        let mut packet = Packet::new_query(7);
        let name = Name::new("a.example").unwrap();
        packet.questions.push(Question::new(name, QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN), false));
        let question = packet.build_bytes_vec().unwrap();
        let mut answer = question.clone();
        assert!(!is_answer(&answer, 7, &question), "the question itself is none");
        answer[2] |= 0x80;
        assert!(is_answer(&answer, 7, &question) && !is_answer(&answer, 8, &question));
        answer[13] ^= 1;
        assert!(!is_answer(&answer, 7, &question) && !is_answer(&[], 7, &question));
    }
}
