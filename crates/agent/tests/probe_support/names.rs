//! A name server for tests, and a network namespace in which it is the system's resolver.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::Server;

/// The response of a name server to a query.
#[derive(Clone)]
pub enum Answer {
    /// These records, each as type and encoded content.
    Records(Vec<(u16, Vec<u8>)>),
    /// Only this response code.
    Code(u8),
    /// Over UDP a truncated response; over TCP these records.
    TooLarge(Vec<(u16, Vec<u8>)>),
    /// No response.
    Silence,
    /// These bytes after the id of the query.
    Bytes(Vec<u8>),
    /// First a response to another query, then this code.
    Forged(u8),
    /// No response for this many times, then this code.
    Late(usize, u8),
}

/// A name server over UDP and TCP.
pub struct NameServer {
    pub address: SocketAddr,
    pub asked: Arc<AtomicUsize>,
}

/// A query: its name, its type and its encoded question.
fn question(message: &[u8]) -> (String, u16, Vec<u8>) {
    let (mut at, mut labels) = (12, Vec::new());
    while message[at] != 0 {
        let length = usize::from(message[at]);
        labels.push(String::from_utf8_lossy(&message[at + 1..=at + length]).to_lowercase());
        at += length + 1;
    }
    let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
    (labels.join("."), kind, message[12..at + 5].to_vec())
}

fn message(asked: &[u8], flags: u16, records: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let (_, _, question) = question(asked);
    let mut answer = asked[..2].to_vec();
    answer.extend_from_slice(&(0x8180 | flags).to_be_bytes());
    for count in [1, records.len(), 0, 0] {
        answer.extend_from_slice(&u16::try_from(count).expect("a small count").to_be_bytes());
    }
    answer.extend_from_slice(&question);
    for (kind, content) in records {
        // The name of the question, by a pointer to it.
        answer.extend_from_slice(&[0xc0, 12]);
        answer.extend_from_slice(&kind.to_be_bytes());
        answer.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        answer.extend_from_slice(&u16::try_from(content.len()).expect("a short record").to_be_bytes());
        answer.extend_from_slice(content);
    }
    answer
}

impl NameServer {
    /// Starts a server on a free port. Names without a response do not exist.
    pub fn start(zone: HashMap<&'static str, Answer>) -> Self {
        let tcp = Self::over_tcp("127.0.0.1:0", zone.clone());
        Self::over_udp(tcp.address, zone)
    }

    /// Starts a server on the port that the system's resolver uses.
    pub fn at_53(zone: HashMap<&'static str, Answer>) -> Self {
        let tcp = Self::over_tcp("127.0.0.1:53", zone.clone());
        Self::over_udp(tcp.address, zone)
    }

    fn over_tcp(address: &str, zone: HashMap<&'static str, Answer>) -> Server {
        Server::on(address, move |mut stream| {
            let mut length = [0; 2];
            while stream.read_exact(&mut length).is_ok() {
                let mut asked = vec![0; usize::from(u16::from_be_bytes(length))];
                if stream.read_exact(&mut asked).is_err() {
                    return;
                }
                let answer = match zone.get(&*question(&asked).0) {
                    Some(Answer::Records(records) | Answer::TooLarge(records)) => message(&asked, 0, records),
                    Some(Answer::Code(code)) => message(&asked, u16::from(*code), &[]),
                    _ => message(&asked, 3, &[]),
                };
                let length = u16::try_from(answer.len()).expect("a short message").to_be_bytes();
                if stream.write_all(&[length.to_vec(), answer].concat()).is_err() {
                    return;
                }
            }
        })
    }

    fn over_udp(address: SocketAddr, zone: HashMap<&'static str, Answer>) -> Self {
        let socket = UdpSocket::bind(address).expect("the same port over UDP");
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let asked = &buffer[..length];
                let (name, kind, _) = question(asked);
                let answer = match zone.get(&*name) {
                    // Only what was asked for, and aliases.
                    Some(Answer::Records(records)) => {
                        let fit: Vec<_> = records
                            .iter()
                            .filter(|record| record.0 == kind || record.0 == 5)
                            .cloned()
                            .collect();
                        message(asked, 0, &fit)
                    }
                    Some(Answer::Code(code)) => message(asked, u16::from(*code), &[]),
                    Some(Answer::TooLarge(_)) => message(asked, 0x200, &[]),
                    Some(Answer::Silence) => continue,
                    Some(Answer::Bytes(bytes)) => [&asked[..2], bytes].concat(),
                    Some(Answer::Forged(code)) => {
                        let mut forged = message(asked, 0, &[]);
                        forged[0] ^= 1;
                        let _ = socket.send_to(&forged, from);
                        message(asked, u16::from(*code), &[])
                    }
                    Some(Answer::Late(silent, _)) if number < *silent => continue,
                    Some(Answer::Late(_, code)) => message(asked, u16::from(*code), &[]),
                    None => message(asked, 3, &[]),
                };
                let _ = socket.send_to(&answer, from);
            }
        });
        Self { address, asked }
    }
}

pub fn a(octets: [u8; 4]) -> (u16, Vec<u8>) {
    (1, octets.to_vec())
}

/// An encoded name.
pub fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').flat_map(|label| {
        let length = u8::try_from(label.len()).expect("a short label");
        std::iter::once(length).chain(label.bytes()).collect::<Vec<u8>>()
    });
    labels.chain([0]).collect()
}

/// Runs this test again in a network namespace, after `prepare` was run there. Returns false if the system does not
/// allow one. That run uses the name servers of `resolv_conf` and the known hosts of `hosts`, and finds `role` in
/// `PROBE_NETWORK`.
pub fn again_in_a_network_of_its_own(
    test: &str,
    role: &str,
    prepare: &str,
    resolv_conf: &str,
    hosts: &str,
) -> bool {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).expect("a writable directory");
        path
    };
    let bind = |from: &Path, to: &str| format!("mount --bind {} {to}", from.display());
    let prepare = [
        "ip link set lo up".to_owned(),
        bind(&file("resolv.conf", resolv_conf), "/etc/resolv.conf"),
        bind(&file("hosts", hosts), "/etc/hosts"),
        prepare.to_owned(),
    ]
    .join(" && ");
    let unshare = |script: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", script]);
        unshare
    };
    if !unshare(&prepare).output().is_ok_and(|output| output.status.success()) {
        return false;
    }
    let program = std::env::current_exe().expect("this program");
    let mut run = unshare(&format!("{prepare} && exec \"$0\" --exact {test} --nocapture"));
    let output = run.arg(program).env("PROBE_NETWORK", role).output().expect("unshare, which ran just now");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    true
}
