//! Checks that run on this machine. Each target reports to a reservation of its own.
//!
//! Where to start: [`config`] reads `[probe.NAME]` and reports its problems. [`run`] makes one check of one target
//! and returns its [`ProbeOutcome`], without any server. [`timetable`] decides when each target is due, [`once`] what a
//! run of cron checks, and [`Runner`] runs the checks. Each kind of probe is a file in `kinds` that implements
//! `Check`.

mod aside;
mod attempt;
pub mod config;
mod dns_messages;
mod dns_records;
mod exchange;
mod family;
mod figures;
mod hidden;
mod http_body;
mod http_headers;
mod kinds;
mod lines;
mod network;
pub mod once;
mod outcome;
mod perfdata;
mod program;
mod promise;
mod proxy;
mod read;
mod resolve;
mod run;
pub mod runner;
mod starttls;
mod targets;
pub mod timetable;
mod timing;
mod tls;

pub use config::{BrokenProbe, Probe, Probes};
pub use outcome::{MOST_FIGURES, Phase, Phases, ProbeFigure, ProbeOutcome, ProbeStatus};
pub use promise::{Promise, Remind};
pub use run::run;
pub use runner::{ProbeReport, Runner};
pub use targets::ProbeTarget;
pub use timing::Slots;
