//! The SQLite file is deleted, loses its log, is overwritten or damaged under the running program, while jobs check in.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use common::eventually;
use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::json;

struct Instance {
    database: TestDatabase,
    path: PathBuf,
    operator: HttpSink,
    server: Server,
    client: Client,
}

impl Instance {
    fn open() -> Self {
        Self::over(TestDatabase::sqlite())
    }

    fn over(database: TestDatabase) -> Self {
        let operator = HttpSink::start();
        let config = format!(
            "operator = [\"hook\"]\n[database]\nurl = \"{}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\ncommit_timeout = \"2s\"\n\
             [alerter.hook]\nkind = \"webhook\"\nurl = \"{}\"\n",
            database.url(),
            operator.url("/hook")
        );
        let server = Server::start("innkeeper", &config, &[]);
        server.address();
        let path = PathBuf::from(database.url().strip_prefix("sqlite://").unwrap());
        Self { database, path, operator, server, client: Client::new(PATIENCE) }
    }

    fn reserve(&self, component: &str) -> Response {
        let body = json!({ "app": "shop", "component": component, "notify": "hook", "frequency": 5, "time_units": "minutes" });
        self.client.post(&self.server.url("/reservation"), &body)
    }

    fn check_in(&self, component: &str) -> Response {
        self.client.post(&self.server.url("/checkin"), &json!({ "app": "shop", "component": component }))
    }

    /// Has two jobs check in all the time, does `deed`, lets them go on until `until` says so, and returns how often they were told
    /// that it worked.
    fn under_load(&self, deed: impl FnOnce(), until: impl Fn()) -> i64 {
        let (over, acknowledged) = (AtomicBool::new(false), AtomicI64::new(0));
        std::thread::scope(|scope| {
            for component in ["a", "b"] {
                assert_eq!(self.reserve(component).status, 200);
                let (over, acknowledged) = (&over, &acknowledged);
                scope.spawn(move || {
                    while !over.load(Ordering::SeqCst) {
                        match self.check_in(component).status {
                            200 => _ = acknowledged.fetch_add(1, Ordering::SeqCst),
                            status => assert_eq!(status, 503),
                        }
                    }
                });
            }
            eventually("they check in", || (acknowledged.load(Ordering::SeqCst) > 100).then_some(()));
            deed();
            until();
            over.store(true, Ordering::SeqCst);
        });
        acknowledged.into_inner()
    }

    /// Waits until the operator is told this; returns the text.
    fn told(&self, subject: &str) -> String {
        eventually(subject, || {
            let mut told = self.operator.requests().into_iter().map(|request| request.json());
            let notice = told.find(|notice| notice["subject"] == subject)?;
            Some(notice["text"].as_str().unwrap_or_default().to_owned())
        })
    }

    fn ready(&self) -> Response {
        self.client.get(&self.server.url("/readyz"))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        PathBuf::from(format!("{}{suffix}", self.path.display()))
    }
}

#[test]
fn a_deleted_file_takes_no_check_in_with_it() {
    let instance = Instance::open();
    let acknowledged = instance.under_load(
        || fs::remove_file(&instance.path).unwrap(),
        || {
            let gone = Instant::now();
            let text = instance.told("The database file was lost");
            assert!(gone.elapsed() < Duration::from_secs(30), "{:?}", gone.elapsed());
            let saved = text.split("saved in ").nth(1).unwrap().split(". ").next().unwrap().to_owned();
            let answer = instance.check_in("a");
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
            assert_eq!(instance.reserve("c").status, 503);
            assert_eq!(instance.ready().status, 503);
            assert!(!instance.path.exists(), "no new file is made");
            fs::rename(saved, &instance.path).unwrap();
            instance.told("The database file is back");
            eventually("it takes check-ins", || (instance.check_in("a").status == 200).then_some(()));
        },
    );
    eventually("it is ready, when it has swept again", || (instance.ready().status == 200).then_some(()));
    assert!(instance.database.count("checkins") >= acknowledged.min(190), "of each the latest 100 are kept");
    let counted = instance.database.number("SELECT SUM(checkins) FROM states").unwrap();
    assert!(counted > acknowledged, "{acknowledged} were told 200, {counted} are there");
    assert_eq!(instance.database.count("alerts"), 0);
}

#[test]
fn the_file_holds_what_was_written_soon_after() {
    let instance = Instance::open();
    for job in 0..3 {
        assert_eq!(instance.reserve(&format!("job-{job}")).status, 200);
    }
    let place = tempfile::TempDir::new().unwrap();
    let mut copies = 0;
    eventually("the file alone has them", || {
        // A copy without the log; some hundred pages, so that a minute is enough by far.
        copies += 1;
        let copy = place.path().join(format!("{copies}.db"));
        fs::copy(&instance.path, &copy).unwrap();
        let store = innkeeper_store::Store::connect(&innkeeper_store::StoreConfig {
            url: format!("sqlite://{}", copy.display()),
            pool_size: 2,
        });
        std::thread::sleep(Duration::from_millis(500));
        store.unwrap().count().is_ok_and(|count| count == 3).then_some(())
    });
}

