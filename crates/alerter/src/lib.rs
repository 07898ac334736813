//! The ways out: how a notice reaches a person or a machine.
//!
//! One trait, [`Alerter`], and one file per service, each with its configuration, its checks and its
//! sending: [`smtp`], [`slack`], [`pagerduty`], [`webhook`], [`command`] and [`logbook`].
//!
//! Three ways to ask stand beside them: [`Asker`] asks an address how it is, [`Mailbox`] looks whether a mail has come, and
//! [`Exchange`] sends a request of its caller's and brings the whole answer.
//!
//! This crate never decides who hears what or when, never retries on its own beyond a connection that had
//! died while idle, keeps no state between two sendings but open connections, and knows no database. What
//! it answers ([`Sent`]) tells the outbox what to do next. No secret leaves it but on the wire: not in
//! `Debug`, not in a log line (as long as the logger heeds [`tells_secrets`]), not in a `problem`.
//!
//! Where to start: [`AlerterConfig`] is a section of the configuration, [`Alerters`] is all of them built,
//! [`Alerter::send`] is the one thing they do.
//!
//! ```
//! use std::{collections::BTreeMap, sync::Arc};
//! use innkeeper_alerter::Alerters;
//! use innkeeper_core::SystemClock;
//!
//! let alerters = Alerters::build(&BTreeMap::new(), Arc::new(SystemClock)).unwrap();
//! assert_eq!(alerters.names().map(|name| name.as_str()).collect::<Vec<_>>(), ["log"]);
//! ```

mod alerters;
mod asker;
mod certificates;
pub mod command;
mod config;
mod digest;
mod exchange;
#[doc(hidden)]
pub mod fuzz;
mod guard;
mod http;
mod keys;
mod letter;
pub mod logbook;
mod look_up;
mod mailbox;
mod mentions;
mod message;
pub mod pagerduty;
mod redactor;
pub mod slack;
pub mod smtp;
pub mod summary;
pub mod texts;
mod timed;
mod tls;
pub mod webhook;
mod words;

pub use alerters::Alerters;
pub use asker::HttpAsker;
pub use certificates::useless_certificates;
pub use config::{AlerterConfig, AlerterError};
pub use exchange::{Answered, Exchange};
pub use letter::rendered;
pub use mailbox::Mailbox;
pub use message::{Alerter, Message, Sent};
pub use redactor::tells_secrets;
pub use tls::is_loopback;
