//! Reverts the changes of `discover`: byte for byte if a table was not changed since, otherwise only `discover`'s own
//! part.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::apply::{ApplyOutcome, compare, current, locked, put, reloaded};
use super::command::WatchedBy;
use super::files::read_bounded;
use super::machine::SearchOptions;
use super::plan::original;
use super::record::{DiscoverRecord, RecordedChange, digest};
use super::source::{Source, WrapTarget};
use super::wrap::MARK;
use super::{Inventory, Origin, drop_in};

/// Reverts all recorded changes.
///
/// # Errors
/// Nothing was changed, because the record cannot be used or another process holds the lock.
pub fn undo(
    found: &Inventory,
    directory: &Path,
    options: &SearchOptions,
) -> Result<Vec<ApplyOutcome>, String> {
    let _lock = locked(directory)?;
    let mut record = DiscoverRecord::read(directory)?;
    let mut outcomes = Vec::new();
    for (index, source) in found.sources.iter().enumerate() {
        let is_changed = found.entries.iter().any(|entry| {
            let is_here = matches!(&entry.origin, Origin::Line { source, .. } if *source == index);
            is_here && entry.watched == WatchedBy::Discover
        });
        let noted = record.of(&source.target).cloned();
        if !is_changed && noted.is_none() {
            continue;
        }
        let result = table(source, original(found, index), noted.as_ref(), found, options);
        if result.is_ok() {
            forget(&mut record, &source.target, directory)?;
        }
        outcomes.push(ApplyOutcome::new(&source.shown, result));
    }
    let is_there = |target: &WrapTarget| found.sources.iter().any(|source| source.target == *target);
    let gone: Vec<RecordedChange> =
        record.changed.iter().filter(|changed| !is_there(&changed.target)).cloned().collect();
    for changed in gone {
        let Some(backup) = &changed.backup else { continue };
        forget(&mut record, &changed.target, directory)?;
        let place = match &changed.target {
            WrapTarget::File(path) => path.display().to_string(),
            WrapTarget::Crontab(user) => format!("crontab of {user}"),
        };
        let says =
            format!("is gone, and there is nothing to undo; the content before is in {}", backup.display());
        outcomes.push(ApplyOutcome::new(&place, Ok(says)));
    }
    let mut has_units = false;
    for path in drop_ins(found, &record) {
        let target = WrapTarget::File(path.clone());
        let noted = record.of(&target).cloned();
        let result = unit(&path, noted.as_ref(), found, options);
        if result.is_ok() {
            has_units = true;
            forget(&mut record, &target, directory)?;
        }
        outcomes.push(ApplyOutcome::new(&path.display().to_string(), result));
    }
    if has_units {
        outcomes.extend(reloaded(options));
    }
    Ok(outcomes)
}

fn forget(record: &mut DiscoverRecord, target: &WrapTarget, directory: &Path) -> Result<(), String> {
    record.changed.retain(|changed| changed.target != *target);
    record.write(directory)
}

fn table(
    source: &Source,
    without_own: Vec<u8>,
    noted: Option<&RecordedChange>,
    found: &Inventory,
    options: &SearchOptions,
) -> Result<String, String> {
    let is_as_written = noted.is_some_and(|noted| noted.written == digest(&source.bytes));
    let is_original = noted.is_some_and(|noted| noted.original.as_ref() == Some(&digest(&without_own)));
    let backup = noted.and_then(|noted| noted.backup.as_ref());
    let (content, says) = match noted {
        Some(_) if is_as_written && is_original => (without_own, "is restored, byte for byte".to_owned()),
        // This version or another cron reads the lines differently than at the time of the change.
        Some(_) if is_as_written => {
            let content = backup.and_then(|path| read_bounded(path).ok());
            let content = content
                .ok_or("the lines of discover cannot be recognized any more, and the backup is gone")?;
            (content, "is restored from its backup".to_owned())
        }
        Some(noted) => {
            let kept = backup
                .map(|path| format!("; the content before is in {}", path.display()))
                .unwrap_or_default();
            let says =
                format!("was changed after {}: only the agent was removed from its lines{kept}", noted.at);
            (without_own, says)
        }
        None => {
            (without_own, "there is no record of it: only the agent was removed from its lines".to_owned())
        }
    };
    if content != source.bytes {
        compare(&source.target, Some(&source.bytes), found, options)?;
        put(&source.target, &content, found, options)?;
    }
    if is_as_written && let Some(backup) = backup {
        // A backup that cannot be removed does no harm.
        let _ = fs::remove_file(backup);
    }
    let left = String::from_utf8_lossy(&content).lines().filter(|line| is_left(line)).count();
    Ok(match left {
        0 => says,
        _ => format!("{says}; {left} lines that were changed by hand still name the agent"),
    })
}

fn is_left(line: &str) -> bool {
    line.contains("/innkeeper-agent exec ") && line.contains(MARK)
}

/// Paths at which drop-ins of `discover` may lie.
fn drop_ins(found: &Inventory, record: &DiscoverRecord) -> BTreeSet<PathBuf> {
    let of_entries = found.entries.iter().filter_map(|entry| match &entry.origin {
        Origin::Service(service) if entry.watched == WatchedBy::Discover => {
            Some(drop_in::path(&found.root, service))
        }
        _ => None,
    });
    // The unit itself may be gone, so the record is searched as well.
    let of_record = record.changed.iter().filter_map(|changed| match &changed.target {
        WrapTarget::File(path) if changed.original.is_none() && changed.backup.is_none() => {
            Some(path.clone())
        }
        _ => None,
    });
    of_entries.chain(of_record).collect()
}

fn unit(
    path: &Path,
    noted: Option<&RecordedChange>,
    found: &Inventory,
    options: &SearchOptions,
) -> Result<String, String> {
    let target = WrapTarget::File(path.to_owned());
    let Some(bytes) = current(&target, found, options)? else { return Ok("was removed already".to_owned()) };
    let is_as_written = noted.is_some_and(|noted| noted.written == digest(&bytes));
    let rest = drop_in::without_own(&String::from_utf8_lossy(&bytes)).filter(|_| !is_as_written);
    let Some(rest) = rest else {
        fs::remove_file(path).map_err(|error| format!("cannot be removed: {error}"))?;
        // The directory is only removed if it is empty.
        let _ = path.parent().map(fs::remove_dir);
        return Ok("is removed".to_owned());
    };
    put(&target, rest.as_bytes(), found, options)?;
    Ok("was changed by hand: only the agent's command was removed".to_owned())
}
