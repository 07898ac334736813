//! Logs beside the file that do not belong to it. An earlier process or another database left them
//! there.
//!
//! SQLite recognizes a log only by its name, and writes its content into the file, however old it
//! is. Therefore, before a file is opened again that is known to be complete without a log, a file
//! with the name of its log is renamed, unless another process has it open.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::{aside, beside};
use crate::StoreError;

/// The files whose content SQLite would write into the database when it opens it. The index is
/// renamed with the log.
const LOGS: [&str; 2] = ["-wal", "-journal"];

/// The bytes of a log's index on which SQLite has its locks. Every process that has the index open
/// holds a lock on the last of them (`UNIX_SHM_DMS`).
const LOCKS_AT: u64 = 120;
const LOCKS: u64 = 9;

/// The right to decide whether the logs beside a file belong to it. Only one process has it at a
/// time.
pub(super) struct Turn<'a>(&'a File);

impl<'a> Turn<'a> {
    /// Takes the right, or says why it must wait. Uses `flock`, which SQLite does not use.
    pub fn take(file: &'a File) -> Result<Self, String> {
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err("another process opens it just now".to_owned()),
            // The file system has no such locks.
            Err(fs::TryLockError::Error(error)) => log::debug!("a turn to open the file: {error}"),
        }
        Ok(Self(file))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            log::debug!("the turn to open the file: {error}");
        }
    }
}

/// Renames the logs beside the file at `path`, which is complete without them. Returns the new
/// names.
pub(super) fn set_aside(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut strange = Vec::new();
    for log in logs(path)? {
        let renamed = aside(&log, "stale");
        fs::rename(&log, &renamed).map_err(|error| {
            StoreError::File(format!(
                "{} is an older log, not the database's, and cannot be set aside ({error}): move it away, and Innkeeper goes on",
                log.display()
            ))
        })?;
        log::warn!("{} is an older log, not the database's: renamed to {}", log.display(), renamed.display());
        strange.push(renamed);
    }
    Ok(strange)
}

/// Refuses a copy of the database that has a log beside it. Only a person knows whether the log
/// belongs to it.
pub(super) fn refuse(path: &Path) -> Result<(), StoreError> {
    match logs(path)?.first() {
        None => Ok(()),
        Some(log) => Err(StoreError::File(format!(
            "{} lies beside the copy that is there now, and would be brought into it",
            log.display()
        ))),
    }
}

/// Sentences that say what was set aside.
pub(super) fn words(strange: &[PathBuf]) -> String {
    let names: Vec<String> = strange.iter().map(|path| path.display().to_string()).collect();
    format!(
        "An older log lay beside it, which SQLite would have brought into it. It was set aside and is not needed: {}.",
        names.join(", ")
    )
}

/// The logs beside the file at `path`, after all links are followed. Empty if another process has
/// them open.
fn logs(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed =
        |path: &Path, error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
    let real = fs::canonicalize(path).map_err(|error| failed(path, error))?;
    let index = beside(&real, "-shm");
    if is_in_use(&index).map_err(|error| failed(&index, error))? {
        return Ok(Vec::new());
    }
    let mut found: Vec<PathBuf> = LOGS
        .into_iter()
        .map(|suffix| beside(&real, suffix))
        .filter(|log| fs::metadata(log).is_ok_and(|metadata| metadata.len() > 0))
        .collect();
    if found.contains(&beside(&real, "-wal")) && index.symlink_metadata().is_ok() {
        found.push(index);
    }
    Ok(found)
}

/// Whether another process has the log's index open. This process does not, because its connections
/// are closed.
fn is_in_use(index: &Path) -> std::io::Result<bool> {
    let file = match File::open(index) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let lock = Flock {
        start: LOCKS_AT,
        length: LOCKS,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    Ok(fcntl_getlk(&file, &lock)?.is_some())
}
