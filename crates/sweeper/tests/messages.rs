//! The messages that people read, from a job's own words to each alerter: real processes, both databases.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use common::*;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use innkeeper_testing::process::PATIENCE;
use innkeeper_testing::smtp_sink::SmtpSink;
use mail_parser::MessageParser;
use serde_json::{Value, json};

/// An instance with a way out of each kind, as `mail`, `chat`, `oncall` and `hook`.
struct Told {
    instance: Instance,
    mail: SmtpSink,
    chat: HttpSink,
    pager: HttpSink,
    hook: HttpSink,
}

impl Told {
    fn open(database: TestDatabase, top: &str) -> Self {
        let (mail, [chat, pager, hook]) = (SmtpSink::plain(), [(); 3].map(|()| HttpSink::start()));
        pager.otherwise(SinkResponse::status(202));
        let more = format!(
            "[alerter.mail]\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"inn@example.org\"\n\
             [alerter.chat]\nkind = \"slack\"\nurl = \"{}\"\n\
             [alerter.oncall]\nkind = \"pagerduty\"\nrouting_key = \"route\"\nurl = \"{}\"\n{}",
            mail.port(),
            chat.url("/services/x"),
            pager.url("/v2/enqueue"),
            webhook("hook", &hook, "")
        );
        let instance = Instance::open_as(database, &format!("instance = \"ops.example.org\"\n{top}"), &more);
        Self { instance, mail, chat, pager, hook }
    }

    /// The subject and the text of the n-th mail.
    fn mail(&self, n: usize) -> (String, String) {
        let raw = self.mail.wait_for(n + 1, PATIENCE)[n].raw.clone();
        let mail = MessageParser::new().parse(&raw).unwrap();
        (mail.subject().unwrap().to_owned(), mail.body_text(0).unwrap().replace("\r\n", "\n"))
    }

    fn json(sink: &HttpSink, n: usize) -> Value {
        sink.wait_for(n + 1, PATIENCE)[n].json()
    }
}

const OUTPUT: &str = "\u{1b}[1mcopying\u{1b}[0m\n  1 %\r 50 %\r100 %\r\nthe first of many\n";

#[test]
fn a_failure_is_told_with_all_that_is_known_of_it_everywhere() {
    for database in TestDatabase::both() {
        let told = Told::open(database, "public_url = \"https://inn.example.org/monitor\"");
        let instance = &told.instance;
        instance.reserve("other", "", json!({}));
        instance.pass(2 * HOUR);
        instance.reserve(
            "backup",
            "dba@example.org, chat, oncall, hook",
            json!({
                "owner": "dba@example.org", "frequency": null, "time_units": null,
                "cron": "0 3 * * *", "time_zone": "Europe/Berlin", "grace": "1h",
                "runbook": "https://wiki.example.org/runbooks/backup", "description": "See https://wiki.example.org/shop.",
            }),
        );
        for (seconds, end) in [(60, ""), (180, ""), (120, ""), (600, "/1")] {
            instance.ping("backup", "/start");
            instance.database.age(Duration::from_secs(seconds));
            if end.is_empty() {
                instance.ping("backup", end);
                instance.database.age(Duration::from_secs(1));
            } else {
                let many: String = (0..60).map(|n| format!("line {n}\n")).collect();
                instance.ping_with(
                    "backup",
                    end,
                    &format!("{OUTPUT}{many}\u{1b}[31mERROR\u{1b}[0m AccessDenied\n"),
                );
            }
        }
        instance.settle();
        let id = instance.database.number("SELECT id FROM reservations WHERE component = 'backup'").unwrap();
        let page = format!("https://inn.example.org/monitor/status/{id}");

        let (subject, text) = told.mail(0);
        assert_eq!(subject, "DOWN shop/backup: failed with exit status 1 · ops.example.org");
        let mut places = Vec::new();
        for part in [
            "shop/backup failed on ",
            " (Europe/Berlin), exit status 1.\nExpected each day at 03:00, with 1 hour of grace.\n\n",
            "    line 42\n",
            "    line 59\n    ERROR AccessDenied\n\n",
            "Exit status: 1\nHost: 127.0.0.1\n",
            "Run: 10 minutes",
            "; usually 2 minutes",
            "Owner: dba@example.org\nAbout: See https://wiki.example.org/shop.\n",
            "Runbook: https://wiki.example.org/runbooks/backup\n",
            &format!("Open: {page}\n"),
            "Also told: chat (Slack), oncall (PagerDuty), hook (webhook)\n",
            "Also down now: 1 of 2 jobs\n",
        ] {
            places.push(text.find(part).unwrap_or_else(|| panic!("{part}: {text}")));
        }
        assert!(places.is_sorted(), "{text}");
        assert!(
            !text.contains("the first of many") && !text.contains("line 40") && !text.contains('\u{1b}'),
            "{text}"
        );

        let chat = Told::json(&told.chat, 0);
        assert_eq!(chat["text"], subject);
        let said = chat["attachments"][0]["text"].as_str().unwrap();
        assert!(said.contains("line 59\nERROR AccessDenied\n```\n"), "{said}");
        assert!(said.ends_with(&format!("<{page}|Open in Innkeeper>")), "{said}");
        let pager = Told::json(&told.pager, 0);
        assert_eq!((&pager["client_url"], &pager["links"][0]["href"]), (&json!(page), &json!(page)));
        assert_eq!(pager["links"][1]["href"], "https://wiki.example.org/runbooks/backup");
        assert_eq!(pager["payload"]["summary"], subject);
        let hook = Told::json(&told.hook, 0);
        assert_eq!((&hook["url"], &hook["alert"]["also_told"][0]), (&json!(page), &json!("dba@example.org")));
        assert!(hook["text"].as_str().unwrap().contains(&format!("Open: {page}\n")));
        assert!(hook["alert"]["notes"].as_str().unwrap().ends_with("line 59\nERROR AccessDenied"));

        // The end has nothing of the run that failed.
        instance.check_in("other");
        instance.settle();
        instance.ping("backup", "");
        settle_gathered(&instance.database);
        let (_, text) = told.mail(1);
        assert!(text.starts_with("shop/backup is back online since "), "{text}");
        assert!(!text.contains("AccessDenied") && !text.contains("Exit status"), "{text}");
        assert!(text.contains("Also down now: no other job\n"), "{text}");
    }
}

