//! How a configuration is read: a TOML file, environment variables over it, flags over both; secrets in files; and
//! problems that say where they stand and what is allowed.
//!
//! Every section of the server, of its alerters and of the agent is read by this crate, so that a value is written in
//! the same way everywhere. What keys there are is for whoever reads them.
//!
//! Where to start: [`Section`] reads typed values (`values.rs`, `secret.rs`), [`Findings`] collects what is wrong,
//! `layers.rs` lays the environment and the flags over the file.

mod files;
mod layers;
mod places;
mod problem;
mod secret;
mod section;
mod setting;
mod values;

pub use files::{LARGEST_CERTIFICATES, LARGEST_SECRET, read_file};
pub use layers::{AGENTS_VARIABLES, Deeper, Flag, Named, Variables, lay_environment, lay_flags};
pub use places::Places;
pub use problem::{ConfigError, Origin, Problem};
pub use secret::SecretSource;
pub use section::{Findings, Section, take, too_many};
pub use setting::{Setting, Table, Value, parse};
pub use values::{FLAG_WORDS, named_secrets};
