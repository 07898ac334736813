//! Innkeeper on one machine: everything in one command.

use std::process::ExitCode;

use innkeeper_node::Role;
use innkeeper_node::cli::{Listen, Options, RoleOptions, run_role};
use structopt::StructOpt;

/// Watches jobs that are supposed to happen, and tells people when one does not.
#[derive(Debug, StructOpt)]
#[structopt(name = "innkeeper")]
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
    run_role(Role::Standalone, |_: &Command, config, shutdown| innkeeper_standalone::run(&config, &shutdown))
}
