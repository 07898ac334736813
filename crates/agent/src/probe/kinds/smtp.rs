//! `smtp`: checks that a mail server sends its greeting and answers EHLO. No mail is sent.

use innkeeper_settings::Section;

use super::{ProbeCheck, Subject};
use crate::probe::attempt::ProbeAttempt;
use crate::probe::lines::{Stream, code_answer, line, say};
use crate::probe::network::{Network, host_and_port, with_port};
use crate::probe::outcome::{Failure, Phase, ProbeOutcome};
use crate::probe::read;
use crate::probe::starttls::StartTls;
use crate::probe::tls::Trust;
use crate::probe::tls::lifetime::{self, Thresholds};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    Off,
    StartTls,
    Implicit,
}

/// Talks to a mail server without sending mail.
#[derive(Debug)]
pub(crate) struct Smtp {
    network: Network,
    trust: Trust,
    encryption: Encryption,
    thresholds: Thresholds,
    /// The name for EHLO.
    hello: String,
    /// Extensions that the server must offer.
    expect: Vec<String>,
}

impl Smtp {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let words = [
            ("off", Encryption::Off),
            ("starttls", Encryption::StartTls),
            ("implicit", Encryption::Implicit),
        ];
        Self {
            network: Network::read(section, &Phase::ALL[..4]),
            trust: Trust::read(section),
            encryption: read::word(section, "tls", Encryption::Off, &words),
            thresholds: Thresholds::read(section),
            hello: section.parsed("hello", own_name(), |text| {
                let is_name = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
                if is_name { Ok(text.to_owned()) } else { Err(format!("{text:?} is no name of a host")) }
            }),
            expect: section.list("expect", 50, |text| Ok(text.to_owned())),
        }
    }

    fn host_and_port(&self, target: &str) -> Result<(String, u16), String> {
        host_and_port(target, Some(if self.encryption == Encryption::Implicit { 465 } else { 25 }))
    }

    /// Reads the greeting (unless it was read before), and sends EHLO and QUIT.
    fn talk(
        &self,
        stream: &mut impl Stream,
        greets: bool,
        attempt: &mut ProbeAttempt,
    ) -> Result<ProbeOutcome, Failure> {
        let limits = self.network.limits;
        attempt.phase(Phase::FirstByte, &limits, |bound| {
            stream.set_bound(*bound);
            let mut greeting = Vec::new();
            if greets {
                greeting = code_answer(stream, 220, "it does not greet with 220")?;
            }
            say(stream, &format!("EHLO {}", self.hello))?;
            let offered = code_answer(stream, 250, "EHLO was refused")?;
            let extensions = offered.get(1..).unwrap_or_default();
            if say(stream, "QUIT").is_ok() {
                // Wait for the answer to QUIT: mail servers log a client that closes early as an error.
                let _ = line(stream);
            }
            if let Some(missing) = self.expect.iter().find(|wanted| !offers(extensions, wanted)) {
                let what =
                    format!("the server does not offer {missing}; it offers {}", extensions.join(", "));
                return Err(Failure::critical(what));
            }
            let first = greeting.first().or(offered.first()).map(String::as_str).unwrap_or_default();
            Ok(ProbeOutcome::ok(format!("it greets: {first}"))
                .with_details(&format!("{}\n", extensions.join("\n"))))
        })
    }
}

/// Whether the server offers `wanted`. An extension with parameters matches if it has all of them: `AUTH LOGIN PLAIN`
/// includes `AUTH PLAIN`.
fn offers(extensions: &[String], wanted: &str) -> bool {
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    extensions.iter().any(|extension| {
        let words: Vec<&str> = extension.split_whitespace().collect();
        let has = |word: &&str| words.iter().any(|other| other.eq_ignore_ascii_case(word));
        words.first().zip(wanted.first()).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
            && wanted.iter().all(has)
    })
}

/// This host's name, reduced to characters that EHLO allows.
fn own_name() -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    if fits { name } else { "localhost".to_owned() }
}

impl ProbeCheck for Smtp {
    fn subject(&self, target: &str) -> Result<Subject, String> {
        let (host, port) = self.host_and_port(target)?;
        Ok(Subject { label: with_port(&host, port), host })
    }

    fn network(&self) -> Option<&Network> {
        Some(&self.network)
    }

    fn run(&self, target: &str, attempt: &mut ProbeAttempt) -> Result<ProbeOutcome, Failure> {
        let (host, port) = self.host_and_port(target).map_err(Failure::unknown)?;
        let mut wire = self.network.connect(attempt, &host, port)?;
        if self.encryption == Encryption::Off {
            return self.talk(&mut wire, true, attempt);
        }
        let greets = self.encryption == Encryption::Implicit;
        if !greets {
            wire = StartTls::Smtp.ask(wire, &self.network, attempt)?;
        }
        let name = self.trust.server_name.as_deref().unwrap_or(&host);
        let (mut stream, verdict) = self.trust.handshake(wire, name, &self.network, attempt)?;
        let mut outcome = self.talk(&mut stream, greets, attempt)?;
        if let Some((status, what)) = self.thresholds.judge(&verdict.used, attempt.now) {
            outcome.also(status, &what);
        }
        Ok(lifetime::figures(outcome, &verdict.used, attempt.now))
    }
}
