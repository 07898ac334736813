//! Finds what is scheduled here: crontabs, anacron and systemd timers; and puts the agent before it.
//!
//! Nothing that cannot be read or understood ends the search: it is listed with the reason.
//!
//! Where to start: [`find`] gives [`Found`], which [`table()`] shows to people and `serde` to programs. A
//! [`plan::Plan`] is what would be changed, as a diff; [`apply`] does it and [`undo`] takes it back.
//! [`Found::reservations`] are the terms by which the server is to expect the jobs.
//!
//! How cron's own rules are kept: [`crontab`] reads lines, [`fields`] their times, [`command`] where the
//! command ends and its input begins; [`wrap`] puts the agent before it, and takes it away again byte for
//! byte.
//!
//! ```no_run
//! use std::path::Path;
//! use innkeeper_agent::discover::plan::{Plan, PlanOptions};
//! use innkeeper_agent::discover::{SearchOptions, apply, find, record::Record, table};
//!
//! # fn main() -> Result<(), String> {
//! let directory = Path::new("/var/lib/innkeeper-agent/discover"); // private, of the agent's state
//! let mut options = SearchOptions::of_this_machine(chrono::Utc::now());
//! options.names = Record::read(directory)?.names;
//! let found = find(Path::new("/"), &options);
//! let agent = Path::new("/usr/bin/innkeeper-agent");
//! let plan = Plan::new(&found, PlanOptions { agent, schedule_flags: false, only: &[] });
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

/// What is scheduled on a machine.
#[derive(Debug, Serialize)]
pub struct Inventory {
    /// Which cron it has.
    pub cron: Cron,
    /// The zone in which its cron and its timers think.
    #[serde(serialize_with = "as_text")]
    pub zone: Tz,
    /// What runs.
    pub entries: Vec<DiscoveredJob>,
    /// What could not be read or understood, and what does not run though it seems to.
    pub problems: Vec<SearchProblem>,
    #[serde(skip)]
    pub(crate) sources: Vec<Source>,
    #[serde(skip)]
    pub(crate) root: PathBuf,
}

/// Where something is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// A line of a crontab.
    Crontab,
    /// A line of anacron's table.
    Anacron,
    /// A script in `/etc/cron.daily` and its like.
    Script,
    /// A timer of systemd.
    Timer,
}

/// Something that is scheduled.
#[derive(Debug, Serialize)]
pub struct DiscoveredJob {
    /// Where it is scheduled.
    pub kind: SourceKind,
    /// What runs, without the agent before it.
    pub command: String,
    /// As whom.
    pub user: String,
    /// The file, or whose crontab.
    pub place: String,
    /// The line, from 1 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Its reservation.
    pub app: String,
    /// Its reservation.
    pub component: String,
    /// When it runs, if that can be said.
    #[serde(serialize_with = "as_notation")]
    pub schedule: Option<Schedule>,
    /// How late its success may be.
    #[serde(serialize_with = "as_span")]
    pub grace: TimeDelta,
    /// The next run.
    pub next: Option<DateTime<Utc>>,
    /// Who watches it.
    pub watched: WatchedBy,
    /// What is to be known about it.
    pub notes: Vec<String>,
    /// Why the agent is not put before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    #[serde(skip)]
    pub(crate) origin: Origin,
}

/// What is changed when the agent is put before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command in a table.
    Line {
        /// Its index among the sources.
        source: usize,
        /// The command's bytes.
        at: Range<usize>,
        /// Bytes of the command before that.
        before: usize,
        /// The shell that runs it.
        shell: String,
        /// What `%` means.
        percent: Percent,
    },
    /// A service, by a drop-in.
    Service(String),
    /// Nothing can be.
    Nothing,
}

/// The terms of an entry's reservation.
#[derive(Debug, Clone, PartialEq)]
pub struct ReservationTerms {
    /// The first of the names.
    pub app: String,
    /// The second.
    pub component: String,
    /// When it is expected. A zone is a part of it.
    pub schedule: Schedule,
    /// How late its success may be.
    pub grace: TimeDelta,
}

impl ReservationTerms {
    /// The body by which the server makes it or changes it.
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

    /// The same as options of `exec`.
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
    /// The terms of its reservation; none where it has no schedule that can be said.
    pub fn reservation(&self) -> Option<ReservationTerms> {
        Some(ReservationTerms {
            app: self.app.clone(),
            component: self.component.clone(),
            schedule: self.schedule.clone()?,
            grace: self.grace,
        })
    }

    /// What stays of it when it moves or runs at other times.
    pub(crate) fn identity(&self) -> String {
        format!("{:?}\0{}\0{}", self.kind, self.user, self.command)
    }

    /// Its place, for people.
    pub fn place(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.place),
            None => self.place.clone(),
        }
    }
}

impl Inventory {
    /// The terms of all that reports because of discover's changes: those that were made before, and those of
    /// `planned`.
    pub fn reservations(&self, planned: &plan::DiscoverPlan) -> Vec<ReservationTerms> {
        let reports = |(index, entry): &(usize, &DiscoveredJob)| {
            entry.watched == WatchedBy::Discover || planned.entries().any(|planned| planned == *index)
        };
        let all =
            self.entries.iter().enumerate().filter(reports).filter_map(|(_, entry)| entry.reservation());
        // Lines that were copied report to one: the first says when.
        let mut known = BTreeSet::new();
        all.filter(|terms| known.insert((terms.app.clone(), terms.component.clone()))).collect()
    }
}

/// Everything that is scheduled on the machine whose files lie under `root`: `/`, or a directory that stands
/// for it.
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
