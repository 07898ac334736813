//! The front desk as a process of its own.

use std::process::ExitCode;

use innkeeper_node::Role;
use innkeeper_node::cli::{Listen, Options, RoleOptions, run_role};
use structopt::StructOpt;

/// Answers people and programs that ask about reservations.
#[derive(Debug, StructOpt)]
#[structopt(name = "web")]
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
    run_role(Role::Web, |_: &Command, config, shutdown| innkeeper_web::run(&config, &shutdown))
}
