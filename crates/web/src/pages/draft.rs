//! A reservation as the form has it: texts, which become terms or say what is wrong with them.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::recipient::{Recipient, Recipients};
use innkeeper_core::reservation::{Frequency, Terms, TimeUnit, Wishes};
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Invalid, duration};

use super::form::Form;

/// What stands in the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub app: String,
    pub component: String,
    pub slug: String,
    pub owner: String,
    pub description: String,
    pub tags: String,
    pub notify: String,
    pub alerters: Vec<String>,
    pub alert_msg: String,
    pub alert_subject: String,
    pub recovery_msg: String,
    pub runbook: String,
    /// `every`, `cron` or `calendar`.
    pub kind: String,
    pub frequency: String,
    pub time_units: String,
    pub cron: String,
    pub calendar: String,
    pub time_zone: String,
    pub grace: String,
    pub alert_after: String,
    pub remind_every: String,
    pub notify_recovery: bool,
    pub max_run: String,
    pub min_run: String,
    pub is_site: bool,
}

/// What is wrong, by field.
pub type Problems = BTreeMap<String, String>;

impl Draft {
    /// That of a new reservation.
    pub fn fresh(remind_every: Option<TimeDelta>) -> Self {
        Self {
            app: String::new(),
            component: String::new(),
            slug: String::new(),
            owner: String::new(),
            description: String::new(),
            tags: String::new(),
            notify: String::new(),
            alerters: Vec::new(),
            alert_msg: String::new(),
            alert_subject: String::new(),
            recovery_msg: String::new(),
            runbook: String::new(),
            kind: "every".to_owned(),
            frequency: "5".to_owned(),
            time_units: "minutes".to_owned(),
            cron: String::new(),
            calendar: String::new(),
            time_zone: "UTC".to_owned(),
            grace: "1m".to_owned(),
            alert_after: "1".to_owned(),
            remind_every: remind_every.map(duration::short).unwrap_or_default(),
            notify_recovery: true,
            max_run: String::new(),
            min_run: String::new(),
            is_site: false,
        }
    }

    /// That of a reservation that is there.
    pub fn of(terms: &Terms) -> Self {
        let limit = |span: Option<TimeDelta>| span.map(duration::short).unwrap_or_default();
        let fresh = Self::fresh(None);
        let (kind, frequency, cron, calendar) = match (&terms.schedule, terms.frequency) {
            (Schedule::Cron(cron), _) => ("cron", None, cron.expression().to_owned(), String::new()),
            // One expression a line.
            (Schedule::Calendar(calendar), _) => {
                ("calendar", None, String::new(), calendar.text().replace("; ", "\n"))
            }
            (Schedule::Every(_), Some(frequency)) => ("every", Some(frequency), String::new(), String::new()),
            (Schedule::Every(period), None) => {
                let frequency = Frequency { count: period.num_seconds(), unit: TimeUnit::Seconds };
                ("every", Some(frequency), String::new(), String::new())
            }
        };
        let (frequency, time_units) = match frequency {
            Some(frequency) => (frequency.count.to_string(), frequency.unit.as_str().to_owned()),
            None => (fresh.frequency, fresh.time_units),
        };
        Self {
            app: terms.app.to_string(),
            component: terms.component.to_string(),
            slug: terms.slug.clone(),
            owner: terms.owner.clone(),
            description: terms.description.clone(),
            tags: terms.tags.join(", "),
            notify: terms.notify.to_string().replace(',', ", "),
            alerters: terms.alerters.iter().map(ToString::to_string).collect(),
            alert_msg: terms.alert_msg.clone(),
            alert_subject: terms.alert_subject.clone(),
            recovery_msg: terms.recovery_msg.clone(),
            runbook: terms.runbook.clone(),
            kind: kind.to_owned(),
            frequency,
            time_units,
            cron,
            calendar,
            time_zone: terms.schedule.zone().to_string(),
            grace: duration::short(terms.grace),
            alert_after: terms.alert_after.to_string(),
            remind_every: limit(terms.remind_every),
            notify_recovery: terms.notify_recovery,
            max_run: limit(terms.max_run),
            min_run: limit(terms.min_run),
            is_site: terms.is_site,
        }
    }

    /// What was typed.
    pub fn from_form(form: &Form) -> Self {
        let text = |name: &str| form.text(name).to_owned();
        // A browser sends line breaks as CR LF.
        let lines = |name: &str| form.text(name).replace("\r\n", "\n");
        Self {
            app: text("app"),
            component: text("component"),
            slug: text("slug"),
            owner: text("owner"),
            description: lines("description"),
            tags: text("tags"),
            notify: text("notify"),
            alerters: form.all("alerters").filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            alert_msg: lines("alert_msg"),
            alert_subject: text("alert_subject"),
            recovery_msg: lines("recovery_msg"),
            runbook: text("runbook"),
            kind: ["cron", "calendar"]
                .into_iter()
                .find(|kind| *kind == form.text("kind"))
                .unwrap_or("every")
                .to_owned(),
            frequency: text("frequency"),
            time_units: text("time_units"),
            cron: text("cron"),
            calendar: lines("calendar"),
            time_zone: text("time_zone"),
            grace: text("grace"),
            alert_after: text("alert_after"),
            remind_every: text("remind_every"),
            notify_recovery: form.is_ticked("notify_recovery"),
            max_run: text("max_run"),
            min_run: text("min_run"),
            is_site: form.is_ticked("is_site"),
        }
    }

    /// The alerters that `notify` names, where it can be read.
    pub fn alerters_notified(&self) -> Vec<String> {
        let Ok(recipients) = Recipients::parse("notify", &self.notify) else { return Vec::new() };
        let name = |recipient: &Recipient| match recipient {
            Recipient::Alerter(name) => Some(name.to_string()),
            Recipient::Mail(_) => None,
        };
        recipients.iter().filter_map(name).collect()
    }

