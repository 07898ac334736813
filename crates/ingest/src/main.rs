//! The ingest service as a separate process.

use std::process::ExitCode;

use innkeeper_node::Role;
use innkeeper_node::cli::run_listening;

fn main() -> ExitCode {
    let about = "Takes check-ins and reservations over HTTP and writes them to the database";
    run_listening(Role::Ingest, "ingest", about, innkeeper_ingest::run)
}
