//! gocron's requests: check-ins that carry their reservation, and the lists.

mod common;

use std::time::Duration;

use common::{Inn, Shape, eventually};
use innkeeper_testing::client::Client;
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::PATIENCE;
use serde_json::{Value, json};

in_both_shapes![
    a_get_checks_in_and_reserves,
    a_post_does_the_same,
    each_checkin_may_change_the_reservation,
    what_a_person_changed_is_not_undone_by_the_same_words,
    after_an_upgrade_the_first_words_are_only_noted,
    an_email_may_be_any_text,
    fields_that_nobody_knows_are_taken_and_named,
    a_name_may_hold_anything_that_a_query_can,
    what_is_missing_or_wrong_is_named,
    the_lists_have_gocrons_shape,
    the_missed_are_listed,
    an_account_has_its_own_list,
    the_address_is_the_clients,
    other_methods_are_refused,
    it_says_its_version,
    it_is_healthy,
];

const FIELDS: [&str; 8] =
    ["Account", "Alerted", "Cronname", "Email", "Frequency", "Ipaddress", "Lastruntime", "Site"];

/// The rows of a list.
fn crons(inn: &Inn, path: &str) -> Vec<Value> {
    let answer = inn.read(path);
    assert_eq!(answer.status, 200, "{answer:?}");
    let list = answer.json();
    let rows = list["Crons"].as_array().expect("a list").clone();
    assert_eq!(list["Count"], rows.len());
    rows
}

