//! Reservations whose messages reach nobody: the answer says so, the pages and `check-config` show it, and the
//! operator is told.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::{Duration, Instant};

use common::programs::{configured, run};
use common::{Inn, Shape, eventually, webhook};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use serde_json::{Value, json};

in_both_shapes!(
    the_answer_names_it_in_every_protocol,
    the_pages_show_it_and_the_operator_hears_of_it,
    what_named_an_alerter_before_it_was_renamed_goes_on,
    a_change_and_a_reload_soon_after_it_are_told_once,
);

const NO_MAIL: &str = "notify: ops@example.org is a mail address and no alerter of kind smtp is configured";

fn api(inn: &Inn, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
    let url = inn.at_web(&format!("/api/v1{path}"));
    let answer = inn.client.send(method, &url, headers, body.to_string().as_bytes()).unwrap();
    (answer.status, answer.json())
}

fn hourly(component: &str, notify: &Value) -> Value {
    json!({ "app": "shop", "component": component, "notify": notify, "frequency": 1, "time_units": "hours" })
}

fn the_answer_names_it_in_every_protocol(shape: Shape) {
    let inn = Inn::with(shape, &webhook("chat", &HttpSink::start()));
    // GoTel's answer stays as it is.
    let answer = inn.post("/reservation", &hourly("mailed", &json!("ops@example.org")));
    assert_eq!((answer.status, answer.body.as_str()), (200, "\"OK\""));
    assert_eq!(answer.header("warning"), Some(format!("299 innkeeper \"{NO_MAIL}\"").as_str()));
    let answer = inn.post("/reservation", &hourly("well", &json!("chat, log")));
    assert_eq!((answer.status, answer.header("warning")), (200, None));
    // What is changed may be something else.
    let answer = inn.post("/reservation", &json!({ "app": "shop", "component": "mailed", "grace": "5m" }));
    assert!(answer.header("warning").unwrap().contains("ops@example.org"), "{answer:?}");
    let mut filtered = hourly("filtered", &json!("chat"));
    filtered["alerters"] = json!("log");
    let answer = inn.post("/reservation", &filtered);
    assert_eq!(answer.header("warning"), Some("299 innkeeper \"alerters: leaves none of chat\""));
    // gocron's.
    let query = |email: &str| format!("/?account=shop&cronname=cron&frequency=60&email={email}");
    let answer = inn.call(&query("ops@example.org"));
    assert_eq!((answer.status, answer.json()["success"].as_bool()), (201, Some(true)));
    assert!(answer.header("warning").unwrap().contains("email: ops@example.org is a mail"), "{answer:?}");
    assert_eq!(inn.call(&query("chat")).header("warning"), None);
    // Its `alerters`, which gocron does not know of, count as well.
    let alerters = json!({ "app": "shop", "component": "cron", "alerters": "log" });
    assert!(inn.post("/reservation", &alerters).header("warning").is_some());
    let answer = inn.call(&query("chat"));
    assert_eq!(
        (answer.status, answer.header("warning")),
        (201, Some("299 innkeeper \"alerters: leaves none of chat\""))
    );
    inn.post("/reservation", &json!({ "app": "shop", "component": "cron", "alerters": "chat" }));
    assert_eq!(inn.call(&query("chat")).header("warning"), None);

    // The API's.
    let (status, made) =
        api(&inn, "POST", "/reservations", &[], &hourly("api", &json!(["ops@example.org", "chat"])));
    assert_eq!((status, &made["warnings"]), (201, &json!([NO_MAIL])));
    let path = format!("/reservations/{}", made["id"]);
    assert_eq!(api(&inn, "GET", &path, &[], &Value::Null).1["warnings"], json!([NO_MAIL]));
    let (_, listed) = api(&inn, "GET", "/reservations?q=well", &[], &Value::Null);
    assert_eq!(listed["reservations"][0]["warnings"], json!([]));
    let any = [("if-match", "*")];
    assert_eq!(api(&inn, "PATCH", &path, &any, &json!({ "notify": ["chat"] })).1["warnings"], json!([]));
    let set = json!({ "reservations": [hourly("api", &json!(["ops@example.org"])), hourly("new", &json!(["log"]))] });
    for dry_run in [true, false] {
        let (status, applied) = api(&inn, "PUT", &format!("/apply?dry_run={dry_run}"), &[], &set);
        assert_eq!(
            (status, &applied["warnings"]),
            (200, &json!([format!("shop/api: {NO_MAIL}")])),
            "{applied}"
        );
    }
}

