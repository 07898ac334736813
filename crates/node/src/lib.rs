//! The common parts of every process, whatever its role: configuration, command line, logging, start, stop, and the
//! heartbeat by which nodes know each other.
//!
//! This crate decides nothing about reservations. It contains no SQL, and serves no HTTP.
//!
//! Where to start: [`cli::run_role`] is a complete `main`; each role assembles itself with [`Process`];
//! [`heartbeat::Heartbeat`] makes a process a node among others; [`config::Config`] contains every setting;
//! [`shutdown::Shutdown`] stops everything.

mod alerters;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dead_ends;
pub mod descriptors;
mod doubts;
mod exposed;
pub mod health;
pub mod heartbeat;
pub mod invitation;
pub mod keys;
mod live_alerters;
pub mod memory;
pub mod metrics;
mod mount;
mod print;
mod process;
mod process_metrics;
mod proxies;
mod records;
mod role;
pub mod shutdown;
pub mod startup;
pub mod summary;
mod supervised_thread;
pub mod token;
pub mod ways;

pub use config::Config;
pub use heartbeat::Heartbeat;
pub use live_alerters::Ways;
pub use metrics::Metrics;
pub use mount::PathPrefix;
pub use process::{Process, RoleWork};
pub use proxies::TrustedProxies;
pub use role::Role;
pub use shutdown::{Shutdown, Wake};
pub use startup::{is_unused, reach_database, wait_for_database};
pub use supervised_thread::SupervisedThread;
pub use ways::KnownWays;

pub use innkeeper_logging::Seldom;
