//! Fuzz targets: they pass random bytes to each function that parses input from strangers.
//!
//! A target takes bytes and panics if a guarantee is violated. `corpus/` contains a directory with interesting inputs
//! for each target; `tests/corpora.rs` replays them. `libfuzzer/`, a workspace of its own, contains the programs that
//! search for more (`scripts/fuzz`).
//!
//! Where to start: [`TARGETS`].

mod messages;
mod schedules;

/// The function of a target.
pub type Target = fn(&[u8]);

/// All targets, by the names of their corpora and programs.
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
/// If a guarantee is violated, or if there is no target with this name.
pub fn run(name: &str, data: &[u8]) {
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => target(data),
        None => panic!("{name} is no target"),
    }
}

/// A ping: the address in the first line, the job's output in the rest.
fn pings(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (address, log) = data.split_at(end);
    innkeeper_ingest::fuzz::ping(address, log.get(1..).unwrap_or_default());
}

/// A body or a query string, passed to every parser of ingest and the API.
fn bodies(data: &[u8]) {
    innkeeper_ingest::fuzz::body(data);
    innkeeper_web::fuzz::document(data);
    if let Ok(text) = std::str::from_utf8(data) {
        innkeeper_ingest::fuzz::query(text);
    }
}

/// A configuration, loaded for each role.
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

/// The cursor of a list.
fn cursors(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        innkeeper_web::fuzz::cursor(text);
    }
}
