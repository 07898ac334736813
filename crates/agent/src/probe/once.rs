//! `--once minute
//! hour
//! day
//! noon`: selects the targets that a run from a crontab checks. It works like the cron mode of `checker`.
//!
//! ```text
//! 1-59 * * * *            innkeeper-agent probe --once minute
//! 0 1-11,13-23 * * *      innkeeper-agent probe --once hour
//! 0 0 * * *               innkeeper-agent probe --once day
//! 0 12 * * *              innkeeper-agent probe --once noon
//! ```
//!
//! The run of the hour includes that of the minute; the runs of the day and of noon include that of the hour. The
//! interval of a probe decides which run it belongs to: less than an hour, less than a day, or longer. Of the probes
//! with an interval of a day or longer, those due at 12 o'clock by cron or calendar belong to noon.

use chrono::{TimeDelta, Timelike as _};
use innkeeper_core::Time;
use innkeeper_core::schedule::Schedule;

use super::timing::hash;

/// Number of instants of a schedule that are examined to find its interval.
const LOOKED_AT: usize = 50;

/// One of the runs from a crontab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Occasion {
    /// Every minute.
    Minute,
    /// Every hour.
    Hour,
    /// Every day, at midnight.
    Day,
    /// Every day, at noon.
    Noon,
}

impl Occasion {
    /// Parses `minute`, `hour`, `day` or `noon`. `checker` calls the last one `day_noon`, which is accepted, too.
    ///
    /// # Errors
    /// What is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "minute" => Ok(Self::Minute),
            "hour" => Ok(Self::Hour),
            "day" => Ok(Self::Day),
            "noon" | "day_noon" | "day-noon" => Ok(Self::Noon),
            _ => Err(format!("{text:?} is none of minute, hour, day, noon")),
        }
    }

    /// The run that a schedule belongs to, by the shortest interval between its instants after `now`.
    pub fn of(schedule: &Schedule, now: Time) -> Self {
        let instants: Vec<Time> = match schedule {
            Schedule::Every(period) => return Self::by_rhythm(*period, None),
            _ => std::iter::successors(schedule.following(now), |at| schedule.following(*at))
                .take(LOOKED_AT)
                .collect(),
        };
        let rhythm = instants.windows(2).map(|pair| pair[1] - pair[0]).min();
        let hour = instants.first().map(|at| at.with_timezone(&schedule.zone()).hour());
        Self::by_rhythm(rhythm.unwrap_or(TimeDelta::days(1)), hour)
    }

    fn by_rhythm(rhythm: TimeDelta, hour: Option<u32>) -> Self {
        match rhythm {
            rhythm if rhythm < TimeDelta::hours(1) => Self::Minute,
            // A day may have 23 hours.
            rhythm if rhythm < TimeDelta::hours(23) => Self::Hour,
            _ if hour == Some(12) => Self::Noon,
            _ => Self::Day,
        }
    }

    /// Whether this run includes the run `other`.
    fn includes(self, other: Self) -> bool {
        match self {
            Self::Minute => other == Self::Minute,
            Self::Hour => matches!(other, Self::Minute | Self::Hour),
            Self::Day => other != Self::Noon,
            Self::Noon => other != Self::Day,
        }
    }

    /// Whether this run, at `now`, checks the target `key` with this schedule. The schedule must belong to this run
    /// or to one that it includes. For a schedule with an interval of several such runs, only one of them is
    /// selected: `every = "5m"` in one minute of five.
    pub fn selects(self, schedule: &Schedule, key: &str, now: Time) -> bool {
        let whose = Self::of(schedule, now);
        if whose != self {
            return self.includes(whose);
        }
        match (self, schedule) {
            (Self::Minute, Schedule::Every(period)) => {
                is_turn(now.timestamp().div_euclid(60), *period, 60, key)
            }
            (Self::Hour, Schedule::Every(period)) => {
                is_turn(now.timestamp().div_euclid(3600), *period, 3600, key)
            }
            (_, Schedule::Every(period)) => {
                // Local days would need the time zone of this machine's clock. Instead, a run shortly before or after
                // midnight (UTC) counts for the nearer day.
                let day = (now + TimeDelta::hours(12)).timestamp().div_euclid(86_400);
                is_turn(day, *period, 86_400, key)
            }
            (Self::Minute, _) => has_instant(schedule, now, 60),
            (Self::Hour, _) => has_instant(schedule, now, 3600),
            _ => {
                let zone = schedule.zone();
                let today = now.with_timezone(&zone).date_naive();
                let mut instants =
                    std::iter::successors(schedule.following(now - TimeDelta::days(2)), |at| {
                        schedule.following(*at)
                    });
                instants
                    .by_ref()
                    .take(LOOKED_AT)
                    .take_while(|at| at.with_timezone(&zone).date_naive() <= today)
                    .any(|at| at.with_timezone(&zone).date_naive() == today)
            }
        }
    }
}

