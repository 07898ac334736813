//! Which of the services a process is.

use strum::{Display, EnumString, IntoStaticStr};

/// A role. Every process has one; standalone has the other three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// Takes check-ins and reservations.
    Ingest,
    /// Finds what is overdue and sends alerts.
    Sweeper,
    /// Answers people.
    Web,
    /// All of them in one process.
    Standalone,
}

impl Role {
    /// The role in one word, as it stands in logs.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The role of this name; none for one that only another version knows.
    pub(crate) fn named(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// What it has to do, in order of the alphabet: whoever locks their rows takes them in this order.
    pub(crate) fn duties(self) -> &'static [&'static str] {
        match self {
            Self::Ingest => &["ingest"],
            Self::Sweeper => &["sweeper"],
            Self::Web => &["web"],
            Self::Standalone => &["ingest", "sweeper", "web"],
        }
    }

    /// The section whose `listen` this role listens on.
    pub(crate) fn listen_section(self) -> Option<&'static str> {
        match self {
            Self::Ingest | Self::Standalone => Some("ingest"),
            Self::Web => Some("web"),
            Self::Sweeper => None,
        }
    }
}
