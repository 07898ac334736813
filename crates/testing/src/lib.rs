//! Real components for tests: servers that record what they receive and respond as the test tells them.
//!
//! Other crates use this only as a dev-dependency. Nothing here imitates Innkeeper; it replaces the outside world. A
//! component that cannot be started panics, because the test cannot continue.
//!
//! - [`database`]: a Postgres database or an SQLite file of the test's own;
//! - [`http_sink`]: an HTTP server for what webhooks, Slack and PagerDuty are sent;
//! - [`smtp_sink`]: a mail server over real TLS;
//! - [`cluster`]: a Postgres server that a test may stop and start;
//! - [`pgbouncer`]: a connection pooler before a Postgres server;
//! - [`haproxy`]: an HTTP proxy before Innkeeper;
//! - [`proxy`]: a TCP proxy before Postgres that swallows what it is to pass on;
//! - [`faketime`]: a wall clock that a test sets for the processes it starts;
//! - [`process`]: Innkeeper's own programs, started, stopped and killed; [`client`]: HTTP to them;
//! - [`ports`]: ports of this machine that are free, or stay closed;
//! - [`jobs`]: jobs that check in again and again;
//! - [`certificates`]: an authority and its certificates, made for the test;
//! - [`authenticator`]: what makes a passkey, and signs with it.

pub mod authenticator;
pub mod certificates;
pub mod client;
pub mod cluster;
pub mod database;
pub mod faketime;
pub mod haproxy;
pub mod http_sink;
pub mod jobs;
pub mod pgbouncer;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod smtp_sink;
mod tcp_server;
