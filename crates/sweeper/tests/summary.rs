//! `sweeper --summary`: its output, its message, and its exit code.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::process::Output;

use common::*;
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::reservation::Patch;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Clock, SystemClock};
use innkeeper_store::{Arrival, Definition, Target};
use innkeeper_sweeper::decide::Rules;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use innkeeper_testing::process;
use innkeeper_testing::smtp_sink::SmtpSink;
use mail_parser::MessageParser;
use serde_json::Value;

/// Names that a table may break over: long, wide, with markup, and in another direction.
fn names() -> Vec<String> {
    vec![
        "backup".to_owned(),
        "x".repeat(150),
        "a name of many words that goes on and on until nobody remembers how it began, then some".to_owned(),
        "🦀 emoji 👩‍👩‍👧 日本語のジョブ".to_owned(),
        "<b>&amp; *_`|` {{x}}".to_owned(),
    ]
}

/// A database in which some jobs are missed, one failed, and one went wrong and recovered.
fn eventful(database: &TestDatabase) {
    let store = database.store();
    let now = SystemClock.now();
    let reserve = |name: &str, hours: i64| {
        let every = Schedule::every(chrono::TimeDelta::hours(hours)).unwrap();
        let patch = Patch {
            owner: Some(format!("owner of {}", name.chars().take(20).collect::<String>())),
            schedule: Some((every, None)),
            ..Patch::default()
        };
        let (app, component) = (AppName::parse("shop").unwrap(), ComponentName::parse(name).unwrap());
        store.reserve(&app, &component, &patch, now - chrono::TimeDelta::hours(2)).unwrap();
    };
    let check_in = |name: &str, kind| {
        let target = Target::Names(AppName::parse("shop").unwrap(), ComponentName::parse(name).unwrap());
        let checkin = CheckIn::new(kind, SystemClock.now());
        store.writer().record(&[Arrival { target, checkin, definition: Definition::None }]).unwrap();
    };
    for name in names() {
        reserve(&name, 1);
    }
    reserve("fine", 5);
    reserve("failing", 5);
    reserve("recovered", 1);
    reserve("flapping", 5);
    store.sweep(now, 100, &Rules(|_| Vec::new())).unwrap();
    check_in("failing", CheckInKind::Success);
    for _ in 0..3 {
        check_in("flapping", CheckInKind::Fail);
        store.sweep(SystemClock.now(), 100, &Rules(|_| Vec::new())).unwrap();
        check_in("flapping", CheckInKind::Success);
        store.sweep(SystemClock.now(), 100, &Rules(|_| Vec::new())).unwrap();
    }
    check_in("failing", CheckInKind::Fail);
    check_in("recovered", CheckInKind::Success);
    store.sweep(SystemClock.now(), 100, &Rules(|_| Vec::new())).unwrap();
}

fn id_of(database: &TestDatabase, component: &str) -> String {
    let id = format!("SELECT CAST(id AS TEXT) FROM reservations WHERE component = '{component}'");
    database.text(&id).unwrap()
}

/// Runs `sweeper --summary` with these arguments and this configuration.
fn summary(database: &TestDatabase, more: &str, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(database, more);
    if more.contains("smtp") {
        config = config.replace("[\"log\"]", "[\"log\", \"ops@example.com\", \"boss@example.com\"]");
    }
    std::fs::write(directory.path().join("innkeeper.toml"), config).unwrap();
    process::command("sweeper", directory.path()).arg("--summary").args(arguments).output().unwrap()
}

fn printed(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Columns that a terminal takes for a line: wide characters take two, what is joined to another takes none.
fn width(line: &str) -> usize {
    let (mut width, mut joined) = (0, false);
    for c in line.chars() {
        let joins = c == '\u{200d}';
        let wide =
            matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0x1f300..=0x1faff);
        if !joins && !joined {
            width += 1 + usize::from(wide);
        }
        joined = joins;
    }
    width
}

