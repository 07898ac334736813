//! Check-ins cannot be written while everything else can: no false alert opens, and the operator is told.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::{Duration, Instant};

use common::*;
use innkeeper_store::DatabaseKind;
use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::jobs::Jobs;
use innkeeper_testing::process::Server;
use innkeeper_testing::proxy::SwallowingProxy;
use serde_json::{Value, json};

/// How long the lock is held. Jobs of every two seconds fall due many times in it.
const LOCKED: Duration = Duration::from_secs(20);

fn told(sink: &HttpSink, what: &str) -> usize {
    let has = |body: &Value| body["subject"].as_str().is_some_and(|subject| subject.contains(what));
    sink.requests().iter().filter(|request| has(&request.json())).count()
}

fn operated(database: &TestDatabase, sink: &HttpSink) -> String {
    let config = config(database, &webhook("hook", sink, ""));
    config.replace("operator = [\"log\"]", "operator = [\"hook\"]")
}

fn post(url: &str, body: &Value) -> Response {
    Client::new(Duration::from_secs(30)).post(url, body)
}

fn ready(server: &Server) -> (u16, String) {
    let answer = Client::default().get(&server.url("/readyz"));
    (answer.status, answer.body)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("job{n}")).collect()
}

#[test]
fn nobody_is_blamed_while_check_ins_cannot_be_written_and_the_operator_hears_of_it() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        let inn = Server::start("innkeeper", &operated(&database, &sink), &[]);
        let jobs = Jobs::start(&[&inn], &names(12));
        wait_until("all have checked in", || database.count("states WHERE checkins > 1") == 12);
        assert_eq!(ready(&inn), (200, "ready\n".to_owned()));

        let locked = Instant::now();
        let lock = database.hold("checkins");
        wait_until("it is not ready", || ready(&inn).0 == 503);
        assert!(ready(&inn).1.starts_with("check-ins cannot be written"), "{}", ready(&inn).1);
        wait_until("the operator hears of it", || told(&sink, "Check-ins cannot be written") == 1);
        assert!(locked.elapsed() < Duration::from_secs(30), "{:?}", locked.elapsed());
        std::thread::sleep(LOCKED.saturating_sub(locked.elapsed()));
        drop(lock);

        wait_until("it is ready again", || ready(&inn).0 == 200);
        wait_until("the operator hears of the end", || {
            told(&sink, "Check-ins can be written again") == 1 && told(&sink, "Innkeeper was blind") == 1
        });
        std::thread::sleep(Duration::from_secs(3));
        jobs.stop();
        assert_eq!(
            database.count("alerts"),
            0,
            "{:?}: {:?}",
            database.kind(),
            database.texts("SELECT sentence FROM alerts")
        );
        assert_eq!(
            database.count("blind_windows WHERE until_at - from_at > 15000"),
            1,
            "{:?}",
            database.kind()
        );
        assert_eq!(told(&sink, "out of reach") + told(&sink, "There is no") + told(&sink, "Sweeps fail"), 0);
    }
}

#[test]
fn where_no_check_in_comes_a_probe_finds_that_none_could_be_written() {
    let database = TestDatabase::postgres();
    let sink = HttpSink::start();
    let config = operated(&database, &sink);
    let ingest = Server::start("ingest", &config, &[]);
    let _sweeper = Server::start("sweeper", &config, &[]);
    let body = json!({
        "app": "shop", "component": "nightly", "owner": "me", "notify": "hook", "frequency": 20,
        "time_units": "seconds", "grace": "1s",
    });
    assert_eq!(post(&ingest.url("/reservation"), &body).status, 200);
    let ids = database.number("SELECT last_value FROM checkins_id_seq");
    // Whatever a check-in writes: here the runs, which not every check-in needs.
    let lock = database.hold("runs");
    wait_until("it is not ready", || ready(&ingest).0 == 503);
    wait_until("the operator hears of it", || told(&sink, "Check-ins cannot be written") == 1);
    wait_until("the node says so", || {
        database.count("nodes WHERE unable = 'ingest' AND problem LIKE '%lock%'") == 1
    });
    drop(lock);
    wait_until("it is ready again", || ready(&ingest).0 == 200);
    wait_until("the window is recorded", || {
        database.count("blind_windows WHERE until_at - from_at > 5000") == 1
    });
    assert_eq!(database.count("alerts"), 0);
    assert_eq!(database.count("checkins") + database.count("runs"), 0, "a probe leaves nothing");
    assert_eq!(database.number("SELECT last_value FROM checkins_id_seq"), ids);
}

