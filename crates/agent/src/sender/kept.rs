//! Reports that the server rejects for now, and will accept once somebody has corrected the cause: a reservation that
//! was checked out by mistake, a token that is not valid for the app, a proxy with a small limit.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::clock::Stamp;
use crate::logbook;
use crate::report::Names;
use crate::spool::{Destination, Name, Spool, SpoolEntry, write_whole};
use crate::state::StateDirectory;

/// Age in milliseconds at which a kept report is given up.
const LONGEST: u64 = 24 * 3_600_000;
/// Most kept entries per job. The newest are kept.
const MOST: usize = 100;
/// Milliseconds until a kept entry is sent again.
const PAUSE: u64 = 60_000;
const FILE: &str = "kept.json";

/// The time at which each kept entry was last sent, shared by all processes that use one spool.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Tried(BTreeMap<String, Stamp>);

impl Tried {
    pub(super) fn read(state: &StateDirectory) -> Self {
        let content = std::fs::read(state.file(FILE)).unwrap_or_default();
        serde_json::from_slice(&content).unwrap_or_default()
    }

    /// Forgets the times, so that every entry is sent at once.
    pub(super) fn forget(state: &StateDirectory) {
        // If the file cannot be removed, the entries wait for a minute.
        let _ = std::fs::remove_file(state.file(FILE));
    }

    /// Whether the entry must not be sent yet.
    pub(super) fn has(&self, name: &Name, now: &Stamp) -> bool {
        self.0.get(name.as_str()).is_some_and(|tried| tried.ago_ms(now) < PAUSE)
    }
}

#[derive(Debug)]
struct One {
    name: Name,
    whose: (Option<Names>, Destination),
    why: String,
}

/// The entries that a pass has kept.
#[derive(Debug, Default)]
pub struct KeptReports(Vec<One>);

impl KeptReports {
    /// Whether no entry was kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the entry in the spool, or gives it up if it is too old. Returns the number of reports that are given
    /// up.
    pub(super) fn add(&mut self, spool: &Spool, name: &Name, entry: &SpoolEntry, why: &str) -> usize {
        let now = Stamp::now();
        let names = entry.reports.first().and_then(|report| report.names.clone());
        let one = One { name: name.clone(), whose: (names, entry.destination.clone()), why: why.to_owned() };
        if entry.reports.iter().all(|report| report.stamp.ago_ms(&now) > LONGEST) {
            one.give_up(spool);
            return entry.reports.len();
        }
        self.0.push(one);
        0
    }

    /// Enforces the limits and stores when each entry was sent. Returns the number of reports that are given up.
    pub(super) fn finish(&mut self, state: &StateDirectory, spool: &Spool, mut tried: Tried) -> usize {
        let mut of_job: HashMap<(Option<Names>, Destination), usize> = HashMap::new();
        let mut given_up = 0;
        // Newest entries first.
        self.0.sort_by(|a, b| b.name.cmp(&a.name));
        self.0.retain(|one| {
            let count = of_job.entry(one.whose.clone()).or_default();
            *count += 1;
            if *count > MOST {
                one.give_up(spool);
                given_up += 1;
            }
            *count <= MOST
        });
        let before: Vec<String> = tried.0.keys().cloned().collect();
        if self.0.is_empty() && before.is_empty() {
            return given_up;
        }
        let here: HashSet<String> =
            spool.list().unwrap_or_default().iter().map(|name| name.as_str().to_owned()).collect();
        tried.0.retain(|name, _| here.contains(name));
        tried.0.extend(self.0.iter().map(|one| (one.name.as_str().to_owned(), Stamp::now())));
        if tried.0.is_empty() {
            Tried::forget(state);
        } else if !self.0.is_empty() || !before.iter().eq(tried.0.keys()) {
            let content = serde_json::to_vec(&tried).map_err(std::io::Error::other);
            let written = state
                .within("")
                .map_err(std::io::Error::other)
                .and_then(|directory| content.and_then(|content| write_whole(&directory, FILE, &content)));
            if let Err(error) = written {
                logbook::note(format_args!("the times of kept reports cannot be stored: {error}"));
            }
        }
        if !self.0.is_empty() {
            logbook::note(&*self);
        }
        given_up
    }
}

impl One {
    fn give_up(&self, spool: &Spool) {
        logbook::note(format_args!("a report of {} is given up: {}", self.whose(), self.why));
        spool.remove(&self.name);
    }

    fn whose(&self) -> String {
        self.whose.0.as_ref().map_or_else(|| "a ping address".to_owned(), ToString::to_string)
    }
}

impl std::fmt::Display for KeptReports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count =
            innkeeper_core::duration::counted(i64::try_from(self.0.len()).unwrap_or(i64::MAX), "report");
        let why = self.0.first().map(|one| format!("{}: {}", one.whose(), one.why)).unwrap_or_default();
        write!(
            f,
            "{count} kept for a day, until the cause is fixed (for a missing reservation: innkeeper-agent reserve): {why}"
        )
    }
}
