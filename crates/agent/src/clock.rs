//! Time stamps that survive a change of the wall clock.
//!
//! Durations and ages come from the boot clock. It also runs while the machine sleeps, and nobody can set it. The
//! wall clock is used only across a restart of the machine, where the boot clock begins anew.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// An instant, measured by both clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Which boot of the machine `boot_ms` belongs to; empty if the system does not say.
    pub boot_id: String,
    /// Milliseconds of the boot clock, from the start of the machine.
    pub boot_ms: u64,
    /// Milliseconds since 1970 by the wall clock.
    pub wall_ms: i64,
}

impl Stamp {
    /// This instant.
    pub fn now() -> Self {
        Self { boot_id: boot_id().to_owned(), boot_ms: boot_ms(), wall_ms: wall_ms() }
    }

    /// How long before `now` this instant was, in milliseconds.
    ///
    /// Across a restart of the machine this is the wall clock's difference, but at least the time since the restart.
    pub fn ago_ms(&self, now: &Self) -> u64 {
        let by_wall = u64::try_from(now.wall_ms.saturating_sub(self.wall_ms)).unwrap_or(0);
        if self.boot_id.is_empty() || now.boot_id.is_empty() {
            return by_wall;
        }
        match self.boot_id == now.boot_id {
            true => now.boot_ms.saturating_sub(self.boot_ms),
            false => by_wall.max(now.boot_ms),
        }
    }

    /// The instant `ms` milliseconds before this one.
    #[must_use]
    pub fn before(&self, ms: u64) -> Self {
        Self {
            boot_id: self.boot_id.clone(),
            boot_ms: self.boot_ms.saturating_sub(ms),
            wall_ms: self.wall_ms.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)),
        }
    }
}

/// Milliseconds of the boot clock, which includes the time that the machine slept.
pub fn boot_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (time.tv_sec, time.tv_nsec);
    u64::try_from(seconds).unwrap_or(0) * 1000 + u64::try_from(nanos).unwrap_or(0) / 1_000_000
}

/// Milliseconds since 1970 by the wall clock.
pub fn wall_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(_) => 0,
    }
}

/// The kernel's id of the current boot.
fn boot_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        read.map(|text| text.trim().to_owned()).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(boot_id: &str, boot_ms: u64, wall_ms: i64) -> Stamp {
        Stamp { boot_id: boot_id.to_owned(), boot_ms, wall_ms }
    }

    #[test]
    fn the_wall_clock_matters_only_over_a_restart() {
        // The wall clock was a year ahead and was corrected between the two instants.
        assert_eq!(stamp("a", 1_000, 31_536_000_000).ago_ms(&stamp("a", 61_000, 5_000)), 60_000);
        assert_eq!(stamp("a", 9_000_000, 100_000).ago_ms(&stamp("b", 2_000, 160_000)), 60_000);
        // The instant must have been before the restart, whatever the wall clock says.
        assert_eq!(stamp("a", 9_000_000, 160_000).ago_ms(&stamp("b", 2_000, 100_000)), 2_000);
        assert_eq!(stamp("", 5, 100_000).ago_ms(&stamp("", 1, 160_000)), 60_000);
    }

    #[test]
    fn the_boot_clock_runs() {
        let before = Stamp::now();
        assert!(before.boot_ms > 0 && !before.boot_id.is_empty());
        assert!(before.before(500).ago_ms(&Stamp::now()) >= 500);
    }
}