#[test]
fn a_deleted_log_takes_no_check_in_with_it() {
    for suffix in ["-wal", "-shm"] {
        let instance = Instance::open();
        let acknowledged = instance.under_load(
            || fs::remove_file(instance.beside(suffix)).unwrap(),
            || {
                let text = instance.told("The database file was lost and is back");
                assert!(text.contains("-wal or -shm"), "{text}");
                eventually("it takes check-ins", || (instance.check_in("a").status == 200).then_some(()));
            },
        );
        let counted = instance.database.number("SELECT SUM(checkins) FROM states").unwrap();
        assert!(counted > acknowledged, "{suffix}: {acknowledged} were told 200, {counted} are there");
        assert_eq!(
            instance.database.text("SELECT quick_check FROM pragma_quick_check").as_deref(),
            Some("ok")
        );
    }
}

#[test]
fn a_file_that_was_cut_off_takes_no_check_in() {
    let instance = Instance::open();
    for job in 0..50 {
        assert_eq!(instance.reserve(&format!("job-{job}")).status, 200);
    }
    eventually("the file has them", || (fs::metadata(&instance.path).unwrap().len() > 100_000).then_some(()));
    instance.under_load(
        || fs::OpenOptions::new().write(true).open(&instance.path).unwrap().set_len(4096).unwrap(),
        || {
            let cut = Instant::now();
            eventually("it is not ready", || (instance.ready().status == 503).then_some(()));
            assert_eq!((instance.check_in("a").status, instance.reserve("c").status), (503, 503));
            let text = instance.told("The database file was lost");
            assert!(text.contains("was cut off") && text.contains("innkeeper restore"), "{text}");
            assert!(cut.elapsed() < Duration::from_secs(10), "{:?}", cut.elapsed());
        },
    );
    let names =
        fs::read_dir(instance.path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    let stale = names.filter(|name| name.to_string_lossy().contains("-wal.stale-")).count();
    assert_eq!((stale, instance.beside("-wal").exists()), (1, false));
}

#[test]
fn a_file_that_was_overwritten_is_left_until_a_restart() {
    let other = TestDatabase::sqlite();
    other.store().checkpoint().unwrap();
    let other = fs::read(other.url().strip_prefix("sqlite://").unwrap()).unwrap();
    let instance = Instance::open();
    assert_eq!(instance.reserve("a").status, 200);
    fs::write(&instance.path, &other).unwrap();
    let text = instance.told("The database file was lost");
    assert!(text.contains("overwritten") && text.contains("innkeeper restore"), "{text}");
    assert_eq!((instance.check_in("a").status, instance.ready().status), (503, 503));
    let Instance { database, mut server, .. } = instance;
    server.terminate(PATIENCE);
    let instance = Instance::over(database);
    assert_eq!(instance.check_in("a").status, 404, "it is another database, and a good one");
    assert_eq!(instance.reserve("a").status, 200);
    assert_eq!(instance.database.text("SELECT quick_check FROM pragma_quick_check").as_deref(), Some("ok"));
}

#[test]
fn what_can_be_read_of_a_damaged_file_is_worked_with() {
    let mut instance = Instance::open();
    let jobs = 200;
    for job in 0..jobs {
        assert_eq!(instance.reserve(&format!("job-{job}")).status, 200);
    }
    instance.server.terminate(PATIENCE);
    let Instance { database, path, .. } = instance;
    // One of the pages on which the jobs' states lie.
    let page = database
        .number(
            "SELECT pageno FROM dbstat WHERE name = 'states' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1",
        )
        .unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xaa; 4096], (page as u64 - 1) * 4096).unwrap();

    let instance = Instance::over(database);
    let answers: Vec<u16> = (0..jobs).map(|job| instance.check_in(&format!("job-{job}")).status).collect();
    let count = |wanted: u16| answers.iter().filter(|status| **status == wanted).count();
    let (good, bad) = (count(200), count(500));
    assert!(good > 0 && bad > 0 && good + bad == jobs, "{answers:?}");
    let text = instance.told("The database file is damaged");
    assert!(text.contains(&*path.to_string_lossy()) && text.contains("states"), "{text}");
    let ready = instance.ready();
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("damaged"), "{ready:?}");
    assert_eq!(instance.reserve("new").status, 200);
    assert_eq!(instance.check_in("new").status, 200);
}