fn a_get_checks_in_and_reserves(shape: Shape) {
    let inn = Inn::open(shape);
    for _ in 0..2 {
        let answer = inn.call("/?cronname=backup&account=acme&email=a@example.org&frequency=60");
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let rows = crons(&inn, "/cron");
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((&row["Cronname"], &row["Account"]), (&json!("backup"), &json!("acme")));
    assert_eq!((&row["Email"], &row["Frequency"]), (&json!("a@example.org"), &json!(60)));
    assert_eq!((&row["Site"], &row["Alerted"]), (&json!(false), &json!(false)));
    assert_eq!((inn.database.count("checkins"), inn.database.count("reservations")), (2, 1));
    // It is a reservation like any other.
    inn.check_in("acme", "backup");
    assert_eq!(inn.job("acme", "backup")["number_of_checkins"], 3);
}

fn a_post_does_the_same(shape: Shape) {
    let inn = Inn::open(shape);
    for (n, frequency) in [json!(60), json!("60"), json!(" 60 ")].into_iter().enumerate() {
        let body = json!({ "cronname": "backup", "account": "acme", "email": "a@example.org", "frequency": frequency });
        let answer = inn.post("/", &body);
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(crons(&inn, "/cron")[0]["Frequency"], 60);
        assert_eq!(inn.job("acme", "backup")["number_of_checkins"], n + 1);
    }
}

fn each_checkin_may_change_the_reservation(shape: Shape) {
    let inn = Inn::open(shape);
    let row = || crons(&inn, "/cron").swap_remove(0);
    inn.call("/?cronname=gw&account=acme&email=a@example.org&frequency=60");
    inn.call("/?cronname=gw&account=acme&email=b@example.org,c@example.org&frequency=90&site=1");
    let changed = row();
    assert_eq!(
        (&changed["Email"], &changed["Frequency"]),
        (&json!("b@example.org,c@example.org"), &json!(90))
    );
    assert_eq!(changed["Site"], true);
    inn.call("/?cronname=gw&account=acme&email=b@example.org&frequency=90");
    assert_eq!(row()["Site"], false);
    for (site, shown) in [
        (json!(true), true),
        (json!(false), false),
        (json!(1), true),
        (json!("0"), false),
        (json!("true"), true),
    ] {
        let body = json!({ "cronname": "gw", "account": "acme", "email": "b@example.org", "frequency": 90, "site": site });
        assert_eq!(inn.post("/", &body).status, 201, "{site}");
        assert_eq!(row()["Site"], shown, "{site}");
    }
    // What gocron does not know of stays.
    let more = json!({ "app": "acme", "component": "gw", "owner": "Ada", "grace": "5m" });
    assert_eq!(inn.post("/reservation", &more).status, 200);
    inn.call("/?cronname=gw&account=acme&email=b@example.org&frequency=90");
    let job = inn.job("acme", "gw");
    assert_eq!((&job["owner"], &job["frequency"]), (&json!("Ada"), &json!(90)));
    assert_eq!(job["deadline"], json!(job["last_checkin"].as_i64().expect("a time") + 90 + 300));
    assert_eq!(inn.database.count("reservations"), 1);
}

fn what_a_person_changed_is_not_undone_by_the_same_words(shape: Shape) {
    let inn = Inn::open(shape);
    let beat = |email: &str, frequency: i64| {
        let path = format!("/?cronname=gw&account=acme&email={email}&frequency={frequency}");
        assert_eq!(inn.call(&path).status, 201);
    };
    let shown = || {
        let row = crons(&inn, "/cron").swap_remove(0);
        (row["Email"].as_str().expect("a text").to_owned(), row["Frequency"].as_i64().expect("a number"))
    };
    beat("a@example.org", 60);
    inn.reserve("acme", "gw", json!({ "notify": "log", "frequency": 10, "time_units": "minutes" }));
    beat("a@example.org", 60);
    assert_eq!(shown(), ("log".to_owned(), 600));
    // Only what the job says anew is changed.
    beat("a@example.org", 90);
    assert_eq!(shown(), ("log".to_owned(), 90));
    beat("b@example.org", 90);
    assert_eq!(shown(), ("b@example.org".to_owned(), 90));
    inn.reserve("acme", "gw", json!({ "notify": "a@example.org", "frequency": 90, "time_units": "seconds" }));
    beat("B@Example.ORG", 90);
    beat("b@EXAMPLE.org", 90);
    assert_eq!(shown(), ("b@example.org".to_owned(), 90), "another name is another person");
    // Checked out and made again, it is as the job says.
    inn.post("/checkout", &json!({ "app": "acme", "component": "gw" }));
    beat("c@example.org", 70);
    assert_eq!(shown(), ("c@example.org".to_owned(), 70));
    assert_eq!(inn.job("acme", "gw")["number_of_checkins"], 1);
}

fn after_an_upgrade_the_first_words_are_only_noted(shape: Shape) {
    let inn = Inn::open(shape);
    let beat = |frequency: i64| {
        let path = format!("/?cronname=gw&account=acme&email=a@example.org&frequency={frequency}");
        assert_eq!(inn.call(&path).status, 201);
        crons(&inn, "/cron")[0]["Frequency"].as_i64().expect("a number")
    };
    beat(60);
    inn.reserve("acme", "gw", json!({ "frequency": 10, "time_units": "minutes" }));
    inn.database.execute("UPDATE reservations SET brought = NULL");
    assert_eq!([beat(60), beat(60), beat(90)], [600, 600, 90]);
    assert_eq!(inn.job("acme", "gw")["number_of_checkins"], 4);
    // What it says anew is judged at once, not when the old spec would have it.
    let hours_until_the_next_look = || {
        let wake_at = inn.database.number("SELECT wake_at FROM states").expect("a time");
        (wake_at - chrono::Utc::now().timestamp_millis()) / 3_600_000
    };
    beat(80_000);
    eventually("the next look is far", || (hours_until_the_next_look() >= 20).then_some(()));
    inn.database.execute("UPDATE reservations SET brought = NULL");
    beat(7200);
    beat(7200);
    assert!(hours_until_the_next_look() >= 20, "only noted");
    beat(3600);
    eventually("the next look is near", || (hours_until_the_next_look() < 20).then_some(()));
}

fn an_email_may_be_any_text(shape: Shape) {
    let inn = Inn::open(shape);
    for (n, (email, kept, warned)) in [
        ("Ops+Team", "", "email: \\\"Ops Team\\\" is neither a mail address nor the name of an alerter"),
        ("nobody", "nobody", "email: nobody is no configured alerter"),
        ("ops%40example.org%0d%0aBcc%3Ax%40y.org", "", "is neither a mail address"),
        ("a%00b", "", "is neither a mail address"),
        ("Ops,log,%C3%A9", "log", "email: \\\"Ops\\\" is neither"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = inn.call(&format!("/?cronname=job{n}&account=acme&email={email}&frequency=60"));
        assert_eq!(answer.status, 201, "{answer:?}");
        let warning = answer.header("warning").unwrap_or_default();
        assert!(warning.contains(warned), "{warning}");
        let job = inn.job("acme", &format!("job{n}"));
        assert_eq!((&job["notify"], &job["number_of_checkins"]), (&json!(kept), &json!(1)), "{email}");
    }
    let body = json!({ "cronname": "gw", "account": "acme", "email": ["Ops", "log"], "frequency": 60 });
    assert_eq!(inn.post("/", &body).status, 201);
    assert_eq!(inn.job("acme", "gw")["notify"], "log");
}

fn fields_that_nobody_knows_are_taken_and_named(shape: Shape) {
    let inn = Inn::open(shape);
    let answer = inn.call("/?cronname=gw&account=acme&email=log&frequency=60&sites=1&utm=%zz");
    assert_eq!(answer.status, 201, "{answer:?}");
    let warning = answer.header("warning").expect("a warning");
    assert!(warning.contains("\\\"sites\\\" is no field here; did you mean site?"), "{warning}");
    assert!(warning.contains("\\\"utm\\\" is no field here; allowed: cronname, account"), "{warning}");
    // What gocron's own programs send is no surprise, and the case of its keys does not matter.
    let own = json!({
        "Cronname": "gw", "ACCOUNT": "acme", "Email": "log", "Frequency": 60, "Site": true, "Ipaddress": "10.0.0.1",
        "Lastruntime": 5, "Alerted": false,
    });
    let answer = inn.post("/", &own);
    assert_eq!((answer.status, answer.header("warning")), (201, None), "{answer:?}");
    assert_eq!(crons(&inn, "/cron")[0]["Site"], true);
    let answer = inn.call("/?cronnam=gw&account=acme&email=log&frequency=60");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["message"], "cronname: is missing; \"cronnam\" is no field here");
}

fn a_name_may_hold_anything_that_a_query_can(shape: Shape) {
    let inn = Inn::open(shape);
    for (written, name) in [
        ("a+b", "a b"),
        ("a%20b%2Bc", "a b+c"),
        ("100%25", "100%"),
        ("caf%C3%A9", "café"),
        ("%F0%9F%90%99", "🐙"),
        ("a%26b%3Dc%23", "a&b=c#"),
        ("a=b", "a=b"),
        ("%3Cb%3E%22'", "<b>\"'"),
    ] {
        let path = format!("/?cronname={written}&account=acme&email=a@example.org&frequency=60&other=1&flag");
        assert_eq!(inn.call(&path).status, 201, "{written}");
        assert_eq!(inn.job("acme", name)["number_of_checkins"], 1);
    }
}

fn what_is_missing_or_wrong_is_named(shape: Shape) {
    let inn = Inn::open(shape);
    let good = [("cronname", "x"), ("account", "acme"), ("email", "a@example.org"), ("frequency", "60")];
    let query = |change: &str, to: Option<&str>| {
        let pairs = good.iter().filter_map(|(name, value)| match (*name == change, to) {
            (false, _) => Some(format!("{name}={value}")),
            (true, Some(value)) => Some(format!("{name}={value}")),
            (true, None) => None,
        });
        format!("/?{}", pairs.collect::<Vec<_>>().join("&"))
    };
    for (field, _) in good {
        for wrong in [None, Some(""), Some("%20"), Some("a%00b")] {
            if field == "email" && wrong == Some("a%00b") {
                continue;
            }
            let answer = inn.call(&query(field, wrong));
            assert_eq!(
                (answer.status, &answer.json()["field"]),
                (400, &json!(field)),
                "{wrong:?}: {answer:?}"
            );
        }
    }
    for (path, field) in [
        (query("frequency", Some("0")), "frequency"),
        (query("frequency", Some("-60")), "frequency"),
        (query("frequency", Some("1.5")), "frequency"),
        (query("frequency", Some("5m")), "frequency"),
        (query("frequency", Some("99999999999999999999")), "frequency"),
        (query("frequency", Some("60&site=maybe")), "site"),
    ] {
        let answer = inn.call(&path);
        assert_eq!((answer.status, &answer.json()["field"]), (400, &json!(field)), "{path}: {answer:?}");
        assert!(answer.json()["message"].as_str().expect("a text").starts_with(field), "{answer:?}");
    }
    assert_eq!(inn.jobs().len(), 0);
}

fn the_lists_have_gocrons_shape(shape: Shape) {
    let inn = Inn::open(shape);
    assert_eq!(inn.read("/cron").json(), json!({ "Count": 0, "Crons": [] }));
    assert_eq!(inn.read("/cron/missed").json(), json!({ "Count": 0, "Crons": [] }));
    let before = chrono::Utc::now().timestamp();
    inn.call("/?cronname=backup&account=acme&email=a@example.org&frequency=60");
    inn.reserve("shop", "never", json!({ "frequency": 2, "time_units": "hours" }));
    inn.reserve("shop", "night", json!({ "cron": "0 2 * * *" }));
    let rows = crons(&inn, "/cron");
    assert_eq!(rows.len(), 3);
    for row in &rows {
        let names: Vec<&String> = row.as_object().expect("an object").keys().collect();
        assert_eq!(names, FIELDS);
    }
    let ran = rows[0]["Lastruntime"].as_i64().expect("seconds");
    assert!((before..=before + 60).contains(&ran), "{ran} is now");
    let frequency = |name: &str| {
        rows.iter().find(|row| row["Cronname"] == name).map(|row| (&row["Frequency"], &row["Lastruntime"]))
    };
    assert_eq!(frequency("never"), Some((&json!(7200), &json!(0))));
    assert_eq!(frequency("night"), Some((&json!(0), &json!(0))));
}

fn the_missed_are_listed(shape: Shape) {
    let inn = Inn::open(shape);
    inn.call("/?cronname=slow&account=acme&email=a@example.org&frequency=6000");
    inn.call("/?cronname=quick&account=acme&email=a@example.org&frequency=60");
    inn.age(Duration::from_secs(61));
    let missed = crons(&inn, "/cron/missed");
    assert_eq!(missed.len(), 1);
    assert_eq!(missed[0]["Cronname"], "quick");
    eventually("the alert", || (crons(&inn, "/cron/missed")[0]["Alerted"] == true).then_some(()));
    inn.call("/?cronname=quick&account=acme&email=a@example.org&frequency=60");
    assert_eq!(crons(&inn, "/cron/missed").len(), 0);
    eventually("its end", || crons(&inn, "/cron").iter().all(|row| row["Alerted"] == false).then_some(()));
}

fn an_account_has_its_own_list(shape: Shape) {
    let inn = Inn::open(shape);
    for (account, name) in [("acme", "a"), ("acme", "b"), ("a/c me", "a"), ("missing", "a")] {
        let account = account.replace('/', "%2F").replace(' ', "+");
        inn.call(&format!("/?cronname={name}&account={account}&email=a@example.org&frequency=60"));
    }
    let list = inn.read("/cron/acme").json();
    assert_eq!((&list["Account"], &list["Count"]), (&json!("acme"), &json!(2)));
    assert!(list["Crons"].as_array().expect("a list").iter().all(|row| row["Account"] == "acme"));
    assert_eq!(inn.read("/cron/missing").json()["Count"], 1);
    let odd = inn.read("/cron/a%2Fc%20me").json();
    assert_eq!((&odd["Account"], &odd["Count"]), (&json!("a/c me"), &json!(1)));
    for path in ["/cron/nobody", "/cron/Acme", "/cron/%00", "/cron/%ff", "/cron/"] {
        let answer = inn.read(path);
        assert_eq!((answer.status, &answer.json()["success"]), (404, &json!(false)), "{path}");
    }
}

fn the_address_is_the_clients(shape: Shape) {
    let path = "/?cronname=x&account=acme&email=a@example.org&frequency=60";
    for (config, address) in
        [("", "127.0.0.1"), ("[ingest]\ntrusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\n", "203.0.113.7")]
    {
        let inn = Inn::with(shape, config);
        let forwarded = [("X-Forwarded-For", "198.51.100.1, 203.0.113.7, 10.1.2.3")];
        assert_eq!(inn.send("GET", path, &forwarded, b"").status, 201);
        assert_eq!(crons(&inn, "/cron")[0]["Ipaddress"], address, "{config:?}");
    }
}

fn other_methods_are_refused(shape: Shape) {
    let inn = Inn::open(shape);
    for method in ["PUT", "DELETE", "PATCH"] {
        let answer = inn.send(method, "/?cronname=x&account=a&email=a@example.org&frequency=60", &[], b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, OPTIONS, POST")));
        for path in ["/cron", "/cron/missed", "/cron/acme", "/version", "/healthcheck"] {
            let answer = inn.client.send(method, &inn.at_web(path), &[], b"").expect("an answer");
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, OPTIONS")), "{path}");
        }
    }
    assert_eq!(inn.jobs().len(), 0);
}

fn it_says_its_version(shape: Shape) {
    let inn = Inn::open(shape);
    let kind = match shape {
        Shape::Standalone => "sqlite",
        Shape::Split => "postgres",
    };
    for answer in [inn.call("/version"), inn.read("/version")] {
        let said = answer.json();
        assert_eq!((answer.status, &said["version"]), (200, &json!(env!("CARGO_PKG_VERSION"))));
        assert_eq!(said["database"]["type"], kind);
        let version = said["database"]["version"].as_str().expect("a text");
        assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{said}");
    }
}

fn it_is_healthy(shape: Shape) {
    let inn = Inn::open(shape);
    for answer in [inn.call("/healthcheck"), inn.read("/healthcheck")] {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// With a Postgres of its own, which the test takes away.
#[test]
fn without_its_database_it_is_not_healthy() {
    let cluster = Cluster::start();
    let inn = Inn::over(TestDatabase::postgres_in(&cluster.url()), Shape::Split, "");
    let client = Client::new(PATIENCE);
    cluster.stop();
    for url in [inn.at_ingest("/healthcheck"), inn.at_web("/healthcheck")] {
        eventually("the bad news", || {
            let answer = client.get(&url);
            let reason = answer.json()["message"].as_str().is_some_and(|reason| reason.contains("database"));
            (answer.status == 500 && reason).then_some(())
        });
        assert_eq!(client.get(&url.replace("healthcheck", "version")).status, 503);
    }
    cluster.resume();
    for url in [inn.at_ingest("/healthcheck"), inn.at_web("/healthcheck")] {
        eventually("the good news", || (client.get(&url).status == 200).then_some(()));
    }
}
