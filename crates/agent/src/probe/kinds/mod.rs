//! The kinds of probes, one file each.

mod command;
mod disk;
mod dns;
mod http;
mod icmp;
mod postgres;
mod process;
mod smtp;
mod systemd_unit;
mod tcp;
mod tls;

use std::fmt::Debug;
use std::sync::Arc;

use innkeeper_settings::Section;

use super::attempt::ProbeAttempt;
use super::network::Network;
use super::outcome::{Failure, ProbeOutcome};

/// A target, parsed by its kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    /// The name in reports, without user, password and query.
    pub(crate) label: String,
    /// The host that is contacted; empty if there is none.
    pub(crate) host: String,
}

/// The check of one kind of probe. It has been configured with the kind's own keys.
pub(crate) trait ProbeCheck: Debug + Send + Sync {
    /// Parses a target. The error says what is wrong and what is allowed.
    fn subject(&self, target: &str) -> Result<Subject, String>;

    /// Whether the probe must have a target.
    fn needs_target(&self) -> bool {
        true
    }

    /// The network settings, for kinds that connect over TCP.
    fn network(&self) -> Option<&Network> {
        None
    }

    /// Checks the target once. No wait exceeds the attempt's limit.
    fn run(&self, target: &str, attempt: &mut ProbeAttempt) -> Result<ProbeOutcome, Failure>;
}

type Reader = fn(&mut Section<'_>) -> Arc<dyn ProbeCheck>;

/// Each kind's name and the function that reads its keys.
pub(crate) const KINDS: [(&str, Reader); 11] = [
    ("tcp", |section| Arc::new(tcp::Tcp::read(section))),
    ("http", |section| Arc::new(http::Http::read(section))),
    ("tls", |section| Arc::new(tls::Tls::read(section))),
    ("dns", |section| Arc::new(dns::Dns::read(section))),
    ("icmp", |section| Arc::new(icmp::Icmp::read(section))),
    ("command", |section| Arc::new(command::Command::read(section))),
    ("postgres", |section| Arc::new(postgres::Postgres::read(section))),
    ("smtp", |section| Arc::new(smtp::Smtp::read(section))),
    ("disk", |section| Arc::new(disk::Disk::read(section))),
    ("systemd-unit", |section| Arc::new(systemd_unit::SystemdUnit::read(section))),
    ("process", |section| Arc::new(process::ProcessProbe::read(section))),
];
