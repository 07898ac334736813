//! What Slack, PagerDuty and a webhook's receiver find in a request.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use hmac::{Hmac, Mac};
use innkeeper_alerter::Sent;
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_testing::http_sink::{HttpSink, Received, SinkResponse};
use serde_json::{Value, json};
use sha2::Sha256;

#[test]
fn a_webhook_can_be_verified_by_whoever_has_the_secret() {
    let sink = HttpSink::start();
    let alerter = build(&format!(
        "kind = 'webhook'\nurl = '{}'\nsecret = 'hush'\nheaders = {{ 'X-Team' = 'ops', Authorization = 'Bearer t0k3n' }}",
        sink.url("/hook?x=1")
    ));
    let notice = notice(EventKind::Opened, "backup");
    for key in ["delivery-1", "delivery-1", "delivery-2"] {
        assert_eq!(send(alerter.as_ref(), std::slice::from_ref(&notice), key), Sent::Delivered);
    }
    let requests = sink.requests();
    for request in &requests {
        let timestamp = request.header("innkeeper-timestamp").unwrap();
        assert_eq!(timestamp, now().timestamp().to_string());
        let signature = request.header("innkeeper-signature").unwrap().strip_prefix("sha256=").unwrap();
        let signed = [timestamp.as_bytes(), b".", &request.body].concat();
        let mut mac = Hmac::<Sha256>::new_from_slice(b"hush").unwrap();
        mac.update(&signed);
        let bytes: Vec<u8> = (0..signature.len())
            .step_by(2)
            .map(|n| u8::from_str_radix(&signature[n..n + 2], 16).unwrap())
            .collect();
        mac.verify_slice(&bytes).unwrap();
        assert_eq!(request.header("x-team"), Some("ops"));
        assert_eq!(request.header("authorization"), Some("Bearer t0k3n"));
        assert_eq!(request.path, "/hook?x=1");

        let mut body = request.json();
        let key = body.as_object_mut().unwrap().remove("idempotency_key").unwrap();
        assert_eq!(request.header("idempotency-key"), key.as_str());
        let text = body["text"].as_str().unwrap().to_owned();
        assert!(text.starts_with("shop/backup has not checked in."), "{text}");
        let expected = Notice { text, ..notice.clone() };
        assert_eq!(serde_json::from_value::<Notice>(body).unwrap(), expected, "the rest is the notice");
    }
    let keys: Vec<_> = requests.iter().map(|request| request.header("idempotency-key").unwrap()).collect();
    assert_eq!(keys, ["delivery-1", "delivery-1", "delivery-2"]);
}

#[test]
fn a_webhook_without_a_secret_is_not_signed() {
    let sink = HttpSink::start();
    let alerter = build(&format!("kind = 'webhook'\nurl = '{}'", sink.url("/")));
    assert_eq!(send_opened(alerter.as_ref()), Sent::Delivered);
    assert_eq!(sink.requests()[0].header("innkeeper-signature"), None);
}

