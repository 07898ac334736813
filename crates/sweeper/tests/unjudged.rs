//! A row that cannot be read or judged: it is named, the operator is told, and all other jobs are still watched.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use innkeeper_store::DatabaseKind;
use innkeeper_testing::client::Client;
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::{PATIENCE, Server};

/// What breaks a row, with the table and what is set in it.
fn broken(kind: DatabaseKind) -> Vec<(&'static str, &'static str)> {
    let both = vec![
        ("reservations", "tags = '{'"),
        ("reservations", "schedule = 'cron at noon UTC'"),
        ("reservations", "notify = 'nobody@nowhere@'"),
        ("reservations", "key = 'not a key'"),
    ];
    match kind {
        DatabaseKind::Postgres => both,
        DatabaseKind::Sqlite => [
            both,
            vec![
                ("states", "checkins = NULL"),
                ("states", "last_checkin_at = 'yesterday'"),
                ("states", "status = 'odd'"),
                ("reservations", "owner = NULL"),
                ("reservations", "tags = CAST(X'5BFF5D' AS TEXT)"),
            ],
        ]
        .concat(),
    }
}

/// The number of the n-th job.
fn id(database: &TestDatabase, n: usize) -> i64 {
    database.number(&format!("SELECT id FROM reservations WHERE component = '{}'", job(n))).unwrap()
}

fn set(database: &TestDatabase, table: &str, id: i64, what: &str) {
    let key = if table == "states" { "reservation_id" } else { "id" };
    let statement = format!("UPDATE {table} SET {what} WHERE {key} = {id};");
    match database.kind() {
        DatabaseKind::Postgres => database.execute(&statement),
        // As an editor's mistake would.
        DatabaseKind::Sqlite => {
            database.execute(&format!("PRAGMA ignore_check_constraints = ON; {statement}"))
        }
    }
}

/// Constraints no longer keep mistakes out.
fn allow_nulls(database: &TestDatabase) {
    match database.kind() {
        DatabaseKind::Postgres => {}
        DatabaseKind::Sqlite => database.execute(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_master SET sql = REPLACE(REPLACE(REPLACE(sql, 'IS NOT NULL', 'IS_ONE'), 'NOT NULL', ''), 'IS_ONE', 'IS NOT NULL') WHERE name IN ('states', 'reservations')",
        ),
    }
}

