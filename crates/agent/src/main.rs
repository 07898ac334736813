//! `innkeeper-agent`: beside the jobs.

use innkeeper_agent::cli;

fn main() {
    // Exits instead of returning, because threads that still resolve a name must not delay the end.
    std::process::exit(i32::from(cli::run(std::env::args_os())));
}
