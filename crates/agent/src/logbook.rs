//! A small log of the agent's own troubles, in its state's directory. Nothing is written to a job's output.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::clock;
use crate::state::StateDirectory;

/// A file grows to this size, bytes; then it is kept as the one before, and begun anew.
const LARGEST: u64 = 64 * 1024;
/// The lines that wait until it is known where the log lies.
const WAITING: usize = 50;

/// What this process has logged: the same trouble is told once.
static KNOWN: Mutex<Vec<String>> = Mutex::new(Vec::new());
static BOOK: Mutex<Vec<String>> = Mutex::new(Vec::new());
static PLACE: OnceLock<Option<PathBuf>> = OnceLock::new();
static ALOUD: OnceLock<()> = OnceLock::new();

/// Says from now on also on standard error what is logged.
pub fn aloud() {
    ALOUD.get_or_init(|| ());
}

/// Logs in `state` from now on; without one nowhere.
pub fn open(state: Option<&StateDirectory>) {
    PLACE.get_or_init(|| state.map(|state| state.file("agent.log")));
    let waiting = std::mem::take(&mut *BOOK.lock().unwrap_or_else(PoisonError::into_inner));
    waiting.iter().for_each(|line| append(line));
}

/// Logs one line, unless this process has logged the same before.
pub fn note(what: impl std::fmt::Display) {
    let time = DateTime::<Utc>::from_timestamp_millis(clock::wall_ms()).unwrap_or_default();
    // A server's words are among them.
    let what: String = what.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.contains(&what) {
        return;
    }
    if known.len() < WAITING {
        known.push(what.clone());
    }
    drop(known);
    let line = format!("{} {what}\n", time.to_rfc3339_opts(SecondsFormat::Secs, true));
    if ALOUD.get().is_some() {
        // Whoever reads it may be gone.
        let _ = writeln!(std::io::stderr(), "innkeeper-agent: {what}");
    }
    match PLACE.get() {
        Some(_) => append(&line),
        None => {
            let mut waiting = BOOK.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() < WAITING {
                waiting.push(line);
            }
        }
    }
}

/// Where it lies.
pub fn place(state: &StateDirectory) -> PathBuf {
    state.file("agent.log")
}

/// A log that cannot be written is no reason to do anything else otherwise.
fn append(line: &str) {
    let Some(Some(path)) = PLACE.get() else { return };
    if fs::metadata(path).is_ok_and(|found| found.len() > LARGEST) {
        let _ = fs::rename(path, path.with_extension("log.1"));
    }
    let mut options = OpenOptions::new();
    // One write a line: lines of several agents do not mix.
    let opened = options.append(true).create(true).mode(0o600).open(path);
    let _ = opened.and_then(|mut file| file.write_all(line.as_bytes()));
}
