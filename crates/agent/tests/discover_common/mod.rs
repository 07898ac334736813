//! A directory that represents a machine.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::{DateTime, Utc};
use innkeeper_agent::discover::machine::Cron;
use innkeeper_agent::discover::plan::{DiscoverPlan, PlanOptions};
use innkeeper_agent::discover::{DiscoveredJob, Inventory, SearchOptions, find};
use tempfile::TempDir;

pub const AGENT: &str = "/usr/bin/innkeeper-agent";

pub struct Machine {
    pub directory: TempDir,
    pub options: SearchOptions,
    pub agent: PathBuf,
}

pub fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

impl Machine {
    pub fn new(cron: Cron) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = SearchOptions::of_files(at("2026-11-25T15:50:00Z"));
        options.cron = Some(cron);
        let machine = Self { directory, options, agent: PathBuf::from(AGENT) };
        machine.put("etc/passwd", "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n");
        machine.put("etc/hostname", "web1\n");
        machine.put("etc/timezone", "Europe/Berlin\n");
        fs::create_dir_all(machine.state()).unwrap();
        machine
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The file with a user's crontab.
    pub fn spool(&self, user: &str, text: impl AsRef<[u8]>) {
        let path = format!("var/spool/cron/crontabs/{user}");
        self.put(&path, text);
        self.mode(&path, 0o600);
    }

    pub fn read(&self, path: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(path)).unwrap()).into_owned()
    }

    pub fn find(&self) -> Inventory {
        find(&self.root(), &self.options)
    }

    pub fn plan(&self, found: &Inventory) -> DiscoverPlan {
        DiscoverPlan::new(found, PlanOptions { agent: &self.agent, schedule_flags: false, only: &[] })
    }

    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        script(self.directory.path(), name, text)
    }
}

pub fn script(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    // Written by a program of its own: one that another test starts meanwhile would have the open file, too, and what
    // is open for writing cannot be run.
    let mut writer = Command::new("/bin/sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(format!("#!/bin/sh\n{text}").as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    path
}

/// The entry whose command contains this text.
pub fn entry<'a>(found: &'a Inventory, command: &str) -> &'a DiscoveredJob {
    let mut fit = found.entries.iter().filter(|entry| entry.command.contains(command));
    let first = fit.next().unwrap_or_else(|| panic!("{command}: {:#?}", found.entries));
    assert!(fit.next().is_none(), "{command}");
    first
}

pub fn notation(entry: &DiscoveredJob) -> String {
    entry.schedule.as_ref().map(|schedule| schedule.notation()).unwrap_or_default()
}
