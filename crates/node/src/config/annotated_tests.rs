//! Checks that `deploy/innkeeper.toml` documents every key and every default as the code has them.

use std::collections::BTreeSet;

use innkeeper_alerter::AlerterConfig;

use super::*;
use innkeeper_core::ways::AlerterKind;
use innkeeper_settings::{Setting, Value};

const ANNOTATED: &str = include_str!("../../../../deploy/innkeeper.toml");

/// The file with the `#` removed from every key. Prose has a blank after its `#`.
fn uncommented(keep: impl Fn(&str) -> bool) -> String {
    ANNOTATED
        .lines()
        .map(|line| {
            line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' ')).unwrap_or(line)
        })
        .filter(|line| line.split_once(" = ").is_none_or(|(key, _)| keep(key)))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn without_files() -> String {
    uncommented(|key| key == "ca_file" || !key.ends_with("_file"))
}

fn load(text: &str) -> (Config, Findings) {
    let root = innkeeper_settings::parse("innkeeper.toml", text).unwrap_or_else(|error| panic!("{error}"));
    read(Role::Standalone, None, root, [], &Overrides::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// The keys of a tree with their sections, except those in the tables of alerters.
fn keys(table: &Table) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (key, Setting { value, .. }) in table {
        match value {
            Value::Table(inner) if key != "headers" => {
                all.extend(keys(inner).into_iter().map(|inner| format!("{key}.{inner}")));
            }
            _ => {
                all.insert(key.clone());
            }
        }
    }
    all
}

#[test]
fn every_line_of_it_can_be_uncommented() {
    load(ANNOTATED);
    load(&without_files());
}

#[test]
fn every_key_of_the_code_stands_in_it_and_no_other() {
    let (config, findings) = load(&without_files());
    let expected: BTreeSet<String> = findings.known.into_iter().collect();
    for key in super::watch::PEER_KEYS {
        assert!(expected.contains(&format!("peer.north.{key}")), "{key}");
    }
    let found = keys(&innkeeper_settings::parse("innkeeper.toml", &uncommented(|_| true)).unwrap());
    assert_eq!(found, expected);
    let kinds: BTreeSet<AlerterKind> = config.alerters.values().map(AlerterConfig::kind).collect();
    assert_eq!(kinds, AlerterKind::ALL.iter().copied().collect());
}

#[test]
fn every_default_it_tells_is_the_codes() {
    let (told, _) = load(&without_files());
    let (code, _) = load("");
    let parts = |config: &Config| {
        format!(
            "{:#?}",
            (
                (
                    (&config.instance, config.subjects),
                    &config.public_url,
                    (&config.log, config.log_format),
                    config.auth,
                    (config.allow_open, &config.allowed_hosts),
                    &config.operator
                ),
                (&config.data_dir, &config.database, config.database.url(), &config.ingest, &config.web),
                (
                    SweeperConfig { listen: None, summary: None, ..config.sweeper.clone() },
                    &config.history,
                    &config.expect,
                    &config.heartbeat.every
                ),
                (config.mail_loop.port, config.mail_loop.tls, &config.mail_loop.folders),
                (config.mail_loop.every, config.mail_loop.within),
            )
        )
    };
    assert_eq!(parts(&told), parts(&code));
}

#[test]
fn secrets_can_come_from_the_files_it_names() {
    let directory = tempfile::tempdir().unwrap();
    let plain = ["url", "password", "routing_key", "secret", "client_secret", "headers"];
    let text = uncommented(|key| !plain.contains(&key))
        .replace("/etc/innkeeper/secrets", directory.path().to_str().unwrap())
        .lines()
        .filter(|line| !line.starts_with("ca_file"))
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    for (name, secret) in [
        ("database_url", "postgres://inn:hunter2@db/inn\n"),
        ("smtp_password", "hunter2"),
        ("imap_password", "hunter2"),
        ("heartbeat_url", "https://example.org/hunter2"),
        ("peer_url", "https://example.org/hunter2"),
        ("slack_url", "https://hooks.example.org/hunter2"),
        ("pagerduty_key", "hunter2hunter2hunter2hunter2hunt"),
        ("hook_url", "https://example.org/hunter2"),
        ("openid_secret", "hunter2"),
        ("hook_secret", "hunter2"),
        ("hook_headers", "X-Token: hunter2"),
    ] {
        std::fs::write(directory.path().join(name), secret).unwrap();
    }
    let (config, _) = load(&text);
    assert_eq!(config.database.url(), "postgres://inn:hunter2@db/inn");
    for (name, alerter) in &config.alerters {
        alerter.build(name, std::sync::Arc::new(innkeeper_core::SystemClock)).map(drop).unwrap();
    }
    let shown = format!("{config:?}{}", config.summary());
    assert!(!shown.contains("hunter2"), "{shown}");
}
