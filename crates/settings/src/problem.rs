//! Problems of a configuration, and their places.

use std::fmt;
use std::sync::Arc;

/// The place of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file, from 1.
    File {
        /// The file as it was named.
        file: Arc<str>,
        /// The line.
        line: usize,
    },
    /// The name of an environment variable.
    Environment(Arc<str>),
    /// A command-line flag.
    Flag(&'static str),
    /// Not set.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// One problem: its place, its key, and what is wrong and allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The place of the value.
    pub origin: Origin,
    /// The key with its section (`ingest.listen`); empty if the problem does not concern a single key.
    pub key: String,
    /// What is wrong and what is allowed. Never the value of a secret.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

/// Most problems that are shown. The rest is only counted.
const SHOWN: usize = 20;

/// An invalid configuration with all its problems, one per line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", in_lines(.0))]
pub struct ConfigError(pub Vec<Problem>);

fn in_lines(problems: &[Problem]) -> String {
    let mut lines: Vec<String> = problems.iter().take(SHOWN).map(Problem::to_string).collect();
    if problems.len() > SHOWN {
        lines.push(format!("and {} more problems", problems.len() - SHOWN));
    }
    lines.join("\n")
}

impl ConfigError {
    /// An error about no key in particular.
    pub fn about(origin: Origin, what: impl Into<String>) -> Self {
        Self(vec![Problem { origin, key: String::new(), what: what.into() }])
    }
}
