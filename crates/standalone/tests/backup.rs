//! `innkeeper backup` while the program runs, and `innkeeper restore` when it does not.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::eventually;
use common::programs::run;
use innkeeper_testing::client::Client;
use innkeeper_testing::cluster::programs;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use innkeeper_testing::process::{PATIENCE, Server, program};
use serde_json::json;
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

fn file_of(database: &TestDatabase) -> PathBuf {
    PathBuf::from(database.url().strip_prefix("sqlite://").unwrap())
}

fn start(database: &TestDatabase, sink: &HttpSink) -> Server {
    let config = format!(
        "operator = [\"log\"]\n[database]\nurl = \"{}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\n\
         [alerter.hook]\nkind = \"webhook\"\nurl = \"{}\"\n",
        database.url(),
        sink.url("/hook")
    );
    let server = Server::start("innkeeper", &config, &[]);
    server.address();
    server
}

/// Runs a subcommand on the database: exit code, standard output, standard error.
fn on(database: &TestDatabase, command: &str, file: &Path) -> (Option<i32>, String, String) {
    let directory = TempDir::new().unwrap();
    let file = file.to_string_lossy();
    run("innkeeper", directory.path(), &["--database-url", database.url(), command, &file], &[])
}

fn reserve(server: &Server, component: &str) {
    let body = json!({ "app": "shop", "component": component, "notify": "hook", "frequency": 1, "time_units": "minutes" });
    let answer = Client::new(PATIENCE).post(&server.url("/reservation"), &body);
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn check_in(server: &Server, component: &str) -> u16 {
    Client::new(PATIENCE)
        .post(&server.url("/checkin"), &json!({ "app": "shop", "component": component }))
        .status
}

#[test]
fn a_backup_is_made_while_it_runs_and_restored_when_it_does_not() {
    let database = TestDatabase::sqlite();
    let sink = HttpSink::start();
    sink.otherwise(SinkResponse::status(500));
    let mut server = start(&database, &sink);
    reserve(&server, "silent");
    database.age(2 * HOUR);
    sink.wait_for(1, PATIENCE);
    eventually("the log has it", || {
        (database.count("deliveries WHERE state = 'waiting'") == 1).then_some(())
    });
    reserve(&server, "healthy");
    assert_eq!(check_in(&server, "healthy"), 200);

    let place = TempDir::new().unwrap();
    let backup = place.path().join("backup.db");
    let (code, out, err) = on(&database, "backup", &backup);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("2 reservations and 1 check-in"), "{out}");
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    let whole = fs::read(&backup).unwrap();

    for (command, file, expected) in [
        ("backup", &backup, "is there already"),
        ("backup", &place.path().join("no/such/directory/b.db"), "there is no directory"),
        ("restore", &backup, &*format!("process {}", server.pid())),
    ] {
        let (code, out, err) = on(&database, command, file);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{command} {file:?}: {err}");
        assert!(err.contains(expected), "{command} {file:?}: {err}");
        assert!(!err.contains("partial"), "a name that nobody gave: {err}");
    }
    assert_eq!(fs::read(&backup).unwrap(), whole);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing else is left");

    // What was told and made since is not in it.
    sink.otherwise(SinkResponse::status(200));
    database.execute("UPDATE deliveries SET next_at = 0 WHERE state = 'waiting'");
    eventually("the message is delivered", || {
        (database.count("deliveries WHERE state = 'delivered'") == 1).then_some(())
    });
    let sent = sink.requests().len();
    reserve(&server, "later");
    assert!(server.terminate(PATIENCE).success());
    fs::set_permissions(file_of(&database), fs::Permissions::from_mode(0o640)).unwrap();

    let (code, out, err) = on(&database, "restore", &backup);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("2 reservations again") && out.contains("1 message waited"), "{out}");
    let kept = out.split("is kept in ").nth(1).unwrap().split(".\n").next().unwrap();
    assert!(fs::metadata(kept).unwrap().len() > 0, "{kept}");
    assert_eq!(fs::metadata(file_of(&database)).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read(&backup).unwrap(), whole, "the backup stays as it is");
    assert_eq!(database.count("reservations"), 2);

    // Two hours on, nobody could check in since the backup's latest heartbeat: that is a blind window.
    database.age_asleep(2 * HOUR);
    database.execute("UPDATE deliveries SET next_at = 0 WHERE state = 'waiting'");
    let server = start(&database, &sink);
    let requests = sink.wait_for(sent + 1, PATIENCE);
    let keys: Vec<_> = requests.iter().map(|request| request.header("idempotency-key")).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "what waited goes out again under its key: {keys:?}");
    assert_eq!(check_in(&server, "later"), 404);
    // Long enough for some passes of the sweep.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(sink.requests().len(), sent + 1, "nobody else is told of");
    assert_eq!(database.count("alerts"), 1);
    assert_eq!(database.count("blind_windows WHERE until_at - from_at > 7000000"), 1);
    assert!(!server.log().contains("A node is gone"), "{}", server.log());
    assert_eq!(check_in(&server, "healthy"), 200);
}