fn the_pages_show_it_and_the_operator_hears_of_it(shape: Shape) {
    let sink = HttpSink::start();
    let inn = Inn::with(shape, &format!("operator = [\"hook\"]\n{}", webhook("hook", &sink)));
    inn.reserve("shop", "mailed", json!({ "notify": "ops@example.org" }));
    let told = eventually("the operator hears of it", || sink.requests().first().map(|told| told.json()));
    assert_eq!(
        (&told["event"], &told["subject"]),
        (&json!("operator"), &json!("Alerts of a reservation lead nowhere"))
    );
    assert!(told["text"].as_str().unwrap().contains(&format!("- shop/mailed: {NO_MAIL}")), "{told}");
    // What follows is gathered: one message a minute at most.
    for n in 0..5 {
        inn.reserve("shop", &format!("more-{n}"), json!({ "notify": "ops@example.org" }));
    }
    let page = |path: &str| {
        let headers = [("accept", "text/html,*/*;q=0.8")];
        inn.client.send("GET", &inn.at_web(path), &headers, b"").unwrap().body
    };
    let list = page("/status");
    assert_eq!(list.matches(NO_MAIL).count(), 6, "{list}");
    let id = inn.database.number("SELECT id FROM reservations WHERE component = 'mailed'").unwrap();
    assert!(page(&format!("/status/{id}")).contains(NO_MAIL));
    // The sweeper's look at the start may have found them, too.
    let texts = sink.requests().iter().map(|told| told.json()["text"].to_string()).collect::<Vec<_>>();
    assert_eq!(texts.iter().filter(|text| text.contains("just made or changed")).count(), 1, "{texts:?}");
}

fn what_named_an_alerter_before_it_was_renamed_goes_on(shape: Shape) {
    let [ops, chat] = [(); 2].map(|()| HttpSink::start());
    let config =
        |name: &str| format!("operator = [\"ops\"]\n{}{}", webhook("ops", &ops), webhook(name, &chat));
    let inn = Inn::with(shape, &config("new"));
    let beat = |component: &str, email: &str| {
        inn.call(&format!("/?account=gx&cronname={component}&frequency=4000&email={email}"))
    };
    let checkins = || {
        inn.database.number("SELECT checkins FROM states s JOIN reservations r ON r.id = s.reservation_id WHERE component = 'beat'")
    };
    assert_eq!(beat("beat", "new").status, 201);
    let gotel = |more: Value| {
        let mut body = hourly("gotel", &json!("new, log"));
        body["alerters"] = json!("new");
        for (field, value) in more.as_object().unwrap() {
            body[field] = value.clone();
        }
        inn.post("/reservation", &body)
    };
    assert_eq!(gotel(json!({})).header("warning"), None);
    // What has just been made would be told, and what follows within a minute waits for it.
    inn.database.execute("UPDATE reservations SET updated_at = updated_at - 60000");
    inn.reload(&config("newer"));
    let gone = "new is no configured alerter";
    let warns = |answer: &innkeeper_testing::client::Response, of: &str| {
        answer.header("warning").is_some_and(|warning| warning.contains(of))
    };
    eventually("ingest knows that it is gone", || {
        let answer = beat("beat", "new");
        assert_eq!(answer.status, 201, "{answer:?}");
        warns(&answer, gone).then_some(())
    });
    // A job is not to blame for a name that nobody has: its check-in counts.
    let before = checkins().unwrap();
    let answer = beat("beat", "ghost");
    assert!(answer.status == 201 && warns(&answer, "ghost is no configured alerter"), "{answer:?}");
    assert_eq!(checkins(), Some(before + 1));
    let notify = "SELECT notify FROM reservations WHERE component = 'beat'";
    assert_eq!(inn.database.text(notify).unwrap(), "ghost");
    assert_eq!(beat("beat", "newer").status, 201);
    assert_eq!(inn.database.text(notify).unwrap(), "newer");

    // The same reservation, and another field of it.
    for answer in [gotel(json!({})), gotel(json!({ "grace": "5m" }))] {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(warns(&answer, gone), "{answer:?}");
    }
    // What is exported can be applied.
    let set = inn.read("/api/v1/export").json();
    let (status, applied) = api(&inn, "PUT", "/apply", &[], &set);
    assert_eq!(
        (status, &applied["unchanged"], &applied["changed"]),
        (200, &json!(2), &json!([])),
        "{applied}"
    );
    assert!(applied["warnings"][0].as_str().unwrap().contains(gone), "{applied}");

    // What names it for the first time is refused, and an entry of a set so that nothing of the set happens.
    let other =
        json!({ "reservations": [hourly("gotel", &json!(["new"])), hourly("other", &json!(["new"]))] });
    let (status, problem) = api(&inn, "PUT", "/apply", &[], &other);
    assert_eq!((status, &problem["field"]), (400, &json!("reservations[1].notify")), "{problem}");
    assert_eq!(inn.post("/reservation", &hourly("other", &json!("new"))).status, 400);
    let answer = gotel(json!({ "notify": "new, ghost" }));
    assert_eq!((answer.status, answer.json()["field"].as_str()), (400, Some("notify")), "{answer:?}");
}

