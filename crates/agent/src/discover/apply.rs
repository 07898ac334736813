//! Applies planned changes. Each target is compared with the content that was planned for, is backed up, and is
//! replaced atomically.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::{DateTime, SecondsFormat, Utc};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::files::{Ownership, read_bounded, replace};
use super::machine::SearchOptions;
use super::plan::{DiscoverPlan, FileChange};
use super::record::{DiscoverRecord, RecordedChange, digest};
use super::source::{WrapTarget, header, listed, spool_file};
use super::{Inventory, naming};
use crate::state::try_lock;

/// Most backups per table.
const BACKUPS: usize = 5;

/// The result of one change.
#[derive(Debug, Serialize)]
pub struct ApplyOutcome {
    /// The changed table or unit.
    pub place: String,
    /// Whether the change succeeded.
    pub done: bool,
    /// What was done, or why it failed.
    pub says: String,
}

impl ApplyOutcome {
    pub(super) fn new(place: &str, result: Result<String, String>) -> Self {
        let done = result.is_ok();
        let says = result.unwrap_or_else(|problem| problem);
        Self { place: place.to_owned(), done, says }
    }
}

/// Applies the changes of `plan`. `directory`, which is private to the user, keeps the record and backups.
///
/// # Errors
/// Nothing was changed, because the record cannot be used or another process holds the lock.
pub fn apply(
    plan: &DiscoverPlan,
    found: &Inventory,
    directory: &Path,
    options: &SearchOptions,
) -> Result<Vec<ApplyOutcome>, String> {
    let _lock = locked(directory)?;
    let mut record = DiscoverRecord::read(directory)?;
    record.note_names(found, plan);
    // The names are stored before any change, which also proves that the record can be written.
    record.write(directory)?;
    let mut outcomes = Vec::new();
    let mut has_units = false;
    for change in &plan.changes {
        let result = one(change, &mut record, directory, found, options);
        has_units |= result.is_ok() && change.before.is_none();
        outcomes.push(ApplyOutcome::new(&change.shown, result));
    }
    if has_units {
        outcomes.extend(reloaded(options));
    }
    Ok(outcomes)
}

/// The lock that keeps other processes from applying changes. Dropping it releases the lock.
pub(super) struct Alone(File);

