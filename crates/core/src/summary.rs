//! The summary: what is missed now, and what went wrong and recovered in the last days.

use chrono::TimeDelta;
use comfy_table::{ContentArrangement, Table};
use serde::{Deserialize, Serialize};

use crate::{Time, duration};

/// How far back the summary looks.
pub const SPAN: TimeDelta = TimeDelta::days(7);
/// The width that reads well in a terminal and in a mail, in characters.
const WIDTH: u16 = 100;
/// The most rows of one table in the text.
pub const MOST_ROWS: usize = 200;
/// A table with a line below its header and no others (the places of a comfy-table preset).
const LINES: &str = "     ──            ";

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
    /// Reservations that cannot be read, so that nothing is known of them; a sentence each, and how many more there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
    /// How much is left out.
    #[serde(skip)]
    pub cut: Cut,
}

/// How many entries stand in none of the lists of a summary: they would come at their ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    /// Of what is missed.
    pub missed: usize,
    /// Of what is open.
    pub open: usize,
    /// Of what recovered.
    pub recovered: usize,
}

impl Summary {
    /// One line: "2 jobs missed now; 3 alerts open, 5 recovered in the last 7 days".
    pub fn headline(&self) -> String {
        format!(
            "{} missed now; {} open, {} recovered in the last {}",
            duration::counted((self.missed.len() + self.cut.missed) as i64, "job"),
            duration::counted((self.open.len() + self.cut.open) as i64, "alert"),
            self.recovered.len() + self.cut.recovered,
            duration::words(SPAN),
        )
    }

    /// The summary as text: a terminal and a mail show it alike. Times are UTC. Long lists are cut short; the JSON is whole.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{}: summary of {} UTC\n{}, of {}.\n",
            self.instance,
            minute(self.at),
            self.headline(),
            duration::counted(self.reservations, "reservation")
        );
        if !self.unreadable.is_empty() {
            text.push_str("\nNot in this summary\n");
            for line in &self.unreadable {
                text.push_str(&format!("  {}\n", line.replace(char::is_control, " ")));
            }
        }
        let missed = self.missed.iter().map(|missed| {
            [
                format!("{}/{}", missed.app, missed.component),
                missed.state.clone(),
                missed.last_checkin_at.map_or("never".to_owned(), minute),
                minute(missed.deadline),
                lasted(self.at - missed.deadline),
                missed.owner.clone(),
            ]
        });
        let header = ["job", "state", "last check-in", "deadline", "for", "owner"];
        section(&mut text, "Missed now", "Nothing is missed.", header, missed, self.cut.missed);
        let open = self.open.iter().map(|incident| {
            [
                format!("{}/{}", incident.app, incident.component),
                incident.cause.clone(),
                minute(incident.opened_at),
                lasted(self.at - incident.opened_at),
                incident.owner.clone(),
            ]
        });
        section(
            &mut text,
            "Open alerts",
            "No alert is open.",
            ["job", "cause", "since", "for", "owner"],
            open,
            self.cut.open,
        );
        let recovered = self.recovered.iter().map(|incident| {
            let closed_at = incident.closed_at.unwrap_or(self.at);
            [
                format!("{}/{}", incident.app, incident.component),
                incident.cause.clone(),
                minute(incident.opened_at),
                minute(closed_at),
                lasted(closed_at - incident.opened_at),
                incident.owner.clone(),
            ]
        });
        let header = ["job", "cause", "from", "to", "for", "owner"];
        let title = "Went wrong and recovered";
        section(&mut text, title, "Nothing else went wrong.", header, recovered, self.cut.recovered);
        text
    }
}

/// In words, to the second.
fn lasted(span: TimeDelta) -> String {
    duration::words(TimeDelta::seconds(span.num_seconds()))
}

/// "2026-11-20 02:05"
fn minute(at: Time) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

/// Adds a titled table, or what to say when it is empty; `cut` rows more would follow. Text from outside is put on one line without control characters.
fn section<const N: usize>(
    text: &mut String,
    title: &str,
    empty: &str,
    header: [&str; N],
    rows: impl ExactSizeIterator<Item = [String; N]>,
    cut: usize,
) {
    let count = rows.len() + cut;
    text.push_str(&format!("\n{title}\n"));
    if count == 0 {
        text.push_str(&format!("  {empty}\n"));
        return;
    }
    let mut table = Table::new();
    table
        .load_preset(LINES)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header);
    for row in rows.take(MOST_ROWS) {
        table.add_row(row.map(|cell| cell.replace(char::is_control, " ")));
    }
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if count > MOST_ROWS {
        text.push_str(&format!("  … and {} more\n", count - MOST_ROWS));
    }
}
