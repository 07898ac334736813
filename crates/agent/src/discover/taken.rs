//! Decides which files cron accepts, by their names, owners and modes, and which of them packages have installed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use super::files::names_in;
use super::machine::{Cron, SearchedMachine};

/// The program that selects files by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Cron, in `/etc/cron.d`.
    Cron,
    /// `run-parts`, in `/etc/cron.daily` and similar directories.
    RunParts,
}

/// Why a file with this name is ignored; none if it is not.
pub fn passed_over(name: &str, cron: Cron, reader: Reader) -> Option<String> {
    let odd = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    match cron {
        Cron::Debian => name
            .chars()
            .find(odd)
            .map(|c| format!("its name has {c:?}; only letters, digits, _ and - are accepted")),
        _ => {
            const ENDINGS: [&str; 9] =
                ["~", ".rpmsave", ".rpmorig", ".rpmnew", ",", ".swp", ".dpkg-old", ".dpkg-new", ".dpkg-dist"];
            let known = match (cron, reader) {
                (Cron::Cronie, Reader::Cron) => &ENDINGS[..4],
                (Cron::Cronie, Reader::RunParts) => &ENDINGS[..6],
                _ => &ENDINGS[..],
            };
            let ending = known.iter().find(|ending| name.ends_with(**ending));
            let first = name.chars().next().filter(|c| matches!(c, '.' | '#'));
            first
                .map(|c| format!("its name begins with {c}"))
                .or(ending.map(|end| format!("its name ends in {end}")))
        }
    }
}

/// Why cron ignores a system file because of its owner, mode or links.
pub(super) fn refused_file(path: &Path, machine: &SearchedMachine) -> Option<String> {
    let link = fs::symlink_metadata(path).ok()?;
    let found = fs::metadata(path).ok()?;
    let root = root_id(machine);
    if link.file_type().is_symlink() && link.uid() != root {
        return Some("it is a link that does not belong to root".to_owned());
    }
    if found.uid() != root {
        return Some("it does not belong to root".to_owned());
    }
    let mode = found.permissions().mode() & 0o7777;
    let is_wrong = match machine.cron {
        Cron::Debian => mode & 0o022 != 0,
        Cron::Cronie => mode & 0o7533 != 0o400,
        Cron::SystemdCron | Cron::Other => false,
    };
    if is_wrong {
        return Some(format!("its mode is {mode:04o}; 0644 or 0600 is accepted"));
    }
    let has_links = machine.cron == Cron::Debian && found.nlink() != 1;
    has_links.then(|| format!("it has {} hard links", found.nlink()))
}

/// Why cron ignores the table of the user with this id.
pub(super) fn refused_table(path: &Path, user: u32, machine: &SearchedMachine) -> Option<String> {
    let found = fs::symlink_metadata(path).ok()?;
    if !found.is_file() {
        return Some("it is not a regular file".to_owned());
    }
    if found.uid() != user && found.uid() != root_id(machine) {
        return Some("it belongs to another user".to_owned());
    }
    let mode = found.permissions().mode() & 0o7777;
    let is_wrong = match machine.cron {
        Cron::Debian => mode != 0o600,
        Cron::Cronie => mode & 0o7533 != 0o400,
        Cron::SystemdCron | Cron::Other => false,
    };
    if is_wrong {
        return Some(format!("its mode is {mode:04o}; 0600 is accepted"));
    }
    let is_strict = matches!(machine.cron, Cron::Debian | Cron::Cronie);
    (is_strict && found.nlink() != 1).then(|| format!("it has {} hard links", found.nlink()))
}

/// The user id of root. Below another root, the owner of that directory counts as root.
fn root_id(machine: &SearchedMachine) -> u32 {
    match machine.is_live() {
        true => 0,
        false => fs::metadata(&machine.root).map_or(0, |found| found.uid()),
    }
}

/// The configuration files that Debian packages have installed.
pub(super) fn packaged(machine: &SearchedMachine) -> BTreeSet<String> {
    let directory = machine.path("/var/lib/dpkg/info");
    let mut files = BTreeSet::new();
    for name in names_in(&directory).unwrap_or_default() {
        if name.ends_with(".conffiles") {
            let text = fs::read_to_string(directory.join(name)).unwrap_or_default();
            files
                .extend(text.lines().filter(|line| line.contains("cron")).map(|line| line.trim().to_owned()));
        }
    }
    files
}

/// Whether a file belongs to an rpm package.
pub(super) fn is_of_rpm(machine: &SearchedMachine, absolute: &str) -> bool {
    let is_there = machine.is_live() && machine.path("/var/lib/rpm").exists();
    let asked = is_there.then(|| {
        Command::new("rpm").args([OsStr::new("-qf"), OsStr::new(absolute)]).stdin(Stdio::null()).output()
    });
    asked.and_then(Result::ok).is_some_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cron_passes_over() {
        for name in ["backup.sh", "x.conf", "a b", "x~", "ä"] {
            assert!(passed_over(name, Cron::Debian, Reader::Cron).is_some(), "{name}");
        }
        for name in ["#x", "x~", "a.rpmsave", "a.rpmnew"] {
            assert!(passed_over(name, Cron::Cronie, Reader::Cron).is_some(), "{name}");
        }
        assert!(passed_over("backup-1_A", Cron::Debian, Reader::RunParts).is_none());
        assert!(passed_over("backup.sh", Cron::Cronie, Reader::RunParts).is_none());
    }
}
