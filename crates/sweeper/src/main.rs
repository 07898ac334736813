//! The sweeper as a process of its own, and the weekly summary.

use std::process::ExitCode;

use innkeeper_node::Role;
use innkeeper_node::cli::{Command, Options, RoleOptions, run_role};
use innkeeper_sweeper::summary::{self, SummaryRequest};
use structopt::StructOpt;

/// Finds overdue reservations and sends alerts; or prints the weekly summary
#[derive(StructOpt)]
#[structopt(name = "sweeper")]
struct Arguments {
    #[structopt(flatten)]
    options: Options,

    /// Print what is down now and what went wrong in the last seven days, and end
    #[structopt(long)]
    summary: bool,

    /// With --summary: also send it through the alerters that have `summary = true`
    #[structopt(long, requires = "summary")]
    verbose: bool,

    /// With --summary: print JSON
    #[structopt(long, requires = "summary")]
    json: bool,

    /// What to do instead of running
    #[structopt(subcommand)]
    command: Option<Command>,
}

impl RoleOptions for Arguments {
    fn options(&self) -> &Options {
        &self.options
    }

    fn command(&self) -> Option<&Command> {
        self.command.as_ref()
    }

    fn is_service(&self) -> bool {
        self.command.is_none() && !self.summary
    }
}

fn main() -> ExitCode {
    run_role(Role::Sweeper, |arguments: &Arguments, config, shutdown| match arguments.summary {
        true => {
            let wanted = SummaryRequest { send: arguments.verbose, json: arguments.json };
            summary::run(&config, wanted, &shutdown)
        }
        false => innkeeper_sweeper::run(&config, &shutdown),
    })
}