impl Drop for Alone {
    fn drop(&mut self) {
        // Closing the file is not enough: a program that is being started may have inherited it.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

pub(super) fn locked(directory: &Path) -> Result<Alone, String> {
    let path = directory.join("lock");
    let lock = try_lock(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    lock.map(Alone)
        .ok_or_else(|| "another innkeeper-agent discover is making changes; wait for its end".to_owned())
}

/// Tells systemd to reload its units.
pub(super) fn reloaded(options: &SearchOptions) -> Option<ApplyOutcome> {
    let program = options.systemctl.as_ref()?;
    let output = Command::new(program).arg("daemon-reload").stdin(Stdio::null()).output();
    let result = match output {
        Ok(output) if output.status.success() => Ok("has reloaded its units".to_owned()),
        Ok(output) => {
            Err(format!("daemon-reload failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Err(error) => Err(format!("daemon-reload failed: {error}")),
    };
    Some(ApplyOutcome::new("systemd", result))
}

fn one(
    change: &FileChange,
    record: &mut DiscoverRecord,
    directory: &Path,
    found: &Inventory,
    options: &SearchOptions,
) -> Result<String, String> {
    let before = change.before.as_deref();
    compare(&change.target, before, found, options)?;
    let backup = match before {
        Some(before) => Some(back_up(&change.target, before, directory, options.now)?),
        None => None,
    };
    let noted_before = record.of(&change.target).cloned();
    // The record comes first: a change that is not recorded could not be undone byte for byte.
    record.changed.retain(|changed| changed.target != change.target);
    record.changed.push(RecordedChange {
        target: change.target.clone(),
        at: options.now.to_rfc3339_opts(SecondsFormat::Secs, true),
        backup: backup.clone(),
        original: change.original.as_deref().map(digest),
        written: digest(&change.after),
    });
    record.write(directory)?;
    if let Err(problem) = put(&change.target, &change.after, found, options) {
        // Restores the record, unless the target was changed in spite of the error.
        if compare(&change.target, before, found, options).is_ok() {
            record.changed.retain(|changed| changed.target != change.target);
            record.changed.extend(noted_before);
            record.write(directory)?;
            // A backup that cannot be removed does no harm.
            let _ = backup.map(fs::remove_file);
        }
        return Err(problem);
    }
    let count = change.entries.len();
    let jobs = if count == 1 { "one job".to_owned() } else { format!("{count} jobs") };
    Ok(match backup {
        Some(backup) => format!("{jobs} changed; the content before is in {}", backup.display()),
        None => format!("{jobs} changed"),
    })
}

/// Checks that a target still has the content for which the change was planned.
pub(super) fn compare(
    target: &WrapTarget,
    before: Option<&[u8]>,
    found: &Inventory,
    options: &SearchOptions,
) -> Result<(), String> {
    if current(target, found, options)?.as_deref() == before {
        return Ok(());
    }
    Err("it was changed since it was read, and stays unchanged; run the command again".to_owned())
}

/// The current content of a target; none if it does not exist.
pub(super) fn current(
    target: &WrapTarget,
    found: &Inventory,
    options: &SearchOptions,
) -> Result<Option<Vec<u8>>, String> {
    match target {
        WrapTarget::File(path) => content(path),
        WrapTarget::Crontab(user) => {
            // Debian's `crontab -l` omits the leading comments, including those that the user has written.
            let file = spool_file(&found.root, user).filter(|_| options.only_user.is_none());
            if let Some(file) = file {
                let bytes = content(&file)?;
                return Ok(bytes.map(|bytes| bytes[header(&bytes)..].to_vec()));
            }
            let (program, user) = program(user, options)?;
            listed(program, user)
        }
    }
}

fn content(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match read_bounded(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

/// The `crontab` program, and the user if it is another one's table.
fn program<'a>(user: &'a str, options: &'a SearchOptions) -> Result<(&'a Path, Option<&'a str>), String> {
    let program = options.crontab.as_deref().ok_or("the program crontab is not installed")?;
    Ok((program, Some(user).filter(|_| options.only_user.is_none())))
}

/// Replaces the content of a target atomically and verifies the result.
pub(super) fn put(
    target: &WrapTarget,
    content: &[u8],
    found: &Inventory,
    options: &SearchOptions,
) -> Result<(), String> {
    match target {
        WrapTarget::File(path) => {
            let ownership = if path.exists() { Ownership::AsBefore } else { Ownership::Public };
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)
                    .map_err(|error| format!("{} cannot be made: {error}", parent.display()))?;
            }
            replace(path, content, ownership)
                .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        }
        WrapTarget::Crontab(user) => install(user, content, options)?,
    }
    if current(target, found, options)?.as_deref() == Some(content) {
        return Ok(());
    }
    Err("it was written, but its content is different now; something else changes it at the same time"
        .to_owned())
}

fn install(user: &str, content: &[u8], options: &SearchOptions) -> Result<(), String> {
    let (program, user) = program(user, options)?;
    let mut command = Command::new(program);
    if let Some(user) = user {
        command.args(["-u", user]);
    }
    let wrong = |error: io::Error| format!("{} failed: {error}", program.display());
    command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(wrong)?;
    let sent = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(content),
        None => Ok(()),
    };
    let output = child.wait_with_output().map_err(wrong)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("crontab refused the table: {}", words.trim()));
    }
    sent.map_err(wrong)
}

/// Backs up a target. The backup of a file lies beside it, under a name that no cron reads; that of a user's crontab
/// lies in the agent's state directory.
fn back_up(
    target: &WrapTarget,
    content: &[u8],
    directory: &Path,
    now: DateTime<Utc>,
) -> Result<PathBuf, String> {
    let (place, name, owner) = match target {
        WrapTarget::File(path) => {
            let place = path.parent().unwrap_or(Path::new("/")).to_owned();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (
                place,
                format!(".{name}.innkeeper-"),
                fs::metadata(path).ok().map(|found| (found.uid(), found.gid())),
            )
        }
        // The user's name is not used as it is, because it may contain any character.
        WrapTarget::Crontab(user) => {
            (directory.to_owned(), format!("crontab-{}-{}.", naming::slug(user), naming::mark(user, 2)), None)
        }
    };
    let time = now.format("%Y%m%dT%H%M%SZ").to_string();
    let wrong = |error: io::Error| format!("no backup can be made in {}: {error}", place.display());
    for number in 0..1000 {
        let end = if number == 0 { String::new() } else { format!("-{number}") };
        let path = place.join(format!("{name}{time}{end}"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                if let Some((user, group)) = owner {
                    fchown(&file, Some(user), Some(group)).map_err(wrong)?;
                }
                file.write_all(content).and_then(|()| file.sync_all()).map_err(wrong)?;
                prune(&place, &name);
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(wrong(error)),
        }
    }
    Err(format!("no backup can be made in {}: there are too many backups", place.display()))
}

/// Removes all backups of a target but the newest.
fn prune(place: &Path, name: &str) {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let is_backup = |path: &PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A digit must follow the prefix, so that the backups of another table whose name begins with it are kept.
        file.strip_prefix(name).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let mut backups: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_backup).collect();
    backups.sort();
    for old in backups.iter().rev().skip(BACKUPS) {
        // A backup that cannot be removed does no harm.
        let _ = fs::remove_file(old);
    }
}
