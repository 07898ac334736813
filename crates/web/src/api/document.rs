//! A reservation as a person writes it: what is made, changed, declared and exported.

use innkeeper_core::Invalid;
use innkeeper_core::duration;
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reservation::{Frequency, Terms, TimeUnit, Wishes};
use innkeeper_core::schedule::{Parts, Schedule};
use innkeeper_node::keys;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Desk;

/// What a reservation says. The document is the whole truth of it: a field that is absent has its default. Durations are texts like `90s`, `5m`,
/// `1h30m`, `1d`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReservationDocument {
    /// The first of the two names that identify it: 1 to 150 characters.
    pub app: String,
    /// The second of the two names that identify it: 1 to 150 characters.
    pub component: String,
    /// What its ping address `/ping/<ping key>/<slug>` calls it: 1 to 150 of `a–z`, `0–9`, `-`, `_`, unique in its app. Where it is absent it stays as
    /// it is, and is made of the component in a new one.
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
    /// Who hears of it: mail addresses and names of alerters, at most 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<Vec<String>>,
    /// Only these alerters are used, at most 50; all that `notify` leads to where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alerters: Option<Vec<String>>,
    /// The text of its alerts, with placeholders; the usual text where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_msg: Option<String>,
    /// The subject of its alerts, with placeholders, on one line of 200 characters; the usual subject where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_subject: Option<String>,
    /// The text of its recoveries, with placeholders; the usual text where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_msg: Option<String>,
    /// What to do when it is down: a link, `https://…` or `http://…`. It stands in every message about the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// A check-in every so many `time_units`. This and `time_units`, or `cron`, or `calendar`, must be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency: Option<i64>,
    /// `seconds`, `minutes`, `hours` or `days`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_units: Option<String>,
    /// A check-in at the instants of a cron expression: 5 fields, or 6 with seconds first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// A check-in at the instants of systemd's calendar expressions (`Mon..Fri 02:00`), one a line or separated by `;`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
    /// The zone whose clock `cron` or `calendar` speaks of; `UTC` where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Slack after the expected instant; `0s`, and `5m` with `cron` or `calendar`, where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<String>,
    /// Misses or failures in a row before an alert opens, 1 to 50; 1 where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_after: Option<i64>,
    /// How often an open alert is told again; `0s` for once only, `sweeper.remind_every` of the configuration where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remind_every: Option<String>,
    /// Whether "back online" is told; yes where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_recovery: Option<bool>,
    /// The longest that a run may take from its start; no limit where it is absent or `0s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_run: Option<String>,
    /// A success sooner than this after its start is a failure; no limit where it is absent or `0s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_run: Option<String>,
    /// Whether it is an Internet gateway whose silence holds the alerts behind it; no where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_site: Option<bool>,
}

impl ReservationDocument {
    /// The document of these terms: what is empty or off is left out, everything else is said.
    pub fn of(terms: &Terms) -> Self {
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let list = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
        let frequency = terms.frequency.or(match &terms.schedule {
            Schedule::Every(period) => {
                Some(Frequency { count: period.num_seconds(), unit: TimeUnit::Seconds })
            }
            Schedule::Cron(_) | Schedule::Calendar(_) => None,
        });
        let (cron, calendar, zone) = match &terms.schedule {
            Schedule::Every(_) => (None, None, None),
            Schedule::Cron(cron) => (Some(cron.expression().to_owned()), None, Some(cron.zone())),
            Schedule::Calendar(calendar) => (None, Some(calendar.text().to_owned()), Some(calendar.zone())),
        };
        Self {
            app: terms.app.to_string(),
            component: terms.component.to_string(),
            slug: text(&terms.slug),
            owner: text(&terms.owner),
            description: text(&terms.description),
            tags: list(terms.tags.clone()),
            notify: list(terms.notify.iter().map(|one| one.as_str().to_owned()).collect()),
            alerters: list(terms.alerters.iter().map(ToString::to_string).collect()),
            alert_msg: text(&terms.alert_msg),
            alert_subject: text(&terms.alert_subject),
            recovery_msg: text(&terms.recovery_msg),
            runbook: text(&terms.runbook),
            frequency: frequency.map(|frequency| frequency.count),
            time_units: frequency.map(|frequency| frequency.unit.as_str().to_owned()),
            cron,
            calendar,
            time_zone: zone.map(|zone| zone.to_string()),
            grace: Some(duration::short(terms.grace)),
            alert_after: Some(terms.alert_after),
            remind_every: Some(terms.remind_every.map_or("0s".to_owned(), duration::short)),
            notify_recovery: Some(terms.notify_recovery),
            max_run: terms.max_run.map(duration::short),
            min_run: terms.min_run.map(duration::short),
            is_site: terms.is_site.then_some(true),
        }
    }

