//! How well a reservation has done, from its alerts: period by period, and as a share of time.

use chrono::TimeDelta;

use crate::Time;

/// A span in which an alert was open; it has no end while the alert is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownTime {
    /// When it opened.
    pub from: Time,
    /// When it closed.
    pub until: Option<Time>,
}

impl DownTime {
    /// The part of it between `from` and `until`; `None` if there is none. An alert that opened and
    /// closed at the same instant is a part without length.
    fn within(self, from: Time, until: Time) -> Option<(Time, Time)> {
        let end = self.until.unwrap_or(until).max(self.from);
        (self.from < until && (end > from || (end == self.from && end == from)))
            .then(|| (self.from.max(from), end.min(until)))
    }
}

/// One period in a bar of the recent past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// Unknown: the reservation did not exist yet.
    Empty,
    /// No alert was open in it.
    Good,
    /// An alert was open in it.
    Bad,
}

/// The last `count` spans of `period`, oldest first; the latest ends at `now`. A slot that ends
/// before `since`, or any slot if `since` is `None`, is unknown unless an alert was open in it.
pub fn slots(
    period: TimeDelta,
    count: i32,
    since: Option<Time>,
    troubles: &[DownTime],
    now: Time,
) -> Vec<Slot> {
    let begin = |back: i32| {
        let span = period.checked_mul(back);
        span.and_then(|span| now.checked_sub_signed(span)).unwrap_or(Time::MIN_UTC)
    };
    let slot = |back: i32| {
        let (from, until) = (begin(back), begin(back - 1));
        if troubles.iter().any(|trouble| trouble.within(from, until).is_some()) {
            Slot::Bad
        } else if since.is_some_and(|since| since < until) {
            Slot::Good
        } else {
            Slot::Empty
        }
    };
    (1..=count).rev().map(slot).collect()
}

/// A bar in words: "30 periods: 28 well, 2 down".
pub fn words(slots: &[Slot]) -> String {
    let count = |wanted: Slot| slots.iter().filter(|slot| **slot == wanted).count();
    let mut text = format!("{} periods: {} well", slots.len(), count(Slot::Good));
    for (slot, word) in [(Slot::Bad, "down"), (Slot::Empty, "unknown")] {
        if count(slot) > 0 {
            text.push_str(&format!(", {} {word}", count(slot)));
        }
    }
    text
}

/// The share of a span in which no alert was open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Uptime {
    /// The share, from 0 to 1.
    pub share: f64,
    /// The length of the span, or of the part of it in which the reservation existed.
    pub over: TimeDelta,
    /// How long alerts were open in it.
    pub down: TimeDelta,
    /// Whether `over` is the whole span.
    pub whole: bool,
}

impl Uptime {
    /// "100 %", "99.95 %". Rounded down, so that it says 100 only if the reservation was never down.
    pub fn percent(&self) -> String {
        if self.down.is_zero() {
            return "100 %".to_owned();
        }
        let hundredths = (self.share * 10_000.0).floor().clamp(0.0, 9_999.0) as u32;
        format!("{}.{:02} %", hundredths / 100, hundredths % 100)
    }
}

