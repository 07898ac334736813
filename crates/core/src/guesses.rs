//! Rate limits for wrong passwords and wrong codes of a second factor: how they are counted, and how long the next
//! attempt must wait.
//!
//! | counted by | attempts without a wait | wait after each further one | purpose |
//! |---|---|---|---|
//! | an account, from one network | 5 | 1 s, doubled each time, up to 15 minutes | nobody guesses one password |
//! | a network | 20 | the same | nobody tries one password on every account |
//! | an account, from everywhere | 20 | 1 s, doubled each time, up to a minute | many networks together gain nothing |
//! | an account's codes, from everywhere | 10 | 1 s, doubled each time, up to 15 minutes | a stolen password does not suffice |
//! | a known device | 5 | 1 s, doubled each time, up to a minute | a user waits only for their own mistakes |
//!
//! A network is an IPv4 address, or the first 64 bits of an IPv6 address, which one customer has. A known device is a
//! browser from which that user has logged in before; its attempts are counted for the device alone. Codes are counted
//! separately: a right password does not reset their count.

use std::net::{IpAddr, Ipv6Addr};

use chrono::TimeDelta;

/// What wrong passwords and codes are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CountedBy {
    /// A browser from which the user has logged in before.
    Device,
    /// The account, for attempts from one network.
    AccountFromNetwork,
    /// The account, for attempts from everywhere.
    Account,
    /// The codes of the account, for attempts from everywhere.
    Codes,
    /// The network, for attempts on any account.
    Network,
}

impl CountedBy {
    /// How long after the last of `failures` wrong attempts the next one is refused without being
    /// checked.
    pub fn wait_after(self, failures: i64) -> TimeDelta {
        let free = match self {
            Self::Device | Self::AccountFromNetwork => 5,
            Self::Codes => 10,
            Self::Account | Self::Network => 20,
        };
        let most = match self {
            Self::Device | Self::Account => TimeDelta::minutes(1),
            Self::AccountFromNetwork | Self::Codes | Self::Network => TimeDelta::minutes(15),
        };
        match failures - free {
            beyond if beyond < 0 => TimeDelta::zero(),
            beyond => TimeDelta::seconds(1_i64 << beyond.min(20)).min(most),
        }
    }
}

/// One counter of wrong attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuessCount {
    /// What it counts by.
    pub by: CountedBy,
    /// Which device, account or network: `network 10.0.0.5`, `account 1f2e…`.
    pub of: String,
}

impl GuessCount {
    /// The counters for an unknown browser. `account` identifies the account and is not secret.
    pub fn of_stranger(account: &str, network: &str) -> Vec<Self> {
        vec![
            Self { by: CountedBy::Account, of: format!("account {account}") },
            Self { by: CountedBy::AccountFromNetwork, of: format!("account {account} from {network}") },
            Self { by: CountedBy::Network, of: format!("network {network}") },
        ]
    }

    /// The counters for an unknown browser that has given this user's password and now gives a code.
    pub fn of_strangers_codes(user: i64, network: &str) -> Vec<Self> {
        vec![
            Self { by: CountedBy::Codes, of: format!("codes of {user}") },
            Self { by: CountedBy::AccountFromNetwork, of: format!("codes of {user} from {network}") },
            Self { by: CountedBy::Network, of: format!("network {network}") },
        ]
    }

    /// The counters for a known device whose user has given the password and now gives a code.
    pub fn of_devices_codes(device: &str) -> Vec<Self> {
        vec![Self { by: CountedBy::Device, of: format!("codes of device {device}") }]
    }

    /// The counters for a known device.
    pub fn of_device(device: &str) -> Vec<Self> {
        vec![Self { by: CountedBy::Device, of: format!("device {device}") }]
    }
}

/// The network of an address: an IPv4 address itself, or the first 64 bits of an IPv6 address.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if address != Ipv6Addr::LOCALHOST => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))
        }
        address => address,
    }
}

/// The network of an address given as text: `10.0.0.5`, `2001:db8:1:2::/64`. A text that is not an address is returned
/// unchanged.
pub fn network_of(source: &str) -> String {
    match source.parse().map(network) {
        Ok(IpAddr::V6(network)) if network != Ipv6Addr::LOCALHOST => format!("{network}/64"),
        Ok(network) => network.to_string(),
        Err(_) => source.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_and_ends() {
        let waits = |by: CountedBy| {
            [0, 4, 5, 6, 8, 19, 20, 23, 1000, i64::MAX].map(|n| by.wait_after(n).num_seconds())
        };
        assert_eq!(waits(CountedBy::Device), [0, 0, 1, 2, 8, 60, 60, 60, 60, 60]);
        assert_eq!(waits(CountedBy::AccountFromNetwork), [0, 0, 1, 2, 8, 900, 900, 900, 900, 900]);
        assert_eq!(waits(CountedBy::Account), [0, 0, 0, 0, 0, 0, 1, 8, 60, 60]);
        assert_eq!(waits(CountedBy::Codes), [0, 0, 0, 0, 0, 512, 900, 900, 900, 900]);
        assert_eq!(waits(CountedBy::Network), [0, 0, 0, 0, 0, 0, 1, 8, 900, 900]);
    }

    #[test]
    fn one_customers_addresses_are_one_network() {
        for (source, network) in [
            ("10.0.0.5", "10.0.0.5"),
            ("::ffff:10.0.0.5", "10.0.0.5"),
            ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("::1", "::1"),
            ("", ""),
        ] {
            assert_eq!(network_of(source), network, "{source}");
        }
    }
}