/// A job that checks in at none of them falls silent after its period and grace (3 s); the rest is for a busy machine.
const IN_TIME: Duration = Duration::from_secs(12);

/// Two ingests, the second over the database's address `second`, and a sweeper.
fn two(database: &TestDatabase, sink: &HttpSink, second: &str) -> [Server; 3] {
    let config = operated(database, sink);
    let other = config.replace(database.url(), second);
    let [able, unable] = [&config, &other].map(|config| Server::start("ingest", config, &[]));
    let sweeper = Server::start("sweeper", &config, &[]);
    for server in [&able, &unable] {
        wait_until("it is ready", || ready(server).0 == 200);
    }
    [able, unable, sweeper]
}

/// Who has been told about.
fn accused(database: &TestDatabase) -> Vec<String> {
    database.texts("SELECT component FROM alerts ORDER BY component")
}

#[test]
fn one_of_several_that_may_not_write_says_so_and_the_others_jobs_are_judged_as_ever() {
    let database = TestDatabase::postgres();
    database.store();
    let (sink, role) = (HttpSink::start(), database.role());
    let [able, unable, _sweeper] = two(&database, &sink, &role.url());
    // Some know one ingest, some both, and try the one that fails first.
    let (here, there) =
        (Jobs::start(&[&able], &names(3)), Jobs::start(&[&unable, &able], &["both".to_owned()]));
    let silent = Jobs::start(&[&unable], &["silent".to_owned()]);
    wait_until("all have checked in", || database.count("states WHERE checkins > 1") == 5);

    role.revoke("INSERT ON checkins");
    let (broken, text) = (Instant::now(), json!({ "app": "shop", "component": "both" }));
    silent.stop();
    wait_until("the silent job is told about", || told(&sink, "silent") == 1);
    assert!(broken.elapsed() < IN_TIME, "{:?}", broken.elapsed());
    wait_until("it is not ready", || ready(&unable).0 == 503);
    let why = ready(&unable).1;
    assert!(why.starts_with("check-ins cannot be written") && why.contains("permission denied"), "{why}");
    assert_ne!(post(&unable.url("/checkin"), &text).status, 200);
    wait_until("the operator hears of it", || told(&sink, "Check-ins cannot be written") == 1);
    assert!(broken.elapsed() < Duration::from_secs(30), "{:?}", broken.elapsed());
    assert_eq!(ready(&able), (200, "ready\n".to_owned()));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(accused(&database), ["silent"]);

    // Where nobody checks in at the other, a probe proves that one could.
    let quiet = Instant::now();
    for jobs in [here, there] {
        jobs.stop();
    }
    wait_until("those that fall silent now are told about, too", || database.count("alerts") == 5);
    assert!(quiet.elapsed() < IN_TIME, "{:?}", quiet.elapsed());
    assert_eq!(database.count("blind_windows"), 0);

    role.grant("INSERT ON checkins");
    wait_until("it is ready again", || ready(&unable).0 == 200);
    wait_until("the operator hears of the end", || told(&sink, "Check-ins can be written again") == 1);
    assert_eq!(post(&unable.url("/checkin"), &text).status, 200);
    assert_eq!(database.count("blind_windows") + told(&sink, "Innkeeper was blind") as i64, 0);
    assert_eq!(told(&sink, "Check-ins cannot be written"), 1);
}

#[test]
fn one_of_several_that_has_lost_the_database_blinds_nobody() {
    let database = TestDatabase::postgres();
    database.store();
    let (sink, proxy) = (HttpSink::start(), SwallowingProxy::before(database.url()));
    let [able, unable, _sweeper] = two(&database, &sink, &proxy.url(database.url()));
    let (here, there) =
        (Jobs::start(&[&able], &names(3)), Jobs::start(&[&unable, &able], &["both".to_owned()]));
    let silent = Jobs::start(&[&able], &["silent".to_owned()]);
    wait_until("all have checked in", || database.count("states WHERE checkins > 1") == 5);
    there.stop();
    database.execute("DELETE FROM reservations WHERE component = 'both'");

    proxy.swallow(true);
    let broken = Instant::now();
    silent.stop();
    wait_until("the silent job is told about", || told(&sink, "silent") == 1);
    assert!(broken.elapsed() < IN_TIME, "{:?}", broken.elapsed());
    wait_until("it is not ready", || ready(&unable).0 == 503);
    wait_until("it tells the operator", || told(&sink, "The database is out of reach") == 1);
    assert!(broken.elapsed() < Duration::from_secs(40), "{:?}", broken.elapsed());
    assert_eq!(told(&sink, "A node is gone"), 1, "so do the others");
    assert_eq!(ready(&able), (200, "ready\n".to_owned()));

    proxy.swallow(false);
    wait_until("it is ready again", || ready(&unable).0 == 200);
    wait_until("the operator hears of the end", || told(&sink, "The database answers again") == 1);
    assert_eq!(accused(&database), ["silent"]);
    assert_eq!(database.count("blind_windows"), 0);
    here.stop();
}