#[test]
fn the_table_says_what_is_missed_and_what_went_wrong_in_a_hundred_columns() {
    for database in TestDatabase::both() {
        eventful(&database);
        let output = summary(&database, "", &[]);
        assert!(output.status.success(), "{}", complaint(&output));
        let text = printed(&output);
        println!("{text}");
        let first: Vec<&str> = text.lines().take(2).collect();
        assert!(first[0].starts_with("innkeeper: summary of "), "{}", first[0]);
        assert_eq!(
            first[1],
            "6 jobs down now; 2 went wrong and recovered in the last 7 days, of 9 reservations."
        );
        let part =
            |from: &str, to: &str| text.split_once(from).unwrap().1.split(to).next().unwrap().to_owned();
        let down = part("\nDown now\n", "\nWent wrong and recovered\n");
        let recovered = part("\nWent wrong and recovered\n", "\u{0}");
        assert!(text.contains("The page of a job is http://127.0.0.1:0/status/ and its number."), "{text}");
        for (job, what) in [("shop/backup", "missed"), ("shop/failing", "failed")] {
            let row = down.lines().find(|line| line.contains(job)).unwrap();
            assert!(row.contains(what), "{row}");
            assert_eq!(row.split_whitespace().next(), Some(id_of(&database, &job[5..]).as_str()), "{row}");
            assert_eq!(down.matches(job).count(), 1, "{down}");
        }
        assert!(!down.contains("fine") && !down.contains("recovered"), "{down}");
        let row = recovered.lines().find(|line| line.contains("shop/flapping")).unwrap();
        assert!(row.contains("failed") && row.contains("3 times"), "{row}");
        assert!(recovered.contains("shop/recovered"), "{recovered}");
        assert!(!recovered.contains("shop/backup"), "{recovered}");
        for line in text.lines() {
            assert!(width(line) <= 100, "{} columns: {line}", width(line));
            assert!(!line.chars().any(char::is_control));
        }
    }
}

#[test]
fn nothing_to_tell_is_said_so() {
    for database in TestDatabase::both() {
        let output = summary(&database, "", &[]);
        assert!(output.status.success(), "{}", complaint(&output));
        let text = printed(&output);
        for sentence in ["0 reservations", "Nothing is down.", "Nothing else went wrong."] {
            assert!(text.contains(sentence), "{text}");
        }
    }
}

#[test]
fn json_is_the_same_for_programs() {
    for database in TestDatabase::both() {
        eventful(&database);
        let output = summary(&database, "", &["--json"]);
        assert!(output.status.success(), "{}", complaint(&output));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = |name: &str| summary[name].as_array().unwrap().clone();
        assert_eq!(summary["reservations"], 9);
        assert_eq!((list("open").len(), list("recovered").len()), (6, 4), "each incident");
        let mut missed: Vec<String> =
            list("missed").iter().map(|missed| missed["component"].as_str().unwrap().to_owned()).collect();
        let mut expected = names();
        missed.sort_unstable();
        expected.sort();
        assert_eq!(missed, expected);
        let of = |list: &[Value], name: &str| {
            list.iter().find(|one| one["component"] == name).unwrap()["reservation_id"].clone()
        };
        assert_eq!(of(&list("missed"), "backup").to_string(), id_of(&database, "backup"));
        assert_eq!(of(&list("recovered"), "flapping").to_string(), id_of(&database, "flapping"));
    }
}

/// What it prints on a terminal of so many columns.
fn on_a_terminal(database: &TestDatabase, columns: u16) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("innkeeper.toml"), config(database, "")).unwrap();
    let sweeper = process::program("sweeper");
    let output = std::process::Command::new("script")
        .current_dir(directory.path())
        .env_remove("COLUMNS")
        .args(["-qec", &format!("stty cols {columns}; {} --summary", sweeper.display()), "/dev/null"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    printed(&output).replace('\r', "")
}

#[test]
fn it_takes_the_terminals_width() {
    let database = TestDatabase::sqlite();
    eventful(&database);
    for columns in [40, 60, 72, 80, 130, 200] {
        let text = on_a_terminal(&database, columns);
        println!("{columns}:\n{text}");
        assert!(text.contains("shop/backup") && text.contains("shop/flapping"), "{text}");
        if columns < 72 {
            assert!(text.contains("/status/") && text.contains("Owner: "), "lists, as in a mail: {text}");
            continue;
        }
        // What stands above the tables is broken by the terminal where it has to be.
        let widest = text.lines().skip(3).map(width).max().unwrap();
        assert!(widest <= usize::from(columns), "{widest} of {columns}");
        assert!(widest + 25 > usize::from(columns).min(220), "{widest} of {columns}: it uses them");
    }
    // In a file there are a hundred, or those that somebody asks for.
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("innkeeper.toml"), config(&database, "")).unwrap();
    let widest = |columns: &str| {
        let mut command = process::command("sweeper", directory.path());
        let output = command.arg("--summary").env("COLUMNS", columns).output().unwrap();
        printed(&output).lines().skip(3).map(width).max().unwrap()
    };
    assert!((76..=100).contains(&widest("")));
    assert!((110..=140).contains(&widest("140")));
}

