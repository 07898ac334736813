//! A sweeper that is killed in a burst loses nothing, and a repeated message carries the same key; two sweepers at
//! once send nothing twice.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use common::parts::mail;
use common::*;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, Received, SinkResponse};
use innkeeper_testing::process::{PATIENCE, Server};
use innkeeper_testing::smtp_sink::{Reply, SmtpSink, Step};
use mail_parser::MessageParser;

const BURST: usize = 300;

fn sweeper(database: &TestDatabase, more: &str) -> Server {
    Server::start("sweeper", &config(database, more), &[])
}

fn pager(sink: &HttpSink) -> String {
    let url = sink.url("/v2/enqueue");
    format!(
        "[alerter.pager]\nkind = \"pagerduty\"\nrouting_key = \"route\"\nurl = \"{url}\"\ntimeout = \"60s\"\n"
    )
}

/// The incidents' keys that reached PagerDuty, by job.
fn incidents(requests: &[Received]) -> BTreeMap<String, BTreeSet<String>> {
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in requests.iter().map(Received::json) {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        keys.entry(text(&event["payload"]["component"])).or_default().insert(text(&event["dedup_key"]));
    }
    keys
}

/// All of the burst came, and nothing of it under two keys.
fn assert_all_came(keys: &BTreeMap<String, BTreeSet<String>>) {
    assert_eq!(keys.len(), BURST);
    let several: Vec<_> = keys.iter().filter(|(_, keys)| keys.len() > 1).collect();
    assert!(several.is_empty(), "{several:?}");
    let distinct: BTreeSet<&String> = keys.values().flatten().collect();
    assert_eq!(distinct.len(), BURST);
}

#[test]
fn killed_between_claim_and_send() {
    for database in TestDatabase::both() {
        let [hook, page] = [(); 2].map(|()| HttpSink::start());
        for sink in [&hook, &page] {
            sink.otherwise(SinkResponse::Hang);
        }
        overdue(&database, "shop", BURST, "hook, pager");
        let alerters = webhook("hook", &hook, "timeout = \"60s\"") + &pager(&page);
        let mut first = sweeper(&database, &alerters);
        // Each sender has claimed a batch, and got no further than its first message.
        for sink in [&hook, &page] {
            sink.wait_for(4, PATIENCE);
        }
        let claimed = database.count("deliveries WHERE lease_until IS NOT NULL AND alerter = 'hook'");
        assert!(claimed > 4, "{claimed} claimed");
        first.kill();
        for sink in [&hook, &page] {
            sink.otherwise(SinkResponse::status(202));
        }
        end_leases(&database);
        let begun = Instant::now();
        let _second = sweeper(&database, &alerters);
        settle(&database);
        println!("{:?}: the other sweeper had sent all within {:?}", database.kind(), begun.elapsed());
        assert_all_came(&keys_by_job(&hook.requests()));
        assert_all_came(&incidents(&page.requests()));
        for sink in [hook, page] {
            assert_eq!(sink.requests().len(), BURST + 4, "only what was under way came again");
        }
    }
}

#[test]
fn killed_between_send_and_record_again_and_again() {
    for database in TestDatabase::both() {
        let [hook, page] = [(); 2].map(|()| HttpSink::start());
        overdue(&database, "shop", BURST, "hook, pager");
        let alerters = webhook("hook", &hook, "") + &pager(&page);
        for kill in 1..=4 {
            let mut doomed = sweeper(&database, &alerters);
            hook.wait_for(kill * BURST / 6, PATIENCE);
            doomed.kill();
            end_leases(&database);
        }
        let _last = sweeper(&database, &alerters);
        settle(&database);
        assert_all_came(&keys_by_job(&hook.requests()));
        assert_all_came(&incidents(&page.requests()));
        let repeats = hook.requests().len() - BURST;
        println!("{:?}: {repeats} came again in four crashes", database.kind());
        assert_eq!(database.count("deliveries WHERE state <> 'delivered'"), 0);
        assert_eq!(database.count("alerts"), BURST as i64);
    }
}

