//! The agent: one small program that runs beside the jobs. It wraps jobs (`exec`), probes services and resources
//! (`probe`), and finds scheduled jobs (`discover`).
//!
//! It only speaks HTTP with Innkeeper, and has no database. It never breaks a job: if the server, the network or the
//! disk fails, the job runs as it would without the agent.
//!
//! Where to start: [`cli`] is the command line, [`exec`] runs a job, [`report`] is the event that is reported,
//! [`spool`] keeps reports on disk until [`sender`] has delivered them through [`api`].

pub mod api;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod discover;
pub mod exec;
pub mod figures;
pub mod logbook;
pub mod probe;
pub mod report;
pub mod sender;
pub mod service;
pub mod spool;
pub mod state;
pub mod status;
pub mod terms;
