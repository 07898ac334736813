//! Alerters: they deliver a notice to a person or a program.
//!
//! There is one trait, [`Alerter`], and one file per service, with its configuration, its checks and its sending:
//! [`smtp`], [`slack`], [`pagerduty`], [`webhook`], [`command`] and [`logbook`].
//!
//! Three clients are here too: [`HttpAsker`] asks an address for its health, [`Mailbox`] checks whether a mail has arrived,
//! and [`Exchange`] sends a request and returns the whole answer.
//!
//! This crate does not decide who gets which message, or when. It retries only on a new connection when an idle one had
//! died. It keeps no state between two sendings but open connections, and has no database. Its result ([`Sent`]) tells
//! the outbox what to do next. It reveals secrets only to the services: neither in `Debug`, nor in a log line (as long
//! as the logger obeys [`tells_secrets`]), nor in a `problem`.
//!
//! Where to start: [`AlerterConfig`] is a section of the configuration, [`Alerters`] holds all alerters, and
//! [`Alerter::send`] sends a message.
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
