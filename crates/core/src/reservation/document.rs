//! A reservation as a person or a program writes it: one document for every protocol, file and
//! form.
//!
//! The code that reads a request fills a [`ReservationDocument`], whatever names and forms its
//! protocol has for the fields. [`ReservationDocument::patch`] then checks the fields.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{Patch, Spec};
use crate::expect::Expect;
use crate::names::{AlerterName, AppName, ComponentName};
use crate::recipient::Recipients;
use crate::reminders::Reminders;
use crate::schedule::{Parts, Schedule};
use crate::{Invalid, duration};

/// The fields of a reservation. The document describes the reservation completely: an absent field
/// stands for its default. Durations are texts like `90s`, `5m`, `1h30m`, `1d`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReservationDocument {
    /// The first of the two names that identify it: 1 to 150 characters.
    pub app: String,
    /// The second of the two names that identify it: 1 to 150 characters.
    pub component: String,
    /// Its name in the ping address `/ping/<ping key>/<slug>`: 1 to 150 of `a–z`, `0–9`, `-`, `_`,
    /// unique in its app. If it is absent, an existing slug stays, and a new reservation gets one
    /// that is made from the component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// Whose job it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What the job is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Labels to find it by: at most 20, of 50 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Who is notified: mail addresses and names of alerters, at most 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<Vec<String>>,
    /// The only alerters that are used, at most 50; if it is absent, all to which `notify` leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alerters: Option<Vec<String>>,
    /// The text of its alerts, with placeholders; the usual text if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_msg: Option<String>,
    /// The subject of its alerts, with placeholders: one line of at most 200 characters; the usual
    /// subject if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_subject: Option<String>,
    /// The text of its recoveries, with placeholders; the usual text if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_msg: Option<String>,
    /// What to do when it is down: a link, `https://…` or `http://…`, shown in every message about
    /// the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// How many `time_units` lie between check-ins. Either this and `time_units`, or `cron`, or
    /// `calendar` must be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency: Option<i64>,
    /// `seconds`, `minutes`, `hours` or `days`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_units: Option<String>,
    /// A cron expression at whose instants check-ins are expected: 5 fields, or 6 with seconds
    /// first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// systemd's calendar expressions (`Mon..Fri 02:00`) at whose instants check-ins are expected,
    /// one a line or separated by `;`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
    /// The time zone of `cron` or `calendar`; `UTC` if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The time allowed after the expected instant. If it is absent, `5m` with `cron` or
    /// `calendar`, and `0s` otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<String>,
    /// How many consecutive misses or failures open an alert, 1 to 50; 1 if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_after: Option<i64>,
    /// How often reminders of an open alert are sent: a duration, `each` for each failed run and
    /// each further missed instant, or `0s` for no reminders; `sweeper.remind_every` of the
    /// configuration if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remind_every: Option<String>,
    /// Whether the recovery is notified; yes if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_recovery: Option<bool>,
    /// The longest time that a run may take from its start; no limit if it is absent or `0s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_run: Option<String>,
    /// A success sooner than this after its start is a failure; no limit if it is absent or `0s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_run: Option<String>,
    /// Conditions on the figures of a success: `rows > 0`, `bytes >= 0.5 * median(10)`; at most 10
    /// clauses. A success that breaks one is a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<Vec<String>>,
    /// Whether it is an Internet gateway whose silence holds the alerts of the jobs behind it; no
    /// if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_site: Option<bool>,
}

/// The form of a field's value. Other forms that a protocol or a web form has for it are converted
/// to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueForm {
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// True or false.
    Flag,
    /// A list of texts.
    List,
    /// A list of recipients, which some write as one text with commas.
    Recipients,
    /// A duration, as a text.
    Duration,
    /// A duration or a word, as a text.
    Reminders,
}

/// The fields of the document, in its order.
pub const FIELDS: [(&str, ValueForm); 25] = [
    ("app", ValueForm::Text),
    ("component", ValueForm::Text),
    ("slug", ValueForm::Text),
    ("owner", ValueForm::Text),
    ("description", ValueForm::Text),
    ("tags", ValueForm::List),
    ("notify", ValueForm::Recipients),
    ("alerters", ValueForm::List),
    ("alert_msg", ValueForm::Text),
    ("alert_subject", ValueForm::Text),
    ("recovery_msg", ValueForm::Text),
    ("runbook", ValueForm::Text),
    ("frequency", ValueForm::Integer),
    ("time_units", ValueForm::Text),
    ("cron", ValueForm::Text),
    ("calendar", ValueForm::Text),
    ("time_zone", ValueForm::Text),
    ("grace", ValueForm::Duration),
    ("alert_after", ValueForm::Integer),
    ("remind_every", ValueForm::Reminders),
    ("notify_recovery", ValueForm::Flag),
    ("max_run", ValueForm::Duration),
    ("min_run", ValueForm::Duration),
    ("expect", ValueForm::List),
    ("is_site", ValueForm::Flag),
];

/// The names of the fields.
pub const NAMES: [&str; FIELDS.len()] = {
    let mut names = [""; FIELDS.len()];
    let mut place = 0;
    while place < names.len() {
        names[place] = FIELDS[place].0;
        place += 1;
    }
    names
};

/// The alerters that a document may name.
#[derive(Debug, Clone, Copy)]
pub enum Alerters<'a> {
    /// Any alerter; a warning says which of them lead nowhere.
    Any,
    /// Only these alerters.
    Only(&'a [AlerterName]),
    /// These alerters, and those that the reservation already names, as [`Patch::check_for`]
    /// decides.
    OrThoseNamed(&'a [AlerterName]),
}

/// The problems of a document; there is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    first: Invalid,
    others: Vec<Invalid>,
}

