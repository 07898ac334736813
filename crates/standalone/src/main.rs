//! Innkeeper on one machine: everything in one command.

use std::process::ExitCode;

use innkeeper_node::Role;
use innkeeper_node::cli::{Command, Listen, Options, RoleOptions, run_role};
use innkeeper_sweeper::summary::{self, SummaryRequest};
use structopt::StructOpt;

/// Watches jobs that are supposed to happen, and tells people when one does not
#[derive(StructOpt)]
#[structopt(name = "innkeeper")]
struct Arguments {
    #[structopt(flatten)]
    options: Options,
    #[structopt(flatten)]
    listen: Listen,
    /// What to do instead of running
    #[structopt(subcommand)]
    task: Option<Task>,
}

#[derive(StructOpt)]
enum Task {
    /// Print what is down now and what went wrong in the last seven days, and end
    Summary(SummaryRequest),
    #[structopt(flatten)]
    Common(Command),
}

impl RoleOptions for Arguments {
    fn options(&self) -> &Options {
        &self.options
    }

    fn command(&self) -> Option<&Command> {
        match &self.task {
            Some(Task::Common(command)) => Some(command),
            Some(Task::Summary(_)) | None => None,
        }
    }

    fn is_service(&self) -> bool {
        self.task.is_none()
    }

    fn listen(&self) -> Option<&str> {
        self.listen.listen.as_deref()
    }
}

fn main() -> ExitCode {
    run_role(Role::Standalone, |arguments: &Arguments, config, shutdown| match &arguments.task {
        Some(Task::Summary(wanted)) => summary::run(&config, *wanted, &shutdown),
        Some(Task::Common(_)) | None => innkeeper_standalone::run(&config, &shutdown),
    })
}
