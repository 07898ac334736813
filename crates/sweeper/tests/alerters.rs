//! From an overdue job to the messages of each kind of alerter, and to the recovery: real processes, real connections.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::os::unix::fs::PermissionsExt;

use common::*;
use hmac::{Hmac, Mac};
use innkeeper_testing::certificates::Authority;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, Received};
use innkeeper_testing::process::PATIENCE;
use innkeeper_testing::smtp_sink::{ReceivedMail, SmtpSink};
use mail_parser::{Message, MessageParser};
use serde_json::{Value, json};
use sha2::Sha256;

#[test]
fn mail_goes_over_starttls_to_each_recipient() {
    for database in TestDatabase::both() {
        let directory = tempfile::tempdir().unwrap();
        let (ca, password) = (directory.path().join("ca.pem"), directory.path().join("password"));
        let authority = Authority::new();
        authority.write_to(&ca);
        std::fs::write(&password, "s3cret & more\n").unwrap();
        let sink =
            SmtpSink::starttls(authority.server(&["localhost"])).with_login("innkeeper", "s3cret & more");
        let instance = Instance::open(
            database,
            &format!(
                "[alerter.post]\nkind = \"smtp\"\nhost = \"localhost\"\nport = {}\nfrom = \"Inn <inn@example.org>\"\n\
                 username = \"innkeeper\"\npassword_file = \"{}\"\nca_file = \"{}\"",
                sink.port(),
                password.display(),
                ca.display()
            ),
        );
        instance.reserve("backup", "first@example.com, second@example.com", json!({ "description": "<b>&" }));
        instance.pass(2 * HOUR);
        let opened = sink.wait_for(2, PATIENCE);
        let mut recipients: Vec<&String> = opened.iter().flat_map(|mail| &mail.to).collect();
        recipients.sort();
        assert_eq!(recipients, ["first@example.com", "second@example.com"], "one message each");
        for mail in &opened {
            assert!(mail.encrypted);
            assert_eq!((mail.user.as_deref(), mail.from.as_str()), (Some("innkeeper"), "inn@example.org"));
            let mail = parsed(mail);
            assert_eq!(mail.subject(), Some("DOWN shop/backup: has not checked in · innkeeper"));
            let text = mail.body_text(0).unwrap();
            assert!(
                text.contains("shop/backup has not checked in.") && text.contains("It is overdue since"),
                "{text}"
            );
            assert!(text.contains("<b>&"), "{text}");
            let html = mail.body_html(0).unwrap();
            assert!(html.contains("shop/backup") && html.contains("&#60;b&#62;&#38;"), "{html}");
        }
        instance.check_in("backup");
        let back = parsed(&sink.wait_for(4, PATIENCE)[3]).subject().unwrap().to_owned();
        assert!(back.starts_with("BACK shop/backup: after 1 hour"), "{back}");
        instance.settle();
        let ids: std::collections::BTreeSet<String> =
            sink.mails().iter().map(|mail| parsed(mail).message_id().unwrap().to_owned()).collect();
        assert_eq!((sink.mails().len(), ids.len()), (4, 4));
    }
}

fn parsed(mail: &ReceivedMail) -> Message<'_> {
    MessageParser::default().parse(&mail.raw).unwrap()
}

