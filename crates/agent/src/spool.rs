//! Reports that the server has not accepted yet, kept on disk. The spool is bounded and private, and survives a full
//! disk or a `kill -9`.
//!
//! Each entry is a file, written under a temporary name, synced and renamed. File names sort by time. A file that
//! cannot be read is moved to another directory, so that it does not block the others.

mod bounds;
mod dropped;
mod entry;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

pub use dropped::Dropped;
pub use entry::{Destination, SpoolEntry, hash};

use crate::clock::{self, Stamp};
use crate::config::Bounds;
use crate::logbook;
use crate::state::StateDirectory;

/// Prefix of a temporary file's name.
pub const HALF: &str = ".new-";
/// Age at which a temporary file counts as abandoned.
const ABANDONED: Duration = Duration::from_secs(3600);
/// Most unreadable entries that are kept for inspection.
const PUT_ASIDE: usize = 20;
/// An event that is younger than this, in milliseconds, gets a name after all existing entries.
const RECENT: u64 = 5_000;
/// Largest entry, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// The spool of one user.
#[derive(Debug, Clone)]
pub struct Spool {
    directory: PathBuf,
    aside: PathBuf,
    bounds: Bounds,
}

/// The file name of an entry. Names sort by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    text: String,
}

impl Name {
    fn of(ms: u64, run: Uuid, is_failure: bool, destination: &Destination) -> Self {
        let kind = if is_failure { "fail" } else { "rest" };
        Self { text: format!("{ms:015}-{run}-{kind}-{}.json", destination.tag()) }
    }

    fn parse(text: &str) -> Option<Self> {
        let (ms, rest) = text.split_once('-')?;
        let is_ours = ms.len() == 15 && ms.bytes().all(|b| b.is_ascii_digit()) && rest.ends_with(".json");
        is_ours.then(|| Self { text: text.to_owned() })
    }

    fn ms(&self) -> u64 {
        self.text.split_once('-').and_then(|(ms, _)| ms.parse().ok()).unwrap_or(0)
    }

    fn is_failure(&self) -> bool {
        self.text.contains("-fail-")
    }

    /// The file name as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the entry goes to `destination`. It compares a hash of 32 bits, so a wrong match is possible but very
    /// rare.
    pub fn goes_to(&self, destination: &Destination) -> bool {
        self.text.strip_suffix(".json").is_some_and(|text| text.ends_with(&destination.tag()))
    }

    /// Whether the entry is about this run.
    pub fn is_about(&self, run: Uuid) -> bool {
        self.text.contains(&run.to_string())
    }
}

impl Spool {
    /// Opens the spool in `state` and creates its directory if needed.
    ///
    /// # Errors
    /// Why the directory cannot be used.
    pub fn open(state: &StateDirectory, bounds: Bounds) -> Result<Self, String> {
        Ok(Self { directory: state.within("spool")?, aside: state.file("unreadable"), bounds })
    }

    /// Adds an entry about `run`. It is synced when this returns. Other entries are dropped if the limits require it.
    ///
    /// # Errors
    /// The entry cannot be written, even after other entries were dropped.
    pub fn add(&self, run: Uuid, entry: &SpoolEntry) -> io::Result<Name> {
        let content = serde_json::to_vec(entry)?;
        let here = self.list()?;
        let ago = entry.reports.last().map_or(0, |report| report.stamp.ago_ms(&Stamp::now()));
        let happened = u64::try_from(clock::wall_ms()).unwrap_or(0).saturating_sub(ago);
        let ms = match ago < RECENT {
            // A new event sorts after all entries, even if the wall clock was ahead when those were written.
            true => happened.max(here.last().map_or(0, |name| name.ms() + 1)),
            // An older event that was only found now, such as an interrupted run.
            false => happened,
        };
        let name = Name::of(ms, run, entry.is_failure(), &entry.destination);
        self.make_room(&here, content.len() as u64);
        match self.write(&name.text, &content) {
            Ok(()) => Ok(name),
            // On a full disk, the oldest entries without a failure are dropped for the new one.
            Err(first)
                if matches!(first.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                let oldest: Vec<Name> =
                    self.list()?.into_iter().filter(|name| !name.is_failure()).take(4).collect();
                if oldest.is_empty() {
                    return Err(first);
                }
                oldest.iter().for_each(|name| self.drop_entry(name));
                self.write(&name.text, &content).map(|()| name)
            }
            Err(error) => Err(error),
        }
    }