impl IntoIterator for Problems {
    type Item = Invalid;
    type IntoIter = std::iter::Chain<std::iter::Once<Invalid>, std::vec::IntoIter<Invalid>>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.first).chain(self.others)
    }
}

impl From<Problems> for Invalid {
    /// The first of the problems.
    fn from(problems: Problems) -> Self {
        problems.first
    }
}

impl ReservationDocument {
    /// The document of this spec. Optional fields without a value are left out.
    pub fn of(spec: &Spec) -> Self {
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let list = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
        let Parts { frequency, time_units, cron, calendar, time_zone } = spec.schedule.parts(spec.frequency);
        Self {
            app: spec.app.to_string(),
            component: spec.component.to_string(),
            slug: text(&spec.slug),
            owner: text(&spec.owner),
            description: text(&spec.description),
            tags: list(spec.tags.clone()),
            notify: list(spec.notify.iter().map(|one| one.as_str().to_owned()).collect()),
            alerters: list(spec.alerters.iter().map(ToString::to_string).collect()),
            alert_msg: text(&spec.alert_msg),
            alert_subject: text(&spec.alert_subject),
            recovery_msg: text(&spec.recovery_msg),
            runbook: text(&spec.runbook),
            frequency,
            time_units: time_units.map(str::to_owned),
            cron: cron.map(str::to_owned),
            calendar: calendar.map(str::to_owned),
            time_zone: time_zone.map(str::to_owned),
            grace: Some(duration::short(spec.grace)),
            alert_after: Some(spec.alert_after),
            remind_every: Some(spec.remind_every.short()),
            notify_recovery: Some(spec.notify_recovery),
            max_run: spec.max_run.map(duration::short),
            min_run: spec.min_run.map(duration::short),
            expect: list(spec.expect.texts()),
            is_site: spec.is_site.then_some(true),
        }
    }

    /// The names of the reservation that the document is about.
    pub fn names(&self) -> Result<(AppName, ComponentName), Invalid> {
        Ok((AppName::parse(self.app.as_str())?, ComponentName::parse(self.component.as_str())?))
    }

    /// Checks all fields except the names. A field that is absent from the document is absent from
    /// the patch.
    ///
    /// # Errors
    /// All problems, each with the name of its field.
    pub fn patch(self, alerters: Alerters<'_>) -> Result<Patch, Problems> {
        let mut read = Reader::default();
        let schedule = read.take(self.schedule());
        let patch = Patch {
            slug: self.slug,
            owner: self.owner,
            description: self.description,
            tags: self.tags,
            notify: read.field(self.notify, |list| Recipients::of_any_entries("notify", &list)),
            alerters: read.field(self.alerters, |list| AlerterName::any_list("alerters", &list)),
            alert_msg: self.alert_msg,
            alert_subject: self.alert_subject,
            recovery_msg: self.recovery_msg,
            runbook: self.runbook,
            schedule: schedule.flatten(),
            grace: read.span("grace", self.grace),
            alert_after: self.alert_after,
            remind_every: read.field(self.remind_every, |text| Reminders::parse("remind_every", &text)),
            notify_recovery: self.notify_recovery,
            max_run: read.span("max_run", self.max_run),
            min_run: read.span("min_run", self.min_run),
            expect: read.field(self.expect, |clauses| Expect::parse(&clauses)),
            is_site: self.is_site,
            ..Patch::default()
        };
        let (mut patch, wrong) = match alerters {
            Alerters::Any => patch,
            Alerters::Only(known) | Alerters::OrThoseNamed(known) => patch.knowing("notify", known),
        }
        .looked_through();
        if let Alerters::Only(_) = alerters {
            read.problems.extend(patch.unknown.drain(..).map(|(_, problem)| problem));
        }
        read.problems.extend(wrong);
        let mut problems = read.problems.into_iter();
        match problems.next() {
            None => Ok(patch),
            Some(first) => Err(Problems { first, others: problems.collect() }),
        }
    }

    /// The schedule, and the frequency as it was written; `None` if the document gives no schedule.
    pub fn schedule(&self) -> Result<Option<<Schedule as super::FieldType>::Given>, Invalid> {
        Schedule::of_parts(Parts {
            frequency: self.frequency,
            time_units: self.time_units.as_deref(),
            cron: self.cron.as_deref(),
            calendar: self.calendar.as_deref(),
            time_zone: self.time_zone.as_deref(),
        })
    }

    /// Whether it names an alerter that is not one of `known`.
    pub fn names_other_than(&self, known: &[AlerterName]) -> bool {
        let notified = self.notify.iter().flatten().filter(|entry| !entry.contains('@'));
        let mut named = notified.chain(self.alerters.iter().flatten());
        named.any(|name| known.iter().all(|known| known.as_str() != name))
    }
}

/// Reads fields, and continues after an invalid one.
#[derive(Default)]
struct Reader {
    problems: Vec<Invalid>,
}

impl Reader {
    fn take<T>(&mut self, read: Result<T, Invalid>) -> Option<T> {
        read.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn field<T, U>(&mut self, said: Option<T>, read: impl FnOnce(T) -> Result<U, Invalid>) -> Option<U> {
        said.and_then(|said| self.take(read(said)))
    }

    fn span(&mut self, field: &'static str, said: Option<String>) -> Option<TimeDelta> {
        self.field(said, |text| duration::parse(field, &text))
    }
}

#[cfg(test)]
mod tests;