    /// The schedule, where it can be read.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn schedule(&self) -> Result<(Schedule, Option<Frequency>), Invalid> {
        let zone = if self.time_zone.is_empty() { "UTC" } else { &self.time_zone };
        match self.kind.as_str() {
            "cron" => return Ok((Schedule::cron(&self.cron, zone)?, None)),
            "calendar" => return Ok((Schedule::calendar(&self.calendar, Some(zone))?, None)),
            _ => {}
        }
        let count = self
            .frequency
            .parse()
            .map_err(|_| Invalid::new("frequency", format!("{:?} is not a whole number", self.frequency)))?;
        let frequency = Frequency::parse("frequency", count, TimeUnit::parse(&self.time_units)?)?;
        Ok((Schedule::every(frequency.span())?, Some(frequency)))
    }

    /// The grace; what is not given is none.
    ///
    /// # Errors
    /// That it is no duration.
    pub fn grace(&self) -> Result<TimeDelta, Invalid> {
        span("grace", &self.grace)
    }

    /// Names and terms, or everything that is wrong.
    pub fn parse(&self, known: &[AlerterName]) -> Result<(AppName, ComponentName, Wishes), Problems> {
        let mut problems = Problems::new();
        let app = noted(&mut problems, AppName::parse(self.app.as_str()));
        let component = noted(&mut problems, ComponentName::parse(self.component.as_str()));
        let schedule = noted(&mut problems, self.schedule());
        let notify = noted(&mut problems, recipients(&self.notify, known));
        let alerters = noted(&mut problems, AlerterName::list("alerters", &self.alerters, known));
        let grace = noted(&mut problems, self.grace());
        let remind_every = noted(&mut problems, span("remind_every", &self.remind_every));
        let max_run = noted(&mut problems, span("max_run", &self.max_run));
        let min_run = noted(&mut problems, span("min_run", &self.min_run));
        let alert_after = self.alert_after.parse().map_err(|_| {
            Invalid::new("alert_after", format!("{:?} is not a whole number", self.alert_after))
        });
        let alert_after = noted(&mut problems, alert_after);
        let tags = self.tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
        let wishes = Wishes {
            // An empty field leaves it as it is.
            slug: Some(self.slug.clone()).filter(|slug| !slug.is_empty()),
            owner: Some(self.owner.clone()),
            description: Some(self.description.clone()),
            tags: Some(tags.map(str::to_owned).collect()),
            notify,
            alerters,
            alert_msg: Some(self.alert_msg.clone()),
            alert_subject: Some(self.alert_subject.clone()),
            recovery_msg: Some(self.recovery_msg.clone()),
            runbook: Some(self.runbook.clone()),
            schedule,
            grace,
            alert_after,
            remind_every,
            remind_every_if_new: None,
            notify_recovery: Some(self.notify_recovery),
            max_run,
            min_run,
            is_site: Some(self.is_site),
            ..Wishes::default()
        };
        let wishes = noted(&mut problems, wishes.checked());
        match (app, component, wishes) {
            (Some(app), Some(component), Some(wishes)) if problems.is_empty() => Ok((app, component, wishes)),
            _ => Err(problems),
        }
    }
}

fn noted<T>(problems: &mut Problems, parsed: Result<T, Invalid>) -> Option<T> {
    parsed.map_err(|invalid| problems.entry(invalid.field.into_owned()).or_insert(invalid.problem)).ok()
}

/// A duration; an empty field is zero.
fn span(field: &'static str, text: &str) -> Result<TimeDelta, Invalid> {
    if text.is_empty() { Ok(TimeDelta::zero()) } else { duration::parse(field, text) }
}

fn recipients(text: &str, known: &[AlerterName]) -> Result<Recipients, Invalid> {
    let recipients = Recipients::parse("notify", text)?;
    recipients.check_known("notify", known)?;
    Ok(recipients)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<AlerterName> {
        vec![AlerterName::parse("alerter", "log").unwrap()]
    }

    #[test]
    fn what_is_shown_is_what_was_meant() {
        let mut draft = Draft { app: "shop".into(), component: "backup".into(), ..Draft::fresh(None) };
        for kind in ["every", "cron", "calendar"] {
            draft.kind = kind.into();
            draft.slug = "db".into();
            draft.cron = "0 2 * * *".into();
            draft.calendar = "Mon..Fri 02:00\nSun 04:00".into();
            draft.time_zone = "Europe/Berlin".into();
            draft.tags = "nightly, eu".into();
            draft.notify = "ops@example.org, log".into();
            draft.alerters = vec!["log".into()];
            draft.max_run = "1h30m".into();
            let (app, component, wishes) = draft.parse(&known()).unwrap();
            let terms = wishes.into_terms(app, component).unwrap();
            let again = Draft::of(&terms);
            assert_eq!(again.slug, "db");
            let (app, component, wishes) = again.parse(&known()).unwrap();
            assert_eq!(wishes.into_terms(app, component).unwrap(), terms);
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_its_field() {
        let draft = Draft {
            component: "a\nb".into(),
            slug: "A".into(),
            kind: "cron".into(),
            cron: "61 * * * *".into(),
            notify: "nobody".into(),
            grace: "soon".into(),
            alert_after: "many".into(),
            max_run: "-1s".into(),
            ..Draft::fresh(None)
        };
        let problems = draft.parse(&known()).unwrap_err();
        let fields: Vec<&str> = problems.keys().map(String::as_str).collect();
        assert_eq!(fields, ["alert_after", "app", "component", "cron", "grace", "max_run", "notify", "slug"]);
    }
}
