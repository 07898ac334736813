//! The disk under an SQLite database: full, read-only, and a file that the service may not open.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use innkeeper_testing::client::{Answer, Client};
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::{PATIENCE, Server, program};
use serde_json::json;
use tempfile::TempDir;

/// A file system of the test's own; unmounted when dropped.
struct Mount {
    directory: TempDir,
    _image: TempDir,
}

impl Mount {
    /// A small one in memory.
    fn memory(size: &str) -> Self {
        let mount = Self { directory: TempDir::new().unwrap(), _image: TempDir::new().unwrap() };
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", &mount.place()]);
        mount
    }

    /// One of a disk's kind, in a file.
    fn disk() -> Self {
        let mount = Self { directory: TempDir::new().unwrap(), _image: TempDir::new().unwrap() };
        fs::File::create(mount.image()).unwrap().set_len(32 << 20).unwrap();
        run("mkfs.ext4", &["-q", &mount.image()]);
        mount.mount();
        mount
    }

    fn mount(&self) {
        run("mount", &["-o", "loop", &self.image(), &self.place()]);
    }

    fn image(&self) -> String {
        self._image.path().join("image").display().to_string()
    }

    fn place(&self) -> String {
        self.directory.path().display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy", &self.place()]).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let done =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn eventually(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < end, "this does not come: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn start(mount: &Mount, operator: &HttpSink) -> Server {
    let config = format!(
        "operator = [\"hook\"]\n[ingest]\nlisten = \"127.0.0.1:0\"\ncommit_timeout = \"2s\"\n\
         [alerter.hook]\nkind = \"webhook\"\nurl = \"{}\"\n",
        operator.url("/hook")
    );
    let server = Server::start("innkeeper", &config, &["--data-dir", &mount.place()]);
    server.address();
    server
}

fn reserve(server: &Server, component: &str) -> Answer {
    let body = json!({ "app": "shop", "component": component, "notify": "hook", "frequency": 5, "time_units": "minutes" });
    Client::new(PATIENCE).post(&server.url("/reservation"), &body)
}

fn check_in(server: &Server) -> Answer {
    Client::new(PATIENCE).post(&server.url("/checkin"), &json!({ "app": "shop", "component": "backup" }))
}

fn is_told(operator: &HttpSink, words: &str) -> bool {
    operator.requests().iter().any(|request| String::from_utf8_lossy(&request.body).contains(words))
}

/// Everything that would write is told to come again, `/readyz` says why, and the operator hears of it.
fn refuses_and_tells(server: &Server, operator: &HttpSink, why: &str) {
    for answer in [check_in(server), reserve(server, "other")] {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    eventually("the operator is told", || {
        assert_eq!(check_in(server).status, 503);
        is_told(operator, why)
    });
    let mut ready = Client::new(PATIENCE).get(&server.url("/readyz"));
    eventually("it is not ready", || {
        ready = Client::new(PATIENCE).get(&server.url("/readyz"));
        ready.status == 503
    });
    assert!(ready.body.contains("check-ins cannot be written"), "{ready:?}");
}

#[test]
fn a_full_disk_is_told_and_is_over_when_there_is_room_again() {
    let mount = Mount::memory("4m");
    let operator = HttpSink::start();
    let server = start(&mount, &operator);
    assert_eq!(reserve(&server, "backup").status, 200);
    assert_eq!(check_in(&server).status, 200);
    // Whatever is free.
    let filled = fs::File::create(mount.path("filler")).unwrap();
    let mut size = 0;
    for step in [1 << 20, 1 << 12] {
        while std::os::unix::fs::FileExt::write_all_at(&filled, &vec![1; step], size).is_ok() {
            size += step as u64;
        }
    }
    // The log may have some room left within its last page.
    eventually("it is full", || check_in(&server).status == 503);
    refuses_and_tells(&server, &operator, "full");
    let backup = Command::new(program("innkeeper"))
        .args(["--data-dir", &mount.place(), "backup", &mount.path("backup.db").to_string_lossy()])
        .output()
        .unwrap();
    assert_eq!(backup.status.code(), Some(1));
    let left: Vec<_> =
        fs::read_dir(mount.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("backup")), "{left:?}");
    // What is open keeps its room.
    drop(filled);
    fs::remove_file(mount.path("filler")).unwrap();
    eventually("it takes check-ins again", || check_in(&server).status == 200);
    eventually("it is ready again", || Client::new(PATIENCE).get(&server.url("/readyz")).status == 200);
}

#[test]
fn a_disk_that_has_become_read_only_is_told() {
    let mount = Mount::disk();
    let operator = HttpSink::start();
    let mut server = start(&mount, &operator);
    assert_eq!(reserve(&server, "backup").status, 200);
    assert_eq!(check_in(&server).status, 200);
    // What the kernel does when a disk fails.
    run("mount", &["-o", "remount,abort", &mount.place()]);
    refuses_and_tells(&server, &operator, "read-only");
    server.terminate(PATIENCE);

    // A start says so, too.
    let refused =
        Command::new(program("innkeeper")).args(["--data-dir", &mount.place(), "migrate"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("read-only"), "{said}");
    run("umount", &[&mount.place()]);
    mount.mount();
    let server = start(&mount, &operator);
    assert_eq!(check_in(&server).status, 200);
}

#[test]
fn a_restored_file_that_the_service_may_not_open_is_named_with_its_owner() {
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    fs::create_dir(&data).unwrap();
    let allow = |path: &Path, owner: &str| run("chown", &[owner, &path.to_string_lossy()]);
    run("chmod", &["755", &place.path().to_string_lossy()]);
    // Where the service's user can run it.
    let innkeeper = place.path().join("innkeeper");
    fs::copy(program("innkeeper"), &innkeeper).unwrap();
    let migrate = |user: &str| {
        let arguments = ["--reuid", user, "--regid", "nogroup", "--clear-groups"];
        let done = Command::new("setpriv")
            .args(arguments)
            .arg(&innkeeper)
            .args(["--data-dir", &data.to_string_lossy(), "migrate"])
            .current_dir("/")
            .output()
            .unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    allow(&data, "nobody");
    assert_eq!(migrate("nobody").0, Some(0));
    let file = data.join("innkeeper.db");
    for path in [&file, &data] {
        allow(path, "root");
        let (code, said) = migrate("nobody");
        assert_eq!(code, Some(1), "{said}");
        for part in [&*path.to_string_lossy(), "belongs to root", "runs as nobody", "chown nobody"] {
            assert!(said.contains(part), "does not say {part:?}: {said}");
        }
        allow(path, "nobody");
    }

    // Restored by root it belongs to the service.
    let backup = place.path().join("backup.db");
    for command in ["backup", "restore"] {
        run(
            &program("innkeeper").to_string_lossy(),
            &["--data-dir", &data.to_string_lossy(), command, &backup.to_string_lossy()],
        );
    }
    let (code, said) = migrate("nobody");
    assert_eq!(code, Some(0), "{said}");
}
