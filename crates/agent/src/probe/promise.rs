//! What a probe's reservations are to be.

use chrono::TimeDelta;
use innkeeper_core::expect::Expect;
use innkeeper_core::names::{self, AlerterName};
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reservation::MOST_ALERT_AFTER;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Invalid, duration};
use innkeeper_settings::{Origin, Section};

use super::read;

/// How often an open alert is told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remind {
    /// Once, when it opens: checker's "on state change".
    Once,
    /// At every further failed run: checker's "every".
    Each,
    /// Every so often.
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

/// What the reservation of each of a probe's targets asks for. What is none is left to the server, or as it
/// is.
#[derive(Debug, Clone, PartialEq)]
pub struct Promise {
    /// When check-ins are expected.
    pub schedule: Schedule,
    /// Slack after the expected instant: enough for the longest run and the probe's place within its
    /// interval.
    pub grace: TimeDelta,
    /// Failures in a row before an alert opens.
    pub alert_after: Option<i64>,
    /// How often an open alert is told again.
    pub remind_every: Option<Remind>,
    /// Whether "is back" is told.
    pub notify_recovery: Option<bool>,
    /// Who hears of it.
    pub notify: Option<Recipients>,
    /// The alerters that are used for it.
    pub alerters: Option<Vec<AlerterName>>,
    /// Whose it is.
    pub owner: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// What to do when it fails: a link.
    pub runbook: Option<String>,
    /// Labels to find it by.
    pub tags: Option<Vec<String>>,
    /// What must hold of its figures.
    pub expect: Option<Expect>,
}

impl Promise {
    /// The figures of which something must hold.
    pub fn expected_names(&self) -> Vec<&str> {
        self.expect.as_ref().map(|expect| expect.names().collect()).unwrap_or_default()
    }

    /// Reads its keys but those of the schedule. `longest` is the longest that a run takes, all retries
    /// included; `expect` is the key of what must hold of the figures. None without a schedule.
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
            // Last: without one the other keys are read all the same.
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