fn subjects(sink: &HttpSink) -> Vec<String> {
    sink.requests().iter().map(|request| request.json()["subject"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn where_no_job_can_be_judged_the_sweep_fails_and_none_is_named() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        overdue(&database, "shop", 3, "log");
        // Conclusions, not facts: check-ins are written.
        refuse(&database, "UPDATE OF status", "states");
        let config = config(&database, &webhook("hook", &sink, "")).replace("[\"log\"]", "[\"hook\"]");
        let inn = Server::start("innkeeper", &config, &[]);
        let ready = || Client::default().get(&inn.url("/readyz"));
        wait_until("the operator hears of it", || subjects(&sink).contains(&"Sweeps fail".to_owned()));
        let answer = ready();
        assert!(answer.status == 503 && answer.body.contains("sweeps fail"), "{answer:?}");
        assert_eq!(database.count("unjudged"), 0);

        allow(&database, "states");
        wait_until("all are told", || database.count("alerts") == 3);
        wait_until("it is ready again", || ready().status == 200);
        wait_until("so hears the operator", || subjects(&sink).contains(&"Sweeps succeed again".to_owned()));
        let subjects = subjects(&sink);
        assert!(!subjects.iter().any(|subject| subject.contains("cannot be judged")), "{subjects:?}");
    }
}

#[test]
fn a_row_that_cannot_be_judged_is_named_and_silences_no_other() {
    for database in TestDatabase::both() {
        let sink = HttpSink::start();
        let broken = broken(database.kind());
        let healthy = 6;
        overdue(&database, "shop", broken.len() + healthy, "log");
        allow_nulls(&database);
        for (n, (table, what)) in broken.iter().enumerate() {
            set(&database, table, id(&database, n), what);
        }
        let config = config(&database, &webhook("hook", &sink, "")).replace("[\"log\"]", "[\"hook\"]");
        let inn = Server::start("innkeeper", &config, &[]);
        wait_until("all others are told", || database.count("alerts") == healthy as i64);
        let named = |n: usize| format!("shop/{} cannot be judged", job(n));
        wait_until("each that is broken is named to the operator", || {
            let subjects = subjects(&sink);
            (0..broken.len()).all(|n| subjects.iter().filter(|subject| **subject == named(n)).count() == 1)
        });
        assert_eq!(database.count("unjudged"), broken.len() as i64, "{:?}", broken);

        // What was judged before is judged on, and who is mended is watched again.
        let problems = database.texts("SELECT problem FROM unjudged ORDER BY reservation_id");
        println!("{problems:#?}");
        let client = Client::default();
        for path in ["/api/v1/reservations", "/metrics", "/"] {
            assert_eq!(client.get(&inn.url(path)).status, 200, "{path}");
        }
        let page = client.send("GET", &inn.url("/"), &[("accept", "text/html")], b"").unwrap();
        assert_eq!(page.status, 200);
        let nodes = client.get(&inn.url("/nodes")).json();
        assert_eq!(nodes["unjudged"].as_array().unwrap().len(), broken.len(), "{nodes}");
        for n in 0..broken.len() {
            assert!(page.body.contains(&format!("shop/{}", job(n))), "{n} is named: {}", page.body);
        }
        set(&database, "reservations", id(&database, 0), "tags = '[]'");
        set(&database, "states", id(&database, 0), "wake_at = 1");
        database.execute("UPDATE unjudged SET again_at = 1");
        wait_until("who is mended is watched again", || {
            subjects(&sink).contains(&format!("shop/{} is judged again", job(0)))
        });
        wait_until("and told", || database.count("alerts") == healthy as i64 + 1);
        let again = subjects(&sink).iter().filter(|subject| subject.ends_with("cannot be judged")).count();
        assert_eq!(again, broken.len(), "each is told once");
    }
}

#[test]
fn a_job_that_nobody_would_look_at_again_is_looked_at() {
    for database in TestDatabase::both() {
        overdue(&database, "shop", 2, "log");
        let never = match database.kind() {
            DatabaseKind::Postgres => "wake_at = 9223372036854775807",
            DatabaseKind::Sqlite => "wake_at = 'never'",
        };
        set(&database, "states", id(&database, 0), never);
        let mended = database.store().mend_wakes(innkeeper_core::Clock::now(&innkeeper_core::SystemClock));
        assert_eq!(mended.unwrap(), 1);
        let _sweeper = Server::start("sweeper", &config(&database, ""), &[]);
        wait_until("both are told", || database.count("alerts") == 2);
    }
}

#[test]
fn a_damaged_page_silences_only_whose_rows_lie_on_it() {
    let database = TestDatabase::sqlite();
    let sink = HttpSink::start();
    overdue(&database, "shop", 8, "log");
    // So long that each row has a page of its own.
    database.execute(
        "UPDATE reservations SET description = 'Page of ' || component || ' ' || hex(zeroblob(1500))",
    );
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)");
    let config = config(&database, &webhook("hook", &sink, "")).replace("[\"log\"]", "[\"hook\"]");
    damage(&database, &format!("Page of {}", job(3)));

    let mut inn = Server::start("innkeeper", &config, &[]);
    wait_until("all others are told", || database.count("alerts") == 7);
    let named = format!("shop/{} cannot be judged", job(3));
    wait_until("the one is named to the operator", || subjects(&sink).contains(&named));
    let page = Client::default().send("GET", &inn.url("/"), &[("accept", "text/html")], b"").unwrap();
    assert!(page.status == 200 && page.body.contains(&format!("shop/{}", job(3))), "{page:?}");
    assert!(inn.terminate(PATIENCE).success());
}

/// Damages the page of the file on which this text stands.
fn damage(database: &TestDatabase, marker: &str) {
    let path = database.url().strip_prefix("sqlite://").unwrap().to_owned();
    let mut file = std::fs::read(&path).unwrap();
    let place = file.windows(marker.len()).position(|bytes| bytes == marker.as_bytes()).unwrap();
    let page = place / 4096 * 4096;
    file[page..page + 8].fill(0xff);
    std::fs::write(&path, file).unwrap();
}

#[test]
fn a_damaged_page_of_facts_silences_only_whose_rows_lie_on_it() {
    let database = TestDatabase::sqlite();
    let sink = HttpSink::start();
    let all = 200;
    overdue(&database, "shop", all, "log");
    let marked = id(&database, 100);
    database.execute(&format!("UPDATE states SET last_source = 'this page' WHERE reservation_id = {marked}"));
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)");
    damage(&database, "this page");
    let config = config(&database, &webhook("hook", &sink, "")).replace("[\"log\"]", "[\"hook\"]");
    let mut inn = Server::start("innkeeper", &config, &[]);
    wait_until("all are told of or named", || {
        database.count("alerts") + database.count("unjudged") == all as i64
    });
    let named = database.count("unjudged");
    assert!((1..100).contains(&named), "{named}");
    assert_eq!(database.count(&format!("unjudged WHERE reservation_id = {marked}")), 1);
    overdue(&database, "later", 1, "log");
    wait_until("who falls silent later is told", || database.count("alerts WHERE app = 'later'") == 1);
    assert!(!subjects(&sink).iter().any(|subject| subject.contains("Sweeps fail")), "{:?}", subjects(&sink));
    assert!(inn.terminate(PATIENCE).success());
}

