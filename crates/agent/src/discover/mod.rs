//! Finds scheduled jobs in crontabs, anacron's table and systemd timers, and puts the agent in front of them.
//!
//! Input that cannot be read or understood does not end the search. It is listed with the reason.
//!
//! Where to start: [`find`] returns [`Inventory`], which [`table()`] formats for people and `serde` for programs. A
//! [`plan::DiscoverPlan`] holds the changes and shows them as a diff; [`apply`] makes them and [`undo`] reverts them.
//! [`Inventory::reservations`] are the reservations that the server needs.
//!
//! The rules of cron: [`crontab`] parses lines, [`fields`] their times, and [`command`] separates the command from
//! its input. [`wrap`] puts the agent in front of a command and removes it again byte for byte.
//!
//! ```no_run
//! use std::path::Path;
//! use innkeeper_agent::discover::plan::{DiscoverPlan, PlanOptions};
//! use innkeeper_agent::discover::{SearchOptions, apply, find, record::DiscoverRecord, table};
//!
//! # fn main() -> Result<(), String> {
//! let directory = Path::new("/var/lib/innkeeper-agent/discover"); // private, of the agent's state
//! let mut options = SearchOptions::of_this_machine(chrono::Utc::now());
//! options.names = DiscoverRecord::read(directory)?.names;
//! let found = find(Path::new("/"), &options);
//! let agent = Path::new("/usr/bin/innkeeper-agent");
//! let plan = DiscoverPlan::new(&found, PlanOptions { agent, schedule_flags: false, only: &[] });
//! println!("{}{}", table(&found), plan.diff());
//! for terms in found.reservations(&plan) {
//!     println!("{}", terms.body()); // for the server, before anything reports
//! }
//! apply::apply(&plan, &found, directory, &options)?;
//! # Ok(())
//! # }
//! ```

pub mod anacron;
pub mod apply;
pub mod command;
pub mod crontab;
mod drop_in;
mod entries;
mod environment;
pub mod fields;
mod files;
pub mod machine;
pub mod naming;
pub mod plan;
mod reach;
pub mod record;
mod scripts;
pub mod source;
mod table;
mod taken;
pub mod timers;
mod times;
pub mod undo;
mod units;
pub mod wrap;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use innkeeper_core::duration;
use innkeeper_core::schedule::Schedule;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

pub use self::command::WatchedBy;
pub use self::machine::{Cron, SearchOptions};
pub use self::source::SearchProblem;
pub use self::table::table;

use self::source::Source;
use self::wrap::Percent;

/// The scheduled jobs of a machine.
#[derive(Debug, Serialize)]
pub struct Inventory {
    /// The kind of cron.
    pub cron: Cron,
    /// The time zone of its cron and its timers.
    #[serde(serialize_with = "as_text")]
    pub zone: Tz,
    /// The jobs.
    pub entries: Vec<DiscoveredJob>,
    /// Input that could not be read or understood, and jobs that look scheduled but do not run.
    pub problems: Vec<SearchProblem>,
    #[serde(skip)]
    pub(crate) sources: Vec<Source>,
    #[serde(skip)]
    pub(crate) root: PathBuf,
}

/// Where a job is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// A line of a crontab.
    Crontab,
    /// A line of anacron's table.
    Anacron,
    /// A script in `/etc/cron.daily` or a similar directory.
    Script,
    /// A systemd timer.
    Timer,
}

/// A scheduled job.
#[derive(Debug, Serialize)]
pub struct DiscoveredJob {
    /// Where the job is scheduled.
    pub kind: SourceKind,
    /// The command, without the agent in front of it.
    pub command: String,
    /// The user that runs the job.
    pub user: String,
    /// The file, or the user whose crontab it is.
    pub place: String,
    /// Line number, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The app of its reservation.
    pub app: String,
    /// The component of its reservation.
    pub component: String,
    /// The schedule; none if it cannot be expressed.
    #[serde(serialize_with = "as_notation")]
    pub schedule: Option<Schedule>,
    /// The grace.
    #[serde(serialize_with = "as_span")]
    pub grace: TimeDelta,
    /// The next run.
    pub next: Option<DateTime<Utc>>,
    /// What monitors the job already.
    pub watched: WatchedBy,
    /// Notes for people.
    pub notes: Vec<String>,
    /// Why the agent cannot be put in front of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    #[serde(skip)]
    pub(crate) origin: Origin,
}

