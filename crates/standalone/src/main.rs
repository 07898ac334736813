//! Innkeeper on one machine: everything in one command.

use std::process::ExitCode;

use innkeeper_node::Role;
use innkeeper_node::cli::run_listening;

fn main() -> ExitCode {
    let about = "Watches jobs that are supposed to happen, and tells people when one does not";
    run_listening(Role::Standalone, "innkeeper", about, innkeeper_standalone::run)
}
