//! Pages and API as a process of its own.

use std::process::ExitCode;

use innkeeper_node::Role;
use innkeeper_node::cli::run_listening;

fn main() -> ExitCode {
    let about = "Answers people and programs that ask about reservations";
    run_listening(Role::Web, "web", about, innkeeper_web::run)
}