/// What must be changed to put the agent in front of the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command in a table.
    Line {
        /// Index of the table among the sources.
        source: usize,
        /// Byte range of the command.
        at: Range<usize>,
        /// Number of leading blanks that belong to the command.
        before: usize,
        /// The shell that runs the command.
        shell: String,
        /// The meaning of `%`.
        percent: Percent,
    },
    /// A service, which gets a drop-in.
    Service(String),
    /// The job cannot be changed.
    Nothing,
}

/// The fields of an entry's reservation.
#[derive(Debug, Clone, PartialEq)]
pub struct ReservationTerms {
    /// The app.
    pub app: String,
    /// The component.
    pub component: String,
    /// The schedule, including its time zone.
    pub schedule: Schedule,
    /// The grace.
    pub grace: TimeDelta,
}

impl ReservationTerms {
    /// The JSON with which the server makes or changes the reservation.
    pub fn body(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("app".to_owned(), json!(self.app));
        fields.insert("component".to_owned(), json!(self.component));
        match self.schedule.period() {
            Some(period) => {
                let seconds = period.num_seconds();
                let units = [(86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")];
                let fits = |(length, _): &(i64, &str)| seconds % length == 0;
                let (length, unit) = units.into_iter().find(fits).unwrap_or((1, "seconds"));
                fields.insert("frequency".to_owned(), json!(seconds / length));
                fields.insert("time_units".to_owned(), json!(unit));
            }
            None => {
                let texts = self.schedule.parts(None).texts();
                fields.extend(texts.map(|(field, text)| (field.to_owned(), json!(text))));
            }
        }
        fields.insert("grace".to_owned(), json!(duration::short(self.grace)));
        Value::Object(fields)
    }

    /// The same fields as options of `exec`.
    pub fn flags(&self) -> Vec<String> {
        let option =
            |field: &str| if field == "time_zone" { "--tz".to_owned() } else { format!("--{field}") };
        let mut flags: Vec<String> = match self.schedule.period() {
            Some(period) => vec!["--every".to_owned(), duration::short(period)],
            None => {
                let texts = self.schedule.parts(None).texts();
                texts.flat_map(|(field, text)| [option(field), text.to_owned()]).collect()
            }
        };
        flags.extend(["--grace".to_owned(), duration::short(self.grace)]);
        flags
    }
}

impl DiscoveredJob {
    /// The fields of its reservation; none if its schedule cannot be expressed.
    pub fn reservation(&self) -> Option<ReservationTerms> {
        Some(ReservationTerms {
            app: self.app.clone(),
            component: self.component.clone(),
            schedule: self.schedule.clone()?,
            grace: self.grace,
        })
    }

    /// An identity that stays the same if the job moves or gets other times.
    pub(crate) fn identity(&self) -> String {
        format!("{:?}\0{}\0{}", self.kind, self.user, self.command)
    }

    /// The place of the job, for people.
    pub fn place(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.place),
            None => self.place.clone(),
        }
    }
}

impl Inventory {
    /// The reservations of all jobs that report because of `discover`: those that were changed before, and those in
    /// `planned`.
    pub fn reservations(&self, planned: &plan::DiscoverPlan) -> Vec<ReservationTerms> {
        let reports = |(index, entry): &(usize, &DiscoveredJob)| {
            entry.watched == WatchedBy::Discover || planned.entries().any(|planned| planned == *index)
        };
        let all =
            self.entries.iter().enumerate().filter(reports).filter_map(|(_, entry)| entry.reservation());
        // Copied lines report to one reservation, whose schedule comes from the first of them.
        let mut known = BTreeSet::new();
        all.filter(|terms| known.insert((terms.app.clone(), terms.component.clone()))).collect()
    }
}

/// Finds all scheduled jobs of the machine whose files lie below `root`: `/`, or a directory that represents it.
pub fn find(root: &Path, options: &SearchOptions) -> Inventory {
    entries::find(root, options)
}

fn as_text<S: Serializer>(value: &Tz, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.name())
}

fn as_notation<S: Serializer>(schedule: &Option<Schedule>, serializer: S) -> Result<S::Ok, S::Error> {
    schedule.as_ref().map(Schedule::notation).serialize(serializer)
}

fn as_span<S: Serializer>(span: &TimeDelta, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&duration::short(*span))
}
