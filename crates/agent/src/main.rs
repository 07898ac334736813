//! `innkeeper-agent`: beside the jobs.

use innkeeper_agent::cli;

fn main() {
    // Not a return: threads that still wait for a name to be looked up must not hold up the end.
    std::process::exit(i32::from(cli::run(std::env::args_os())));
}
