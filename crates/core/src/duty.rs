//! The duties of an instance: the work that at least one node must do at any time.

use strum::{Display, EnumString, IntoStaticStr};

/// A duty. Their order is that of their names: rows of duties are locked in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Duty {
    /// Takes check-ins and reservations.
    Ingest,
    /// Finds what is overdue and sends alerts.
    Sweeper,
    /// Serves the pages and the API.
    Web,
}

impl Duty {
    /// Its name in the database, in logs and in the API.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What a process can be unable to do: a whole duty, or a part of one that fails by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum DutyPart {
    /// The duty `ingest`.
    Ingest,
    /// The duty `sweeper`.
    Sweeper,
    /// The part of the duty `sweeper` that claims messages and records what became of them.
    Sending,
    /// The duty `web`.
    Web,
}

impl DutyPart {
    /// Its name in the database and in the API.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl From<Duty> for DutyPart {
    fn from(duty: Duty) -> Self {
        match duty {
            Duty::Ingest => Self::Ingest,
            Duty::Sweeper => Self::Sweeper,
            Duty::Web => Self::Web,
        }
    }
}