    /// The names of all entries, oldest first.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for found in fs::read_dir(&self.directory)? {
            if let Some(name) = found?.file_name().to_str().and_then(Name::parse) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Reads an entry; none if another sender has removed it, or if it was unreadable and was moved away.
    pub fn read(&self, name: &Name) -> Option<SpoolEntry> {
        let path = self.directory.join(&name.text);
        match innkeeper_settings::read_file(&path, LARGEST) {
            Err(_) if !path.exists() => None,
            Err(problem) => {
                logbook::note(format_args!("the entry {} cannot be read: {problem}", name.text));
                self.put_aside(&path, name);
                None
            }
            Ok(content) => match serde_json::from_slice(&content) {
                Ok(entry) => Some(entry),
                Err(error) => {
                    logbook::note(format_args!("the entry {} is torn and was put aside: {error}", name.text));
                    self.put_aside(&path, name);
                    None
                }
            },
        }
    }

    /// Replaces an entry, with the reports that are left of it.
    ///
    /// # Errors
    /// The file cannot be written. In that case the entry is unchanged.
    pub fn replace(&self, name: &Name, entry: &SpoolEntry) -> io::Result<()> {
        self.write(&name.text, &serde_json::to_vec(entry)?)
    }

    /// Removes an entry that is done.
    pub fn remove(&self, name: &Name) {
        match fs::remove_file(self.directory.join(&name.text)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // The entry will be sent again, and the server recognizes it by its key.
                logbook::note(format_args!("the entry {} cannot be removed: {error}", name.text));
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Whether the spool has an entry about `run`.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn has(&self, run: Uuid) -> io::Result<bool> {
        Ok(self.list()?.iter().any(|name| name.is_about(run)))
    }

    /// Removes temporary files of writers that died.
    pub fn sweep(&self) {
        let Ok(found) = fs::read_dir(&self.directory) else { return };
        let is_half = |file: &fs::DirEntry| file.file_name().as_encoded_bytes().starts_with(HALF.as_bytes());
        found.flatten().filter(is_half).for_each(|file| remove_abandoned(&file.path()));
    }

    /// The dropped reports that the server has not been told of yet.
    pub fn dropped(&self) -> Dropped {
        Dropped::read(&self.directory)
    }

    /// Forgets the dropped reports that these entries have reported.
    pub fn forget_dropped(&self, told: &[SpoolEntry]) {
        Dropped::forget(&self.directory, told);
    }

    /// Age at which an entry is dropped, in milliseconds.
    pub fn longest_ms(&self) -> u64 {
        u64::try_from(self.bounds.age.num_milliseconds()).unwrap_or(u64::MAX)
    }

    /// Drops an entry and counts its reports as dropped, so that the server can be told.
    pub fn drop_entry(&self, name: &Name) {
        let entry = self.read(name);
        self.remove(name);
        if let Some(entry) = entry {
            Dropped::add(&self.directory, &entry);
        }
    }

    fn make_room(&self, here: &[Name], bytes: u64) {
        let sized: Vec<(Name, u64)> = here
            .iter()
            .map(|name| {
                (name.clone(), fs::metadata(self.directory.join(&name.text)).map_or(0, |found| found.len()))
            })
            .collect();
        for name in bounds::over(&sized, bytes, &self.bounds) {
            self.drop_entry(&name);
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        write_whole(&self.directory, name, content)
    }

    fn put_aside(&self, path: &Path, name: &Name) {
        let moved =
            fs::create_dir_all(&self.aside).and_then(|()| fs::rename(path, self.aside.join(&name.text)));
        if moved.is_err() {
            let _ = fs::remove_file(path);
        }
        let Ok(found) = fs::read_dir(&self.aside) else { return };
        let mut kept: Vec<PathBuf> = found.flatten().map(|file| file.path()).collect();
        kept.sort_unstable();
        let over = kept.len().saturating_sub(PUT_ASIDE);
        for path in &kept[..over] {
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes a temporary file if it is old enough to be abandoned.
pub fn remove_abandoned(path: &Path) {
    let written = fs::metadata(path).and_then(|found| found.modified());
    let age = written.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    if age.is_some_and(|age| age > ABANDONED) {
        // Another process may have removed it first.
        let _ = fs::remove_file(path);
    }
}

/// Writes a file of `directory` atomically and syncs both the file and its name.
///
/// # Errors
/// The file cannot be written. In that case none is left behind.
pub fn write_whole(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let half = directory.join(format!("{HALF}{}", Uuid::new_v4()));
    let written = write_half(&half, content).and_then(|()| fs::rename(&half, directory.join(name)));
    if let Err(error) = written {
        let _ = fs::remove_file(&half);
        return Err(error);
    }
    File::open(directory)?.sync_all()
}

fn write_half(half: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(half)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
