//! The content of messages, before an alerter formats it.
//!
//! A [`Notice`] is written when a conclusion is drawn and kept in the outbox as JSON. It contains all that any alerter
//! needs, so that sending needs no further query.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::Time;
use crate::alert::{Cause, Reason};
use crate::summary::Summary;

/// What happened.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum EventKind {
    /// An alert opened.
    Opened,
    /// A reminder of an open alert.
    Reminder,
    /// An alert closed: the job has recovered.
    Recovered,
    /// An alert opened and closed between two looks of the sweeper.
    OpenedAndRecovered,
    /// The summary of the week.
    Summary,
    /// Something about Innkeeper itself.
    Operator,
}

impl EventKind {
    /// The word for it in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What became of a message in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum DeliveryState {
    /// It is to be sent, for the first time or again.
    Waiting,
    /// Its alerter has taken it.
    Delivered,
    /// It was given up.
    Dead,
}

impl DeliveryState {
    /// The word for it in SQL, JSON and pages.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One message, ready for any alerter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// What happened.
    pub event: EventKind,
    /// The instance that sends it (`instance` in its configuration).
    pub instance: String,
    /// One line without the instance: "DOWN shop/backup: failed with exit status 1".
    pub subject: String,
    /// How the subject and the instance are combined. Notices of versions without this field had the classic form.
    #[serde(default = "classic")]
    pub subject_form: SubjectForm,
    /// The message: plain text, several lines. Empty if the alerter words it from the incident's [`Details`].
    pub text: String,
    /// When the conclusion was drawn.
    pub at: Time,
    /// A link to more information.
    pub url: Option<String>,
    /// The incident and its reservation; `None` for a summary or an operator notice.
    pub alert: Option<AlertNotice>,
    /// The summary in structured form, in addition to its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Box<Summary>>,
}

/// The incident that a notice is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertNotice {
    /// The alert's number.
    pub id: i64,
    /// One key for all notices of this incident: PagerDuty's `dedup_key`.
    pub dedup_key: String,
    /// The kind of trouble.
    pub cause: Cause,
    /// The reason as a sentence.
    pub reason: String,
    /// The exit status, where the job gave one.
    pub exit_code: Option<i32>,
    /// When the alert opened.
    pub opened_at: Time,
    /// When it closed.
    pub closed_at: Option<Time>,
    /// When the trouble began: the deadline, the run limit, the report.
    pub since: Time,
    /// The reservation's number.
    pub reservation_id: i64,
    /// The app, the first part of the reservation's identity.
    pub app: String,
    /// The component, the second part of the reservation's identity.
    pub component: String,
    /// The owner of the job.
    pub owner: String,
    /// What the job is for.
    pub description: String,
    /// Its labels.
    pub tags: Vec<String>,
    /// Its `notify`, as written.
    pub notify: String,
    /// Its schedule in words.
    pub schedule: String,
    /// The latest success.
    pub last_checkin_at: Option<Time>,
    /// Check-ins of any kind so far.
    pub checkins: i64,
    /// The end of the job's latest output or notes: a few lines, without terminal codes.
    pub notes: String,
    /// Further details for the message.
    #[serde(flatten)]
    pub details: Details,
}

/// How a notice's subject and its instance are combined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectForm {
    /// "DOWN shop/backup: failed · innkeeper"
    #[default]
    Uniform,
    /// "[innkeeper] Job failed: shop/backup"
    Classic,
    /// The reservation's own `alert_subject`, without the instance.
    Own,
}

/// The details of messages about an incident, in addition to its spec. All are absent in notices of older versions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// Why the alert opened. If it is absent, the notice's own text is the message.
    pub why: Option<Reason>,
    /// The reservation's own text for this event, its placeholders filled; empty for the usual text.
    pub own_text: String,
    /// The time zone of the times in the message: `Europe/Berlin`.
    pub time_zone: String,
    /// When check-ins are expected, in words: "each day at 03:00, with 1 hour of grace".
    pub expected: String,
    /// The address of the job's latest check-in; empty before its first.
    pub source: String,
    /// The duration of the run that the message is about, in milliseconds.
    pub took_ms: Option<i64>,
    /// The median duration of recent successful runs, in milliseconds.
    pub usual_ms: Option<i64>,
    /// A link to instructions for this incident.
    pub runbook: String,
    /// The other recipients of the message: "ops@example.org", "oncall (PagerDuty)".
    pub also_told: Vec<String>,
    /// How many other jobs were down.
    pub others_down: i64,
    /// How many jobs there were.
    pub jobs: i64,
    /// For a site: how many reservations stand behind it.
    pub behind: i64,
    /// Recipients that the reservation names and that the message cannot reach. For the operator only.
    pub undelivered: Vec<String>,
    /// Whether the incident is over because its job was checked out.
    pub checked_out: bool,
    /// Why the incident is over, if neither a success nor a check-out ended it: "schedule changed: not overdue by it".
    pub ending: String,
    /// Whether a late report ended it, by showing that the job was well: "it had run at 02:00 on Wed 25 Nov
    /// (Europe/Berlin)".
    pub answered: bool,
}

fn classic() -> SubjectForm {
    SubjectForm::Classic
}

impl Notice {
    /// The subject with the instance's name: "DOWN shop/backup: failed with exit status 1 · innkeeper".
    pub fn headline(&self) -> String {
        match self.subject_form {
            SubjectForm::Uniform => format!("{} · {}", self.subject, self.instance),
            SubjectForm::Classic => format!("[{}] {}", self.instance, self.subject),
            SubjectForm::Own => self.subject.clone(),
        }
    }

    /// The notice that closes this incident because its job was checked out.
    #[must_use]
    pub fn checked_out(&self, now: Time) -> Self {
        let mut over = self.clone();
        over.event = EventKind::Recovered;
        over.at = now;
        if let Some(alert) = &mut over.alert {
            let job = format!("{}/{}", alert.app, alert.component);
            over.subject = match self.subject_form {
                SubjectForm::Classic => format!("Checked out: {job}"),
                SubjectForm::Uniform | SubjectForm::Own => format!("CHECKED OUT {job}"),
            };
            if over.subject_form == SubjectForm::Own {
                over.subject_form = SubjectForm::Uniform;
            }
            // The alerter words the text. Only notices that an older version left in the outbox have one of their own.
            if alert.details.why.is_none() {
                over.text = format!(
                    "{job} was checked out: its reservation is removed, and nothing alerts on it any more.\nIts alert was: {}\n",
                    alert.reason
                );
            }
            alert.closed_at = Some(now);
            alert.details.own_text.clear();
            alert.details.checked_out = true;
            // These described the moment at which it opened.
            alert.details.also_told.clear();
            (alert.details.others_down, alert.details.jobs) = (0, 0);
        }
        over
    }

    /// Whether it reports the end of an incident.
    pub fn is_resolution(&self) -> bool {
        matches!(self.event, EventKind::Recovered | EventKind::OpenedAndRecovered)
    }
}
