//! The limit of requests per second and source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use innkeeper_core::guesses::network;
use parking_lot::Mutex;

const SECOND: Duration = Duration::from_secs(1);

/// Counts the requests of each source, second by second.
#[derive(Default)]
pub(super) struct Pace {
    counted: Mutex<(Option<Instant>, HashMap<IpAddr, u32>)>,
}

impl Pace {
    /// Counts one more request; false when it is more than `most` in this second.
    pub fn allows(&self, source: IpAddr, most: u32, now: Instant) -> bool {
        let mut counted = self.counted.lock();
        let (since, counts) = &mut *counted;
        if since.is_none_or(|since| now.saturating_duration_since(since) >= SECOND) {
            *since = Some(now);
            counts.clear();
        }
        let count = counts.entry(network(source)).or_default();
        *count = count.saturating_add(1);
        *count <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_its_own_seconds() {
        let (pace, begun) = (Pace::default(), Instant::now());
        let allows = |source: &str, after: u64| {
            pace.allows(source.parse().unwrap(), 2, begun + Duration::from_millis(after))
        };
        assert!(allows("10.0.0.5", 1000) && allows("10.0.0.5", 1001));
        assert!(!allows("10.0.0.5", 1002) && !allows("::ffff:10.0.0.5", 1999));
        assert!(allows("10.0.0.6", 1999), "another source");
        assert!(allows("10.0.0.5", 2000), "another second");
        assert!(allows("2001:db8::1", 2001) && allows("2001:db8::2", 2002) && !allows("2001:db8::3", 2003));
        assert!(allows("2001:db8:0:1::1", 2004), "another network");
    }
}
