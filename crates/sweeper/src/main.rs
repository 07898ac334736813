//! The night watch as a process of its own, and the weekly summary.

use std::process::ExitCode;

use innkeeper_node::Role;
use innkeeper_node::cli::{Options, RoleOptions, run_role};
use innkeeper_sweeper::summary::{self, Wanted};
use structopt::StructOpt;

/// Finds overdue reservations and sends alerts; or prints the weekly summary.
#[derive(Debug, StructOpt)]
#[structopt(name = "sweeper")]
struct Command {
    #[structopt(flatten)]
    options: Options,

    /// Print what is missed now and what went wrong in the last seven days, and end
    #[structopt(long)]
    summary: bool,

    /// With --summary: also send it through the alerters that have `summary = true`
    #[structopt(long, requires = "summary")]
    verbose: bool,

    /// With --summary: print JSON
    #[structopt(long, requires = "summary")]
    json: bool,
}

impl RoleOptions for Command {
    fn options(&self) -> &Options {
        &self.options
    }
}

fn main() -> ExitCode {
    run_role(Role::Sweeper, |command: &Command, config, shutdown| {
        if command.summary {
            let wanted = Wanted { send: command.verbose, json: command.json };
            return summary::run(&config, wanted, &shutdown);
        }
        innkeeper_sweeper::run(&config, &shutdown)
    })
}
