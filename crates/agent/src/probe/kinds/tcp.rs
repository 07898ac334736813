//! `tcp`: checks that a port accepts connections.

use innkeeper_settings::Section;

use super::{ProbeCheck, Subject};
use crate::probe::attempt::ProbeAttempt;
use crate::probe::network::{Network, host_and_port, with_port};
use crate::probe::outcome::{Failure, Phase, ProbeOutcome};

/// Opens and closes a connection.
#[derive(Debug)]
pub(crate) struct Tcp {
    network: Network,
}

impl Tcp {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self { network: Network::read(section, &[Phase::Dns, Phase::Connect]) }
    }
}

impl ProbeCheck for Tcp {
    fn subject(&self, target: &str) -> Result<Subject, String> {
        let (host, port) = host_and_port(target, None)?;
        Ok(Subject { label: with_port(&host, port), host })
    }

    fn network(&self) -> Option<&Network> {
        Some(&self.network)
    }

    fn run(&self, target: &str, attempt: &mut ProbeAttempt) -> Result<ProbeOutcome, Failure> {
        let (host, port) = host_and_port(target, None).map_err(Failure::unknown)?;
        let wire = self.network.connect(attempt, &host, port)?;
        Ok(ProbeOutcome::ok(format!("connected to {}", wire.peer)))
    }
}
