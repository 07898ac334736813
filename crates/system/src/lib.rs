//! Tests that need root and a whole system: a mail server, network namespaces, a machine with cron and systemd.
//! `scripts/test-system` installs what they need and runs them.
//!
//! - [`mail`]: Postfix and Dovecot on loopback ports, from configuration that the test writes;
//! - [`machine`]: a machine of a test's own, with a booted systemd;
//! - [`mount`]: file systems that run full or hang;
//! - [`network`]: network namespaces with links between them that can be cut;
//! - [`postgres`]: Postgres servers in them, a primary and its standby;
//! - [`standalone`]: Innkeeper, all roles in one process.

pub mod machine;
pub mod mail;
pub mod mount;
pub mod network;
pub mod postgres;
pub mod standalone;