#[test]
fn a_damaged_page_of_postgres_silences_only_whose_rows_lie_on_it() {
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    let sink = HttpSink::start();
    let all = 300;
    overdue(&database, "shop", all, "log");
    let damaged = database.numbers("SELECT reservation_id FROM states WHERE (ctid::text::point)[0] = 1");
    assert!((20..200).contains(&damaged.len()), "{}", damaged.len());
    let place = "SELECT current_setting('data_directory') || '/' || pg_relation_filepath('states')";
    let place = database.text(place).unwrap();
    database.execute("CHECKPOINT");
    cluster.stop();
    let mut file = std::fs::read(&place).unwrap();
    file[8192..8192 + 64].fill(0xff);
    std::fs::write(&place, file).unwrap();
    cluster.resume();

    let config = config(&database, &webhook("hook", &sink, "")).replace("[\"log\"]", "[\"hook\"]");
    let mut sweeper = Server::start("sweeper", &config, &[]);
    let healthy = (all - damaged.len()) as i64;
    wait_until("all others are told", || database.count("alerts") == healthy);
    wait_until("each of the others is named", || database.count("unjudged") == damaged.len() as i64);
    let name = database.text("SELECT MIN(app || '/' || component) FROM unjudged").unwrap();
    wait_until("the operator hears of it", || subjects(&sink).contains(&format!("{name} cannot be judged")));
    overdue(&database, "later", 1, "log");
    wait_until("who falls silent later is told", || database.count("alerts") == healthy + 1);
    // Also when those that cannot be read are tried again.
    database.execute("UPDATE unjudged SET again_at = 1");
    wait_until("they are put aside again", || database.count("unjudged WHERE again_at = 1") == 0);
    overdue(&database, "later still", 1, "log");
    wait_until("who falls silent later still is told", || database.count("alerts") == healthy + 2);
    assert_eq!(database.text("SELECT unable FROM nodes WHERE role = 'sweeper'").as_deref(), Some(""));
    assert_eq!(database.count("unjudged"), damaged.len() as i64);
    assert!(!subjects(&sink).iter().any(|subject| subject.contains("Sweeps fail")), "{:?}", subjects(&sink));
    assert!(sweeper.terminate(PATIENCE).success());
}

#[test]
fn a_damaged_block_of_postgres_silences_only_whose_rows_lie_on_it() {
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    // Each of an app of its own: who wants to know the sites of an app reads all of it.
    (0..24).for_each(|n| overdue(&database, &format!("app-{n}"), 1, "log"));
    // So long that a block holds four or five rows, and found one by one, as in a table that is so large that nobody reads all of it.
    database.execute(
        "UPDATE reservations SET description =
             (SELECT string_agg(md5(id::text || n::text), '') FROM generate_series(1, 50) n)",
    );
    let name = database.text("SELECT current_database()::text").unwrap();
    database.execute(&format!("ALTER DATABASE {name} SET enable_seqscan = off"));
    let block = "(ctid::text::point)[0]";
    let id = database.number("SELECT id FROM reservations WHERE app = 'app-12'").unwrap();
    let of_block = format!(
        "SELECT id FROM reservations WHERE {block} = (SELECT {block} FROM reservations WHERE id = {id}) ORDER BY id"
    );
    let lost = database.numbers(&of_block);
    assert!((1..=8).contains(&lost.len()) && lost.contains(&id), "{lost:?}");
    let number = database.number(&format!("SELECT ({block})::bigint FROM reservations WHERE id = {id}"));
    let file = database.text("SELECT pg_relation_filepath('reservations')").unwrap();
    database.execute("CHECKPOINT");
    cluster.stop();
    cluster.overwrite(&file, number.unwrap() as u64 * 8192, &[0xff; 24]);
    cluster.resume();

    let mut inn = Server::start("innkeeper", &config(&database, ""), &[]);
    let others = 24 - lost.len() as i64;
    wait_until("all others are told", || database.count("alerts") == others);
    wait_until("each that is lost is named", || database.count("unjudged") == lost.len() as i64);
    assert_eq!(database.numbers("SELECT reservation_id FROM unjudged ORDER BY reservation_id"), lost);
    let problems = database.texts("SELECT DISTINCT problem FROM unjudged");
    assert!(problems.iter().all(|problem| problem.contains("invalid page")), "{problems:?}");
    // Lists have all others as well, and say what they lack.
    let list = Client::default().get(&inn.url("/reservation"));
    assert_eq!(list.status, 200, "{list:?}");
    assert_eq!(list.json()["result"].as_array().unwrap().len() as i64, others);
    assert!(list.header("warning").is_some_and(|warning| warning.contains("cannot be read")), "{list:?}");
    // What must be whole is not sent at all.
    assert_eq!(Client::default().get(&inn.url("/api/v1/export")).status, 500);
    assert!(inn.terminate(PATIENCE).success());
}