#[test]
fn one_alert_reaches_slack_pagerduty_webhook_command_and_log_and_so_does_its_end() {
    for database in TestDatabase::both() {
        let [chat, pager, hook] = [(); 3].map(|()| HttpSink::start());
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("tell.sh");
        let out = directory.path().join("out");
        std::fs::create_dir(&out).unwrap();
        std::fs::write(
            &script,
            format!("#!/bin/sh\ncat > '{0}/new' && mv '{0}/new' \"{0}/$INNKEEPER_EVENT\"\n", out.display()),
        )
        .unwrap();
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        let instance = Instance::open(
            database,
            &format!(
                "[alerter.chat]\nkind = \"slack\"\nurl = \"{}\"\n\
                 [alerter.pager]\nkind = \"pagerduty\"\nrouting_key = \"route\"\nurl = \"{}\"\n\
                 [alerter.script]\nkind = \"command\"\ncommand = [\"{}\"]\n{}",
                chat.url("/services/x"),
                pager.url("/v2/enqueue"),
                script.display(),
                webhook("hook", &hook, "secret = \"whisper\"")
            ),
        );
        instance.reserve("backup", "chat, pager, hook, script", json!({ "alert_msg": "{app} is asleep" }));
        instance.pass(2 * HOUR);
        instance.check_in("backup");
        instance.settle();
        // In a chat the end of what was told a moment ago gathers with what else happens.
        instance.pass(innkeeper_core::pacing::FIRST.to_std().unwrap());

        let chat: Vec<String> =
            chat.requests().iter().map(|said| said.json()["text"].as_str().unwrap().to_owned()).collect();
        assert_eq!(chat[0], "DOWN shop/backup: has not checked in · innkeeper");
        assert!(chat[1].starts_with("BACK shop/backup: after 1 hour"), "{}", chat[1]);

        let pager: Vec<Value> = pager.requests().iter().map(Received::json).collect();
        let actions: Vec<&Value> = pager.iter().map(|event| &event["event_action"]).collect();
        assert_eq!(actions, ["trigger", "resolve"]);
        assert_eq!(pager[0]["dedup_key"], pager[1]["dedup_key"]);
        assert_eq!(pager[0]["routing_key"], "route");

        let hook = hook.requests();
        assert_eq!(events(&hook), [("backup", "opened"), ("backup", "recovered")].map(owned));
        for request in &hook {
            assert_eq!(request.header("innkeeper-signature").unwrap(), signature("whisper", request));
            assert_eq!(request.json()["alert"]["dedup_key"], pager[0]["dedup_key"]);
            assert_eq!(request.json()["idempotency_key"], request.header("idempotency-key").unwrap());
        }
        assert_ne!(hook[0].header("idempotency-key"), hook[1].header("idempotency-key"));
        assert!(hook[0].json()["text"].as_str().unwrap().starts_with("shop is asleep\n"));

        for event in ["opened", "recovered"] {
            let told: Value = serde_json::from_slice(&std::fs::read(out.join(event)).unwrap()).unwrap();
            assert_eq!((&told["event"], &told["alert"]["component"]), (&json!(event), &json!("backup")));
            instance
                .sweeper
                .wait_for_log(&format!("{event}: {}", if event == "opened" { "DOWN" } else { "BACK" }));
        }
    }
}

fn owned((component, event): (&str, &str)) -> (String, String) {
    (component.to_owned(), event.to_owned())
}

/// The signature that a receiver computes: over the timestamp, a dot, and the body as it came.
fn signature(secret: &str, request: &Received) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(request.header("innkeeper-timestamp").unwrap().as_bytes());
    mac.update(b".");
    mac.update(&request.body);
    format!("sha256={:x}", mac.finalize().into_bytes())
}

#[test]
fn alerters_narrow_who_is_told() {
    let [one, two] = [(); 2].map(|()| HttpSink::start());
    let instance = Instance::open(
        TestDatabase::sqlite(),
        &format!("{}{}", webhook("one", &one, ""), webhook("two", &two, "")),
    );
    instance.reserve("both", "one, two", json!({}));
    instance.reserve("narrow", "one, two, mail@example.org", json!({ "alerters": ["two"] }));
    instance.pass(2 * HOUR);
    assert_eq!(events(&one.requests()), [("both", "opened")].map(owned));
    let mut two = events(&two.requests());
    two.sort();
    assert_eq!(two, [("both", "opened"), ("narrow", "opened")].map(owned));
    assert_eq!(instance.told("log", "narrow"), ["opened"], "the log is always told");
    assert_eq!(instance.told("mail", "narrow"), Vec::<String>::new());
}
