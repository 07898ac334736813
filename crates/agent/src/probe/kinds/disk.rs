//! `disk`: checks that a file system has enough free space and inodes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use innkeeper_settings::Section;
use rustix::fs::{StatVfs, statvfs};

use super::{ProbeCheck, Subject};
use crate::probe::aside::aside;
use crate::probe::attempt::{ProbeAttempt, plain_error};
use crate::probe::outcome::{Failure, ProbeOutcome, ProbeStatus};
use crate::probe::read;

/// The least that must be free.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Least {
    Percent(f64),
    Amount(u64),
}

impl Least {
    fn size(text: &str) -> Result<Self, String> {
        Self::read(text, read::size, "10% or 5GB")
    }

    fn count(text: &str) -> Result<Self, String> {
        let count = |text: &str| text.trim().parse().map_err(|_| String::new());
        Self::read(text, count, "10% or 50000")
    }

    fn read(text: &str, amount: impl Fn(&str) -> Result<u64, String>, write: &str) -> Result<Self, String> {
        if text.trim().ends_with('%') {
            return read::percent(text).map(Self::Percent);
        }
        amount(text).map(Self::Amount).map_err(|_| format!("{text:?} is not understood; write {write}"))
    }

    fn is_met(self, free: u64, total: u64) -> bool {
        match self {
            Self::Percent(least) => percent(free, total) >= least,
            Self::Amount(least) => free >= least,
        }
    }

    fn in_words(self, amount: impl Fn(u64) -> String) -> String {
        match self {
            Self::Percent(least) => format!("{least}%"),
            Self::Amount(least) => amount(least),
        }
    }
}

fn percent(free: u64, total: u64) -> f64 {
    if total == 0 { 100.0 } else { free as f64 * 100.0 / total as f64 }
}

/// Checks the file system that contains a path.
#[derive(Debug)]
pub(crate) struct Disk {
    warn_free: Option<Least>,
    min_free: Option<Least>,
    warn_inodes: Option<Least>,
    min_inodes: Option<Least>,
    /// Whether a file system must be mounted at exactly this path.
    mounted: bool,
}

impl Disk {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let size = |text: &str| Least::size(text).map(Some);
        let count = |text: &str| Least::count(text).map(Some);
        Self {
            warn_free: section.parsed("warn_free", Some(Least::Percent(10.0)), size),
            min_free: section.parsed("min_free", Some(Least::Percent(5.0)), size),
            warn_inodes: section.parsed("warn_inodes", Some(Least::Percent(10.0)), count),
            min_inodes: section.parsed("min_inodes", Some(Least::Percent(5.0)), count),
            mounted: section.flag("mounted", false),
        }
    }

    fn judge(&self, path: &str, found: &StatVfs) -> ProbeOutcome {
        // Free space as an ordinary user can use it, like `df`. The total excludes the blocks that are reserved for
        // root.
        let unit = found.f_frsize;
        let free = found.f_bavail.saturating_mul(unit);
        let used = found.f_blocks.saturating_sub(found.f_bfree).saturating_mul(unit);
        let total = used.saturating_add(free);
        let free_percent = percent(free, total);
        let mut outcome = ProbeOutcome::ok(format!(
            "{path} has {} free of {} ({free_percent:.1}%)",
            read::in_bytes(free),
            read::in_bytes(total)
        ));
        check(&mut outcome, "space", (self.warn_free, self.min_free), (free, total), read::in_bytes);
        outcome =
            outcome.figure("free_bytes", free as f64, "B").figure("free_percent", rounded(free_percent), "%");
        // Some file systems (btrfs, many network file systems) do not count inodes.
        if found.f_files == 0 {
            return outcome;
        }
        let (inodes, all) = (found.f_favail, found.f_files);
        check(&mut outcome, "inodes", (self.warn_inodes, self.min_inodes), (inodes, all), |count| {
            count.to_string()
        });
        outcome.figure("free_inodes", inodes as f64, "").figure(
            "free_inodes_percent",
            rounded(percent(inodes, all)),
            "%",
        )
    }
}

fn rounded(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}

fn check(
    outcome: &mut ProbeOutcome,
    of: &str,
    (warn, least): (Option<Least>, Option<Least>),
    (free, total): (u64, u64),
    amount: impl Fn(u64) -> String,
) {
    for (limit, status) in [(least, ProbeStatus::Critical), (warn, ProbeStatus::Warning)] {
        if let Some(limit) = limit
            && !limit.is_met(free, total)
        {
            let what = format!(
                "free {of}: {} ({:.1}%), less than {}",
                amount(free),
                percent(free, total),
                limit.in_words(&amount)
            );
            outcome.also(status, &what);
            return;
        }
    }
}

impl ProbeCheck for Disk {
    fn subject(&self, target: &str) -> Result<Subject, String> {
        match target.starts_with('/') {
            true => Ok(Subject { label: target.to_owned(), host: String::new() }),
            false => Err(format!("{target:?} is no absolute path; write /path")),
        }
    }

    fn run(&self, target: &str, attempt: &mut ProbeAttempt) -> Result<ProbeOutcome, Failure> {
        let (path, mounted) = (target.to_owned(), self.mounted);
        let found = aside(&attempt.key, &attempt.whole(), move || look(&path, mounted))?;
        Ok(self.judge(target, &found))
    }
}

fn look(path: &str, mounted: bool) -> Result<StatVfs, Failure> {
    let failed = |error: std::io::Error| Failure::critical(format!("{path}: {}", plain_error(&error)));
    if mounted && !is_mount(Path::new(path)).map_err(failed)? {
        return Err(Failure::critical(format!("nothing is mounted at {path}")));
    }
    statvfs(path).map_err(|error| failed(error.into()))
}

fn is_mount(path: &Path) -> std::io::Result<bool> {
    let here = fs::metadata(path)?;
    let above = fs::metadata(path.join(".."))?;
    Ok(here.dev() != above.dev() || here.ino() == above.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_shares_or_amounts() {
        assert_eq!(Least::size("10%"), Ok(Least::Percent(10.0)));
        assert_eq!(Least::size("5GB"), Ok(Least::Amount(5_000_000_000)));
        assert_eq!(Least::count("50000"), Ok(Least::Amount(50_000)));
        for bad in ["x", "120%", "-5%", "5 apples"] {
            Least::size(bad).unwrap_err();
        }
        assert!(Least::Percent(10.0).is_met(10, 100) && !Least::Percent(10.1).is_met(10, 100));
        assert!(Least::Percent(10.0).is_met(0, 0), "what counts nothing lacks nothing");
    }
}