#[test]
fn two_sweepers_at_once_send_nothing_twice() {
    for database in TestDatabase::both() {
        let [hook, page] = [(); 2].map(|()| HttpSink::start());
        let post = SmtpSink::plain();
        overdue(&database, "shop", BURST, "hook, pager, ops@example.com");
        let alerters = webhook("hook", &hook, "") + &pager(&page) + &mail(&post) + "[sweeper]\nbatch = 20\n";
        let sweepers = [(); 2].map(|()| sweeper(&database, &alerters));
        settle_gathered(&database);
        for sink in [&hook, &page] {
            assert_eq!(sink.requests().len(), BURST, "{:?}", database.kind());
        }
        assert_all_came(&keys_by_job(&hook.requests()));
        assert_all_came(&incidents(&page.requests()));
        let digests = digests(&post);
        assert_eq!(digests.len(), post.mails().len(), "a mail came twice");
        assert_eq!(digests.values().map(|(named, more)| named.len() + more).sum::<usize>(), BURST);
        let shares = sweepers.each_ref().map(|sweeper| sweeper.log().matches("opened: DOWN ").count());
        println!("{:?}: {} mails; in the two logs stand {shares:?}", database.kind(), digests.len());
        assert_eq!(shares.iter().sum::<usize>(), BURST);
    }
}

#[test]
fn a_burst_to_one_address_is_a_handful_of_mails_and_a_repeat_has_the_same_id() {
    for database in TestDatabase::both() {
        let sink = SmtpSink::plain();
        // The mail is taken, and the sweeper never hears so.
        sink.always(Step::End, Some(Reply::Hang));
        overdue(&database, "shop", BURST, "ops@example.com");
        let mail = mail(&sink) + "[sweeper]\nbatch = 100\n";
        let mut first = sweeper(&database, &mail);
        sink.wait_for(1, PATIENCE);
        first.kill();
        sink.always(Step::End, None);
        let before = digests(&sink);
        end_leases(&database);
        let _second = sweeper(&database, &mail);
        settle_gathered(&database);
        let after = digests(&sink);
        println!(
            "{:?}: {} mails, {} under an id of their own",
            database.kind(),
            sink.mails().len(),
            after.len()
        );
        assert!(after.len() <= 4, "{}", after.len());
        let mut named: Vec<&String> = Vec::new();
        let mut more = 0;
        for (id, jobs) in &after {
            assert!(before.get(id).is_none_or(|earlier| earlier == jobs), "a repeat says something else");
            named.extend(&jobs.0);
            more += jobs.1;
        }
        assert!(before.keys().all(|id| after.contains_key(id)), "a repeat has another id");
        let distinct: BTreeSet<_> = named.iter().collect();
        assert_eq!(distinct.len(), named.len(), "a job stands in two mails");
        assert_eq!(named.len() + more, BURST);
    }
}

/// By Message-ID: the jobs that the mails name, and how many more they count. Repeats are the same.
fn digests(sink: &SmtpSink) -> BTreeMap<String, (BTreeSet<String>, usize)> {
    let mut digests = BTreeMap::new();
    for mail in sink.mails() {
        let mail = MessageParser::default().parse(&mail.raw).unwrap();
        let text = mail.body_text(0).unwrap();
        let subject = mail.subject().unwrap();
        let named =
            text.lines().chain([subject]).filter_map(|line| line.split_once("shop/")).map(|(_, job)| {
                job.split(|c: char| !c.is_alphanumeric() && c != '-').next().unwrap().to_owned()
            });
        // "and 80 messages more"
        let count =
            |line: &str| line.strip_prefix("and ")?.strip_suffix(" more")?.split(' ').next()?.parse().ok();
        let more = text.lines().find_map(count);
        let digest = (named.collect(), more.unwrap_or(0));
        let known = digests.insert(mail.message_id().unwrap().to_owned(), digest.clone());
        assert!(known.is_none_or(|known| known == digest), "one id, two mails");
    }
    digests
}