fn a_change_and_a_reload_soon_after_it_are_told_once(shape: Shape) {
    let [ops, chat] = [(); 2].map(|()| HttpSink::start());
    let config = |more: &str| format!("operator = [\"ops\"]\n{}{more}", webhook("ops", &ops));
    let mut inn = Inn::with(shape, &config(&webhook("chat", &chat)));
    let told = |name: &str| {
        let texts = ops.requests().iter().map(|told| told.json()["text"].to_string()).collect::<Vec<_>>();
        texts.iter().filter(|text| text.contains(name)).count()
    };
    let beat = |inn: &Inn| inn.call("/?account=shop&cronname=beaten&frequency=4000&email=chat");
    let start = Duration::from_secs(8);
    if let Shape::Split = shape {
        // What is made at an ingest before a sweeper of its own has looked for the first time may be told by both.
        std::thread::sleep(start);
    }
    inn.reserve("shop", "mailed", json!({ "notify": "ops@example.org" }));
    eventually("the operator hears of what was made", || (told("shop/mailed") == 1).then_some(()));
    std::thread::sleep(start);
    assert_eq!(told("shop/mailed"), 1);
    assert_eq!(beat(&inn).header("warning"), None);
    inn.reload(&config(""));
    if let Shape::Standalone = shape {
        // What follows within a minute of the first waits; this is looked for below.
        inn.reserve("shop", "late", json!({ "notify": "late@example.org" }));
    }
    eventually("the operator hears of the alerter that is gone", || (told("shop/beaten") == 1).then_some(()));
    for _ in 0..8 {
        assert_eq!(beat(&inn).status, 201);
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(beat(&inn).header("warning").is_some());
    assert_eq!(told("shop/late"), 0, "it is told with what else is gathered");
    inn.terminate();
    assert_eq!((told("shop/mailed"), told("shop/beaten")), (1, 1));
    assert_eq!(told("shop/late"), usize::from(matches!(shape, Shape::Standalone)), "at the stop");
}

#[test]
fn check_config_names_fifty_jobs_counts_all_and_asks_a_database_that_does_not_answer_only_so_long() {
    for database in TestDatabase::both() {
        let inn = Inn::over(database, Shape::Standalone, &webhook("chat", &HttpSink::start()));
        for n in 0..52 {
            inn.reserve("shop", &format!("job-{n}"), json!({ "notify": "chat" }));
        }
        inn.reserve("shop", "logged", json!({ "notify": "" }));
        let url = inn.database.url();
        let directory =
            configured(&format!("[database]\nurl = \"{url}\"\n[alerter.chatt]\nkind = \"log\"\n"));
        let (code, out, err) = run("innkeeper", directory.path(), &["check-config"], &[]);
        assert_eq!(code, Some(0), "{err}");
        for n in 0..50 {
            let line = format!(
                "Warning: shop/job-{n}: notify: chat is no configured alerter; did you mean chatt?\n"
            );
            assert!(out.contains(&line), "{line}: {out}");
        }
        assert_eq!(out.matches("Warning: shop/").count(), 50, "{out}");
        assert!(out.contains("Messages about 52 reservations would not reach everyone they name."), "{out}");
        assert!(out.contains("The first 50 are named; `check-config --all` names each."), "{out}");
        let (_, all, _) = run("innkeeper", directory.path(), &["check-config", "--all"], &[]);
        assert_eq!(all.matches("Warning: shop/").count(), 52, "{all}");
        assert!(!all.contains("The first"), "{all}");
        assert!(out.contains("Warning: operator: is empty") && !out.contains("shop/logged"), "{out}");
    }
    let away = configured("[database]\nurl = \"postgres://inn@127.0.0.1:1/inn\"\n");
    let (code, out, err) = run("innkeeper", away.path(), &["check-config"], &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("Note: the database was not asked for reservations: "), "{out}");
}

#[test]
fn a_list_of_any_length_is_refused_at_once() {
    let inn = Inn::open(Shape::Standalone);
    let long: Vec<String> = (0..100_000).map(|n| format!("tag-{n}")).collect();
    let mails: Vec<String> = (0..100_000).map(|n| format!("a{n}@example.org")).collect();
    for (field, list) in [("tags", &long), ("notify", &mails), ("alerters", &long)] {
        let mut entry = hourly("long", &json!([]));
        entry[field] = json!(list);
        let begun = Instant::now();
        let (status, problem) = api(&inn, "PUT", "/apply", &[], &json!({ "reservations": [entry] }));
        assert_eq!(
            (status, &problem["field"]),
            (400, &json!(format!("reservations[0].{field}"))),
            "{problem}"
        );
        assert!(problem["detail"].as_str().unwrap().contains("has 100000 "), "{problem}");
        // Each with each took half a minute and more.
        assert!(begun.elapsed() < Duration::from_secs(10), "{field}: {:?}", begun.elapsed());
    }
}