#[test]
fn a_subject_that_is_filled_with_nothing_is_the_usual_one() {
    let told = Told::open(TestDatabase::sqlite(), "");
    let words = json!({ "alert_subject": "{notes} {runbook}", "owner": "" });
    told.instance.reserve("backup", "dba@example.org, oncall", words);
    told.instance.pass(2 * HOUR);
    let usual = "DOWN shop/backup: has not checked in · ops.example.org";
    assert_eq!(told.mail(0).0, usual);
    assert_eq!(Told::json(&told.pager, 0)["payload"]["summary"], usual);
}

#[test]
fn a_reservations_own_words_stand_in_subject_text_recovery_and_log() {
    for database in TestDatabase::both() {
        let told = Told::open(database, "");
        let instance = &told.instance;
        instance.reserve(
            "backup",
            "dba@example.org, hook",
            json!({
                "alert_subject": "[{state}] {component} at {instance}",
                "alert_msg": "Call Ada ({srv}, {host}).",
                "recovery_msg": "Sleep well: it was down for {lasted}. {url}",
            }),
        );
        instance.pass(3 * HOUR);
        let (subject, text) = told.mail(0);
        assert_eq!(subject, "[DOWN] backup at ops.example.org");
        let (own, rest) = text.split_once('\n').unwrap();
        let inner = own.strip_prefix("Call Ada (").unwrap().strip_suffix(").").unwrap();
        let (address, host) = inner.split_once(", ").unwrap();
        assert!(address.parse::<std::net::IpAddr>().is_ok(), "{own}");
        assert_eq!(host, gethostname::gethostname().to_str().unwrap());
        assert!(rest.starts_with("\nshop/backup has not checked in."), "{text}");
        instance.sweeper.wait_for_log("| Call Ada (");

        instance.check_in("backup");
        instance.settle();
        let back = Told::json(&told.hook, 1);
        assert_eq!(back["event"], "recovered");
        let text = back["text"].as_str().unwrap();
        assert!(text.starts_with("Sleep well: it was down for 2 hours. http://"), "{text}");
        assert!(text.contains("shop/backup is back online since "), "{text}");
        assert!(back["subject"].as_str().unwrap().starts_with("BACK shop/backup: after 2 hours"), "{back}");
        instance.sweeper.wait_for_log("| Sleep well: it was down for 2 hours.");
    }
}

#[test]
fn the_words_by_which_people_filter_can_be_kept() {
    let told = Told::open(TestDatabase::sqlite(), "subjects = \"classic\"");
    told.instance.reserve("backup", "dba@example.org", json!({}));
    told.instance.pass(2 * HOUR);
    assert_eq!(told.mail(0).0, "[ops.example.org] Job Failed to checkin: shop/backup");
    told.instance.sweeper.wait_for_log("opened: [ops.example.org] Job Failed to checkin: shop/backup");
    told.instance.check_in("backup");
    told.instance.sweeper.wait_for_log("recovered: [ops.example.org] Back online: shop/backup");
}
