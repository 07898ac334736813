//! Keeps a record of each run on disk while it lasts. A record whose agent is gone means that the run was
//! interrupted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Stamp;
use crate::logbook;
use crate::report::{ReportKind, SpooledReport};
use crate::spool::{HALF, Spool, SpoolEntry, remove_abandoned};
use crate::state::try_lock;

/// Largest record, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// The content of a run's record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run's id.
    pub run: Uuid,
    /// The start of the run, as an entry that can be reported.
    pub start: SpoolEntry,
    /// The idempotency key for the report of the run's end.
    pub end_key: Uuid,
}

/// A record on disk. This process owns the run as long as the file is open, because it holds the file's lock.
#[derive(Debug)]
pub struct Running {
    half: PathBuf,
    path: PathBuf,
    file: File,
}

impl Running {
    /// Writes the record of a new run under a temporary name.
    ///
    /// # Errors
    /// The file cannot be written. In that case none is left behind.
    pub fn begin(directory: &Path, record: &RunRecord) -> io::Result<Self> {
        let path = directory.join(format!("{}.json", record.run));
        let half = directory.join(format!("{HALF}{}", record.run));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file = options.read(true).append(true).create_new(true).mode(0o600).open(&half)?;
            // The lock is taken while the file is still empty, so that no other process takes the run for an
            // abandoned one.
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            file.write_all(&line(record)?)?;
            Ok(file)
        })();
        match written {
            Ok(file) => Ok(Self { half, path, file }),
            Err(error) => {
                let _ = fs::remove_file(&half);
                Err(error)
            }
        }
    }

    /// Syncs the record and renames it to its final name, unless `is_over` returns true by then. Afterwards it
    /// survives a crash of the machine.
    ///
    /// # Errors
    /// The file cannot be synced or renamed.
    pub fn publish(&self, is_over: impl Fn() -> bool) -> io::Result<()> {
        self.file.sync_all()?;
        if is_over() {
            return Ok(());
        }
        match fs::rename(&self.half, &self.path) {
            // The run has ended meanwhile, and its record was removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_over() => return Ok(()),
            renamed => renamed?,
        }
        self.path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }

    /// Marks the run as alive, by the modification time of the file.
    pub fn touch(&self) {
        // If this fails, the time of a later interruption is only known less precisely.
        let _ = self.file.set_modified(SystemTime::now());
    }

    /// Appends how the run ended. This is not synced: it only has to survive this process, not the machine.
    ///
    /// # Errors
    /// The file cannot be written completely. The end may still be readable without its output.
    pub fn note_end(&self, end: &SpooledReport) -> io::Result<()> {
        let mut file = &self.file;
        // First without the output: that much fits into the block that the record occupies already, even on a full
        // disk.
        file.write_all(&line(&SpooledReport { output: None, ..end.clone() })?)?;
        if end.output.is_some() {
            file.write_all(&line(end)?)?;
        }
        Ok(())
    }

    /// Removes the record, after the end of the run was stored elsewhere.
    pub fn end(&self) {
        // In this order, because the file may be renamed meanwhile.
        for path in [&self.half, &self.path] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    logbook::note(format_args!("{} cannot be removed: {error}", path.display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, value)?;
    Ok(line)
}

/// Parses a record and, if it was noted, the end of the run. A torn line counts as missing.
fn read(content: &[u8]) -> (Option<RunRecord>, Option<SpooledReport>) {
    let mut lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let record = lines.next().and_then(|line| serde_json::from_slice(line).ok());
    let end = lines.filter_map(|line| serde_json::from_slice::<SpooledReport>(line).ok()).next_back();
    (record, end)
}

/// Puts the end of each run in `directory` whose agent is gone into the spool: the end that was noted, or else a
/// failure.
pub fn recover(directory: &Path, spool: &Spool) {
    let Ok(found) = fs::read_dir(directory) else { return };
    for file in found.flatten() {
        let path = file.path();
        if file.file_name().as_encoded_bytes().starts_with(HALF.as_bytes()) {
            // The lock is taken before an end is noted, so a temporary file with an end is complete.
            if has_end(&path) {
                recover_one(&path, spool);
            } else {
                remove_abandoned(&path);
            }
            continue;
        }
        let is_record = file
            .file_name()
            .to_str()
            .is_some_and(|name| Uuid::try_parse(name.trim_end_matches(".json")).is_ok());
        if !is_record {
            continue;
        }
        recover_one(&path, spool);
    }
}

fn recover_one(path: &Path, spool: &Spool) {
    // If the lock can be taken, the agent of the run is gone.
    if let Ok(Some(lock)) = try_lock(path)
        && let Err(error) = abandoned(path, &lock, spool)
    {
        logbook::note(format_args!("the end of the run of {} cannot be kept: {error}", path.display()));
    }
}

fn has_end(path: &Path) -> bool {
    innkeeper_settings::read_file(path, LARGEST).is_ok_and(|content| read(&content).1.is_some())
}

fn abandoned(path: &Path, lock: &File, spool: &Spool) -> io::Result<()> {
    let content = innkeeper_settings::read_file(path, LARGEST).map_err(io::Error::other)?;
    let (Some(record), end) = read(&content) else {
        logbook::note(format_args!("the record {} is torn", path.display()));
        return fs::remove_file(path);
    };
    // If the spool has the end already, only the record was left to remove.
    if !spool.has(record.run)? {
        let seen = lock.metadata()?.modified()?.duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let entry = match end {
            Some(end) => Some(with_end(&record, end)),
            None => interrupted(&record, i64::try_from(seen.as_millis()).unwrap_or(0), &Stamp::now()),
        };
        if let Some(entry) = entry {
            spool.add(record.run, &entry)?;
        }
    }
    fs::remove_file(path)
}

fn with_end(record: &RunRecord, end: SpooledReport) -> SpoolEntry {
    let mut entry = record.start.clone();
    entry.reports.push(end);
    entry
}

/// The start, and a failure for a run that was last marked as alive at `seen_ms`, milliseconds of the wall clock.
fn interrupted(record: &RunRecord, seen_ms: i64, now: &Stamp) -> Option<SpoolEntry> {
    let start = record.start.reports.first()?;
    let is_same_boot = start.stamp.boot_id == now.boot_id && !now.boot_id.is_empty();
    let stamp = match is_same_boot {
        true => {
            let since = u64::try_from(now.wall_ms.saturating_sub(seen_ms)).unwrap_or(0);
            now.before(since.min(start.stamp.ago_ms(now)))
        }
        // After a restart of the machine only the wall clock can be compared.
        false => Stamp { wall_ms: seen_ms.max(start.stamp.wall_ms), ..start.stamp.clone() },
    };
    let why = match is_same_boot {
        true => "the agent that ran it was killed, and the result of the command is not known",
        false => "the machine was restarted while it ran",
    };
    let mut end = SpooledReport::new(start.names.clone(), ReportKind::Fail, stamp);
    end.key = record.end_key;
    end.run = Some(record.run);
    end.output = Some(format!("innkeeper-agent: this run was interrupted: {why}"));
    Some(with_end(record, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bounds;
    use crate::report::Names;
    use crate::spool::Destination;
    use crate::state::StateDirectory;

    fn record(stamp: Stamp) -> RunRecord {
        let mut start = SpooledReport::new(Some(Names::parse("a/b").unwrap()), ReportKind::Start, stamp);
        let run = Uuid::new_v4();
        start.run = Some(run);
        let start = SpoolEntry { destination: Destination::Server(None), reports: vec![start], terms: None };
        RunRecord { run, start, end_key: Uuid::new_v4() }
    }

    #[test]
    fn a_run_is_told_as_interrupted_once_its_agent_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(directory.path())).unwrap();
        let (spool, runs) = (Spool::open(&state, Bounds::default()).unwrap(), state.within("runs").unwrap());
        let record = record(Stamp::now());
        let running = Running::begin(&runs, &record).unwrap();
        running.publish(|| false).unwrap();
        recover(&runs, &spool);
        assert!(spool.list().unwrap().is_empty(), "it runs");
        drop(running);
        recover(&runs, &spool);
        recover(&runs, &spool);
        let names = spool.list().unwrap();
        assert_eq!(names.len(), 1);
        let entry = spool.read(&names[0]).unwrap();
        let kinds: Vec<ReportKind> = entry.reports.iter().map(|report| report.kind).collect();
        assert_eq!(kinds, [ReportKind::Start, ReportKind::Fail]);
        assert_eq!((entry.reports[1].key, entry.reports[1].run), (record.end_key, Some(record.run)));
        assert_eq!(fs::read_dir(&runs).unwrap().count(), 0);
    }

    #[test]
    fn one_whose_end_is_kept_was_not_interrupted() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(directory.path())).unwrap();
        let (spool, runs) = (Spool::open(&state, Bounds::default()).unwrap(), state.within("runs").unwrap());
        let record = record(Stamp::now());
        Running::begin(&runs, &record).unwrap().publish(|| false).unwrap();
        spool.add(record.run, &record.start).unwrap();
        fs::write(runs.join(format!("{}.json", Uuid::new_v4())), "{").unwrap();
        recover(&runs, &spool);
        assert_eq!(spool.list().unwrap().len(), 1);
        assert_eq!(fs::read_dir(&runs).unwrap().count(), 0);
    }

    #[test]
    fn a_run_whose_end_was_noted_is_told_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(directory.path())).unwrap();
        let (spool, runs) = (Spool::open(&state, Bounds::default()).unwrap(), state.within("runs").unwrap());
        for is_published in [false, true] {
            let record = record(Stamp::now());
            let running = Running::begin(&runs, &record).unwrap();
            if is_published {
                running.publish(|| false).unwrap();
            }
            let mut end = SpooledReport::new(None, ReportKind::Success, Stamp::now());
            end.output = Some("12 files\nall".to_owned());
            running.note_end(&end).unwrap();
            recover(&runs, &spool);
            assert!(spool.list().unwrap().is_empty(), "it is not gone yet");
            drop(running);
            recover(&runs, &spool);
            let names = spool.list().unwrap();
            assert_eq!(spool.read(&names[0]).unwrap().reports[1..], [end]);
            spool.remove(&names[0]);
            assert_eq!(fs::read_dir(&runs).unwrap().count(), 0);
        }
    }

    #[test]
    fn of_an_end_that_is_torn_the_part_before_counts() {
        let whole = |value: &serde_json::Value| line(value).unwrap();
        let mut short = SpooledReport::new(None, ReportKind::Success, Stamp::now());
        let content = |short: &SpooledReport, tail: &[u8]| {
            [whole(&serde_json::json!(record(Stamp::now()))), line(short).unwrap(), tail.to_vec()].concat()
        };
        assert_eq!(read(&content(&short, b"\n{\"kind\": \"suc")).1, Some(short.clone()));
        short.output = Some("x".to_owned());
        assert_eq!(read(&content(&short, b"")).1, Some(short));
    }

    #[test]
    fn a_restart_of_the_machine_is_told_as_such() {
        let now = Stamp { boot_id: "b".to_owned(), boot_ms: 60_000, wall_ms: 1_000_000 };
        let began = Stamp { boot_id: "a".to_owned(), boot_ms: 5_000_000, wall_ms: 100_000 };
        let entry = interrupted(&record(began), 160_000, &now).unwrap();
        assert!(entry.reports[1].output.as_deref().unwrap().contains("the machine was restarted"));
        assert_eq!(entry.reports[1].stamp.ago_ms(&now), 840_000);
        assert_eq!(entry.reports[0].stamp.ago_ms(&now), 900_000);
    }
}
