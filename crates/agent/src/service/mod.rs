//! `probe`: runs the configured probes on their schedules. Each probe reports to its own reservation.
//!
//! `plan.rs` reads the configuration, `round.rs` runs the probes that are due, `teller.rs` delivers the reports to
//! the server, and `ledger.rs` remembers which reservations this agent made, so that it removes no others.

mod ledger;
mod once;
mod plan;
mod round;
mod settle;
mod teller;
mod terms;

use std::io::Write as _;

use structopt::StructOpt;

use crate::config::Overrides;
use crate::probe::once::Occasion;

/// Exit status if the configuration is invalid, or if a probe fails under `--try`.
const WRONG: u8 = 1;

// See `exec::options::Options`.
#[allow(missing_docs)]
#[derive(Debug, StructOpt)]
pub struct Options {
    /// Run the probes that belong to this run of a crontab, and exit: minute, hour, day, noon
    #[structopt(long, value_name = "WHEN")]
    once: Option<String>,

    /// Run every probe once, print the results, and report nothing; exits with 1 if a probe fails
    #[structopt(long = "try", conflicts_with = "once")]
    is_try: bool,
}

/// Runs the subcommand and returns the exit status of the program.
///
/// # Errors
/// Which option is invalid, and why.
pub fn run(options: &Options, overrides: &Overrides) -> Result<u8, String> {
    let occasion = options.once.as_deref().map(Occasion::parse).transpose();
    let occasion = occasion.map_err(|what| format!("--once: {what}"))?;
    Ok(match (options.is_try, occasion) {
        (true, _) => once::try_all(overrides),
        (_, Some(occasion)) => once::run(overrides, occasion),
        (false, None) => round::serve(overrides),
    })
}

/// Writes a line to standard error, which is the service's log.
fn say(what: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "innkeeper-agent: {what}");
}
