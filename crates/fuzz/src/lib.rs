//! What strangers can send, thrown at the functions that read it: one target for each kind.
//!
//! A target takes bytes and panics where a promise does not hold. `corpus/` has inputs of each interesting form, a
//! directory for each target, which `tests/corpora.rs` replays; `libfuzzer/`, a workspace of its own, is the programs that
//! look for more (`scripts/fuzz`).
//!
//! Where to start: [`TARGETS`].

mod messages;
mod schedules;

/// A target.
pub type Target = fn(&[u8]);

/// All of them, by the names of their corpora and programs.
pub const TARGETS: [(&str, Target); 8] = [
    ("pings", pings),
    ("bodies", bodies),
    ("cron", schedules::cron),
    ("calendar", schedules::calendar),
    ("durations", schedules::durations),
    ("config", config),
    ("cursors", cursors),
    ("templates", messages::templates),
];

/// Runs the target `name`.
///
/// # Panics
/// Where a promise does not hold, and where there is no such target.
pub fn run(name: &str, data: &[u8]) {
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => target(data),
        None => panic!("{name} is no target"),
    }
}

/// A ping: its address in the first line, what its job wrote in the rest.
fn pings(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (address, log) = data.split_at(end);
    innkeeper_ingest::fuzz::ping(address, log.get(1..).unwrap_or_default());
}

/// A body or a query: taken for each that ingest and the API read.
fn bodies(data: &[u8]) {
    innkeeper_ingest::fuzz::body(data);
    innkeeper_web::fuzz::document(data);
    if let Ok(text) = std::str::from_utf8(data) {
        innkeeper_ingest::fuzz::query(text);
    }
}

/// A configuration, read by each role.
fn config(data: &[u8]) {
    use innkeeper_node::Role::{Ingest, Standalone, Sweeper, Web};
    let Ok(text) = std::str::from_utf8(data) else { return };
    for role in [Standalone, Ingest, Sweeper, Web] {
        match innkeeper_node::Config::from_toml(role, text) {
            Ok(config) => drop(config.ways_out()),
            Err(problems) => assert!(!problems.to_string().is_empty()),
        }
    }
}

/// A place in a list.
fn cursors(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        innkeeper_web::fuzz::cursor(text);
    }
}