/// Whether the run number `turn` is the one for `key`. Runs are `unit` seconds apart, and the key gets one per
/// `period`.
fn is_turn(turn: i64, period: TimeDelta, unit: i64, key: &str) -> bool {
    let every = (period.num_seconds() / unit).max(1);
    let place = hash(key) % u64::try_from(every).unwrap_or(1);
    turn.rem_euclid(every) == i64::try_from(place).unwrap_or_default()
}

/// Whether the schedule has an instant within the minute or hour (`unit`, in seconds) that contains `now`.
fn has_instant(schedule: &Schedule, now: Time, unit: i64) -> bool {
    let into = TimeDelta::seconds(now.timestamp().rem_euclid(unit))
        + TimeDelta::nanoseconds(i64::from(now.timestamp_subsec_nanos()));
    let start = now - into;
    schedule
        .following(start - TimeDelta::milliseconds(1))
        .is_some_and(|at| at < start + TimeDelta::seconds(unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn time(text: &str) -> Time {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn every(text: &str) -> Schedule {
        Schedule::every(innkeeper_core::duration::parse("every", text).unwrap()).unwrap()
    }

    const ALL: [Occasion; 4] = [Occasion::Minute, Occasion::Hour, Occasion::Day, Occasion::Noon];

    #[test]
    fn each_run_does_what_checkers_did() {
        let cron = |text| Schedule::cron(text, "UTC").unwrap();
        let now = time("2026-11-30T12:00:01Z");
        for (schedule, runs) in [
            (every("1m"), &[true, true, true, true]),
            (every("1h"), &[false, true, true, true]),
            (every("1d"), &[false, false, true, false]),
            (cron("* * * * *"), &[true, true, true, true]),
            (cron("0 * * * *"), &[false, true, true, true]),
            (cron("0 0 * * *"), &[false, false, true, false]),
            (cron("0 12 * * *"), &[false, false, false, true]),
            (cron("30 9 * * *"), &[false, false, true, false]),
            (Schedule::calendar("*-*-* 12:00", None).unwrap(), &[false, false, false, true]),
            (Schedule::calendar("hourly", None).unwrap(), &[false, true, true, true]),
        ] {
            let selected = ALL.map(|occasion| occasion.selects(&schedule, "k", now));
            assert_eq!(&selected, runs, "{schedule}");
        }
        assert_eq!(Occasion::parse("day_noon"), Ok(Occasion::Noon));
        assert!(Occasion::parse("week").unwrap_err().contains("minute, hour, day, noon"));
    }

    /// How many of `runs` runs, `step` apart, select the schedule, whatever the delay of cron.
    fn counted(occasion: Occasion, schedule: &Schedule, step: TimeDelta, runs: i32) -> usize {
        let start = time("2026-11-30T00:00:00Z");
        (0..runs)
            .filter(|n| {
                let delay = TimeDelta::milliseconds(i64::from(n % 7) * 400);
                occasion.selects(schedule, "key", start + step * *n + delay)
            })
            .count()
    }

    #[test]
    fn what_is_rarer_than_the_run_has_its_turn() {
        let minute = TimeDelta::minutes(1);
        assert_eq!(counted(Occasion::Minute, &every("5m"), minute, 60), 12);
        assert_eq!(counted(Occasion::Minute, &every("20s"), minute, 60), 60, "no run, no more often");
        let cron = |text| Schedule::cron(text, "Europe/Berlin").unwrap();
        assert_eq!(counted(Occasion::Minute, &cron("*/15 * * * *"), minute, 60), 4);
        assert_eq!(counted(Occasion::Hour, &every("6h"), TimeDelta::hours(1), 24), 4);
        assert_eq!(counted(Occasion::Hour, &cron("0 2,14 * * *"), TimeDelta::hours(1), 48), 4);
        assert_eq!(counted(Occasion::Day, &every("7d"), TimeDelta::days(1), 28), 4);
        assert_eq!(counted(Occasion::Day, &cron("0 3 * * MON"), TimeDelta::days(1), 28), 4);
        assert_eq!(
            counted(Occasion::Hour, &every("5m"), TimeDelta::hours(1), 24),
            24,
            "the hour does all of the minute's"
        );
    }

    #[test]
    fn midnight_of_any_zone_is_one_run_a_day() {
        let weekly = Schedule::cron("0 0 * * *", "Europe/London").unwrap();
        let zone = weekly.zone();
        // Each local midnight of a year, including both changes of the clock.
        let mut at = time("2026-01-01T00:00:00Z");
        for _ in 0..365 {
            assert!(
                Occasion::Day.selects(&weekly, "k", at + TimeDelta::seconds(1)),
                "{}",
                at.with_timezone(&zone)
            );
            at = weekly.following(at).unwrap();
        }
    }
}
