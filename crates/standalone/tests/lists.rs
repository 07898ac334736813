//! Complete lists: their exact bytes, slow readers, and what happens to their files.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use innkeeper_store::DatabaseKind;
use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::{Value, json};

/// More than fits into memory and into the system's buffers.
const MANY: usize = 1000;

/// Who shows the lists of this database.
fn web(database: &TestDatabase, variables: &[(&str, &str)]) -> Server {
    database.store();
    let config = format!(
        "operator = [\"log\"]\n[database]\nurl = \"{}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\n[web]\nlisten = \"127.0.0.1:0\"\n",
        database.url()
    );
    let name = match database.kind() {
        DatabaseKind::Sqlite => "innkeeper",
        DatabaseKind::Postgres => "web",
    };
    Server::start_with(variables, name, &config, &[])
}

fn client() -> Client {
    Client::new(PATIENCE)
}

fn apply(web: &Server, set: &str, content_type: &str) -> Value {
    let url = web.url("/api/v1/apply");
    let answer = client().send("PUT", &url, &[("content-type", content_type)], set.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn get(web: &Server, path: &str, accept: &str) -> Response {
    let answer = client().send("GET", &web.url(path), &[("accept", accept)], b"").unwrap();
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    let length = answer.header("content-length").map(str::to_owned);
    assert_eq!(length, Some(answer.body.len().to_string()), "{path}");
    let head = client().send("HEAD", &web.url(path), &[("accept", accept)], b"").unwrap();
    assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
    assert!(head.header("content-length").is_some(), "{path}: {head:?}");
    answer
}

fn many(web: &Server, database: &TestDatabase) {
    let job =
        |n| json!({ "app": "shop", "component": format!("job-{n}"), "frequency": 1, "time_units": "hours" });
    let jobs: Vec<Value> = (0..MANY).map(job).collect();
    let applied = apply(web, &json!({ "reservations": jobs }).to_string(), "application/json");
    assert_eq!(applied["created"].as_array().unwrap().len(), MANY);
    // Some kilobytes each, of digits that hardly repeat.
    let digits: Vec<String> = (1..700).map(|n| format!("CAST((id + 7) * {} AS TEXT)", n * 104_729)).collect();
    let digits = digits.join(" || ");
    database.execute(&format!("UPDATE reservations SET description = {digits} WHERE app = 'shop'"));
}

/// Fields that a value has, in this order, as the protocol writes them.
fn fields(value: &Value, names: &[&str]) -> String {
    let field = |name: &&str| format!("{}:{}", json!(name), value[*name]);
    format!("{{{}}}", names.iter().map(field).collect::<Vec<_>>().join(","))
}

fn list(values: &Value, names: &[&str]) -> String {
    let values: Vec<String> = values.as_array().unwrap().iter().map(|value| fields(value, names)).collect();
    format!("[{}]", values.join(","))
}

fn names(values: &Value, app: &str, component: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = values.as_array().unwrap().iter();
    all.map(|value| (text(&value[app]), text(&value[component]))).collect()
}

#[test]
fn lists_are_what_they_were_to_the_byte() {
    for database in TestDatabase::both() {
        let web = web(&database, &[]);
        let mut jobs = Vec::new();
        for (n, app) in ["shop", "Bank", "änderung", "a \"b\\"].into_iter().cycle().take(21).enumerate() {
            jobs.push(match n % 3 {
                0 => json!({ "app": app, "component": format!("é {n}"), "cron": "0 2 * * *", "time_zone": "Europe/Berlin" }),
                1 => json!({ "app": app, "component": format!("J{n}"), "frequency": 2, "time_units": "days", "owner": "<o>", "tags": ["a", "b"] }),
                _ => json!({ "app": app, "component": format!("j{n}"), "frequency": 1, "time_units": "hours", "notify": ["log"], "max_run": "5m" }),
            });
        }
        apply(&web, &json!({ "reservations": jobs }).to_string(), "application/json");
        // Some are silent, some were heard a while ago, two at the same time.
        database.execute(
            "UPDATE states SET last_checkin_at = 1000000 + (reservation_id / 2) * 60000, checkins = 1
             WHERE reservation_id % 3 <> 0",
        );

        database.execute("UPDATE reservations SET created_at = 0 WHERE app <> 'innkeeper'");
        let body = get(&web, "/reservation", "*/*").body;
        let reservations: Value = serde_json::from_str(&body).unwrap();
        // Values are written with their fields by name, and nothing between.
        assert_eq!(body, reservations.to_string());
        let shown = &reservations["result"];
        let order: Vec<(i64, i64)> = shown
            .as_array()
            .unwrap()
            .iter()
            .map(|job| (-job["last_checkin"].as_i64().unwrap(), job["job_id"].as_i64().unwrap()))
            .collect();
        assert!(order.is_sorted() && order.len() >= 21, "{order:?}");

        const CRON: [&str; 8] =
            ["Cronname", "Account", "Email", "Frequency", "Site", "Ipaddress", "Lastruntime", "Alerted"];
        for (path, account) in [
            ("/cron", None),
            ("/cron/missed", None),
            ("/cron/shop", Some("shop")),
            ("/cron/a%20%22b%5C", Some("a \"b\\")),
        ] {
            let body = get(&web, path, "*/*").body;
            let crons: Value = serde_json::from_str(&body).unwrap();
            let account = account.map(|name| format!("\"Account\":{},", json!(name))).unwrap_or_default();
            let count = crons["Crons"].as_array().unwrap().len();
            let expected =
                format!("{{{account}\"Count\":{count},\"Crons\":{}}}", list(&crons["Crons"], &CRON));
            assert_eq!(body, expected);
            let mut all = names(shown, "app", "component");
            if path == "/cron" {
                assert_eq!(names(&crons["Crons"], "Account", "Cronname"), all);
            }
            all.retain(|name| names(&crons["Crons"], "Account", "Cronname").contains(name));
            assert_eq!(
                names(&crons["Crons"], "Account", "Cronname"),
                all,
                "{path} has the order of /reservation"
            );
            assert!(count > 0, "{path}");
        }

        let body = get(&web, "/api/v1/summary", "*/*").body;
        let summary: Value = serde_json::from_str(&body).unwrap();
        let missed = list(
            &summary["missed"],
            &["reservation_id", "app", "component", "owner", "state", "last_checkin_at", "deadline"],
        );
        assert!(summary["missed"].as_array().unwrap().len() > 3, "{body}");
        let rest = format!(
            "\"instance\":{},\"at\":{},\"since\":{},\"reservations\":{},\"missed\":{missed},\"open\":",
            summary["instance"], summary["at"], summary["since"], summary["reservations"]
        );
        assert!(body.starts_with(&format!("{{{rest}")), "{body}");
        let deadlines: Vec<&str> = summary["missed"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["deadline"].as_str().unwrap())
            .collect();
        assert!(deadlines.is_sorted(), "{deadlines:?}");

        for (accept, app) in
            [("*/*", ""), ("application/toml", ""), ("*/*", "?app=Bank"), ("application/toml", "?app=Bank")]
        {
            let exported = get(&web, &format!("/api/v1/export{app}"), accept);
            let kind = exported.header("content-type").unwrap().to_owned();
            assert_eq!(kind.starts_with(accept), accept != "*/*", "{kind}");
            let applied = apply(&web, &exported.body, &kind);
            let changes = ["created", "changed", "removed"].map(|of| applied[of].as_array().unwrap().len());
            assert_eq!(changes, [0, 0, 0], "{applied}");
            assert!(applied["unchanged"].as_u64().unwrap() > 3, "{applied}");
            if accept == "*/*" {
                let set: Value = serde_json::from_str(&exported.body).unwrap();
                let all = names(&set["reservations"], "app", "component");
                assert!(all.is_sorted(), "{all:?}");
            }
        }
        let empty = [
            get(&web, "/api/v1/export?app=none", "*/*"),
            get(&web, "/api/v1/export?app=none", "application/toml"),
        ];
        assert_eq!(empty.map(|answer| answer.body), ["{\"reservations\":[]}", "reservations = []\n"]);
        for nobody in ["/cron/none", "/cron/%20shop", "/cron/a%00b"] {
            assert_eq!(client().get(&web.url(nobody)).status, 404, "{nobody}");
        }
    }
}

/// Asks for a list, and reads its beginning.
fn begin(web: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(web.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /reservation HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    let mut beginning = [0; 1024];
    stream.read_exact(&mut beginning).unwrap();
    assert!(beginning.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&beginning));
    stream
}

/// Files that the process has open and that have no name.
fn nameless_files(server: &Server) -> usize {
    let all = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let target = |file: std::io::Result<std::fs::DirEntry>| std::fs::read_link(file.ok()?.path()).ok();
    // Those that SQLite makes for itself have names of their own.
    let nameless = |path: &std::path::PathBuf| {
        let path = path.to_string_lossy().into_owned();
        path.ends_with(" (deleted)") && !path.contains("etilqs")
    };
    all.filter_map(target).filter(nameless).count()
}

fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < end, "this does not come: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nothing_waits_for_a_slow_reader_and_one_who_leaves_frees_everything() {
    for database in TestDatabase::both() {
        let web = web(&database, &[]);
        many(&web, &database);
        let slow = begin(&web);
        match database.kind() {
            DatabaseKind::Postgres => wait_until("no transaction is open", || {
                let open = "SELECT COUNT(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL";
                database.number(open) == Some(0)
            }),
            // An open snapshot would be in the way until it ends.
            DatabaseKind::Sqlite => wait_until("the log is written back", || {
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)");
                let log = format!("{}-wal", database.url().trim_start_matches("sqlite://"));
                std::fs::metadata(log).is_ok_and(|log| log.len() == 0)
            }),
        }
        assert_eq!(nameless_files(&web), 1, "what the slow one reads from");
        let whole = client().get(&web.url("/reservation"));
        assert_eq!(whole.header("content-length"), Some(whole.body.len().to_string().as_str()));
        assert!(whole.json()["result"].as_array().unwrap().len() >= MANY);
        wait_until("the file of a list that was read is gone", || nameless_files(&web) == 1);
        let others: Vec<TcpStream> = (0..3).map(|_| begin(&web)).collect();
        assert_eq!(nameless_files(&web), 4);
        drop((slow, others));
        wait_until("the files of those who left are gone", || nameless_files(&web) == 0);
    }
}

#[test]
fn a_list_for_which_there_is_no_room_is_refused_and_a_short_one_needs_none() {
    let database = TestDatabase::sqlite();
    let web = web(&database, &[("TMPDIR", "/nonexistent")]);
    assert_eq!(client().get(&web.url("/reservation")).status, 200);
    many(&web, &database);
    let refused = client().get(&web.url("/reservation"));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")), "{refused:?}");
    web.wait_for_log("/nonexistent");
    assert_eq!(client().get(&web.url("/cron/nobody")).status, 404);
}
