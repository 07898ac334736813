//! Address families.

use std::net::IpAddr;

/// Which addresses of a name are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Family {
    /// Any address; the first that answers is used.
    #[default]
    Any,
    /// Only IPv4.
    V4,
    /// Only IPv6.
    V6,
    /// One run per family. Both must succeed.
    Both,
}

impl Family {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "any" => Ok(Self::Any),
            "4" | "ipv4" => Ok(Self::V4),
            "6" | "ipv6" => Ok(Self::V6),
            "both" => Ok(Self::Both),
            _ => Err(format!("{text:?} is no address family; allowed: any, 4, 6, both")),
        }
    }

    pub(crate) fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Any | Self::Both => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
            Self::Both => "both",
        }
    }
}
