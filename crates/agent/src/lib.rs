//! The agent: one small program beside the jobs. It wraps them (`exec`), probes what runs here (`probe`), and finds what
//! is scheduled here (`discover`).
//!
//! It speaks ingest's public HTTP and nothing else, and has no database. It never breaks a job: whatever goes wrong with
//! the server, the network or the disk, a job runs as it would without it.
//!
//! Where to start: [`cli`] is the command line, [`exec`] runs a job, [`report`] is what is told of it, [`spool`] keeps
//! reports on disk until [`sender`] has brought them to the server by way of [`api`].

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
