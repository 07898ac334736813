//! The summary: the jobs that are down now, and those that failed and recovered in the last days. Each job is listed
//! once.

mod drafting;

use chrono::TimeDelta;
use chrono_tz::Tz;
use comfy_table::{ColumnConstraint, ContentArrangement, Table};
use serde::{Deserialize, Serialize};

use crate::alert::Cause;
use crate::{Time, duration};

pub use drafting::Drafting;

/// The span of time that the summary covers.
pub const SPAN: TimeDelta = TimeDelta::days(7);
/// The most jobs of one list.
pub const MOST_ROWS: usize = 200;
/// The width, in columns, of text that is not for a terminal.
pub const WIDTH: u16 = 100;
/// The fewest columns in which a table is readable.
pub const NARROWEST: u16 = 72;
/// A comfy-table preset: a line below the header and no other lines.
const LINES: &str = "     ──            ";

/// One incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The number of its reservation, which may have been checked out since.
    pub reservation_id: i64,
    /// The first half of its reservation's identity.
    pub app: String,
    /// The second half of its reservation's identity.
    pub component: String,
    /// Whose job it is.
    pub owner: String,
    /// The kind of trouble.
    pub cause: Cause,
    /// The reason as a sentence.
    pub reason: String,
    /// When it opened.
    pub opened_at: Time,
    /// When it closed; `None` while it is open.
    pub closed_at: Option<Time>,
    /// Whether it is a failure that was over when it was reported: no alert opened and nobody was notified.
    #[serde(default)]
    pub reported_late: bool,
}

/// A reservation that is missed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// Its number.
    pub reservation_id: i64,
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

/// A job in the summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryJob {
    /// The number of its reservation.
    pub id: i64,
    /// The first half of its identity.
    pub app: String,
    /// The second half of its identity.
    pub component: String,
    /// Its owner.
    pub owner: String,
}

/// A job that is down now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownJob {
    /// Which.
    pub job: SummaryJob,
    /// What is wrong, in words: "failed", "missed (snoozed)".
    pub what: String,
    /// Since when.
    pub since: Time,
    /// How many times it failed and recovered before that, within the span.
    pub before: i64,
}

/// A job that failed within the span and has recovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// Which.
    pub job: SummaryJob,
    /// What was wrong, in words: "failed", or "failed or missed" if it was not the same each time.
    pub what: String,
    /// How many times.
    pub times: i64,
    /// When the last time began.
    pub opened_at: Time,
    /// When the last time ended.
    pub closed_at: Time,
    /// Its total time down, in milliseconds.
    pub down_ms: i64,
}

/// The summary, ready to be shown or sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The instance that sends it.
    pub instance: String,
    /// The address of its pages.
    pub public_url: String,
    /// The time zone of its times.
    pub zone: String,
    /// When it was drawn up.
    pub at: Time,
    /// How many reservations there are.
    pub reservations: i64,
    /// What is down now, longest first; [`MOST_ROWS`] at most.
    pub down: Vec<DownJob>,
    /// How many more are down.
    pub more_down: usize,
    /// What went wrong and recovered, the latest first; [`MOST_ROWS`] at most.
    pub recovered: Vec<Recovered>,
    /// How many more recovered.
    pub more_recovered: usize,
    /// A sentence for each reservation that cannot be read, whose state is therefore unknown. The
    /// last sentence may give the number of further ones.
    pub unreadable: Vec<String>,
}

impl SummaryJob {
    /// "shop/backup"
    pub fn name(&self) -> String {
        format!("{}/{}", self.app, self.component)
    }
}

impl Summary {
    /// One line: "2 jobs down now; 5 went wrong and recovered in the last 7 days".
    pub fn headline(&self) -> String {
        format!(
            "{} down now; {} went wrong and recovered in the last {}",
            duration::counted((self.down.len() + self.more_down) as i64, "job"),
            self.recovered.len() + self.more_recovered,
            duration::words(SPAN),
        )
    }

    /// The address of a job's page.
    pub fn url(&self, job: &SummaryJob) -> String {
        format!("{}/status/{}", self.public_url.trim_end_matches('/'), job.id)
    }

