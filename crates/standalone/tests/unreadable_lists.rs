//! An unreadable reservation: lists contain all others and say what is missing, requests that need a complete list are
//! refused, and a request for that reservation returns the error.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use innkeeper_store::DatabaseKind;
use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::{PATIENCE, Server, command};
use serde_json::{Value, json};
use tempfile::TempDir;

const OTHERS: [&str; 3] = ["first", "second", "third"];

fn config(database: &TestDatabase) -> String {
    format!(
        "operator = [\"log\"]\n[database]\nurl = \"{}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[web]\nlisten = \"127.0.0.1:0\"\n",
        database.url()
    )
}

/// Who shows the lists of this database, with four reservations in it, of which nobody has broken one yet.
fn web(database: &TestDatabase) -> (Server, i64) {
    database.store();
    let program = match database.kind() {
        DatabaseKind::Sqlite => "innkeeper",
        DatabaseKind::Postgres => "web",
    };
    let web = Server::start(program, &config(database), &[]);
    for component in OTHERS.into_iter().chain(["broken"]) {
        let job = json!({ "app": "shop", "component": component, "frequency": 1, "time_units": "hours" });
        assert_eq!(Client::default().post(&web.url("/api/v1/reservations"), &job).status, 201);
    }
    // Heard last, so that the broken one would come first.
    database.execute("UPDATE states SET last_checkin_at = 1000000 + reservation_id, checkins = 1");
    (web, database.number("SELECT id FROM reservations WHERE component = 'broken'").unwrap())
}

fn get(web: &Server, path: &str, accept: &str) -> Response {
    Client::new(PATIENCE).send("GET", &web.url(path), &[("accept", accept)], b"").unwrap()
}

fn components(list: &Value, field: &str) -> Vec<String> {
    let mut all: Vec<String> =
        list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect();
    all.retain(|component| !component.starts_with("innkeeper"));
    all.sort();
    all
}

/// All of it, while the reservation `id` cannot be read; `named` is what it is called.
fn lists_say_what_they_lack(database: &TestDatabase, web: &Server, id: i64, named: &str, what: &str) {
    for (path, list, field) in [
        ("/reservation", "result", "component"),
        ("/cron", "Crons", "Cronname"),
        ("/cron/shop", "Crons", "Cronname"),
    ] {
        let answer = get(web, path, "*/*");
        assert_eq!(answer.status, 200, "{what}, {path}: {answer:?}");
        assert_eq!(components(&answer.json()[list], field), OTHERS, "{what}, {path}");
        let warning = answer.header("warning").unwrap_or_default();
        assert!(warning.contains(&format!("{named} cannot be read")), "{what}, {path}: {answer:?}");
    }
    let summary = get(web, "/api/v1/summary", "*/*");
    assert_eq!(summary.status, 200, "{what}: {summary:?}");
    let sentence = summary.json()["unreadable"][0].as_str().unwrap_or_default().to_owned();
    assert!(sentence.starts_with(&format!("{named} cannot be read: ")), "{what}: {summary:?}");
    for accept in ["application/json", "application/toml"] {
        let export = get(web, "/api/v1/export", accept);
        assert_eq!(export.status, 500, "{what}: {export:?}");
        let detail = export.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("{named} cannot be read")), "{what}: {detail}");
    }
    let one = get(web, &format!("/api/v1/reservations/{id}"), "*/*");
    let detail = one.json()["detail"].as_str().unwrap_or_default().to_owned();
    assert!(one.status == 500 && detail.contains(&format!("{named} cannot be read")), "{what}: {one:?}");
    for path in [format!("/status/{id}"), format!("/status/{id}/edit")] {
        let page = get(web, &path, "text/html");
        assert_eq!(page.status, 500, "{what}, {path}: {page:?}");
        assert!(page.body.contains("cannot be read") && page.body.contains(named), "{what}: {}", page.body);
    }
    assert_eq!(get(web, &format!("/status/{}", id - 1000), "text/html").status, 404);
    web.wait_for_log(&format!("left out of a list: {named} cannot be read"));

    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("innkeeper.toml"), config(database)).unwrap();
    let printed = command("sweeper", directory.path()).arg("--summary").output().unwrap();
    let text = String::from_utf8_lossy(&printed.stdout);
    assert!(printed.status.success(), "{what}: {printed:?}");
    assert!(text.contains("Not in this summary") && text.contains(named), "{what}: {text}");
    assert!(text.contains("of 3 reservations"), "{what}: {text}");
}

/// What breaks the row: a table, its key, and what is set.
fn faults(kind: DatabaseKind) -> Vec<(&'static str, &'static str, &'static str)> {
    let both = vec![("reservations", "id", "tags = '{'")];
    match kind {
        DatabaseKind::Postgres => both,
        DatabaseKind::Sqlite => [
            both,
            vec![
                ("reservations", "id", "grace_ms = 'much'"),
                ("reservations", "id", "owner = CAST(X'FF' AS TEXT)"),
            ],
        ]
        .concat(),
    }
}

#[test]
fn a_row_that_cannot_be_read_is_named_and_the_others_are_delivered() {
    for kind in [DatabaseKind::Sqlite, DatabaseKind::Postgres] {
        for (table, key, fault) in faults(kind) {
            let database = TestDatabase::of(kind);
            let (web, id) = web(&database);
            let ignoring = match kind {
                DatabaseKind::Postgres => "",
                DatabaseKind::Sqlite => "PRAGMA ignore_check_constraints = ON;",
            };
            database.execute(&format!("{ignoring} UPDATE {table} SET {fault} WHERE {key} = {id}"));
            lists_say_what_they_lack(&database, &web, id, "shop/broken", fault);
        }
    }
}

#[test]
fn a_damaged_page_leaves_the_others_in_the_lists() {
    let database = TestDatabase::sqlite();
    let (mut web, id) = web(&database);
    // So long that each row has a page of its own.
    database.execute(
        "UPDATE reservations SET description = 'Page of ' || component || ' ' || hex(zeroblob(1500))",
    );
    assert!(web.terminate(PATIENCE).success());
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)");
    let path = database.url().strip_prefix("sqlite://").unwrap().to_owned();
    let mut file = std::fs::read(&path).unwrap();
    let marker = b"Page of broken";
    let place = file.windows(marker.len()).position(|bytes| bytes == marker).unwrap();
    let page = place / 4096 * 4096;
    file[page..page + 8].fill(0xff);
    std::fs::write(&path, file).unwrap();
    let web = Server::start("innkeeper", &config(&database), &[]);
    lists_say_what_they_lack(&database, &web, id, "shop/broken", "a damaged page");
}