#[test]
fn what_is_no_good_backup_is_refused_and_changes_nothing() {
    let [database, newer, damaged] = [(); 3].map(|()| TestDatabase::sqlite());
    for one in [&database, &newer, &damaged] {
        one.store();
    }
    newer.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000000')");
    let place = TempDir::new().unwrap();
    let file = |name: &str| place.path().join(name);
    fs::write(file("text"), "not a database, and long enough to look like one".repeat(100)).unwrap();
    assert_eq!(on(&newer, "backup", &file("newer")).0, Some(0));
    assert_eq!(on(&damaged, "backup", &file("damaged")).0, Some(0));
    let mut bytes = fs::read(file("damaged")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xaa);
    fs::write(file("damaged"), bytes).unwrap();
    damage_a_page_of(&file("page"));
    // Nobody has this one open.
    let closed = TempDir::new().unwrap();
    let copy = closed.path().join("innkeeper.db");
    assert_eq!(on(&database, "backup", &copy).0, Some(0));
    let before = fs::read(&copy).unwrap();
    let url = format!("sqlite://{}", copy.display());
    for (name, expected) in [
        (file("text"), "not a database"),
        (file("newer"), "newer Innkeeper"),
        (file("damaged"), "damaged"),
        (file("page"), "damaged (Tree "),
        (file("missing"), "No such file"),
        (place.path().to_owned(), "is no file"),
        (copy.clone(), "is the database itself"),
    ] {
        let arguments = ["--database-url", &url, "restore", &name.to_string_lossy()];
        let (code, out, err) = run("innkeeper", closed.path(), &arguments, &[]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{name:?}: {err}");
        assert!(err.contains(expected) && err.contains(&*name.to_string_lossy()), "{name:?}: {err}");
        assert!(!err.contains("\\n") && !err.contains("***"), "{err}");
        assert_eq!(fs::read(&copy).unwrap(), before, "{name:?}");
    }
    assert_eq!(fs::read_dir(closed.path()).unwrap().count(), 1, "nothing else is left");
    // Where there is no database yet, a backup becomes one, and a missing one is not backed up.
    let fresh = TempDir::new().unwrap();
    let arguments = ["--data-dir", "data", "restore", &copy.to_string_lossy()];
    let (code, _, err) = run("innkeeper", fresh.path(), &arguments, &[]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(
        fs::metadata(fresh.path().join("data/innkeeper.db")).unwrap().uid(),
        fs::metadata(&copy).unwrap().uid()
    );
    let (code, _, err) = run("innkeeper", fresh.path(), &["--data-dir", "none", "backup", "b.db"], &[]);
    assert!(code == Some(1) && err.contains("there is no database at"), "{err}");
}

/// Writes a backup with a page in its middle that only reading it from end to end finds.
fn damage_a_page_of(file: &Path) {
    let source = TestDatabase::sqlite();
    source.store();
    source.execute(&many_pages(200));
    assert_eq!(on(&source, "backup", file).0, Some(0));
    let mut bytes = fs::read(file).unwrap();
    let end = bytes.len() - 20 * 4096;
    bytes[end..end + 4 * 4096].fill(0xaa);
    fs::write(file, bytes).unwrap();
}

/// A table that takes some pages for each row.
fn many_pages(rows: u32) -> String {
    format!(
        "CREATE TABLE more AS WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT {rows})
        SELECT randomblob(1000) AS more FROM n"
    )
}

#[test]
fn nothing_is_left_of_a_copy_that_is_stopped() {
    let database = TestDatabase::sqlite();
    database.store();
    database.execute(&many_pages(150_000));
    let place = TempDir::new().unwrap();
    let backup = place.path().join("backup.db");
    assert_eq!(on(&database, "backup", &backup).0, Some(0));
    let target = TempDir::new().unwrap();
    let copy = target.path().join("innkeeper.db");
    let url = format!("sqlite://{}", copy.display());
    let files = || fs::read_dir(target.path()).unwrap().map(|entry| entry.unwrap().path());
    for (command, url, file) in [("backup", database.url(), &copy), ("restore", &url, &backup)] {
        for signals in [&["HUP"][..], &["TERM"], &["INT"], &["TERM", "HUP"]] {
            // Whoever runs this test may have it ignore SIGHUP (nohup), and children inherit that.
            let child = Command::new("env")
                .arg("--default-signal=HUP")
                .arg(program("innkeeper"))
                .args(["--database-url", url, command, &file.to_string_lossy()])
                .stderr(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            eventually("it writes", || {
                files().any(|path| fs::metadata(path).is_ok_and(|file| file.len() > 1 << 20)).then_some(())
            });
            for signal in signals {
                let pid = child.id().to_string();
                assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
            }
            let done = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.code().is_some_and(|code| code > 0), "{command} {signals:?}: {said}");
            if signals.len() == 1 {
                assert!(
                    said.contains("stopped before the copy was complete"),
                    "{command} {signals:?}: {said}"
                );
            }
            assert_eq!(files().collect::<Vec<_>>(), Vec::<PathBuf>::new(), "{command} {signals:?}: {said}");
        }
    }
    // A terminal that closes does not end what was started so that it should not.
    let nohup = "trap '' HUP; exec \"$0\" \"$@\"";
    let mut child = Command::new("sh")
        .args(["-c", nohup])
        .arg(program("innkeeper"))
        .args(["--database-url", database.url(), "backup", &copy.to_string_lossy()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it writes", || files().next());
    assert!(Command::new("kill").args(["-s", "HUP", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert_eq!(files().collect::<Vec<_>>(), std::slice::from_ref(&copy));
}

#[test]
fn restores_in_the_same_second_keep_all_that_was_there() {
    let database = TestDatabase::sqlite();
    database.store();
    let place = TempDir::new().unwrap();
    let good = place.path().join("good.db");
    assert_eq!(on(&database, "backup", &good).0, Some(0));
    let copy = place.path().join("innkeeper.db");
    fs::copy(&good, &copy).unwrap();
    let url = format!("sqlite://{}", copy.display());
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let mut kept = Vec::new();
    for _ in 0..6 {
        let was = inode(&copy);
        let arguments = ["--database-url", &url, "restore", &good.to_string_lossy()];
        let (code, out, err) = run("innkeeper", place.path(), &arguments, &[]);
        assert_eq!(code, Some(0), "{err}");
        let name = out.split("is kept in ").nth(1).unwrap().split(".\n").next().unwrap();
        kept.push((PathBuf::from(name), was));
    }
    for (name, was) in &kept {
        assert_eq!(inode(name), *was, "{kept:?}");
    }
}

#[test]
fn postgres_is_backed_up_by_its_own_means() {
    let [database, other] = [(); 2].map(|()| TestDatabase::postgres());
    database.store();
    database.execute("INSERT INTO duties (name, beat_at) VALUES ('ingest', 7)");
    let place = TempDir::new().unwrap();
    for command in ["backup", "restore"] {
        let (code, _, err) = on(&database, command, &place.path().join("b.db"));
        assert!(code == Some(1) && err.contains("pg_"), "{err}");
    }
    // The commands of docs/RELIABILITY.md.
    let file = place.path().join("innkeeper.dump");
    let file = file.to_string_lossy();
    let program = |name: &str, arguments: &[&str]| {
        let done = Command::new(programs().join(name)).args(arguments).output().unwrap();
        assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
    };
    program("pg_dump", &["--format=custom", "--file", &file, database.url()]);
    program("pg_restore", &["--no-owner", "--exit-on-error", "--dbname", other.url(), &file]);
    assert_eq!(other.connect().migrate().unwrap(), Vec::<String>::new());
    assert_eq!(other.numbers("SELECT beat_at FROM duties"), [7]);
}
