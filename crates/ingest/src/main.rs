//! The guests' door as a process of its own.

use std::process::ExitCode;

use innkeeper_node::Role;
use innkeeper_node::cli::{Listen, Options, RoleOptions, run_role};
use structopt::StructOpt;

/// Takes check-ins and reservations over HTTP and writes them to the database.
#[derive(Debug, StructOpt)]
#[structopt(name = "ingest")]
struct Command {
    #[structopt(flatten)]
    options: Options,
    #[structopt(flatten)]
    listen: Listen,
}

impl RoleOptions for Command {
    fn options(&self) -> &Options {
        &self.options
    }

    fn listen(&self) -> Option<&str> {
        self.listen.listen.as_deref()
    }
}

fn main() -> ExitCode {
    run_role(Role::Ingest, |_: &Command, config, shutdown| innkeeper_ingest::run(&config, &shutdown))
}
