//! The fields of a probe's reservations.

use chrono::TimeDelta;
use innkeeper_core::expect::Expect;
use innkeeper_core::names::{self, AlerterName};
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reservation::MOST_ALERT_AFTER;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Invalid, duration};
use innkeeper_settings::{Origin, Section};

use super::read;

/// How often reminders of an open alert are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remind {
    /// None: only the opening is reported. `checker` calls this "on state change".
    Once,
    /// At every further failed run. `checker` calls this "every".
    Each,
    /// At this interval.
    Every(TimeDelta),
}

impl Remind {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "once" => return Ok(Self::Once),
            "each" => return Ok(Self::Each),
            _ => {}
        }
        let span = duration::parse("remind_every", text)
            .map_err(|_| format!("{text:?} is neither once nor each nor a duration such as 1h"))?;
        match span.num_milliseconds() {
            0 => Ok(Self::Once),
            1..1000 => Err(format!("{text:?} is too short; at least 1s")),
            _ => Ok(Self::Every(span)),
        }
    }
}

/// The fields of the reservations of a probe's targets. A field that is none is not sent, so that the server's
/// default or current value stays.
#[derive(Debug, Clone, PartialEq)]
pub struct Promise {
    /// When check-ins are expected.
    pub schedule: Schedule,
    /// The grace. It covers the longest run and the target's offset within the interval.
    pub grace: TimeDelta,
    /// Failures in a row before an alert opens.
    pub alert_after: Option<i64>,
    /// How often reminders are sent.
    pub remind_every: Option<Remind>,
    /// Whether the recovery is reported.
    pub notify_recovery: Option<bool>,
    /// The recipients of alerts.
    pub notify: Option<Recipients>,
    /// The alerters that are used.
    pub alerters: Option<Vec<AlerterName>>,
    /// The owner.
    pub owner: Option<String>,
    /// A description for people.
    pub description: Option<String>,
    /// A link to instructions for a failure.
    pub runbook: Option<String>,
    /// Tags.
    pub tags: Option<Vec<String>>,
    /// Conditions for the figures.
    pub expect: Option<Expect>,
}

impl Promise {
    /// The names of the figures that have conditions.
    pub fn expected_names(&self) -> Vec<&str> {
        self.expect.as_ref().map(|expect| expect.names().collect()).unwrap_or_default()
    }

    /// Reads all keys except those of the schedule. `longest` is the longest duration of a run including retries;
    /// `expect` is the key of the conditions for figures. None if there is no schedule.
    pub(crate) fn read(
        section: &mut Section<'_>,
        schedule: Option<Schedule>,
        longest: TimeDelta,
        expect: &'static str,
    ) -> Option<Self> {
        let usual_grace = longest + TimeDelta::seconds(60);
        Some(Self {
            grace: section.duration("grace", usual_grace, TimeDelta::zero()..=duration::LONGEST),
            alert_after: Some(section.number("alert_after", 0, 1..=MOST_ALERT_AFTER)).filter(|n| *n > 0),
            remind_every: section.parsed("remind_every", None, |text| Remind::parse(text).map(Some)),
            notify_recovery: read::maybe_flag(section, "notify_recovery"),
            notify: list(section, "notify", |texts| Recipients::parse("notify", &texts.join(","))),
            alerters: list(section, "alerters", |texts| AlerterName::any_list("alerters", texts)),
            owner: text(section, "owner", |text| names::one_line("owner", text, 150)),
            description: text(section, "description", |text| {
                names::many_lines("description", text, names::LONGEST_TEXT)
            }),
            runbook: text(section, "runbook", |text| names::web_link("runbook", text)),
            tags: list(section, "tags", names::tags),
            expect: list(section, expect, Expect::parse),
            // Checked last, so that problems of the other keys are reported as well.
            schedule: schedule?,
        })
    }
}

fn list<T>(
    section: &mut Section<'_>,
    key: &'static str,
    read: impl FnOnce(&[String]) -> Result<T, Invalid>,
) -> Option<T> {
    let origin = section.origin(key);
    let texts = section.list(key, names::MOST_ENTRIES, |text| Ok(text.to_owned()));
    if origin == Origin::Default {
        return None;
    }
    match read(&texts) {
        Ok(value) => Some(value),
        Err(invalid) => {
            section.refuse(key, origin, invalid.problem);
            None
        }
    }
}

fn text(
    section: &mut Section<'_>,
    key: &'static str,
    check: impl FnOnce(&str) -> Result<(), Invalid>,
) -> Option<String> {
    section.parsed(key, None, |text| {
        check(text).map_err(|invalid| invalid.problem).map(|()| Some(text.to_owned()))
    })
}