#[test]
fn check_ins_of_one_job_that_are_refused_are_told_and_make_nobody_deaf() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        let inn = Server::start("innkeeper", &operated(&database, &sink), &[]);
        let jobs = Jobs::start(&[&inn], &["healthy".to_owned()]);
        let [id, failing] = ["refused", "failing"].map(|component| {
            let mut wish = json!({ "app": "shop", "component": component, "notify": "hook" });
            (wish["frequency"], wish["time_units"]) = (json!(1), json!("hours"));
            assert_eq!(post(&inn.url("/reservation"), &wish).status, 200);
            let id = format!("SELECT id FROM reservations WHERE component = '{component}'");
            database.number(&id).unwrap_or_default()
        });
        database.execute(&match database.kind() {
            DatabaseKind::Postgres => format!(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
                 CREATE TRIGGER refuse BEFORE INSERT ON checkins FOR EACH ROW
                     WHEN (NEW.reservation_id IN ({id}, {failing})) EXECUTE FUNCTION refuse()"
            ),
            DatabaseKind::Sqlite => format!(
                "CREATE TRIGGER refuse BEFORE INSERT ON checkins WHEN NEW.reservation_id IN ({id}, {failing})
                 BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            ),
        });
        let key =
            database.text("SELECT CAST(key AS TEXT) FROM reservations WHERE component = 'failing'").unwrap();
        let fail = || post(&inn.url(&format!("/ping/{key}/fail")), &json!({})).status;
        let check_in = || {
            std::thread::sleep(Duration::from_millis(300));
            post(&inn.url("/checkin"), &json!({ "app": "shop", "component": "refused" })).status
        };
        wait_until("the operator hears of it", || {
            assert_eq!(check_in(), 500);
            told(&sink, "Check-ins of shop/refused cannot be written") == 1
        });
        for _ in 0..10 {
            assert_eq!(check_in(), 500);
            assert_eq!(ready(&inn), (200, "ready\n".to_owned()), "others are written");
        }
        wait_until("the operator hears of the one that fails", || {
            assert_eq!(fail(), 500);
            told(&sink, "Check-ins of the ping key") == 1
        });
        jobs.stop();
        let is_open =
            |id| database.count(&format!("alerts WHERE reservation_id = {id} AND closed_at IS NULL")) == 1;
        let is_told = || is_open(id);
        // It is not accused as long as they come, however long.
        for _ in 0..6 {
            database.age(Duration::from_secs(50 * 60));
            // At least one of them is noted.
            (0..5).for_each(|_| assert_eq!((check_in(), fail()), (500, 500)));
            assert!(!is_told());
        }
        wait_until("whoever says that it fails is excused by nothing", || is_open(failing));
        // When they end, the next is expected, and it has as long to be heard of as after a blind window; then it is silent.
        database.age(Duration::from_secs(100 * 60));
        std::thread::sleep(Duration::from_secs(2));
        assert!(!is_told());
        database.age(Duration::from_secs(30 * 60));
        wait_until("it is told that it is silent", is_told);
        database.execute(match database.kind() {
            DatabaseKind::Postgres => "DROP FUNCTION refuse CASCADE",
            DatabaseKind::Sqlite => "DROP TRIGGER refuse",
        });
        assert_eq!(check_in(), 200);
        wait_until("it is back", || !is_told());
        assert_eq!(told(&sink, "Check-ins of shop/refused cannot be written"), 1, "once");
        assert_eq!(database.count("blind_windows") + told(&sink, "Check-ins cannot be written") as i64, 0);
    }
}
