//! Schedules: when a job is expected.

mod calendar;
mod cron;
mod frequency;
mod wall;
mod words;
pub mod zone;

use chrono::TimeDelta;
use chrono_tz::Tz;

pub use self::calendar::CalendarSchedule;
pub use self::cron::CronSchedule;
pub use self::frequency::{Frequency, TimeUnit};

use crate::{Invalid, Time, duration};

/// A check-in at most this long before a scheduled instant counts for that instant.
pub const EARLY: TimeDelta = TimeDelta::seconds(60);
/// The default grace of cron and calendar schedules.
pub const CRON_GRACE: TimeDelta = TimeDelta::minutes(5);
/// The largest value of [`Schedule::leeway`].
pub(crate) const MOST_LEEWAY: TimeDelta = TimeDelta::hours(1);

/// When check-ins are expected.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// At this interval, counted from the last check-in.
    Every(TimeDelta),
    /// At the instants of a cron expression in a time zone.
    Cron(CronSchedule),
    /// At the instants of systemd's calendar expressions in a time zone.
    Calendar(CalendarSchedule),
}

/// The fields that give a schedule: `frequency` and `time_units`, or `cron` or `calendar`, and `time_zone`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts<'a> {
    /// How many `time_units` lie between check-ins.
    pub frequency: Option<i64>,
    /// `seconds`, `minutes`, `hours` or `days`.
    pub time_units: Option<&'a str>,
    /// A cron expression.
    pub cron: Option<&'a str>,
    /// systemd calendar expressions.
    pub calendar: Option<&'a str>,
    /// The time zone of the expressions; UTC if it is absent.
    pub time_zone: Option<&'a str>,
}

/// The kinds of schedules, each with the fields of [`Parts`] that give it. All but the first may have a `time_zone`.
pub const KINDS: [(&str, &[&str]); 3] =
    [("every", &["frequency", "time_units"]), ("cron", &["cron"]), ("calendar", &["calendar"])];

impl<'a> Parts<'a> {
    /// The fields that are expressions in a time zone, with their names.
    pub fn texts(self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let texts = [("cron", self.cron), ("calendar", self.calendar), ("time_zone", self.time_zone)];
        texts.into_iter().filter_map(|(field, text)| Some((field, text?)))
    }
}

impl Schedule {
    /// The schedule that these fields give, and the frequency as it was written; `None` if all are empty.
    pub fn of_parts(parts: Parts<'_>) -> Result<Option<(Self, Option<Frequency>)>, Invalid> {
        let missing = |field, partner| Invalid::new(field, format!("is missing; {partner} goes with it"));
        let frequency = match (parts.frequency, parts.time_units) {
            (Some(count), Some(unit)) => Some(Frequency::parse("frequency", count, TimeUnit::parse(unit)?)?),
            (Some(_), None) => return Err(missing("time_units", "frequency")),
            // Alone they change nothing; without this error the sender would get an OK.
            (None, Some(_)) => return Err(missing("frequency", "time_units")),
            (None, None) => None,
        };
        let beside = |field, other| Invalid::new(field, format!("stands beside {other}; give one of them"));
        match (frequency, parts.cron, parts.calendar) {
            (Some(_), Some(_), _) => Err(beside("cron", "frequency")),
            (Some(_), _, Some(_)) => Err(beside("calendar", "frequency")),
            (_, Some(_), Some(_)) => Err(beside("calendar", "cron")),
            (_, None, None) if parts.time_zone.is_some() => Err(missing("cron", "time_zone")),
            (Some(frequency), None, None) => Ok(Some((Self::every(frequency.span())?, Some(frequency)))),
            (None, Some(cron), None) => Ok(Some((Self::cron(cron, parts.time_zone.unwrap_or("UTC"))?, None))),
            (None, None, Some(calendar)) => Ok(Some((Self::calendar(calendar, parts.time_zone)?, None))),
            (None, None, None) => Ok(None),
        }
    }

