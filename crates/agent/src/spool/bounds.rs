//! Decides which entries of a full spool are dropped.

use super::Name;
use crate::config::Bounds;

/// Selects the entries of `here` (oldest first) to drop so that one more entry of `bytes` bytes fits.
///
/// Entries without a failure are dropped first, then those with one; the oldest first in both cases. The newest
/// failure is never dropped.
pub(super) fn over(here: &[(Name, u64)], bytes: u64, bounds: &Bounds) -> Vec<Name> {
    let newest_failure = here.iter().rposition(|(name, _)| name.is_failure());
    let mut count = here.len() + 1;
    let mut size = here.iter().map(|(_, size)| size).sum::<u64>() + bytes;
    let mut dropped = Vec::new();
    for wants_failures in [false, true] {
        for (n, (name, length)) in here.iter().enumerate() {
            if count <= bounds.entries && size <= bounds.bytes {
                return dropped;
            }
            if name.is_failure() == wants_failures && newest_failure != Some(n) {
                count -= 1;
                size -= length;
                dropped.push(name.clone());
            }
        }
    }
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Destination;
    use uuid::Uuid;

    fn spool(kinds: &str) -> Vec<(Name, u64)> {
        let name = |(n, kind)| (Name::of(n as u64, Uuid::nil(), kind == 'f', &Destination::Server(None)), 10);
        kinds.chars().enumerate().map(name).collect()
    }

    fn dropped(kinds: &str, entries: usize, bytes: u64) -> Vec<u64> {
        let bounds = Bounds { entries, bytes, ..Bounds::default() };
        over(&spool(kinds), 10, &bounds).iter().map(Name::ms).collect()
    }

    #[test]
    fn successes_go_first_and_the_newest_failure_never() {
        assert!(dropped("sfs", 4, 1000).is_empty());
        assert_eq!(dropped("fsfs", 4, 1000), [1]);
        assert_eq!(dropped("fsfs", 3, 1000), [1, 3]);
        assert_eq!(dropped("fsfs", 2, 1000), [1, 3, 0]);
        assert_eq!(dropped("fsfs", 1, 1000), [1, 3, 0], "the newest failure stays");
        assert_eq!(dropped("ssss", 1000, 30), [0, 1]);
    }
}
