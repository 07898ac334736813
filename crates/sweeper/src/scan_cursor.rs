//! Remembers where a scan of an index begins. Finished rows leave dead entries at the beginning of the index, and every
//! scan would pass over them until the table is vacuumed. So only one scan a second begins at the beginning, to find
//! what another node has added there. The other scans begin at the first live entry that it found.

use chrono::TimeDelta;
use innkeeper_core::Time;

/// How often a scan begins at the beginning of the index.
const WHOLE_EVERY: TimeDelta = TimeDelta::seconds(1);

/// The position at which scans begin; `P` is a position in the index.
#[derive(Debug, Clone, Copy)]
pub struct ScanCursor<P>(Option<(Time, P)>);

impl<P> Default for ScanCursor<P> {
    fn default() -> Self {
        Self(None)
    }
}

impl<P: Copy> ScanCursor<P> {
    /// The position where a scan at `now` begins; `None` for a full scan.
    pub fn of_look(&self, now: Time) -> Option<P> {
        let (whole_at, place) = self.0?;
        // A full scan is also due when the clock was set back.
        (whole_at <= now && now < whole_at + WHOLE_EVERY).then_some(place)
    }

    /// Whether no full scan has been made yet.
    pub fn is_new(&self) -> bool {
        self.0.is_none()
    }

    /// Notes that a full scan at `now` found no live entry before `place`.
    pub fn whole(&mut self, now: Time, place: Option<P>) {
        self.0 = place.map(|place| (now, place));
    }

    /// Notes that a scan from the cursor found no live entry before `place`.
    pub fn further(&mut self, place: P) {
        if let Some((_, known)) = &mut self.0 {
            *known = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_begins_where_the_last_one_ended_and_once_a_second_at_the_beginning() {
        let at = |ms: i64| Time::from_timestamp_millis(1_000_000 + ms).unwrap();
        let mut cursor = ScanCursor::default();
        assert_eq!(cursor.of_look(at(0)), None);
        cursor.further(3);
        assert_eq!(cursor.of_look(at(0)), None, "nobody has looked at the beginning");
        cursor.whole(at(0), Some(7));
        assert_eq!(cursor.of_look(at(0)), Some(7));
        cursor.further(9);
        assert_eq!(cursor.of_look(at(999)), Some(9));
        assert_eq!(cursor.of_look(at(1000)), None);
        assert_eq!(cursor.of_look(at(-1)), None, "the clock was set back");
        cursor.whole(at(1000), None);
        assert_eq!(cursor.of_look(at(1000)), None);
    }
}
