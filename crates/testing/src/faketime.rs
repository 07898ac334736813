//! A wall clock that a test sets for the processes it starts (libfaketime). Their monotonic and boot clocks are not
//! affected.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use innkeeper_core::{Clock as _, SystemClock};
use tempfile::TempDir;

/// A clock as described in the module's documentation.
pub struct FakeClock {
    directory: TempDir,
    library: String,
}

impl FakeClock {
    /// A clock that is `offset` seconds ahead of the true time, or behind it if negative.
    pub fn ahead(offset: i64) -> Self {
        let directory = TempDir::with_prefix("ikclock").expect("a temporary directory");
        // Postgres runs as another user and must be able to read the directory.
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), everybody).expect("it can be opened");
        let clock = Self { directory, library: library().display().to_string() };
        clock.set(offset);
        clock
    }

    /// Sets it to `offset` seconds ahead of the true time.
    pub fn set(&self, offset: i64) {
        let new = self.directory.path().join("new");
        std::fs::write(&new, format!("{offset:+}\n")).expect("it can be written");
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&new, everybody).expect("it can be opened");
        // Renaming is atomic, so that no process reads a partial file.
        std::fs::rename(&new, self.file()).expect("it can be renamed");
    }

    /// The time that the clock shows to its processes.
    pub fn now(&self) -> DateTime<Utc> {
        let offset = std::fs::read_to_string(self.file()).expect("it can be read");
        SystemClock.now() + TimeDelta::seconds(offset.trim().parse().expect("seconds"))
    }

    /// Environment variables for a process that should use this clock.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("offset")
    }
}

impl Drop for FakeClock {
    /// Removes files that the library leaves behind for each killed process. They are named after the process id, and
    /// would prevent another user's process with that id from starting.
    fn drop(&mut self) {
        for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((_, process)) = name.rsplit_once('_').filter(|_| name.contains("faketime_s")) else {
                continue;
            };
            if !PathBuf::from(format!("/proc/{process}")).exists() {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// The library's path in Debian and Ubuntu.
fn library() -> PathBuf {
    let places =
        std::fs::read_dir("/usr/lib").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    places
        .map(|place| place.join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
        .expect("libfaketime: install the package libfaketime, or run scripts/test")
}
