//! Tests problems of the disk under an SQLite database: full, read-only, hanging, and a file that the service may not
//! open.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use innkeeper_system::mount::{Mount, run};
use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::jobs::Jobs;
use innkeeper_testing::process::{PATIENCE, Server, program, stat};
use serde_json::json;
use tempfile::TempDir;

/// The promised limit is 20 s; the rest is a margin for a busy machine.
const TOLD_WITHIN: Duration = Duration::from_secs(40);
/// 25 s plus a margin for a busy machine.
const STOP: Duration = Duration::from_secs(35);

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

/// SQLite would otherwise sort long lists in files of this directory.
#[test]
fn a_full_tmpdir_is_none_of_the_databases_business() {
    let (temporary, directory) = (Mount::memory("64k"), TempDir::new().unwrap());
    temporary.fill();
    let data = directory.path().join("data");
    let server = Server::start_with(
        &[("TMPDIR", &temporary.place())],
        "innkeeper",
        "operator = [\"log\"]\n[ingest]\nlisten = \"127.0.0.1:0\"\n",
        &["--data-dir", &data.to_string_lossy()],
    );
    server.address();
    let client = Client::new(PATIENCE);
    let job = |n: u32| json!({ "app": "shop", "component": format!("job-{n}"), "frequency": 5, "time_units": "minutes" });
    let all: Vec<_> = (0..300).map(job).collect();
    for reservation in &all {
        let answer = client.post(&server.url("/reservation"), reservation);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for list in ["/api/v1/summary", "/api/v1/export"] {
        let answer = client.get(&server.url(list));
        assert_eq!(answer.status, 200, "{list}: {answer:?}\n{}", server.log());
    }
    assert!(!server.log().contains("disk is full"), "{}", server.log());
}

fn reserve(server: &Server, component: &str) -> Response {
    let body = json!({ "app": "shop", "component": component, "notify": "hook", "frequency": 5, "time_units": "minutes" });
    Client::new(PATIENCE).post(&server.url("/reservation"), &body)
}

fn check_in(server: &Server) -> Response {
    Client::new(PATIENCE).post(&server.url("/checkin"), &json!({ "app": "shop", "component": "backup" }))
}

fn ready(server: &Server) -> Response {
    Client::new(PATIENCE).get(&server.url("/readyz"))
}

/// The number of check-ins of the first job in the database.
fn check_ins(server: &Server) -> u64 {
    let list = Client::new(PATIENCE).get(&server.url("/api/v1/reservations/1")).json();
    list["checkins"].as_u64().unwrap_or_else(|| panic!("{list}"))
}

fn is_told(operator: &HttpSink, words: &str) -> bool {
    operator.requests().iter().any(|request| String::from_utf8_lossy(&request.body).contains(words))
}

/// Checks that every request that would write is answered with "try again later", that `/readyz` gives the reason, and
/// that the operator is told.
fn refuses_and_tells(server: &Server, operator: &HttpSink, why: &str) {
    for answer in [check_in(server), reserve(server, "other")] {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    eventually("the operator is told", || {
        assert_eq!(check_in(server).status, 503);
        is_told(operator, why)
    });
    let mut answer = ready(server);
    eventually("it is not ready", || {
        answer = ready(server);
        answer.status == 503
    });
    assert!(answer.body.contains("check-ins cannot be written"), "{answer:?}");
}

#[test]
fn a_full_disk_is_told_and_is_over_when_there_is_room_again() {
    let mount = Mount::memory("4m");
    let operator = HttpSink::start();
    let mut server = start(&mount, &operator);
    assert_eq!(reserve(&server, "backup").status, 200);
    assert_eq!(check_in(&server).status, 200);
    mount.fill();
    // The log may have some room left within its last page.
    eventually("it is full", || check_in(&server).status == 503);
    refuses_and_tells(&server, &operator, "full");
    let backup = Command::new(program("innkeeper"))
        .args(["--data-dir", &mount.place(), "backup", &mount.path("backup.db").to_string_lossy()])
        .output()
        .unwrap();
    assert_eq!(backup.status.code(), Some(1));
    let said = String::from_utf8_lossy(&backup.stderr);
    let target = mount.path("backup.db");
    assert!(said.contains(&format!("{} cannot be written", target.display())), "{said}");
    let left: Vec<_> =
        fs::read_dir(mount.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("backup")), "{left:?}");
    mount.make_room();
    eventually("it takes check-ins again", || check_in(&server).status == 200);
    eventually("it is ready again", || ready(&server).status == 200);
    let complaints =
        server.log().lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
    assert!(complaints < 16, "{complaints} lines:\n{}", server.log());
    let kept = check_ins(&server);
    assert!(server.terminate(PATIENCE).success());
    assert!(check_ins(&start(&mount, &operator)) >= kept);
}

#[test]
fn a_copy_that_has_no_room_names_what_it_was_to_be() {
    let (mount, place) = (Mount::memory("1m"), TempDir::new().unwrap());
    let data = place.path().display().to_string();
    let innkeeper = |data: &str, command: &str, file: &Path| {
        let mut command = Command::new(program("innkeeper"))
            .args(["--data-dir", data, command, &file.to_string_lossy()])
            .output()
            .unwrap();
        command.stderr.extend(command.stdout);
        (command.status.code(), String::from_utf8_lossy(&command.stderr).into_owned())
    };
    let backup = place.path().join("backup.db");
    // This creates the database.
    let migrated =
        Command::new(program("innkeeper")).args(["--data-dir", &data, "migrate"]).status().unwrap();
    assert!(migrated.success());
    assert_eq!(innkeeper(&data, "backup", &backup).0, Some(0));
    mount.fill();
    fs::File::options().write(true).open(mount.path("filler")).unwrap().set_len(900 << 10).unwrap();
    let database = place.path().join("innkeeper.db");
    for (data, command, file, source, target) in [
        (&*data, "backup", mount.path("new.db"), &database, mount.path("new.db")),
        (&*mount.place(), "restore", backup.clone(), &backup, mount.path("innkeeper.db")),
    ] {
        let (code, said) = innkeeper(data, command, &file);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("{} cannot be written", target.display())), "{said}");
        assert!(said.contains("full") && said.contains("bytes were free there"), "{said}");
        assert!(said.contains(&format!("{} has", source.display())) && said.contains("make room"), "{said}");
        let left: Vec<_> =
            fs::read_dir(mount.place()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["filler"]);
    }
}

