//! `tls`: checks a server's certificates: their trust, their name and their remaining lifetime. No request is sent.

use innkeeper_settings::Section;

use super::{ProbeCheck, Subject};
use crate::probe::attempt::ProbeAttempt;
use crate::probe::network::{Network, host_and_port, with_port};
use crate::probe::outcome::{Failure, Phase, ProbeOutcome, ProbeStatus};
use crate::probe::read;
use crate::probe::starttls::StartTls;
use crate::probe::tls::Trust;
use crate::probe::tls::facts::CertificateFacts;
use crate::probe::tls::lifetime::{self, Thresholds};

/// Checks the certificates of a server.
#[derive(Debug)]
pub(crate) struct Tls {
    network: Network,
    trust: Trust,
    starttls: Option<StartTls>,
    thresholds: Thresholds,
}

impl Tls {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            network: Network::read(section, &[Phase::Dns, Phase::Connect, Phase::Tls]),
            trust: Trust::read(section),
            starttls: read::word(section, "starttls", None, &StartTls::WORDS),
            thresholds: Thresholds::read(section),
        }
    }

    fn host_and_port(&self, target: &str) -> Result<(String, u16), String> {
        host_and_port(target, Some(self.starttls.map_or(443, StartTls::usual_port)))
    }
}

impl ProbeCheck for Tls {
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
        if let Some(starttls) = self.starttls {
            wire = starttls.ask(wire, &self.network, attempt)?;
        }
        let name = self.trust.server_name.as_deref().unwrap_or(&host);
        // Problems of trust are reported together with the dates, even if trust is not required.
        let (verdict, refused) = self.trust.see(wire, name, &self.network, attempt)?;
        let now = attempt.now;
        let Some(own) = verdict.used.first() else {
            let what = verdict.trust.err().unwrap_or_default();
            return Err(Failure::critical(what));
        };
        let until = format!("its certificate is valid until {}", lifetime::day(own.not_after));
        let mut outcome = ProbeOutcome::ok(until).with_details(&listed(&verdict.used, verdict.shown));
        if let Some((status, what)) = self.thresholds.judge(&verdict.used, now) {
            outcome = ProbeOutcome { details: outcome.details, ..ProbeOutcome::new(status, what) };
        }
        let wrong = verdict.trust.err().into_iter().chain(verdict.name.err());
        for problem in wrong {
            match self.trust.verify {
                true => outcome.also(ProbeStatus::Critical, &problem),
                false => outcome.also(ProbeStatus::Ok, &format!("not verified: {problem}")),
            }
        }
        if let Some(refused) = refused {
            outcome.also(
                ProbeStatus::Ok,
                &format!("the server sent it and then rejected the connection: {refused}"),
            );
        }
        Ok(lifetime::figures(outcome, &verdict.used, now))
    }
}

fn listed(used: &[CertificateFacts], shown: usize) -> String {
    let lines = used.iter().map(|certificate| {
        let names = match certificate.names.as_slice() {
            [] => String::new(),
            names => format!(" for {}", names.iter().take(10).cloned().collect::<Vec<_>>().join(", ")),
        };
        let from = lifetime::day(certificate.not_before);
        let until = lifetime::day(certificate.not_after);
        format!("{}{names}: {from} to {until}, issued by {}\n", certificate.called(), certificate.issuer)
    });
    let mut text: String = lines.collect();
    let others = shown.saturating_sub(used.len());
    if others > 0 {
        text.push_str(&format!(
            "{others} more certificates were sent that do not count (roots, other chains)\n"
        ));
    }
    text
}
