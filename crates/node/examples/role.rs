//! A role that does nothing but show what every role does; the tests of the command line run it as a process.

use std::process::ExitCode;
use std::time::Duration;

use innkeeper_node::Role;
use innkeeper_node::cli::{Command, Listen, Options, RoleOptions, run_role};
use structopt::StructOpt;

#[derive(StructOpt)]
#[structopt(name = "innkeeper-example", about = "A role for the tests")]
struct Example {
    #[structopt(flatten)]
    options: Options,
    #[structopt(flatten)]
    listen: Listen,
    /// What to do: wait, fail, hang
    #[structopt(long, default_value = "wait")]
    what: String,
    /// What to do instead
    #[structopt(subcommand)]
    command: Option<Command>,
}

impl RoleOptions for Example {
    fn options(&self) -> &Options {
        &self.options
    }

    fn command(&self) -> Option<&Command> {
        self.command.as_ref()
    }

    fn listen(&self) -> Option<&str> {
        self.listen.listen.as_deref()
    }
}

fn main() -> ExitCode {
    run_role(Role::Standalone, |example: &Example, config, shutdown| {
        if example.what == "fail" {
            let cause = anyhow::anyhow!("the disk is full\nreally");
            return Err(cause.context(format!("cannot listen on {}", config.ingest.listen)));
        }
        log::info!("ready, with a \x1b[31mguest\n2026-01-01T00:00:00.000Z ERROR forged");
        shutdown.wait();
        if example.what == "hang" {
            std::thread::sleep(Duration::from_secs(60));
        }
        Ok(())
    })
}
