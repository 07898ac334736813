//! The terms of a reservation from the command line, as the fields of `POST /reservation`.

mod older;

pub use older::for_older;

use innkeeper_core::duration;
use innkeeper_core::expect::Expect;
use innkeeper_core::schedule::{Parts, Schedule};
use serde_json::{Map, Value, json};

use crate::exec::terms::{local_zone, put_period};

/// The field with the conditions for a job's figures.
pub const EXPECT: &str = "expect";
/// The field with the interval of reminders.
pub const REMIND: &str = "remind_every";
/// The value of [`REMIND`] for a reminder at each further failed run.
pub const EACH: &str = "each";

/// The options `--every`, `--cron`, `--calendar`, `--tz`, `--grace`, `--expect` and `--remind-every`, as text.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScheduleFlags<'f> {
    /// A period, such as `15m`.
    pub every: Option<&'f str>,
    /// A cron expression.
    pub cron: Option<&'f str>,
    /// A systemd calendar expression.
    pub calendar: Option<&'f str>,
    /// The time zone of either expression.
    pub tz: Option<&'f str>,
    /// The grace: how late a run may be.
    pub grace: Option<&'f str>,
    /// The conditions for the figures. A single empty text removes all conditions.
    pub expect: &'f [String],
    /// The interval of reminders: a duration, or `each`.
    pub remind_every: Option<&'f str>,
}

impl ScheduleFlags<'_> {
    /// The fields for the options that are given, and no others.
    ///
    /// # Errors
    /// Which option is invalid, and what is allowed.
    pub fn fields(self) -> Result<Map<String, Value>, String> {
        let mut fields = Map::new();
        let text = |invalid: innkeeper_core::Invalid| invalid.to_string();
        if let Some(every) = self.every {
            let period = duration::parse("--every", every).map_err(text)?;
            Schedule::every(period).map_err(|invalid| format!("--every: {}", invalid.problem))?;
            put_period(&mut fields, period.num_seconds());
        }
        if self.cron.is_some() || self.calendar.is_some() {
            let zone = self.tz.map(str::to_owned).or_else(local_zone).unwrap_or_else(|| "UTC".to_owned());
            let (cron, calendar) = (self.cron, self.calendar);
            let parts = Parts { cron, calendar, time_zone: Some(&zone), ..Parts::default() };
            Schedule::of_parts(parts).map_err(|invalid| format!("--{invalid}"))?;
            let (key, expression) = if cron.is_some() { ("cron", cron) } else { ("calendar", calendar) };
            fields.insert(key.to_owned(), json!(expression));
            fields.insert("time_zone".to_owned(), json!(zone));
        } else if self.tz.is_some() {
            return Err("--tz is the time zone of --cron or --calendar; give one of them".to_owned());
        }
        if let Some(grace) = self.grace {
            duration::parse("--grace", grace).map_err(text)?;
            fields.insert("grace".to_owned(), json!(grace));
        }
        if !self.expect.is_empty() {
            let expect = Expect::parse(self.expect).map_err(|invalid| format!("--{invalid}"))?;
            fields.insert(EXPECT.to_owned(), json!(expect.texts()));
        }
        if let Some(every) = self.remind_every {
            if every != EACH {
                duration::parse("--remind-every", every)
                    .map_err(|invalid| format!("{invalid}; or {EACH}"))?;
            }
            fields.insert(REMIND.to_owned(), json!(every));
        }
        Ok(fields)
    }
}
