//! Trusted proxies.

use std::net::IpAddr;

use ipnet::IpNet;

/// The proxies whose `X-Forwarded-For` header is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts every address in `networks`.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Reads an address (`10.0.0.5`) or a network (`10.0.0.0/8`).
    ///
    /// # Errors
    /// The allowed forms, as a sentence.
    pub fn parse_entry(text: &str) -> Result<IpNet, String> {
        text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
            format!("{text:?} is neither an address nor a network; write 10.0.0.5 or 10.0.0.0/8")
        })
    }

    /// Whether `address` is a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_an_address_or_a_network() {
        assert!(TrustedProxies::parse_entry("proxy.example.org").is_err());
        assert!(TrustedProxies::parse_entry("10.0.0.0/33").is_err());
    }
}
