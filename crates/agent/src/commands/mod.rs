//! Commands for people and scripts: check in, and make, change or show reservations.
//!
//! Each command asks the server once, with a timeout of half a minute. It prints a table, or JSON for programs, and
//! ends with an exit status that a script can use ([`exit`]).

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
use crate::config::{self, Config, LoadedConfig, Overrides};
use crate::report::Names;

/// Timeout of a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// Exit statuses beside 0 for success.
pub mod exit {
    /// The job is down, or the set of reservations differs from the file.
    pub const NO: u8 = 1;
    /// The arguments or the server's answer are invalid.
    pub const WRONG: u8 = 2;
    /// The reservation does not exist.
    pub const UNKNOWN: u8 = 4;
    /// The token is missing or lacks the permission.
    pub const FORBIDDEN: u8 = 5;
    /// The server cannot be reached now; the same command may succeed later.
    pub const LATER: u8 = 75;
}

// The help of each is its doc comment.
#[allow(missing_docs)]
#[derive(Debug, StructOpt)]
pub enum Command {
    /// Check in for a job
    Checkin(checkin::Options),
    /// Make a reservation, or change the fields that the command line names
    Reserve(Box<reserve::Options>),
    /// List reservations
    List(listing::Options),
    /// Show the state of a reservation; exits with 1 while it is down
    Show(one::ShowOptions),
    /// Snooze a reservation for some time
    Snooze(one::SnoozeOptions),
    /// End the snooze of a reservation
    Resume(one::NameOptions),
    /// Remove a reservation; for a day, this can be undone on its page
    Checkout(one::NameOptions),
    /// Apply a file that declares reservations
    Apply(declared::ApplyOptions),
    /// Write the reservations as a file that `apply` takes
    Export(declared::ExportOptions),
    /// Show which jobs are scheduled on this machine, and have them watched
    Discover(discover::Options),
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments or the configuration are invalid.
    Wrong(String),
    /// The reservation does not exist.
    Unknown(Names),
    /// The call to the server failed.
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

/// The configuration and the client that every command uses.
pub(crate) struct CommandContext {
    api: Api,
    config: Config,
}

/// Runs a command and returns the exit status of the program.
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

/// Loads the configuration. A person runs these commands and can fix the configuration, so any problem is an error. A
/// file that cannot be accessed is only reported if another file is used.
fn desk(overrides: &Overrides) -> Result<CommandContext, String> {
    let LoadedConfig { config, problems, is_only_passed_over, .. } = config::load(overrides);
    for problem in &problems {
        if !is_only_passed_over {
            return Err(problem.to_string());
        }
        let _ = writeln!(std::io::stderr(), "innkeeper-agent: warning: {problem}; it is ignored");
    }
    Ok(CommandContext { api: Api::new(&config)?, config })
}

impl CommandContext {
    /// The reservation with these names, as the API returns it.
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

    /// Passes the reservations that match the query to `take`, one by one, until `take` returns false.
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

/// Prints to standard output. It is not an error if the reader has closed the pipe.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints indented JSON.
pub(crate) fn say_json(value: &Value) {
    say(&serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()));
}
