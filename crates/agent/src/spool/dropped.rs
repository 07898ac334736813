//! Counts the reports that were dropped from a full spool, per destination and job, until the server has been told.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Destination, SpoolEntry, write_whole};
use crate::clock::Stamp;
use crate::logbook;
use crate::report::{Names, ReportKind, SpooledReport};

const FILE: &str = "dropped";
/// Most jobs that are counted. Reports of further jobs are only logged.
const JOBS: usize = 100;

/// The counts of dropped reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    jobs: Vec<OfOne>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct OfOne {
    destination: Destination,
    names: Option<Names>,
    count: u64,
    /// When the newest of these reports was dropped.
    stamp: Stamp,
}

impl Dropped {
    /// The messages for the server, as entries with one report each.
    pub fn entries(&self) -> Vec<SpoolEntry> {
        let entry = |one: &OfOne| {
            let mut report = SpooledReport::new(one.names.clone(), ReportKind::Log, one.stamp.clone());
            report.output = Some(format!(
                "innkeeper-agent: {} of this job's reports were dropped: the agent's spool was full or too old",
                one.count
            ));
            SpoolEntry { destination: one.destination.clone(), reports: vec![report], terms: None }
        };
        self.jobs.iter().map(entry).collect()
    }

    pub(super) fn read(directory: &Path) -> Self {
        let content = fs::read(directory.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&content).unwrap_or_default()
    }

    pub(super) fn forget(directory: &Path, told: &[SpoolEntry]) {
        let mut dropped = Self::read(directory);
        let is_told = |one: &OfOne| {
            told.iter().any(|entry| {
                entry.destination == one.destination
                    && entry
                        .reports
                        .iter()
                        .any(|report| report.names == one.names && report.stamp == one.stamp)
            })
        };
        dropped.jobs.retain(|one| !is_told(one));
        // If the file cannot be changed, the server is told twice, which is better than never.
        match dropped.jobs.is_empty() {
            true => drop(fs::remove_file(directory.join(FILE))),
            false => dropped.write(directory),
        }
    }

    pub(super) fn add(directory: &Path, entry: &SpoolEntry) {
        let names = entry.reports.first().and_then(|report| report.names.clone());
        let what = names.as_ref().map_or_else(|| "a ping address".to_owned(), Names::to_string);
        logbook::note(format_args!("a report of {what} was dropped from the spool"));
        let mut dropped = Self::read(directory);
        let count = entry.reports.len() as u64;
        let is_this = |one: &OfOne| one.names == names && one.destination == entry.destination;
        match dropped.jobs.iter().position(is_this) {
            Some(n) => {
                let one = &mut dropped.jobs[n];
                one.count += count;
                one.stamp = Stamp::now();
            }
            None if dropped.jobs.len() >= JOBS => return,
            None => {
                let destination = entry.destination.clone();
                dropped.jobs.push(OfOne { destination, names, count, stamp: Stamp::now() });
            }
        }
        dropped.write(directory);
    }

    fn write(&self, directory: &Path) {
        let written = serde_json::to_vec(self).map_err(std::io::Error::other);
        if let Err(error) = written.and_then(|content| write_whole(directory, FILE, &content)) {
            logbook::note(format_args!("the number of dropped reports cannot be stored: {error}"));
        }
    }
}
