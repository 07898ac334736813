//! Makes planned changes: each is compared with what is there, has a backup, and appears as a whole or not at
//! all.

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
use super::record::{Changed, Record, digest};
use super::source::{WrapTarget, header, listed, spool_file};
use super::{Inventory, naming};
use crate::state::try_lock;

/// So many backups of one table are kept.
const BACKUPS: usize = 5;

/// What came of one change.
#[derive(Debug, Serialize)]
pub struct ApplyOutcome {
    /// Of what.
    pub place: String,
    /// Whether it is as it was to be.
    pub done: bool,
    /// What was done, or why not.
    pub says: String,
}

impl ApplyOutcome {
    pub(super) fn new(place: &str, result: Result<String, String>) -> Self {
        let done = result.is_ok();
        let says = result.unwrap_or_else(|problem| problem);
        Self { place: place.to_owned(), done, says }
    }
}

/// Makes the changes of `plan`; what is to be known later is kept in `directory`, which is private to the
/// user.
///
/// # Errors
/// Nothing was changed: the record cannot be used, or another discover is at work.
pub fn apply(
    plan: &DiscoverPlan,
    found: &Inventory,
    directory: &Path,
    options: &SearchOptions,
) -> Result<Vec<ApplyOutcome>, String> {
    let _lock = locked(directory)?;
    let mut record = Record::read(directory)?;
    record.note_names(found, plan);
    // Whatever happens later, the names are kept, and the place for the record can be written.
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

/// That nobody else changes anything. It ends with it.
pub(super) struct Alone(File);

impl Drop for Alone {
    fn drop(&mut self) {
        // Closing is not enough while a program that is just being started has the file, too.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

pub(super) fn locked(directory: &Path) -> Result<Alone, String> {
    let path = directory.join("lock");
    let lock = try_lock(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    lock.map(Alone)
        .ok_or_else(|| "another innkeeper-agent discover is changing something; wait for its end".to_owned())
}

/// Tells systemd that units have changed.
pub(super) fn reloaded(options: &SearchOptions) -> Option<ApplyOutcome> {
    let program = options.systemctl.as_ref()?;
    let output = Command::new(program).arg("daemon-reload").stdin(Stdio::null()).output();
    let result = match output {
        Ok(output) if output.status.success() => Ok("knows the changed units".to_owned()),
        Ok(output) => {
            Err(format!("daemon-reload failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Err(error) => Err(format!("daemon-reload failed: {error}")),
    };
    Some(ApplyOutcome::new("systemd", result))
}

fn one(
    change: &FileChange,
    record: &mut Record,
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
    // Noted first: what was written and not noted could not be taken back byte for byte.
    record.changed.retain(|changed| changed.target != change.target);
    record.changed.push(Changed {
        target: change.target.clone(),
        at: options.now.to_rfc3339_opts(SecondsFormat::Secs, true),
        backup: backup.clone(),
        original: change.original.as_deref().map(digest),
        written: digest(&change.after),
    });
    record.write(directory)?;
    if let Err(problem) = put(&change.target, &change.after, found, options) {
        // As it was, unless something was written all the same.
        if compare(&change.target, before, found, options).is_ok() {
            record.changed.retain(|changed| changed.target != change.target);
            record.changed.extend(noted_before);
            record.write(directory)?;
            // One that stays does no harm.
            let _ = backup.map(fs::remove_file);
        }
        return Err(problem);
    }
    let count = change.entries.len();
    let jobs = if count == 1 { "one job".to_owned() } else { format!("{count} jobs") };
    Ok(match backup {
        Some(backup) => format!("{jobs} changed; what was there is in {}", backup.display()),
        None => format!("{jobs} changed"),
    })
}

/// Sees to it that a target still has the content that was read.
pub(super) fn compare(
    target: &WrapTarget,
    before: Option<&[u8]>,
    found: &Inventory,
    options: &SearchOptions,
) -> Result<(), String> {
    if current(target, found, options)?.as_deref() == before {
        return Ok(());
    }
    Err("it was changed since it was read, and is left as it is; look again".to_owned())
}

/// A target's content now; none where it is not there.
pub(super) fn current(
    target: &WrapTarget,
    found: &Inventory,
    options: &SearchOptions,
) -> Result<Option<Vec<u8>>, String> {
    match target {
        WrapTarget::File(path) => content(path),
        WrapTarget::Crontab(user) => {
            // `crontab -l` of Debian leaves out comments at the beginning, its own or not.
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

/// The program, and the user where another one's table is meant.
fn program<'a>(user: &'a str, options: &'a SearchOptions) -> Result<(&'a Path, Option<&'a str>), String> {
    let program = options.crontab.as_deref().ok_or("the program crontab is not there")?;
    Ok((program, Some(user).filter(|_| options.only_user.is_none())))
}

/// Gives a target a content, as a whole, and sees to it that it has it.
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
    Err("it was written, and something else is there now; somebody changes it at the same time".to_owned())
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

/// Copies what is there: beside a file, under a name that no cron reads; for a user's crontab in the agent's
/// state.
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
        // Not the name itself: it may have any character.
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
    Err(format!("no backup can be made in {}: there are too many", place.display()))
}

/// Leaves the newest backups alone.
fn prune(place: &Path, name: &str) {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let is_backup = |path: &PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Digits follow: no other table's name begins so.
        file.strip_prefix(name).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let mut backups: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_backup).collect();
    backups.sort();
    for old in backups.iter().rev().skip(BACKUPS) {
        // One that stays does no harm.
        let _ = fs::remove_file(old);
    }
}
