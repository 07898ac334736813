//! Where a scan of an index begins. What was worked off leaves dead entries at the beginning of the index, which every look would
//! pass over one by one until the table is vacuumed. So only one look a second begins at the beginning, for what another node has
//! put there; the others begin where it found the first that matters.

use chrono::TimeDelta;
use innkeeper_core::Time;

/// How often a look goes through everything.
const WHOLE_EVERY: TimeDelta = TimeDelta::seconds(1);

/// See the module; `P` is a place in the index.
#[derive(Debug, Clone, Copy)]
pub struct ScanCursor<P>(Option<(Time, P)>);

impl<P> Default for ScanCursor<P> {
    fn default() -> Self {
        Self(None)
    }
}

impl<P: Copy> ScanCursor<P> {
    /// Where a look at `now` begins; none for one that goes through everything.
    pub fn of_look(&self, now: Time) -> Option<P> {
        let (whole_at, place) = self.0?;
        // Also when the clock was set back.
        (whole_at <= now && now < whole_at + WHOLE_EVERY).then_some(place)
    }

    /// Whether no look has gone through everything yet.
    pub fn is_new(&self) -> bool {
        self.0.is_none()
    }

    /// A look at `now` went through everything: nothing that matters is before `place`.
    pub fn whole(&mut self, now: Time, place: Option<P>) {
        self.0 = place.map(|place| (now, place));
    }

    /// A look that began further on has found nothing that matters before `place`.
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
