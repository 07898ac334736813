//! Reads a configuration: a TOML file, overridden by environment variables and by command-line flags; secrets in
//! files; and problems that name their place and what is allowed.
//!
//! The server, its alerters and the agent read all their sections through this crate, so that values have the same
//! notation everywhere. The keys are defined by the crates that read them.
//!
//! Where to start: [`Section`] reads typed values (`values.rs`, `secret.rs`), [`Findings`] collects the problems, and
//! `layers.rs` merges the environment and the flags into the file's settings.

mod files;
mod layers;
mod places;
mod problem;
mod secret;
mod section;
mod setting;
mod values;

pub use files::{LARGEST_CERTIFICATES, LARGEST_SECRET, read_file};
pub use layers::{AGENTS_VARIABLES, Deeper, Flag, NamedSection, Variables, lay_environment, lay_flags};
pub use places::Places;
pub use problem::{ConfigError, Origin, Problem};
pub use secret::SecretSource;
pub use section::{Findings, Section, take, too_many};
pub use setting::{Setting, Table, Value, parse};
pub use values::{FLAG_WORDS, named_secrets};
