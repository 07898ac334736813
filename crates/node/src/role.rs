//! The roles of processes.

use strum::{Display, EnumString, IntoStaticStr};

/// The role of a process; standalone combines the other three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// Takes check-ins and reservations.
    Ingest,
    /// Finds what is overdue and sends alerts.
    Sweeper,
    /// Serves the pages and the API.
    Web,
    /// All of them in one process.
    Standalone,
}

impl Role {
    /// The role in one word, as it stands in logs.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The role of this name; `None` if only another version knows it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// The duties of the role, in alphabetical order: their database rows are locked in this order.
    pub(crate) fn duties(self) -> &'static [&'static str] {
        match self {
            Self::Ingest => &["ingest"],
            Self::Sweeper => &["sweeper"],
            Self::Web => &["web"],
            Self::Standalone => &["ingest", "sweeper", "web"],
        }
    }

    /// The section with the `listen` key of this role.
    pub(crate) fn listen_section(self) -> Option<&'static str> {
        match self {
            Self::Ingest | Self::Standalone => Some("ingest"),
            Self::Web => Some("web"),
            Self::Sweeper => None,
        }
    }
}
