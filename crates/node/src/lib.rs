//! What every process does, whatever its role: configuration, command line, logging, stopping, waiting for
//! the database, and the HTTP plumbing that ingest and web share.
//!
//! This crate never decides anything about a reservation, and knows no SQL.
//!
//! Where to start: [`cli::run_role`] is a whole `main`; [`heart::Heart`] makes a process a node among others; [`config::Config`] is everything that can be set;
//! [`shutdown::Shutdown`] ends it all; [`http::HttpService`] is a listener.

mod alerters;
pub mod backup;
pub mod cli;
pub mod config;
pub mod curl;
pub mod dead_ends;
pub mod descriptors;
mod doubts;
mod exposed;
pub mod health;
pub mod heart;
pub mod http;
pub mod invitation;
pub mod keys;
pub mod logging;
pub mod memory;
pub mod metrics;
mod part;
mod records;
mod role;
pub mod shutdown;
pub mod startup;
pub mod summary;
pub mod token;
pub mod ways;

pub use alerters::Ways;
pub use config::Config;
pub use heart::Heart;
pub use metrics::Metrics;
pub use part::Part;
pub use role::Role;
pub use shutdown::{Shutdown, Wake};
pub use startup::{is_unused, reach_database, wait_for_database};
pub use ways::KnownWays;

pub use innkeeper_store::Seldom;