    /// The fields that give this schedule, its frequency as it was written: the reverse of [`Self::of_parts`].
    pub fn parts(&self, frequency: Option<Frequency>) -> Parts<'_> {
        match self {
            Self::Every(period) => {
                let Frequency { count, unit } =
                    frequency.unwrap_or(Frequency { count: period.num_seconds(), unit: TimeUnit::Seconds });
                Parts { frequency: Some(count), time_units: Some(unit.as_str()), ..Parts::default() }
            }
            Self::Cron(cron) => Parts {
                cron: Some(cron.expression()),
                time_zone: Some(cron.zone().name()),
                ..Parts::default()
            },
            Self::Calendar(calendar) => Parts {
                calendar: Some(calendar.text()),
                time_zone: Some(calendar.zone().name()),
                ..Parts::default()
            },
        }
    }

    /// The period of an interval schedule; `None` for schedules with instants of their own.
    pub fn period(&self) -> Option<TimeDelta> {
        match self {
            Self::Every(period) => Some(*period),
            _ => None,
        }
    }

    /// An interval schedule: whole seconds, from one second to ten years.
    pub fn every(period: TimeDelta) -> Result<Self, Invalid> {
        if period < TimeDelta::seconds(1) || period > duration::LONGEST || period.subsec_nanos() != 0 {
            return Err(Invalid::new("frequency", "must be whole seconds, from 1 second to 3650 days"));
        }
        Ok(Self::Every(period))
    }

    /// A cron expression of five fields (minute, hour, day of month, month, day of week), or of six with seconds
    /// first, in the zone `time_zone` (`Europe/Berlin`). An expression that never matches is refused.
    pub fn cron(expression: &str, time_zone: &str) -> Result<Self, Invalid> {
        CronSchedule::new(expression, time_zone).map(Self::Cron)
    }

    /// Expressions of systemd's `OnCalendar=`, one a line or separated by `;`, in the zone `time_zone`, or in the zone
    /// at their ends. An expression that never matches is refused.
    pub fn calendar(text: &str, time_zone: Option<&str>) -> Result<Self, Invalid> {
        CalendarSchedule::new(text, time_zone).map(Self::Calendar)
    }

    /// Reads what [`Self::notation`] writes.
    pub fn parse(notation: &str) -> Result<Self, Invalid> {
        let wrong = || {
            let problem = format!(
                "{notation:?} is not a schedule; write every, cron or calendar and what belongs to it"
            );
            Invalid::new("schedule", problem)
        };
        let (kind, rest) = notation.trim().split_once(char::is_whitespace).ok_or_else(wrong)?;
        let zoned = || rest.trim_end().rsplit_once(char::is_whitespace).ok_or_else(wrong);
        match kind {
            "every" => Self::every(duration::parse("frequency", rest)?),
            "cron" => zoned().and_then(|(expression, zone)| Self::cron(expression, zone)),
            "calendar" => zoned().and_then(|(text, zone)| Self::calendar(text, Some(zone))),
            _ => Err(wrong()),
        }
    }

    /// The schedule in one line, its zone last: `every 5m`, `cron 0 2 * * * Europe/Berlin`,
    /// `calendar Mon..Fri 02:00; Sun 04:00 UTC`.
    pub fn notation(&self) -> String {
        match self {
            Self::Every(period) => format!("every {}", duration::short(*period)),
            Self::Cron(cron) => format!("cron {} {}", cron.expression(), cron.zone()),
            Self::Calendar(calendar) => format!("calendar {} {}", calendar.text(), calendar.zone()),
        }
    }

    /// Like [`Self::notation`], with the frequency as it was written: `every 5 minutes`;
    /// `every 300s` if there is none.
    pub fn notation_as_written(&self, frequency: Option<Frequency>) -> String {
        match (self, frequency) {
            (Self::Every(period), Some(frequency)) if frequency.span() == *period => {
                format!("every {} {}", frequency.count, frequency.unit.as_str())
            }
            (Self::Every(period), _) => format!("every {}s", period.num_seconds()),
            _ => self.notation(),
        }
    }

    /// Reads what [`Self::notation_as_written`] writes.
    pub fn parse_as_written(notation: &str) -> Result<(Self, Option<Frequency>), Invalid> {
        let schedule = Self::parse(notation)?;
        let frequency = || {
            let (count, unit) = notation.strip_prefix("every ")?.split_once(' ')?;
            Some(Frequency { count: count.parse().ok()?, unit: TimeUnit::parse(unit).ok()? })
        };
        let frequency = frequency().filter(|frequency| schedule.period() == Some(frequency.span()));
        Ok((schedule, frequency))
    }

    /// The next expected instant after the job was last heard of at `heard`. A check-in shortly
    /// before an instant counts for that instant. `None` if no further instant exists.
    pub fn expected_after_checkin(&self, heard: Time) -> Option<Time> {
        let next = self.following(heard)?;
        let early = !matches!(self, Self::Every(_)) && self.is_early_for(heard, next);
        if early { self.following(next) } else { Some(next) }
    }

    /// The first expected instant after `at`. `at` is the expected instant before it, or another
    /// instant from which the schedule counts. `None` if no further instant exists.
    pub fn following(&self, at: Time) -> Option<Time> {
        match self {
            Self::Every(period) => at.checked_add_signed(*period),
            Self::Cron(cron) => cron.next_after(at),
            Self::Calendar(calendar) => calendar.next_after(at),
        }
    }

    /// Refuses a schedule that has no instant after `now`: it would never raise an alert.
    pub fn check_ahead(&self, now: Time) -> Result<(), Invalid> {
        match (self, self.following(now)) {
            (Self::Calendar(calendar), None) => Err(Invalid::new(
                "calendar",
                format!("{:?} lies wholly in the past; it would never be expected", calendar.text()),
            )),
            _ => Ok(()),
        }
    }

    /// Whether a check-in at `heard` counts for `next`, the first scheduled instant after it: it is early by at most
    /// [`EARLY`], and nearer to `next` than to the instant before.
    fn is_early_for(&self, heard: Time, next: Time) -> bool {
        let early = next - heard;
        early <= EARLY && self.following(heard - early) == Some(next)
    }

    /// How much later than `expected_at` the job may run and still be in time, before its grace begins. systemd runs a
    /// timer in an hour that the clock shows twice either the first time or the second.
    pub fn leeway(&self, expected_at: Time) -> TimeDelta {
        match self {
            Self::Calendar(calendar) if wall::comes_again(calendar.zone(), expected_at) => MOST_LEEWAY,
            _ => TimeDelta::zero(),
        }
    }

    /// The next `count` expected instants after `now`, if `expected_at` is due next and each check-in arrives on time.
    pub fn coming(&self, expected_at: Time, now: Time, count: usize) -> Vec<Time> {
        let first = match self {
            _ if expected_at > now => Some(expected_at),
            Self::Every(period) => {
                let passed = (now - expected_at).num_milliseconds() / period.num_milliseconds().max(1) + 1;
                let on = passed.checked_mul(period.num_milliseconds()).and_then(TimeDelta::try_milliseconds);
                on.and_then(|on| expected_at.checked_add_signed(on))
            }
            Self::Cron(_) | Self::Calendar(_) => self.following(now),
        };
        std::iter::successors(first, |at| self.following(*at)).take(count).collect()
    }

    /// The time between the expected instant `expected_at` and the one that follows it.
    pub fn period_at(&self, expected_at: Time) -> TimeDelta {
        match self {
            Self::Every(period) => *period,
            _ => self.following(expected_at).map_or(duration::LONGEST, |next| next - expected_at),
        }
    }

    /// The default grace of this schedule: jobs scheduled at an instant take a while after it.
    pub fn usual_grace(&self) -> TimeDelta {
        match self {
            Self::Every(_) => TimeDelta::zero(),
            Self::Cron(_) | Self::Calendar(_) => CRON_GRACE,
        }
    }

    /// The zone in which the schedule's times are shown.
    pub fn zone(&self) -> Tz {
        match self {
            Self::Every(_) => Tz::UTC,
            Self::Cron(cron) => cron.zone(),
            Self::Calendar(calendar) => calendar.zone(),
        }
    }
}