#[test]
fn a_disk_that_has_become_read_only_is_told() {
    let mount = Mount::disk();
    let operator = HttpSink::start();
    let mut server = start(&mount, &operator);
    assert_eq!(reserve(&server, "backup").status, 200);
    assert_eq!(check_in(&server).status, 200);
    // The kernel does the same when a disk fails.
    run("mount", &["-o", "remount,abort", &mount.place()]);
    refuses_and_tells(&server, &operator, "read-only");
    server.terminate(PATIENCE);

    // A start reports it, too.
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
fn a_disk_that_hangs_is_told_and_blames_nobody_and_is_over_when_it_answers() {
    let mount = Mount::disk();
    let operator = HttpSink::start();
    let server = start(&mount, &operator);
    assert_eq!(reserve(&server, "backup").status, 200);
    let jobs = Jobs::start(&[&server], &["busy".to_owned()]);
    assert_eq!(check_in(&server).status, 200);
    let (frozen, since) = (mount.freeze(), Instant::now());
    let answer = check_in(&server);
    assert!(answer.status == 503 && answer.header("retry-after").is_some(), "{answer:?}");
    eventually("it is not ready", || ready(&server).status == 503);
    eventually("the operator is told", || {
        is_told(&operator, "out of reach") || is_told(&operator, "Check-ins cannot be written")
    });
    println!("told after {:?}", since.elapsed());
    assert!(since.elapsed() < TOLD_WITHIN, "{:?}", since.elapsed());
    drop(frozen);
    eventually("it takes check-ins again", || check_in(&server).status == 200);
    eventually("it is ready again", || ready(&server).status == 200);
    eventually("the operator hears of the end", || {
        is_told(&operator, "answers again") || is_told(&operator, "can be written again")
    });
    eventually("and of the blind window", || is_told(&operator, "Innkeeper was blind"));
    std::thread::sleep(Duration::from_secs(4));
    jobs.stop();
    assert!(!is_told(&operator, "shop/busy"), "a healthy job is not told about");
}

#[test]
fn a_stop_on_a_disk_that_hangs_ends_all_but_what_the_kernel_holds() {
    let mount = Mount::disk();
    let operator = HttpSink::start();
    let mut server = start(&mount, &operator);
    assert_eq!(reserve(&server, "backup").status, 200);
    assert_eq!(check_in(&server).status, 200);
    let kept = check_ins(&server);
    let (frozen, since) = (mount.freeze(), Instant::now());
    assert_eq!(check_in(&server).status, 503);
    server.signal("TERM");
    // A thread in a system call to the disk ends only with that call, even after a kill. The process counts as ended.
    eventually("it ends", || stat(server.pid()).is_none_or(|stat| !stat.is_alive()));
    println!("it has ended after {:?}", since.elapsed());
    assert!(since.elapsed() < STOP, "{:?}", since.elapsed());
    drop(frozen);
    assert_eq!(server.wait_for_end(PATIENCE).code(), Some(1));
    assert!(server.log().contains("something hangs"), "{}", server.log());
    let server = start(&mount, &operator);
    assert!(check_ins(&server) >= kept);
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
        // A process that ends hastily leaves the database's log behind, and the next one then creates no file in the
        // directory.
        eventually("the last to close the file takes its log away", || {
            assert_eq!(migrate("nobody").0, Some(0));
            !data.join("innkeeper.db-wal").exists()
        });
        allow(path, "root");
        let (code, said) = migrate("nobody");
        assert_eq!(code, Some(1), "{said}");
        for part in [&*path.to_string_lossy(), "belongs to root", "runs as nobody", "chown nobody"] {
            assert!(said.contains(part), "does not say {part:?}: {said}");
        }
        allow(path, "nobody");
    }

    // After a restore by root, the file belongs to the service.
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
