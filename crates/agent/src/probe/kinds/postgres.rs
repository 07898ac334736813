//! `postgres`: checks that a server accepts connections. Like `pg_isready`, it sends a startup message without a
//! password and evaluates the first response.

use innkeeper_settings::Section;

use super::{ProbeCheck, Subject};
use crate::probe::attempt::ProbeAttempt;
use crate::probe::lines::{Stream, read, write};
use crate::probe::network::{Network, host_and_port, with_port};
use crate::probe::outcome::{Failure, Phase, ProbeOutcome};
use crate::probe::read as keys;
use crate::probe::starttls;
use crate::probe::tls::Trust;
use crate::probe::tls::lifetime::{self, Thresholds};

/// Largest message that is accepted as one of Postgres, in bytes.
const LONGEST_MESSAGE: usize = 32 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// Use TLS if the server offers it. The certificate is not checked.
    Prefer,
    /// Fail if the server does not offer TLS.
    Require,
    Off,
}

/// Checks a Postgres server.
#[derive(Debug)]
pub(crate) struct Postgres {
    network: Network,
    trust: Trust,
    thresholds: Thresholds,
    encryption: Encryption,
    user: String,
    database: String,
}

impl Postgres {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let words =
            [("prefer", Encryption::Prefer), ("require", Encryption::Require), ("off", Encryption::Off)];
        let name = |text: &str| match text.is_empty() || text.contains('\0') {
            true => Err(format!("{text:?} is no name")),
            false => Ok(text.to_owned()),
        };
        Self {
            network: Network::read(section, &Phase::ALL[..4]),
            trust: Trust::read(section),
            thresholds: Thresholds::read(section),
            encryption: keys::word(section, "tls", Encryption::Prefer, &words),
            user: section.parsed("user", "innkeeper".to_owned(), name),
            database: section.parsed("database", "postgres".to_owned(), name),
        }
    }

    fn startup(&self) -> Vec<u8> {
        let mut message = 196_608_u32.to_be_bytes().to_vec();
        let parameters =
            [("user", &*self.user), ("database", &*self.database), ("application_name", "innkeeper-agent")];
        for (key, value) in parameters {
            for text in [key, value] {
                message.extend_from_slice(text.as_bytes());
                message.push(0);
            }
        }
        message.push(0);
        let length = u32::try_from(message.len() + 4).unwrap_or_default();
        [length.to_be_bytes().to_vec(), message].concat()
    }

    fn talk(&self, stream: &mut impl Stream, attempt: &mut ProbeAttempt) -> Result<ProbeOutcome, Failure> {
        let limits = self.network.limits;
        attempt.phase(Phase::FirstByte, &limits, |bound| {
            stream.set_bound(*bound);
            write(stream, &self.startup())?;
            let answer = message(stream)?;
            // Terminate. A server that rejected the startup has closed the connection already, so errors are ignored.
            let _ = write(stream, &[b'X', 0, 0, 0, 4]);
            answer.judged()
        })
    }
}

/// A message of the server: its type and its body.
struct Message {
    kind: u8,
    body: Vec<u8>,
}

fn message(stream: &mut impl Stream) -> Result<Message, Failure> {
    let mut head = [0; 5];
    read(stream, &mut head)?;
    let length =
        usize::try_from(u32::from_be_bytes([head[1], head[2], head[3], head[4]])).unwrap_or(usize::MAX);
    if !matches!(head[0], b'R' | b'E' | b'v') || !(4..=LONGEST_MESSAGE).contains(&length) {
        return Err(Failure::critical("what answers is not Postgres"));
    }
    let mut body = vec![0; length - 4];
    read(stream, &mut body)?;
    Ok(Message { kind: head[0], body })
}

impl Message {
    fn judged(&self) -> Result<ProbeOutcome, Failure> {
        if self.kind != b'E' {
            return Ok(ProbeOutcome::ok(match self.body.get(..4) {
                Some([0, 0, 0, 0]) => "it accepts connections, and accepted this one without a password",
                _ => "it accepts connections",
            }));
        }
        let (code, text) = (self.field(b'C'), self.field(b'M'));
        match &*code {
            // 57P03 cannot_connect_now (starting, stopping or recovering), 53300 too_many_connections, 57P01 and
            // 57P02 shutdown.
            "57P03" | "53300" | "57P01" | "57P02" => {
                Err(Failure::critical(format!("it accepts no connections: {text} ({code})")))
            }
            // The server rejected the user or database, so it is up and working.
            _ if code.starts_with("28") || code.starts_with("3D") || code == "42501" => {
                Ok(ProbeOutcome::ok(format!("it answers, and rejects the login: {text} ({code})")))
            }
            _ => Err(Failure::critical(format!("it answers with an error: {text} ({code})"))),
        }
    }

    fn field(&self, wanted: u8) -> String {
        let mut fields = self.body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
        let found = fields.find(|field| field[0] == wanted);
        String::from_utf8_lossy(found.map(|field| &field[1..]).unwrap_or_default()).into_owned()
    }
}

impl ProbeCheck for Postgres {
    fn subject(&self, target: &str) -> Result<Subject, String> {
        let (host, port) = host_and_port(target, Some(5432))?;
        Ok(Subject { label: with_port(&host, port), host })
    }

    fn network(&self) -> Option<&Network> {
        Some(&self.network)
    }

    fn run(&self, target: &str, attempt: &mut ProbeAttempt) -> Result<ProbeOutcome, Failure> {
        let (host, port) = host_and_port(target, Some(5432)).map_err(Failure::unknown)?;
        let mut wire = self.network.connect(attempt, &host, port)?;
        if self.encryption == Encryption::Off {
            return self.talk(&mut wire, attempt);
        }
        let offered = attempt.phase(Phase::Tls, &self.network.limits, |bound| {
            wire.bound = *bound;
            starttls::postgres(&mut wire)
        })?;
        match (offered, self.encryption) {
            (true, Encryption::Prefer) => {
                let (mut stream, _) = self.trust.lenient().look(wire, &host, &self.network, attempt)?;
                self.talk(&mut stream, attempt)
            }
            (true, _) => {
                let name = self.trust.server_name.as_deref().unwrap_or(&host);
                let (mut stream, verdict) = self.trust.handshake(wire, name, &self.network, attempt)?;
                let mut outcome = self.talk(&mut stream, attempt)?;
                if let Some((status, what)) = self.thresholds.judge(&verdict.used, attempt.now) {
                    outcome.also(status, &what);
                }
                Ok(lifetime::figures(outcome, &verdict.used, attempt.now))
            }
            (false, Encryption::Require) => {
                Err(Failure::critical("the server does not offer TLS (ssl is off)"))
            }
            (false, _) => self.talk(&mut wire, attempt),
        }
    }
}
