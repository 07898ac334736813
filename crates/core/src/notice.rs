//! What people are told, before an alerter gives it a shape.
//!
//! A [`Notice`] is written when a conclusion is drawn and kept in the outbox as JSON; it holds all that any
//! alerter needs, so that sending asks no database.

use serde::{Deserialize, Serialize};

use crate::Time;
use crate::alert::Cause;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An alert opened.
    Opened,
    /// An open alert is told again.
    Reminder,
    /// An alert closed: the job is back.
    Recovered,
    /// An alert opened and closed between two looks.
    OpenedAndRecovered,
    /// The summary of the week.
    Summary,
    /// Something about Innkeeper itself.
    Operator,
}

impl EventKind {
    /// The word for it in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Reminder => "reminder",
            Self::Recovered => "recovered",
            Self::OpenedAndRecovered => "opened_and_recovered",
            Self::Summary => "summary",
            Self::Operator => "operator",
        }
    }
}

/// One message, ready for any alerter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// What happened.
    pub event: EventKind,
    /// The installation that speaks (`instance` in its configuration).
    pub instance: String,
    /// One line without the instance: "Job Failed to checkin: shop/backup".
    pub subject: String,
    /// The message: plain text, several lines.
    pub text: String,
    /// When the conclusion was drawn.
    pub at: Time,
    /// Where to read more.
    pub url: Option<String>,
    /// The incident and its reservation; none for a summary or an operator notice.
    pub alert: Option<AlertNotice>,
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
    /// The first half of its identity.
    pub app: String,
    /// The second half of its identity.
    pub component: String,
    /// Whose job it is.
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
    /// Notes or body of the latest check-in, at most 1,000 characters.
    pub notes: String,
}

impl Notice {
    /// The subject with the installation's name before it: "[innkeeper] Job Failed to checkin: shop/backup".
    pub fn headline(&self) -> String {
        format!("[{}] {}", self.instance, self.subject)
    }

    /// The notice that ends this incident because its job was checked out.
    #[must_use]
    pub fn checked_out(&self, now: Time) -> Self {
        let mut over = self.clone();
        over.event = EventKind::Recovered;
        over.at = now;
        if let Some(alert) = &mut over.alert {
            over.subject = format!("Checked out: {}/{}", alert.app, alert.component);
            over.text = format!(
                "{}/{} was checked out: its reservation is removed, and nothing alerts on it any more.\nIts alert was: {}\n",
                alert.app, alert.component, alert.reason
            );
            alert.closed_at = Some(now);
        }
        over
    }

    /// Whether it says that an incident is over.
    pub fn is_resolution(&self) -> bool {
        matches!(self.event, EventKind::Recovered | EventKind::OpenedAndRecovered)
    }
}