impl std::fmt::Display for Schedule {
    /// "every 5 minutes"; "at 0 2 * * *, Europe/Berlin"; "at Mon..Fri 02:00, UTC".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Every(period) => write!(f, "every {}", duration::words(*period)),
            Self::Cron(cron) => write!(f, "at {}, {}", cron.expression(), cron.zone()),
            Self::Calendar(calendar) => write!(f, "at {}, {}", calendar.text(), calendar.zone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn a_schedule_is_kept_as_it_was_written() {
        let every = |seconds| Schedule::every(TimeDelta::seconds(seconds)).unwrap();
        let frequency = |count, unit| Some(Frequency { count, unit });
        let cron = Schedule::cron("0 2 * * *", "Europe/Berlin").unwrap();
        let calendar = Schedule::calendar("Mon..Fri 02:00; Sun 04:00", None).unwrap();
        for (schedule, frequency, notation) in [
            (every(300), frequency(5, TimeUnit::Minutes), "every 5 minutes"),
            (every(300), frequency(300, TimeUnit::Seconds), "every 300 seconds"),
            (every(86_400), frequency(1, TimeUnit::Days), "every 1 days"),
            (every(5400), None, "every 5400s"),
            (cron, None, "cron 0 2 * * * Europe/Berlin"),
            (calendar, None, "calendar Mon..Fri 02:00; Sun 04:00 UTC"),
        ] {
            assert_eq!(schedule.notation_as_written(frequency), notation);
            assert_eq!(Schedule::parse_as_written(notation).unwrap(), (schedule, frequency));
        }
        assert_eq!(Schedule::parse_as_written("every 1h30m").unwrap(), (every(5400), None));
        assert!(Schedule::parse_as_written("every 5 fortnights").is_err());
    }

    #[test]
    fn what_is_coming_begins_after_now() {
        let at = |seconds: i64| DateTime::UNIX_EPOCH + TimeDelta::seconds(1_000_000 + seconds);
        let every = Schedule::every(TimeDelta::seconds(10)).unwrap();
        assert_eq!(every.coming(at(5), at(0), 3), [at(5), at(15), at(25)]);
        assert_eq!(every.coming(at(5), at(5), 2), [at(15), at(25)], "what is due now is not to come");
        assert_eq!(every.coming(at(5), at(40_000_000), 1), [at(40_000_005)], "after a long silence");
        let cron = Schedule::cron("0 2 * * *", "Europe/Berlin").unwrap();
        let five = cron.coming(at(0), at(100), 5);
        assert_eq!((five.len(), five.is_sorted(), five[4] - five[0]), (5, true, TimeDelta::days(4)));
        assert!(five[0] > at(100));
        assert!(cron.coming(Time::MAX_UTC, Time::MAX_UTC, 5).is_empty());
    }
}