    /// The terms that it asks for.
    pub fn terms(self, desk: &Desk) -> Result<Terms, Invalid> {
        self.terms_knowing(desk, &desk.alerter_names())
    }

    /// The terms that it asks for, of a reservation whose terms were `before`: it may name what it named then, also an alerter that is gone.
    pub fn changed_terms(self, desk: &Desk, before: &Terms) -> Result<Terms, Invalid> {
        self.terms_knowing(desk, &[desk.alerter_names(), before.alerters_named()].concat())
    }

    /// Whether it names an alerter that is none of `known`.
    pub fn names_other_than(&self, known: &[AlerterName]) -> bool {
        let notified = self.notify.iter().flatten().filter(|entry| !entry.contains('@'));
        let mut named = notified.chain(self.alerters.iter().flatten());
        named.any(|name| known.iter().all(|known| known.as_str() != name))
    }

    /// The terms that it asks for; the alerters that it may name are `known`.
    pub fn terms_knowing(self, desk: &Desk, known: &[AlerterName]) -> Result<Terms, Invalid> {
        let app = AppName::parse(self.app.as_str())?;
        let component = ComponentName::parse(self.component.as_str())?;
        self.wishes(desk, known)?.into_terms(app, component)
    }

    /// The same as a wish, which wishes for each field of the terms.
    fn wishes(self, desk: &Desk, known: &[AlerterName]) -> Result<Wishes, Invalid> {
        let span = |field, text: Option<String>| text.map(|text| duration::parse(field, &text)).transpose();
        Wishes {
            slug: self.slug,
            owner: self.owner,
            description: self.description,
            tags: self.tags,
            notify: self.notify.map(|notify| Recipients::of_entries("notify", &notify, known)).transpose()?,
            alerters: self
                .alerters
                .map(|alerters| AlerterName::list("alerters", &alerters, known))
                .transpose()?,
            alert_msg: self.alert_msg,
            alert_subject: self.alert_subject,
            recovery_msg: self.recovery_msg,
            runbook: self.runbook,
            schedule: Schedule::of_parts(Parts {
                frequency: self.frequency,
                time_units: self.time_units.as_deref(),
                cron: self.cron.as_deref(),
                calendar: self.calendar.as_deref(),
                time_zone: self.time_zone.as_deref(),
            })?,
            grace: span("grace", self.grace)?,
            alert_after: self.alert_after,
            remind_every: span("remind_every", self.remind_every)?,
            remind_every_if_new: desk.remind_every(),
            notify_recovery: self.notify_recovery,
            max_run: span("max_run", self.max_run)?,
            min_run: span("min_run", self.min_run)?,
            is_site: self.is_site,
            ..Wishes::default()
        }
        .checked()
    }
}

/// What names these terms in `ETag` and `If-Match`: another after each change of any of them.
pub(crate) fn etag(terms: &Terms) -> String {
    let text = serde_json::to_string(&ReservationDocument::of(terms)).unwrap_or_default();
    let mut hash = keys::hash(&text);
    hash.truncate(32);
    format!("\"{hash}\"")
}
