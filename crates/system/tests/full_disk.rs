//! The SQLite file lies on a file system that runs full: check-ins are told to come again, and are taken when there is room.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use innkeeper_testing::client::{Answer, Client};
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::json;
use tempfile::TempDir;

/// A small file system of its own; unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(directory.path())
            .status();
        assert!(mounted.unwrap().success(), "mount");
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn check_in(server: &Server, n: usize) -> Answer {
    let body = json!({ "app": "shop", "component": "backup", "notes": format!("{n:0>4000}") });
    Client::default().post(&server.url("/checkin"), &body)
}

#[test]
fn a_full_disk_is_answered_503_until_there_is_room() {
    let disk = SmallDisk::new();
    let config = format!(
        "operator = [\"log\"]\n[database]\nurl = \"sqlite://{}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\ncommit_timeout = \"1s\"\n",
        disk.path().join("innkeeper.db").display()
    );
    let mut server = Server::start("innkeeper", &config, &[]);
    let body = json!({
        "app": "shop", "component": "backup", "owner": "test", "notify": "", "frequency": 1, "time_units": "days",
    });
    assert_eq!(Client::default().post(&server.url("/reservation"), &body).status, 200);
    for n in 0..3 {
        assert_eq!(check_in(&server, n).status, 200);
    }

    // Whatever room is left.
    let filler = disk.path().join("filler");
    let _ = Command::new("dd")
        .args(["if=/dev/zero", "bs=4k", "status=none"])
        .arg(format!("of={}", filler.display()))
        .status();
    // What the log had of room may take some more.
    let mut refused = 0;
    for n in 3..2000 {
        let answer = check_in(&server, n);
        match answer.status {
            200 => {}
            503 => {
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                refused += 1;
            }
            _ => panic!("{answer:?}"),
        }
        if refused == 4 {
            break;
        }
    }
    assert_eq!(refused, 4, "the disk never ran full");

    std::fs::remove_file(&filler).unwrap();
    let end = Instant::now() + PATIENCE;
    while check_in(&server, 9999).status != 200 {
        assert!(Instant::now() < end, "it does not recover");
    }
    let complaints =
        server.log().lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
    assert!(complaints < 12, "{complaints} lines:\n{}", server.log());
    assert!(server.terminate(Duration::from_secs(35)).success());
    let again = Server::start("innkeeper", &config, &[]);
    let shown: serde_json::Value =
        serde_json::from_str(&Client::default().get(&again.url("/api/v1/reservations/1/check-ins")).body)
            .unwrap();
    assert!(shown["checkins"][0]["notes"].as_str().is_some_and(|notes| notes.ends_with("9999")), "{shown}");
}
