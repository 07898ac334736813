//! The roles of processes.

use innkeeper_core::duty::Duty;
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

    /// The duties of the role, in their order.
    pub(crate) fn duties(self) -> &'static [Duty] {
        match self {
            Self::Ingest => &[Duty::Ingest],
            Self::Sweeper => &[Duty::Sweeper],
            Self::Web => &[Duty::Web],
            Self::Standalone => &[Duty::Ingest, Duty::Sweeper, Duty::Web],
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