#[test]
fn without_an_alerter_for_it_the_timers_run_says_so_and_ends_well() {
    let database = TestDatabase::sqlite();
    let quiet = HttpSink::start();
    for alerters in [String::new(), webhook("quiet", &quiet, "")] {
        let output = summary(&database, &alerters, &["--verbose"]);
        assert!(output.status.success(), "{}", complaint(&output));
        assert!(complaint(&output).contains("no alerter has `summary = true`"), "{}", complaint(&output));
        assert!(printed(&output).contains("Nothing is down."));
    }
    assert!(quiet.requests().is_empty());
}

#[test]
fn verbose_sends_it_everywhere_that_is_configured_for_it() {
    for database in TestDatabase::both() {
        eventful(&database);
        let (chat, hook, other, post) =
            (HttpSink::start(), HttpSink::start(), HttpSink::start(), SmtpSink::plain());
        let alerters = format!(
            "[alerter.chat]\nkind = \"slack\"\nurl = \"{}\"\nsummary = true\n\
             [alerter.mail]\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n\
             from = \"inn@example.org\"\nsummary = true\n{}{}",
            chat.url("/"),
            post.port(),
            webhook("hook", &hook, "summary = true"),
            webhook("other", &other, "")
        );
        // Once printed only.
        assert!(summary(&database, &alerters, &[]).status.success());
        assert_eq!((chat.requests().len(), post.mails().len()), (0, 0));
        let output = summary(&database, &alerters, &["--verbose"]);
        assert!(output.status.success(), "{}", complaint(&output));
        let headline = "Summary: 6 jobs down now; 2 went wrong and recovered in the last 7 days";
        let told = chat.requests()[0].json();
        assert_eq!(told["text"], format!("{headline} · innkeeper"));
        assert!(told["attachments"][0]["text"].as_str().unwrap().contains("shop/flapping"));
        let told = hook.requests()[0].json();
        assert_eq!((&told["event"], &told["subject"]), (&"summary".into(), &headline.into()));
        assert!(told["text"].as_str().unwrap().contains("shop/backup"));
        assert_eq!((chat.requests().len(), hook.requests().len(), other.requests().len()), (1, 1, 0));
        let mails = post.mails();
        let recipients: Vec<&str> = mails.iter().map(|mail| mail.to[0].as_str()).collect();
        assert_eq!(recipients, ["ops@example.com", "boss@example.com"]);
        let mail = MessageParser::default().parse(&mails[0].raw).unwrap();
        assert_eq!(mail.subject().unwrap(), format!("{headline} · innkeeper"));
        let (text, html) = (mail.body_text(0).unwrap(), mail.body_html(0).unwrap());
        let url = format!("http://127.0.0.1:0/status/{}", id_of(&database, "flapping"));
        for part in [&text, &html] {
            assert_eq!(part.matches("shop/flapping").count(), 1, "{part}");
            assert_eq!(part.matches(&url).count(), 1, "{part}");
        }
        assert!(text.contains("failed 3 times, ") && text.contains("\n  last on "), "{text}");
        assert!(text.contains("(UTC)") && html.contains("(UTC)"));
        assert!(html.contains("&#60;b&#62;") && !html.contains("<b>&amp;"), "{html}");
        let plain_width = text.lines().filter(|line| !line.contains("xxx")).map(width).max().unwrap();
        assert!(plain_width <= 110, "{plain_width}");
        assert_eq!(database.count("deliveries"), 0, "it does not pass through the outbox");
    }
}

#[test]
fn it_fails_when_it_could_not_be_sent() {
    let [database, _] = TestDatabase::both();
    let (good, bad, flaky) = (HttpSink::start(), HttpSink::start(), HttpSink::start());
    bad.otherwise(SinkResponse::status(403));
    flaky.next(SinkResponse::status(503));
    let nowhere = {
        let gone = HttpSink::start();
        webhook("gone", &gone, "summary = true")
    };
    let good = webhook("good", &good, "summary = true");
    let one_of = |alerters: &str| {
        let output = summary(&database, alerters, &["--verbose"]);
        assert!(printed(&output).contains("Nothing is down."), "it is printed all the same");
        (output.status.success(), complaint(&output))
    };
    for (alerters, named) in [
        (good.clone() + &webhook("bad", &bad, "summary = true"), "bad: "),
        (good.clone() + &nowhere, "gone: "),
    ] {
        let (sent, complaint) = one_of(&alerters);
        assert!(!sent && complaint.contains(named), "{alerters}: {complaint}");
    }
    let (sent, complaint) = one_of(&webhook("flaky", &flaky, "summary = true"));
    assert!(sent, "{complaint}");
    let keys: Vec<_> = flaky
        .requests()
        .iter()
        .map(|request| request.header("idempotency-key").unwrap().to_owned())
        .collect();
    assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");
}
