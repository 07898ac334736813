//! A small log of the agent's own problems, in its state directory. The job's output stays free of them.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::clock;
use crate::state::StateDirectory;

/// Size in bytes at which the log is rotated. One older file is kept.
const LARGEST: u64 = 64 * 1024;
/// Most lines that are buffered until the log's directory is known.
const WAITING: usize = 50;

/// The lines that this process has logged. The same line is logged only once.
static KNOWN: Mutex<Vec<String>> = Mutex::new(Vec::new());
static BOOK: Mutex<Vec<String>> = Mutex::new(Vec::new());
static PLACE: OnceLock<Option<PathBuf>> = OnceLock::new();
static ALOUD: OnceLock<()> = OnceLock::new();

/// From now on also prints log lines to standard error.
pub fn aloud() {
    ALOUD.get_or_init(|| ());
}

/// Sets the directory of the log and writes the buffered lines. Without a `state`, nothing is written.
pub fn open(state: Option<&StateDirectory>) {
    PLACE.get_or_init(|| state.map(|state| state.file("agent.log")));
    let waiting = std::mem::take(&mut *BOOK.lock().unwrap_or_else(PoisonError::into_inner));
    waiting.iter().for_each(|line| append(line));
}

/// Logs one line, unless this process has logged the same line before.
pub fn note(what: impl std::fmt::Display) {
    let time = DateTime::<Utc>::from_timestamp_millis(clock::wall_ms()).unwrap_or_default();
    // The text may come from a server, so control characters are replaced.
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
        // The reader of standard error may be gone.
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

/// Path of the log.
pub fn place(state: &StateDirectory) -> PathBuf {
    state.file("agent.log")
}

/// Appends a line. Errors are ignored, because a missing log must not change what the agent does.
fn append(line: &str) {
    let Some(Some(path)) = PLACE.get() else { return };
    if fs::metadata(path).is_ok_and(|found| found.len() > LARGEST) {
        let _ = fs::rename(path, path.with_extension("log.1"));
    }
    let mut options = OpenOptions::new();
    // Each line is a single write, so that lines of several agents do not mix.
    let opened = options.append(true).create(true).mode(0o600).open(path);
    let _ = opened.and_then(|mut file| file.write_all(line.as_bytes()));
}
