//! The content of one file of the spool.

use innkeeper_core::fnv::fnv1a_32;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::report::{ReportKind, SpooledReport};

/// Where reports are sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Destination {
    /// The server, with the names of the reservation. Some if its address is not that of the configuration.
    Server(Option<String>),
    /// A ping address.
    Ping(String),
}

impl Destination {
    /// A short hash that distinguishes destinations without revealing them.
    pub fn tag(&self) -> String {
        let text = match self {
            Self::Server(None) => String::new(),
            Self::Server(Some(address)) => format!("server {address}"),
            Self::Ping(address) => format!("ping {address}"),
        };
        format!("{:08x}", hash(&text))
    }
}

/// A hash of a text. It must be the same in every version, because it becomes part of file names.
pub fn hash(text: &str) -> u32 {
    fnv1a_32(text.bytes())
}

/// Reports that are sent together, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolEntry {
    /// The destination of the reports.
    pub destination: Destination,
    /// The reports.
    pub reports: Vec<SpooledReport>,
    /// The reservation to make if the server does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Value>,
}

impl SpoolEntry {
    /// Whether a report of the entry is a failure.
    pub fn is_failure(&self) -> bool {
        self.reports.iter().any(|report| report.kind == ReportKind::Fail)
    }
}
