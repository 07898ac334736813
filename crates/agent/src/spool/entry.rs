//! What one file of the spool says.

use innkeeper_core::fnv::fnv1a_32;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::report::{ReportKind, SpooledReport};

/// Where reports go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Destination {
    /// The server, by the names of the reservation. Its address, where it is not that of the configuration.
    Server(Option<String>),
    /// A ping address.
    Ping(String),
}

impl Destination {
    /// A short text that tells it from others, and does not tell it.
    pub fn tag(&self) -> String {
        let text = match self {
            Self::Server(None) => String::new(),
            Self::Server(Some(address)) => format!("server {address}"),
            Self::Ping(address) => format!("ping {address}"),
        };
        format!("{:08x}", hash(&text))
    }
}

/// A short text's place, the same in every version.
pub fn hash(text: &str) -> u32 {
    fnv1a_32(text.bytes())
}

/// Reports that belong together, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolEntry {
    /// Where they go.
    pub destination: Destination,
    /// The reports.
    pub reports: Vec<SpooledReport>,
    /// The reservation that is made when the server does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Value>,
}

impl SpoolEntry {
    /// Whether it tells of a failure.
    pub fn is_failure(&self) -> bool {
        self.reports.iter().any(|report| report.kind == ReportKind::Fail)
    }
}