/// The uptime over the last `span`, or since `since` where that is later. `None` if none of it is known.
pub fn uptime(span: TimeDelta, since: Time, troubles: &[DownTime], now: Time) -> Option<Uptime> {
    let begin = now.checked_sub_signed(span).unwrap_or(Time::MIN_UTC);
    let from = begin.max(since);
    let over = now - from;
    if over <= TimeDelta::zero() {
        return None;
    }
    let mut parts: Vec<(Time, Time)> =
        troubles.iter().filter_map(|trouble| trouble.within(from, now)).collect();
    parts.sort_unstable();
    // Alerts of one reservation do not overlap, but a span is not counted twice if they ever do.
    let (mut down, mut counted_to) = (TimeDelta::zero(), from);
    for (from, until) in parts {
        let from = from.max(counted_to);
        if until > from {
            down += until - from;
            counted_to = until;
        }
    }
    let share = 1.0 - down.num_milliseconds() as f64 / over.num_milliseconds() as f64;
    Some(Uptime { share, over, down, whole: begin >= since })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Time {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(1_000_000 + seconds)
    }

    fn trouble(from: i64, until: Option<i64>) -> DownTime {
        DownTime { from: at(from), until: until.map(at) }
    }

    fn drawn(count: i32, since: Option<i64>, troubles: &[DownTime], now: i64) -> String {
        let slots = slots(TimeDelta::seconds(10), count, since.map(at), troubles, at(now));
        let letter = |slot: &Slot| match slot {
            Slot::Empty => '.',
            Slot::Good => 'o',
            Slot::Bad => 'x',
        };
        slots.iter().map(letter).collect()
    }

    #[test]
    fn a_slot_is_bad_where_an_alert_was_open_in_it() {
        assert_eq!(drawn(5, Some(-1000), &[], 100), "ooooo");
        assert_eq!(drawn(5, Some(-1000), &[trouble(65, Some(68))], 100), "oxooo");
        assert_eq!(drawn(5, Some(-1000), &[trouble(65, Some(71))], 100), "oxxoo");
        assert_eq!(drawn(5, Some(-1000), &[trouble(65, None)], 100), "oxxxx");
        assert_eq!(
            drawn(5, Some(-1000), &[trouble(0, Some(50))], 100),
            "ooooo",
            "it ended as the first began"
        );
        assert_eq!(drawn(5, Some(-1000), &[trouble(60, Some(60))], 100), "oxooo", "come and gone at once");
        assert_eq!(drawn(5, Some(-1000), &[trouble(100, None)], 100), "ooooo", "it begins now");
    }

    #[test]
    fn what_was_before_the_reservation_is_empty() {
        assert_eq!(drawn(5, Some(75), &[], 100), "..ooo");
        assert_eq!(drawn(5, Some(100), &[], 100), ".....");
        assert_eq!(drawn(5, None, &[], 100), ".....");
        assert_eq!(drawn(5, None, &[trouble(85, None)], 100), "...xx", "never heard, and down");
    }

    #[test]
    fn periods_longer_than_the_calendar_are_no_trouble() {
        let slots = slots(crate::duration::LONGEST, 30, Some(at(0)), &[], at(10));
        assert_eq!((slots.len(), slots[29], slots[28]), (30, Slot::Good, Slot::Empty));
        assert_eq!(super::slots(TimeDelta::MAX, 30, Some(at(0)), &[], at(10)).len(), 30);
    }

    #[test]
    fn a_bar_is_said_in_words() {
        assert_eq!(words(&[Slot::Good; 30]), "30 periods: 30 well");
        assert_eq!(words(&[Slot::Good, Slot::Bad, Slot::Empty]), "3 periods: 1 well, 1 down, 1 unknown");
    }

    #[test]
    fn uptime_is_the_share_of_the_time_since_it_was_made() {
        let hour = TimeDelta::hours(1);
        let over = |since, troubles: &[DownTime]| uptime(hour, at(since), troubles, at(3600)).unwrap();
        assert_eq!(over(0, &[]).percent(), "100 %");
        let half = over(-50_000, &[trouble(900, Some(1800)), trouble(2700, None)]);
        assert_eq!(
            (half.percent().as_str(), half.whole, half.down),
            ("50.00 %", true, TimeDelta::minutes(30))
        );
        let young = over(1800, &[trouble(2700, None)]);
        assert_eq!((young.share, young.whole, young.over), (0.5, false, TimeDelta::minutes(30)));
        assert_eq!(over(0, &[trouble(-10, Some(3601))]).percent(), "0.00 %");
        assert_eq!(over(0, &[trouble(0, Some(1))]).percent(), "99.97 %", "rounded down");
        assert_eq!(uptime(hour, at(3600), &[], at(3600)), None);
        assert_eq!(uptime(hour, at(3700), &[], at(3600)), None, "made by a clock that is ahead");
    }

    proptest! {
        #[test]
        fn a_share_is_a_share_and_agrees_with_the_slots(
            spans in prop::collection::vec((-100i64..200, prop::option::of(0i64..80)), 0..6),
            since in -50i64..120,
        ) {
            let troubles: Vec<DownTime> =
                spans.iter().map(|(from, long)| trouble(*from, long.map(|long| from + long))).collect();
            let slots = slots(TimeDelta::seconds(10), 10, Some(at(since)), &troubles, at(100));
            prop_assert_eq!(slots.len(), 10);
            if let Some(uptime) = uptime(TimeDelta::seconds(100), at(since), &troubles, at(100)) {
                prop_assert!((0.0..=1.0).contains(&uptime.share), "{uptime:?}");
                prop_assert!(uptime.down <= uptime.over);
                prop_assert!(uptime.down.is_zero() || slots.contains(&Slot::Bad));
            }
        }
    }
}