#[test]
fn several_notices_to_a_webhook_go_one_by_one_under_keys_of_their_own() {
    let sink = HttpSink::start();
    let alerter = build(&format!("kind = 'webhook'\nurl = '{}'", sink.url("/")));
    let notices = [notice(EventKind::Opened, "a"), notice(EventKind::Opened, "b")];
    sink.next(SinkResponse::status(200));
    sink.next(SinkResponse::status(500));
    let (_, maybe_sent, _) = retryable(send(alerter.as_ref(), &notices, "k"));
    assert!(maybe_sent, "the first was taken");
    let keys: Vec<_> =
        sink.requests().iter().map(|r| r.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(keys, ["k-0", "k-1"]);
}

fn slack(notices: &[Notice]) -> (Value, String) {
    let sink = HttpSink::start();
    let alerter = build(&format!("kind = 'slack'\nurl = '{}'", sink.url("/services/x")));
    assert!(alerter.takes_digests());
    assert_eq!(send(alerter.as_ref(), notices, "k"), Sent::Delivered);
    let body = sink.requests()[0].json();
    let text = body["attachments"][0]["text"].as_str().unwrap().to_owned();
    (body, text)
}

#[test]
fn slack_gets_the_headline_and_a_coloured_attachment() {
    let (body, text) = slack(&[notice(EventKind::Opened, "<!channel>")]);
    assert_eq!(body["text"], "DOWN shop/&lt;!channel&gt;: has not checked in · innkeeper");
    assert_eq!(body["attachments"][0]["color"], "danger");
    assert!(text.starts_with("shop/&lt;!channel&gt; has not checked in. It is overdue since "), "{text}");
    assert!(text.ends_with("\n<http://127.0.0.1:8080/status/3?a=1&amp;b=10|Open in Innkeeper>"), "{text}");
    let fenced =
        "\n```\nLine é\u{fffd} two\n\n&lt;b&gt;&amp;&lt;/b&gt; \u{2018}\u{2018}\u{2018} three\n```\n";
    assert!(text.contains(fenced), "the output cannot end its fence: {text}");
    let fields = body["attachments"][0]["fields"].as_array().unwrap();
    let titles: Vec<&str> = fields.iter().map(|field| field["title"].as_str().unwrap()).collect();
    assert_eq!(
        titles,
        ["Host", "Last success", "Owner", "About", "Tags", "Runbook", "Also told", "Also down now"]
    );
    assert_eq!(slack(&[notice(EventKind::Recovered, "x")]).0["attachments"][0]["color"], "good");
}

#[test]
fn slack_gets_a_summary_as_a_table() {
    let (_, text) = slack(&[bare(EventKind::Summary, "The week", "a | b\n1 | 2")]);
    assert_eq!(text, "```\na | b\n1 | 2\n```");
}

#[test]
fn slack_gets_a_digest_worst_first_and_bounded() {
    let mut notices: Vec<Notice> =
        (0..69).map(|n| notice(EventKind::Recovered, &format!("job-{n}"))).collect();
    notices.push(with_own(notice(EventKind::Recovered, "job-last"), "Nobody needs to know."));
    notices.push(notice(EventKind::Opened, "worst"));
    let (body, text) = slack(&notices);
    assert_eq!(body["text"], "DOWN shop/worst; BACK shop/job-0, shop/job-1; and 68 more · innkeeper");
    let parts = body["attachments"].as_array().unwrap();
    assert_eq!((&parts[0]["color"], &parts[1]["color"]), (&json!("danger"), &json!("good")));
    assert!(text.starts_with("*New alerts (1)*\n• <http://127.0.0.1:8080/status/3"), "{text}");
    assert!(text.contains("|DOWN shop/worst: has not checked in>\nSince Fri 20 Nov"), "{text}");
    let back: Vec<&str> = parts[1..].iter().map(|part| part["text"].as_str().unwrap()).collect();
    assert!(back.iter().all(|text| text.chars().count() <= 3000));
    let back = back.join("\n");
    assert_eq!(back.matches("• ").count(), 50, "49, and one more for its own words");
    assert!(back.contains("Nobody needs to know.") && back.ends_with("and 20 messages more"), "{back}");
}

#[test]
fn slack_gets_the_whole_of_a_few_each_with_its_own_colour() {
    let notices = [
        with_own(failed("a"), "Call <Ada>."),
        notice(EventKind::Reminder, "b"),
        notice(EventKind::Recovered, "c"),
    ];
    let (body, text) = slack(&notices);
    assert_eq!(body["text"], "DOWN shop/a; STILL DOWN shop/b; BACK shop/c · innkeeper");
    let colours: Vec<&str> =
        body["attachments"].as_array().unwrap().iter().map(|part| part["color"].as_str().unwrap()).collect();
    assert_eq!(colours, ["danger", "danger", "good"]);
    assert!(text.contains("Call &lt;Ada&gt;.") && text.contains("exit status 1\n```\n"), "{text}");
}

#[test]
fn pagerduty_reads_nothing_twice() {
    let event = pagerduty(with_own(failed("backup"), "Call Ada."), "")[0].json();
    let all = event.to_string();
    for once in
        ["Call Ada.", "s3:PutObject", "oncall (PagerDuty)", "2 of 61 jobs", "each day at 03:00", "10.1.1.11"]
    {
        assert_eq!(all.matches(once).count(), 1, "{once}: {all}");
    }
    assert_eq!(event["payload"]["custom_details"]["Run"], "1 hour 23 minutes; usually 41 minutes");
}

fn pagerduty(notice: Notice, extra: &str) -> Vec<Received> {
    let sink = HttpSink::start();
    let alerter = build(&format!(
        "kind = 'pagerduty'\nrouting_key = 'R0UT1NG'\nurl = '{}'\n{extra}",
        sink.url("/v2/enqueue")
    ));
    sink.otherwise(SinkResponse::status(202).body(r#"{"status":"success"}"#));
    assert!(!alerter.takes_digests());
    assert_eq!(send(alerter.as_ref(), &[notice], "delivery-1"), Sent::Delivered);
    sink.requests()
}

#[test]
fn pagerduty_triggers_and_resolves_under_one_key() {
    let events: Vec<Value> = [EventKind::Opened, EventKind::Reminder, EventKind::Recovered]
        .into_iter()
        .flat_map(|event| pagerduty(notice(event, "backup"), ""))
        .map(|request| request.json())
        .collect();
    let actions: Vec<_> = events.iter().map(|event| event["event_action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["trigger", "trigger", "resolve"]);
    assert!(events.iter().all(|event| event["dedup_key"] == "innkeeper-alert-backup"));
    assert!(events.iter().all(|event| event["routing_key"] == "R0UT1NG"));
    let payload = &events[0]["payload"];
    assert_eq!(payload["summary"], "DOWN shop/backup: has not checked in · innkeeper");
    assert_eq!(payload["source"], "shop/backup");
    assert_eq!(payload["severity"], "error");
    assert_eq!(payload["class"], "missed");
    assert_eq!(payload["timestamp"], "2026-11-20T02:00:00Z");
    assert_eq!(payload["custom_details"]["reservation_id"], 3);
    assert_eq!(payload["custom_details"]["Owner"], "ops");
    assert_eq!(events[0]["client_url"], "http://127.0.0.1:8080/status/3?a=1&b=6");
    let links: Vec<(&str, &str)> = events[0]["links"]
        .as_array()
        .unwrap()
        .iter()
        .map(|link| (link["text"].as_str().unwrap(), link["href"].as_str().unwrap()))
        .collect();
    assert_eq!(
        links,
        [
            ("Open in Innkeeper", "http://127.0.0.1:8080/status/3?a=1&b=6"),
            ("Runbook", "https://wiki.example.org/runbooks/backup"),
            ("https://wiki.example.org/backup", "https://wiki.example.org/backup"),
        ]
    );
}

#[test]
fn pagerduty_hears_of_a_short_failure_from_its_beginning() {
    let requests = pagerduty(notice(EventKind::OpenedAndRecovered, "backup"), "severity = 'critical'");
    let events: Vec<Value> = requests.iter().map(Received::json).collect();
    assert_eq!(events[0]["event_action"], "trigger");
    assert_eq!(events[0]["payload"]["severity"], "critical");
    assert_eq!(events[1]["event_action"], "resolve");
    assert_eq!(events[0]["dedup_key"], events[1]["dedup_key"]);

    let sink = HttpSink::start();
    let alerter = build(&format!("kind = 'pagerduty'\nrouting_key = 'x'\nurl = '{}'", sink.url("/")));
    sink.next(SinkResponse::status(202));
    sink.next(SinkResponse::status(500));
    let sent = send(alerter.as_ref(), &[notice(EventKind::OpenedAndRecovered, "backup")], "k");
    assert!(retryable(sent).1, "the trigger was taken");
}

#[test]
fn pagerduty_is_told_about_innkeeper_itself_under_the_sendings_key() {
    let event = pagerduty(bare(EventKind::Operator, "No sweeper", "none since 02:00"), "")[0].json();
    assert_eq!(event["dedup_key"], "delivery-1");
    assert_eq!(event["payload"]["source"], "innkeeper");
    assert_eq!(event["client_url"], json!(null));
    let event = pagerduty(bare(EventKind::Summary, "The week", "all well"), "")[0].json();
    assert_eq!(event["payload"]["severity"], "info");
}

#[test]
fn pagerdutys_bounds_are_kept() {
    let mut long = notice(EventKind::Opened, "backup");
    long.subject = "é".repeat(2000);
    long.alert.as_mut().unwrap().dedup_key = "k".repeat(300);
    let event = pagerduty(long, "")[0].json();
    assert_eq!(event["payload"]["summary"].as_str().unwrap().chars().count(), 1024);
    assert!(event["dedup_key"].as_str().unwrap().starts_with("sha256-"));
}
