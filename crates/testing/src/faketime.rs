//! A wall clock that a test sets for the processes it starts (libfaketime). Their monotonic and boot clocks go on as they are.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use innkeeper_core::{Clock as _, SystemClock};
use tempfile::TempDir;

/// See the module.
pub struct FakeClock {
    directory: TempDir,
    library: String,
}

impl FakeClock {
    /// A clock that is `offset` seconds ahead, or behind where that is negative.
    pub fn ahead(offset: i64) -> Self {
        let directory = TempDir::with_prefix("ikclock").expect("a temporary directory");
        // Postgres runs as another user.
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
        // At once, so that nobody reads half of it.
        std::fs::rename(&new, self.file()).expect("it can be renamed");
    }

    /// What it shows now to who lives by it.
    pub fn now(&self) -> DateTime<Utc> {
        let offset = std::fs::read_to_string(self.file()).expect("it can be read");
        SystemClock.now() + TimeDelta::seconds(offset.trim().parse().expect("seconds"))
    }

    /// What has a process live by this clock: variables of its environment.
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
    /// The library leaves files behind for each process that was killed, by its number; another user's process of that number could not
    /// start with them there.
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

/// Where Debian and Ubuntu put it.
fn library() -> PathBuf {
    let places =
        std::fs::read_dir("/usr/lib").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    places
        .map(|place| place.join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
        .expect("libfaketime: install the package libfaketime, or run scripts/test")
}