    /// An instant in the summary's zone: "Wed 25 Nov 02:05".
    pub fn moment(&self, at: Time) -> String {
        at.with_timezone(&self.tz()).format("%a %-d %b %H:%M").to_string()
    }

    /// When it was drawn up: "Mon 30 Nov 2026 09:00 (Europe/Berlin)".
    pub fn drawn_up(&self) -> String {
        let zone = self.tz();
        format!("{} ({zone})", self.at.with_timezone(&zone).format("%a %-d %b %Y %H:%M"))
    }

    fn tz(&self) -> Tz {
        self.zone.parse().unwrap_or(Tz::UTC)
    }

    /// How long a job has been down, in words.
    pub fn down_for(&self, down: &DownJob) -> String {
        lasted(self.at - down.since)
    }

    /// The summary as tables for a terminal of `width` columns. Long lists are cut short.
    pub fn tables(&self, width: u16) -> String {
        let mut text = format!(
            "{}: summary of {}\n{}, of {}.\n",
            self.instance,
            self.drawn_up(),
            self.headline(),
            duration::counted(self.reservations, "reservation")
        );
        if !self.down.is_empty() || !self.recovered.is_empty() {
            text.push_str(&format!("The page of a job is {}/status/ and its number.\n", self.public_url));
        }
        if !self.unreadable.is_empty() {
            text.push_str("\nNot in this summary\n");
            for line in &self.unreadable {
                text.push_str(&format!("  {}\n", line.replace(char::is_control, " ")));
            }
        }
        let down = self.down.iter().map(|down| {
            [
                down.job.id.to_string(),
                down.job.name(),
                if down.before > 0 {
                    format!("{} (and {} before)", down.what, down.before)
                } else {
                    down.what.clone()
                },
                self.moment(down.since),
                brief(self.at - down.since),
                down.job.owner.clone(),
            ]
        });
        let header = ["no.", "job", "what", "since", "for", "owner"];
        section(&mut text, "Down now", "Nothing is down.", header, down, self.more_down, width);
        let recovered = self.recovered.iter().map(|one| {
            [
                one.job.id.to_string(),
                one.job.name(),
                if one.times > 1 { format!("{} {} times", one.what, one.times) } else { one.what.clone() },
                self.moment(one.opened_at),
                brief(TimeDelta::milliseconds(one.down_ms)),
                one.job.owner.clone(),
            ]
        });
        let header = ["no.", "job", "what", "last on", "for", "owner"];
        let title = "Went wrong and recovered";
        section(&mut text, title, "Nothing else went wrong.", header, recovered, self.more_recovered, width);
        text
    }
}

impl Recovered {
    /// Its total time down, in words.
    pub fn down_in_all(&self) -> String {
        lasted(TimeDelta::milliseconds(self.down_ms))
    }

    /// Its latest time down, in words.
    pub fn down_last(&self) -> String {
        lasted(self.closed_at - self.opened_at)
    }
}

/// A duration in words, to the second.
fn lasted(span: TimeDelta) -> String {
    duration::words(TimeDelta::seconds(span.num_seconds()))
}

/// A duration in its short form, with at most two units: "5d4h".
fn brief(span: TimeDelta) -> String {
    let unit = match span.num_seconds() {
        86_400.. => 3600,
        3600.. => 60,
        _ => 1,
    };
    duration::short(TimeDelta::seconds(span.num_seconds() / unit * unit))
}

/// The columns of tables that are never broken: numbers and times.
const WHOLE: [usize; 3] = [0, 3, 4];

/// Adds a table with a title, or `empty` if there are no rows. `more` is the number of rows that
/// are left out. Control characters in cells are replaced by blanks, because texts from outside
/// must stay on one line.
fn section<const N: usize>(
    text: &mut String,
    title: &str,
    empty: &str,
    header: [&str; N],
    rows: impl ExactSizeIterator<Item = [String; N]>,
    more: usize,
    width: u16,
) {
    text.push_str(&format!("\n{title}\n"));
    if rows.len() == 0 {
        text.push_str(&format!("  {empty}\n"));
        return;
    }
    let mut table = Table::new();
    table
        .load_preset(LINES)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| cell.replace(char::is_control, " ")));
    }
    for column in WHOLE {
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if more > 0 {
        text.push_str(&format!("  … and {more} more\n"));
    }
}
