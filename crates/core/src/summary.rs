//! The summary: what is missed now, and what went wrong and recovered in the last days.

use chrono::TimeDelta;
use chrono_tz::Tz;
use comfy_table::{ContentArrangement, Table, presets};
use serde::{Deserialize, Serialize};

use crate::alert::stamp;
use crate::{Time, duration};

/// How far back the summary looks.
pub const SPAN: TimeDelta = TimeDelta::days(7);
/// The width that reads well in a terminal and in a mail, in characters.
const WIDTH: u16 = 100;

/// One incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The first half of its reservation's identity.
    pub app: String,
    /// The second half of its reservation's identity.
    pub component: String,
    /// Whose job it is.
    pub owner: String,
    /// `missed`, `overran` or `failed`.
    pub cause: String,
    /// The reason as a sentence.
    pub reason: String,
    /// When it opened.
    pub opened_at: Time,
    /// When it closed; none while it is open.
    pub closed_at: Option<Time>,
}

/// A reservation that is missed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The first half of its identity.
    pub app: String,
    /// The second half of its identity.
    pub component: String,
    /// Whose job it is.
    pub owner: String,
    /// `overdue`, `down`, `held`, `snoozed`.
    pub state: String,
    /// The latest success.
    pub last_checkin_at: Option<Time>,
    /// The deadline that has passed.
    pub deadline: Time,
}

/// The summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The installation that speaks.
    pub instance: String,
    /// When it was drawn up.
    pub at: Time,
    /// The start of the span it looks at.
    pub since: Time,
    /// How many reservations there are.
    pub reservations: i64,
    /// What is missed now, longest first.
    pub missed: Vec<Missed>,
    /// What went wrong in the span and is still open, latest first.
    pub open: Vec<Incident>,
    /// What went wrong and recovered in the span, latest first.
    pub recovered: Vec<Incident>,
}

impl Summary {
    /// One line: "2 jobs missed now; 3 alerts open, 5 recovered in the last 7 days".
    pub fn headline(&self) -> String {
        format!(
            "{} missed now; {} open, {} recovered in the last {}",
            duration::counted(self.missed.len() as i64, "job"),
            duration::counted(self.open.len() as i64, "alert"),
            self.recovered.len(),
            duration::words(SPAN),
        )
    }

    /// The summary as text: a terminal and a mail show it alike.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{}: summary of {}\n{} of {}.\n",
            self.instance,
            stamp(self.at, Tz::UTC),
            self.headline(),
            duration::counted(self.reservations, "reservation")
        );
        section(
            &mut text,
            "Missed now",
            "Nothing is missed.",
            &["job", "state", "last check-in", "deadline", "for", "owner"],
            {
                self.missed.iter().map(|missed| {
                    vec![
                        format!("{}/{}", missed.app, missed.component),
                        missed.state.clone(),
                        missed.last_checkin_at.map_or("never".to_owned(), |at| stamp(at, Tz::UTC)),
                        stamp(missed.deadline, Tz::UTC),
                        duration::words(self.at - missed.deadline),
                        missed.owner.clone(),
                    ]
                })
            },
        );
        section(&mut text, "Open alerts", "No alert is open.", &["job", "cause", "since", "for", "owner"], {
            self.open.iter().map(|incident| {
                vec![
                    format!("{}/{}", incident.app, incident.component),
                    incident.cause.clone(),
                    stamp(incident.opened_at, Tz::UTC),
                    duration::words(self.at - incident.opened_at),
                    incident.owner.clone(),
                ]
            })
        });
        section(
            &mut text,
            "Went wrong and recovered",
            "Nothing else went wrong.",
            &["job", "cause", "from", "to", "for", "owner"],
            {
                self.recovered.iter().map(|incident| {
                    let closed_at = incident.closed_at.unwrap_or(self.at);
                    vec![
                        format!("{}/{}", incident.app, incident.component),
                        incident.cause.clone(),
                        stamp(incident.opened_at, Tz::UTC),
                        stamp(closed_at, Tz::UTC),
                        duration::words(closed_at - incident.opened_at),
                        incident.owner.clone(),
                    ]
                })
            },
        );
        text
    }
}

/// Adds a titled table, or what to say when it is empty. Text from outside is put on one line without control characters.
fn section(
    text: &mut String,
    title: &str,
    empty: &str,
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) {
    text.push_str(&format!("\n{title}\n"));
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header.iter().copied());
    for row in rows {
        table.add_row(row.into_iter().map(|cell| cell.replace(char::is_control, " ")));
    }
    if table.is_empty() {
        text.push_str(&format!("  {empty}\n"));
        return;
    }
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
}
