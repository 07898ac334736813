//! The kinds of probes, a file each.

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

/// What a target is, once its kind has read it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    /// How reports call it: without user, password and query.
    pub(crate) label: String,
    /// The host that is asked; empty where none is.
    pub(crate) host: String,
}

/// What a kind of probe does. It has read its own keys already.
pub(crate) trait Check: Debug + Send + Sync {
    /// Reads a target; an error says what is wrong with it and what is allowed.
    fn subject(&self, target: &str) -> Result<Subject, String>;

    /// Whether there has to be a target.
    fn needs_target(&self) -> bool {
        true
    }

    /// How the server is reached, for kinds that ask one over TCP.
    fn network(&self) -> Option<&Network> {
        None
    }

    /// Checks the target once. Every wait ends with the attempt's limit.
    fn run(&self, target: &str, attempt: &mut ProbeAttempt) -> Result<ProbeOutcome, Failure>;
}

type Reader = fn(&mut Section<'_>) -> Arc<dyn Check>;

/// Each kind by its name, with what reads its keys.
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
