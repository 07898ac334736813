//! Commands for people and scripts: check in, make, change and look at reservations.
//!
//! Each asks the server once, waits half a minute at most, writes a table for people or JSON for programs, and ends with
//! a status that a script can use ([`exit`]).

mod checkin;
mod declared;
mod discover;
mod listing;
mod one;
mod reserve;
pub(crate) mod table;

use std::io::Write as _;
use std::time::Duration;

use serde_json::Value;
use structopt::StructOpt;
use ureq::http::Method;

use crate::api::{Api, ApiTrouble, Call};
use crate::config::{self, Config, Loaded, Overrides};
use crate::report::Names;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a command ends with, beside 0 for done.
pub mod exit {
    /// The job is down, or the set is other than what it is compared with.
    pub const NO: u8 = 1;
    /// What was given cannot be taken, or the answer cannot be read.
    pub const WRONG: u8 = 2;
    /// There is no such reservation.
    pub const UNKNOWN: u8 = 4;
    /// The token may not do it, or there is none.
    pub const FORBIDDEN: u8 = 5;
    /// The server cannot be asked just now; the same will do later.
    pub const LATER: u8 = 75;
}

// The help of each is its doc comment.
#[allow(missing_docs)]
#[derive(Debug, StructOpt)]
pub enum Command {
    /// Check in for a job
    Checkin(checkin::Options),
    /// Make a reservation, or change what the command line names of it
    Reserve(Box<reserve::Options>),
    /// List reservations
    List(listing::Options),
    /// Show how a reservation stands; ends with 1 while it is down
    Show(one::ShowOptions),
    /// Silence a reservation for some time
    Snooze(one::SnoozeOptions),
    /// End the silence of a reservation
    Resume(one::NameOptions),
    /// Remove a reservation; for a day that can be undone on its page
    Checkout(one::NameOptions),
    /// Apply a file that declares reservations
    Apply(declared::ApplyOptions),
    /// Write the reservations as a file that `apply` takes
    Export(declared::ExportOptions),
    /// Show what is scheduled on this machine, and have it watched
    Discover(discover::Options),
}

/// Why a command did not do what it was to do.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was given is wrong.
    Wrong(String),
    /// There is no reservation of these names.
    Unknown(Names),
    /// The server was not asked, or refused.
    Server(ApiTrouble),
}

impl From<ApiTrouble> for Failure {
    fn from(trouble: ApiTrouble) -> Self {
        Self::Server(trouble)
    }
}

impl From<String> for Failure {
    fn from(problem: String) -> Self {
        Self::Wrong(problem)
    }
}

impl Failure {
    fn status(&self) -> u8 {
        match self {
            Self::Wrong(_) => exit::WRONG,
            Self::Unknown(_) => exit::UNKNOWN,
            Self::Server(trouble) => match trouble {
                ApiTrouble::Unreachable { .. } | ApiTrouble::TimedOut { .. } | ApiTrouble::Busy { .. } => {
                    exit::LATER
                }
                ApiTrouble::Refused { status: 404, .. } => exit::UNKNOWN,
                ApiTrouble::Refused { status: 401 | 403, .. } => exit::FORBIDDEN,
                _ => exit::WRONG,
            },
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wrong(problem) => f.write_str(problem),
            Self::Unknown(names) => write!(f, "there is no reservation {names}"),
            Self::Server(trouble) => trouble.fmt(f),
        }
    }
}

/// What a command works with.
pub(crate) struct Desk {
    api: Api,
    config: Config,
}

/// Runs a command, and gives back what the program ends with.
pub fn run(command: Command, overrides: &Overrides) -> u8 {
    let done = desk(overrides).map_err(Failure::Wrong).and_then(|desk| match command {
        Command::Checkin(options) => checkin::run(&desk, options),
        Command::Reserve(options) => reserve::run(&desk, &options),
        Command::List(options) => listing::run(&desk, options),
        Command::Show(options) => one::show(&desk, options),
        Command::Snooze(options) => one::snooze(&desk, options),
        Command::Resume(options) => one::resume(&desk, options),
        Command::Checkout(options) => one::check_out(&desk, options),
        Command::Apply(options) => declared::apply(&desk, options),
        Command::Export(options) => declared::export(&desk, options),
        Command::Discover(options) => discover::run(&desk, &options, overrides),
    });
    match done {
        Ok(status) => status,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "innkeeper-agent: {failure}");
            failure.status()
        }
    }
}

/// A command is done by a person who can mend the configuration, so nothing of it may be wrong; a file that is out of reach is
/// told where another is used.
fn desk(overrides: &Overrides) -> Result<Desk, String> {
    let Loaded { config, problems, is_only_passed_over, .. } = config::load(overrides);
    for problem in &problems {
        if !is_only_passed_over {
            return Err(problem.to_string());
        }
        let _ = writeln!(std::io::stderr(), "innkeeper-agent: warning: {problem}; it is passed over");
    }
    Ok(Desk { api: Api::new(&config)?, config })
}

impl Desk {
    /// The reservation of these names, as the API shows it.
    fn find(&self, names: &Names) -> Result<Value, Failure> {
        let (app, component) = (names.app.as_str(), names.component.as_str());
        let query = vec![("app", app), ("q", component)];
        let mut found = None;
        self.pages(query, |one| {
            let is_it = one["app"] == app && one["component"] == component;
            found = is_it.then_some(one);
            !is_it
        })?;
        found.ok_or_else(|| Failure::Unknown(names.clone()))
    }

    /// Gives the reservations that fit this query to `take`, one by one, for as long as it wants more.
    fn pages(&self, query: Vec<(&str, &str)>, mut take: impl FnMut(Value) -> bool) -> Result<(), Failure> {
        let mut cursor: Option<String> = None;
        loop {
            let mut query = query.clone();
            query.push(("limit", "200"));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let call = Call { query, ..Call::new(Method::GET, "/api/v1/reservations") };
            let mut page = self.api.call_json(call, PATIENCE)?;
            let Value::Array(listed) = page["reservations"].take() else {
                return Err(Failure::Wrong("the answer has no reservations".to_owned()));
            };
            for one in listed {
                if !take(one) {
                    return Ok(());
                }
            }
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(()),
            }
        }
    }
}

/// Writes to standard output. A reader that went away is no failure.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Writes JSON for programs.
pub(crate) fn say_json(value: &Value) {
    say(&serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()));
}
