//! gocron's alerts: one, then silence, then "back online"; and sites, whose silence holds the alerts behind them.

mod common;

use std::time::Duration;

use common::{Inn, Shape, event, events, eventually, notices, webhook};
use innkeeper_testing::certificates::Authority;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::PATIENCE;
use innkeeper_testing::smtp_sink::SmtpSink;
use serde_json::Value;

in_both_shapes![
    one_alert_then_silence_then_back_online,
    one_overdue_job_blocks_no_other,
    alerts_behind_a_silent_site_are_held,
    alerts_go_to_the_mail_address_of_the_checkin,
];

/// gocron's check-in from the address `from`.
fn run(inn: &Inn, account: &str, name: &str, from: &str, more: &str) {
    let path = format!("/?account={account}&cronname={name}&email=hook&frequency=60{more}");
    let answer = inn.send("GET", &path, &[("X-Forwarded-For", from)], b"");
    assert_eq!(answer.status, 201, "{answer:?}");
}

fn with_hook(shape: Shape) -> (Inn, HttpSink) {
    let sink = HttpSink::start();
    let config = format!("[ingest]\ntrusted_proxies = [\"127.0.0.1\"]\n{}", webhook("hook", &sink));
    (Inn::with(shape, &config), sink)
}

/// Waits until the sweeper has looked at what is due by now, and all it said is sent.
fn settled(inn: &Inn) {
    eventually("the sweep", || {
        let due = format!("states WHERE wake_at <= {}", chrono::Utc::now().timestamp_millis());
        (inn.database.count(&due) == 0 && inn.database.count("deliveries WHERE state = 'waiting'") == 0)
            .then_some(())
    });
}

fn one_alert_then_silence_then_back_online(shape: Shape) {
    let (inn, sink) = with_hook(shape);
    run(&inn, "acme", "backup", "203.0.113.7", "");
    inn.age(Duration::from_secs(61));
    assert_eq!(event(&notices(&sink, 1)[0]), "opened acme/backup");
    for _ in 0..3 {
        inn.age(Duration::from_secs(7 * 3600));
        settled(&inn);
    }
    assert_eq!(events(&sink).len(), 1, "gocron's reservations are not reminded of");
    run(&inn, "acme", "backup", "203.0.113.7", "");
    let back = &notices(&sink, 2)[1];
    assert_eq!(event(back), "recovered acme/backup");
    assert!(back["text"].as_str().is_some_and(|text| text.contains("back online")), "{back}");
    // It misses again, and is heard of again.
    inn.age(Duration::from_secs(61));
    assert_eq!(event(&notices(&sink, 3)[2]), "opened acme/backup");
}

fn one_overdue_job_blocks_no_other(shape: Shape) {
    let (inn, sink) = with_hook(shape);
    for n in 0..20 {
        run(&inn, "acme", &format!("job{n}"), "203.0.113.7", "");
    }
    inn.age(Duration::from_secs(61));
    let mut told: Vec<String> = notices(&sink, 20).iter().map(event).collect();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 20);
    run(&inn, "acme", "job7", "203.0.113.7", "");
    assert_eq!(event(&notices(&sink, 21)[20]), "recovered acme/job7");
}

fn alerts_behind_a_silent_site_are_held(shape: Shape) {
    let (inn, sink) = with_hook(shape);
    let (office, home) = ("203.0.113.7", "198.51.100.1");
    run(&inn, "acme", "gateway", office, "&site=1");
    run(&inn, "acme", "mail", office, "");
    run(&inn, "acme", "files", office, "");
    run(&inn, "acme", "laptop", home, "");
    run(&inn, "other", "till", office, "");
    inn.age(Duration::from_secs(61));
    let told = notices(&sink, 3);
    settled(&inn);
    let mut opened = events(&sink);
    opened.sort();
    assert_eq!(opened, ["opened acme/gateway", "opened acme/laptop", "opened other/till"]);
    let state = |component| inn.job("acme", component)["state"].clone();
    assert_eq!([state("gateway"), state("mail"), state("laptop")], ["down", "held", "down"]);
    let gateway = told.iter().find(|notice| notice["alert"]["component"] == "gateway").expect("its alert");
    let text = gateway["text"].as_str().expect("a text");
    assert!(
        text.contains("The alerts of 2 reservations behind this site are held until it is back."),
        "{text}"
    );
    let laptop = told.iter().find(|notice| notice["alert"]["component"] == "laptop").expect("its alert");
    assert!(!laptop["text"].as_str().expect("a text").contains("held"), "{laptop}");
    let alerted: Vec<(Value, bool)> = inn.read("/cron/acme").json()["Crons"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| (row["Cronname"].clone(), row["Alerted"] == true))
        .collect();
    assert!(alerted.contains(&("mail".into(), false)) && alerted.contains(&("gateway".into(), true)));

    // The gateway and one job are back; the other was really missed.
    run(&inn, "acme", "mail", office, "");
    run(&inn, "acme", "gateway", office, "&site=1");
    let recovered = notices(&sink, 4);
    let back = recovered.iter().find(|notice| notice["event"] == "recovered").expect("the end of its alert");
    assert_eq!(event(back), "recovered acme/gateway");
    inn.age(Duration::from_secs(30));
    settled(&inn);
    run(&inn, "acme", "gateway", office, "&site=1");
    run(&inn, "acme", "mail", office, "");
    inn.age(Duration::from_secs(40));
    let missed = eventually("the alert of what is still missing", || {
        notices(&sink, 4).into_iter().find(|notice| event(notice) == "opened acme/files")
    });
    assert!(missed["text"].as_str().is_some_and(|text| text.contains("has not checked in")), "{missed}");
    settled(&inn);
    assert!(!events(&sink).contains(&"opened acme/mail".to_owned()), "{:?}", events(&sink));
}

fn alerts_go_to_the_mail_address_of_the_checkin(shape: Shape) {
    let authority = Authority::new();
    let sink = SmtpSink::starttls(authority.server(&["localhost"]));
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).expect("the authority's certificate");
    let config = format!(
        "[alerter.mail]\nkind = \"smtp\"\nhost = \"localhost\"\nport = {}\nfrom = \"innkeeper@example.org\"\nca_file = {:?}\n",
        sink.port(),
        file
    );
    let inn = Inn::with(shape, &config);
    let answer = inn.call("/?account=acme&cronname=backup&email=a@example.org,b@example.org&frequency=60");
    assert_eq!(answer.status, 201);
    inn.age(Duration::from_secs(61));
    let mails = sink.wait_for(2, PATIENCE);
    let mut to: Vec<String> = mails.iter().map(|mail| mail.to.join(" ")).collect();
    to.sort();
    assert_eq!(to, ["a@example.org", "b@example.org"], "one mail to each");
    for mail in &mails {
        let raw = String::from_utf8_lossy(&mail.raw);
        assert!(raw.contains("acme/backup has not checked in."), "{raw}");
    }
}
