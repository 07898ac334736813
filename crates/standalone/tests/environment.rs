//! A configuration without a file: the environment alone makes alerters, and where a configuration is looked for.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::fs;
use std::time::Duration;

use common::programs::{PROGRAMS, run};
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::{PATIENCE, Server};
use innkeeper_testing::smtp_sink::SmtpSink;
use serde_json::json;
use tempfile::TempDir;

#[test]
fn an_alerter_that_the_environment_makes_mails() {
    for database in TestDatabase::both() {
        let sink = SmtpSink::plain().with_login("inn", "hunter2");
        let secrets = TempDir::new().unwrap();
        let password = secrets.path().join("password");
        fs::write(&password, "hunter2\n").unwrap();
        let port = sink.port().to_string();
        let environment = [
            ("INNKEEPER_DATABASE_URL", database.url()),
            ("INNKEEPER_INGEST_LISTEN", "127.0.0.1:0"),
            ("INNKEEPER_ALERTER_MAIL_KIND", "smtp"),
            ("INNKEEPER_ALERTER_MAIL_HOST", "127.0.0.1"),
            ("INNKEEPER_ALERTER_MAIL_PORT", port.as_str()),
            ("INNKEEPER_ALERTER_MAIL_TLS", "none"),
            ("INNKEEPER_ALERTER_MAIL_FROM", "innkeeper@example.org"),
            ("INNKEEPER_ALERTER_MAIL_USERNAME", "inn"),
            ("INNKEEPER_ALERTER_MAIL_PASSWORD_FILE", password.to_str().unwrap()),
        ];
        let nowhere = TempDir::new().unwrap();
        let (code, out, err) = run("innkeeper", nowhere.path(), &["check-config"], &environment);
        assert_eq!(code, Some(0), "{err}");
        assert!(
            out.contains("file            none (the defaults)") && out.contains("alerter mail     smtp\n"),
            "{out}"
        );
        for key in ["KIND", "HOST", "PORT", "TLS", "FROM", "USERNAME", "PASSWORD_FILE"] {
            let line = format!(
                "  alerter.mail.{} = … (the environment variable INNKEEPER_ALERTER_MAIL_{key})\n",
                key.to_lowercase()
            );
            assert!(out.contains(&line), "{line}: {out}");
        }
        assert!(!out.contains("hunter2"), "{out}");

        let mut server = Server::start_with(&environment, "innkeeper", "", &[]);
        let body = json!({
            "app": "shop", "component": "backup", "notify": "ops@example.org", "frequency": 1, "time_units": "minutes",
        });
        let answer = Client::default().post(&server.url("/reservation"), &body);
        assert_eq!((answer.status, answer.header("warning")), (200, None), "{answer:?}");
        database.age(Duration::from_secs(3600));
        let mails = sink.wait_for(1, PATIENCE);
        let mail = String::from_utf8_lossy(&mails[0].raw);
        assert!(mail.contains("shop/backup") && mails[0].user.as_deref() == Some("inn"), "{mail}");
        assert!(server.terminate(PATIENCE).success());
    }
}

#[test]
fn variables_that_make_no_alerter_or_not_one_are_told_all_at_once() {
    let nowhere = TempDir::new().unwrap();
    let environment = [
        ("INNKEEPER_ALERTER_OPS_HOST", "mx"),
        ("INNKEEPER_ALERTER_ON-CALL_KIND", "log"),
        ("INNKEEPER_ALERTER_ON_CALL_KIND", "log"),
        ("INNKEEPER_ALERTER_CHAT_KIND", "slakc"),
        ("INNKEEPER_ALERTER_MAIL_KIND", "smtp"),
        ("INNKEEPER_ALERTER_MAIL_FROM", "nobody"),
        ("INNKEEPER_ALERTER_MAIL_SUMMARY", "perhaps"),
    ];
    let said = [
        "INNKEEPER_ALERTER_OPS_HOST: belongs to no alerter",
        "INNKEEPER_ALERTER_ON-CALL_KIND: fits two alerters whose names differ only in - and _: on-call, on_call",
        "INNKEEPER_ALERTER_ON_CALL_KIND: fits two alerters",
        "INNKEEPER_ALERTER_CHAT_KIND: alerter.chat.kind: \"slakc\" is not known; allowed: smtp, slack",
        "alerter.mail: the key host is missing",
        "INNKEEPER_ALERTER_MAIL_FROM: alerter.mail.from: \"nobody\" is not a sender",
        "INNKEEPER_ALERTER_MAIL_SUMMARY: alerter.mail.summary: \"perhaps\" is neither true nor false",
    ];
    for program in PROGRAMS {
        let (code, out, err) = run(program, nowhere.path(), &["check-config"], &environment);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        for part in said {
            assert!(err.contains(part), "{program} does not say {part}: {err}");
        }
        assert_eq!(err.lines().count(), 1 + said.len(), "{err}");
    }
}

#[test]
fn a_file_out_of_reach_is_an_error_where_no_other_is_used_or_where_it_was_named() {
    let directory = TempDir::new().unwrap();
    let place = directory.path().join("innkeeper.toml");
    let told = |arguments: &[&str]| {
        let (code, _, err) = run("innkeeper", directory.path(), arguments, &[]);
        assert_eq!(code, Some(1), "{err}");
        assert!(
            err.contains("cannot read the configuration file") && err.contains("innkeeper.toml: "),
            "{err}"
        );
    };
    fs::create_dir(&place).unwrap();
    told(&["check-config"]);
    told(&["--config", "innkeeper.toml", "check-config"]);
    fs::remove_dir(&place).unwrap();
    std::os::unix::fs::symlink("/nowhere/innkeeper.toml", &place).unwrap();
    told(&["check-config"]);
    told(&["--config", "innkeeper.toml", "check-config"]);
    fs::remove_file(&place).unwrap();
    let (code, out, err) = run("innkeeper", directory.path(), &["check-config"], &[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("none (the defaults)"), "{out}");
}
